"""What a run prints: progress, the figures load by load, and how each target stands."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from typing import NamedTuple

from .contenders import CLIENTS, SERVERS
from .loads import BYTES, CLIENT_LOADS, CPU, FIGURES, HANDSHAKES, LOADS, RATE, ClientLoad, Load, label
from .results import Results
from .targets import TARGETS, Standing, standing

try:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
except ImportError:
    Console = None

GOOD, BAD, DIM, OURS = "green", "red", "dim", "cyan"
OURS_NAMES = {contender.name for contender in (*SERVERS, *CLIENTS) if contender.ours}


class Cell(NamedTuple):
    text: str
    style: str = ""


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """The first column is left-aligned, the others are right-aligned; colours where the terminal has them."""
    if Console is None:
        _plain_table(columns, rows)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", header_style=DIM, no_wrap=True)
    for row in rows:
        table.add_row(*[Text(cell.text, cell.style) for cell in row])
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    console.print(table)
    console.print()


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    colours = {GOOD: "32", BAD: "31", DIM: "2", OURS: "36"} if sys.stdout.isatty() else {}
    widths = [
        max(len(line[i]) for line in (columns, *[[c.text for c in row] for row in rows]))
        for i in range(len(columns))
    ]
    for line in ([Cell(column, DIM) for column in columns], *rows):
        cells = []
        for number, (cell, width) in enumerate(zip(line, widths, strict=True)):
            text = cell.text.ljust(width) if number == 0 else cell.text.rjust(width)
            code = colours.get(cell.style.split()[-1] if cell.style else "")
            cells.append(f"\x1b[{code}m{text}\x1b[0m" if code else text)
        print("  ".join(cells))
    print()


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def show_load(results: Results, load: Load | ClientLoad) -> None:
    """One row for each contender, and how our first one stands to it."""
    measured = results.samples.get(load.name)
    if not measured:
        return
    order = [contender.name for contender in (*SERVERS, *CLIENTS)]
    names = sorted(measured, key=order.index)
    idle = isinstance(load, Load) and load.idle
    main = HANDSHAKES if idle else RATE if load.name == "client-connect" else CPU
    figures = [figure for figure in FIGURES if any(figure in measured[name] for name in names)]
    figures.sort(key=lambda figure: figure != main)
    ours = next((name for name in names if name in OURS_NAMES), None)
    columns = [
        load.title,
        *[label(load.name, figure) for figure in figures],
        "min to max",
        *([f"{ours} is"] if ours else []),
    ]
    base = results.median(load.name, ours, main) if ours else None
    rows = []
    for name in names:
        samples = results.of(load.name, name, main)
        spread = f"{number(min(samples))} to {number(max(samples))}"
        row = [Cell(name, f"bold {OURS}" if name in OURS_NAMES else "")]
        row += [
            Cell(number(results.median(load.name, name, figure)), "bold" if figure == main else "")
            for figure in figures
        ]
        row.append(Cell(spread, DIM))
        if base is not None:
            row.append(Cell(f"{base / statistics.median(samples):.2f} of it", DIM))
        rows.append(row)
    show_table(columns, rows)


def standings(results: Results) -> list[Standing]:
    return [standing(target, results.median) for target in TARGETS]


def show_targets(results: Results) -> None:
    """Every target of a load that was run; the others are only counted."""
    all_of_them = standings(results)
    shown = [one for one in all_of_them if one.target.load in results.samples]
    columns = ["target", "figure", "ours", "is", "against", "ratio", "aim", ""]
    show_table(columns, [_target_row(one) for one in shown])
    verdicts = [one.reached for one in all_of_them]
    print(
        f"{verdicts.count(True)} reached, {verdicts.count(False)} missed, {verdicts.count(None)} not measured"
    )


def _target_row(one: Standing) -> tuple[Cell, ...]:
    target = one.target
    verdict = {
        True: Cell("reached", GOOD),
        False: Cell("missed", f"bold {BAD}"),
        None: Cell("not measured", DIM),
    }[one.reached]
    against = "" if target.peer is None else f"{target.peer} {number(one.reference)}"
    ratio = "" if target.peer is None or one.ratio is None else f"{one.ratio:.3f}"
    bound = (
        f"{target.bound:g}"
        if target.peer is None or target.figure not in (CPU, BYTES)
        else f"{target.bound:.2f}"
    )
    return (
        Cell(target.load),
        Cell(label(target.load, target.figure)),
        Cell(target.ours, OURS),
        Cell(number(one.value)),
        Cell(against),
        Cell(ratio),
        Cell(f"{'≤' if target.sense == '<=' else '≥'} {bound}"),
        verdict,
    )


def show(results: Results) -> None:
    facts = results.machine
    print(f"\n{facts['cpu']}, {facts['cores']} cores, {facts['kernel']}, Python {facts['python']}")
    print(f"medians of {results.rounds} rounds of {results.seconds:g} s, {results.date}")
    print(", ".join(f"{name} {version}" for name, version in results.versions.items()), end="\n\n")
    for load in (*LOADS, *CLIENT_LOADS):
        show_load(results, load)
    show_targets(results)
    for failure in results.failures:
        print(f"failed: {failure}")
