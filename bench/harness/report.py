"""What a run prints: progress, the figures load by load, and how each target stands."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from typing import Literal, NamedTuple

from .contenders import CLIENTS, SERVERS, Client, Server
from .loads import CLIENT_LOADS, CPU, FIGURES, HANDSHAKES, LOADS, RATE, ClientLoad, Load, label
from .results import Results
from .targets import TARGETS, Standing, standing

try:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    RICH = True
except ImportError:
    RICH = False

GOOD, BAD, DIM, OURS = "green", "red", "dim", "cyan"
CONTENDERS: list[Server | Client] = sorted([*SERVERS, *CLIENTS], key=lambda contender: not contender.ours)
ORDER = [contender.name for contender in CONTENDERS]
OURS_NAMES = {contender.name for contender in CONTENDERS if contender.ours}


class Cell(NamedTuple):
    text: str
    style: str = ""


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """A heading and a table, the first column left-aligned; with colours where the terminal has them."""
    if not RICH:
        _plain_table(title, columns, rows)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for position, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if position else "left"
        table.add_column(column, justify=justify, header_style=DIM, no_wrap=True)
    for row in rows:
        table.add_row(*[Text(cell.text, cell.style) for cell in row])
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(Text(title, "bold"))
    console.print(table)
    console.print()


def _plain_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    colours = {GOOD: "32", BAD: "31", DIM: "2", OURS: "36"} if sys.stdout.isatty() else {}
    lines: list[Sequence[Cell]] = [[Cell(column, DIM) for column in columns], *rows]
    widths = [max(len(line[position].text) for line in lines) for position in range(len(columns))]
    print(title)
    for line in lines:
        cells = []
        for position, (cell, width) in enumerate(zip(line, widths, strict=True)):
            text = cell.text.rjust(width) if position else cell.text.ljust(width)
            code = colours.get(cell.style.split()[-1] if cell.style else "")
            cells.append(f"\x1b[{code}m{text}\x1b[0m" if code else text)
        print("  ".join(cells).rstrip())
    print()


def number(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def show_load(results: Results, load: Load | ClientLoad) -> None:
    """One row for each contender, and how our first one stands to it."""
    measured = results.samples.get(load.name)
    if not measured:
        return
    names = sorted(measured, key=ORDER.index)
    idle = isinstance(load, Load) and load.idle
    main = HANDSHAKES if idle else RATE if load.name == "client-connect" else CPU
    figures = [figure for figure in FIGURES if any(figure in measured[name] for name in names)]
    figures.sort(key=lambda figure: figure != main)
    ours = next((name for name in names if name in OURS_NAMES), None)
    base = results.median(load.name, ours, main) if ours else None
    rows = []
    for name in names:
        samples = results.of(load.name, name, main)
        row = [Cell(name, f"bold {OURS}" if name in OURS_NAMES else "")]
        styles = ["bold" if figure == main else "" for figure in figures]
        medians = [number(results.median(load.name, name, figure)) for figure in figures]
        row += map(Cell, medians, styles)
        row.append(Cell(f"{number(min(samples))} to {number(max(samples))}", DIM))
        row.append(Cell(f"{base / statistics.median(samples):.2f}" if base else "", DIM))
        rows.append(row)
    columns = ["", *[label(load.name, figure) for figure in figures], "min to max", "ours/it" if ours else ""]
    show_table(load.title, columns, rows)


def standings(results: Results) -> list[Standing]:
    return [standing(target, results.median) for target in TARGETS]


def show_targets(results: Results) -> None:
    """Every target of a load and a contender of ours that took part; the others are only counted."""
    everything = standings(results)
    took_part = {name for measured in results.samples.values() for name in measured}
    shown = [one for one in everything if one.target.load in results.samples and one.target.ours in took_part]
    for ours in dict.fromkeys(one.target.ours for one in shown):
        columns = ["", "is", "against", "ratio", "aim", ""]
        rows = [_target_row(one) for one in shown if one.target.ours == ours]
        show_table(f"targets: {ours}", columns, rows)
    verdicts = [one.reached for one in everything]
    counts = {verdict: verdicts.count(verdict) for verdict in (True, False, None)}
    print(f"targets: {counts[True]} reached, {counts[False]} missed, {counts[None]} not measured")


def _target_row(one: Standing) -> tuple[Cell, ...]:
    target = one.target
    verdict = Cell("not measured", DIM)
    if one.reached is not None:
        verdict = Cell("reached", GOOD) if one.reached else Cell("missed", f"bold {BAD}")
    what = target.load if target.figure == CPU else f"{target.load}, {label(target.load, target.figure)}"
    against = "" if one.peer is None else f"{one.peer.removesuffix('-asyncio')} {number(one.reference)}"
    return (
        Cell(what),
        Cell(number(one.value)),
        Cell(against),
        Cell("" if target.peer is None or one.ratio is None else f"{one.ratio:.2f}"),
        Cell(f"{'≤' if target.sense == '<=' else '≥'} {target.bound:g}"),
        verdict,
    )


def show(results: Results) -> None:
    facts = results.machine
    print(f"\n{facts['cpu']}, {facts['cores']} cores, {facts['kernel']}, Python {facts['python']}")
    print(f"{results.date}, medians of {results.rounds} rounds of {results.seconds:g} s")
    print(", ".join(f"{name} {version}" for name, version in results.versions.items()), end="\n\n")
    for load in (*LOADS, *CLIENT_LOADS):
        show_load(results, load)
    show_targets(results)
    for failure in results.failures:
        print(f"failed: {failure}")
