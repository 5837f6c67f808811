"""What a run shows: progress, a table of verdicts, the failures, and the same as JSON."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .runner import Outcome, counts

COLUMNS = (
    "OK",
    "INFORMATIONAL",
    "NON-STRICT",
    "FAILED",
    "UNIMPLEMENTED",
    "WRONG CLOSE",
    "NOT RUN",
)
"""What verdicts are counted; all but the first two are failures."""


class Progress:
    """A line that says how far the run is: rewritten on a terminal, one now and then elsewhere."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.begun = 0
        self.what = ""
        self.started = time.monotonic()
        self.shown = -1e9
        self.lock = threading.Lock()
        self.terminal = sys.stderr.isatty()

    def leg(self, what: str) -> None:
        """Another leg has begun."""
        with self.lock:
            self.what = what
            self.show(force=not self.terminal)

    def advance(self, count: int) -> None:
        """So many cases more have begun."""
        with self.lock:
            self.begun += count
            self.show()

    def show(self, *, force: bool = False) -> None:
        """Show the line if it is time to."""
        now = time.monotonic()
        if not force and now - self.shown < (0.2 if self.terminal else 30):
            return
        self.shown = now
        line = f"{self.begun}/{self.total} cases, {now - self.started:.0f} s: {self.what}"
        print(
            f"\r\x1b[K{line}" if self.terminal else line,
            end="" if self.terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    def done(self) -> None:
        """Remove the line."""
        if self.terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def rows(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """A row for each leg and group, and one for all: name, group, cases, the verdicts, seconds."""
    table: list[list[str]] = []
    for outcome in outcomes:
        found = counts([outcome])
        numbers = [str(len(outcome.wanted)), *(str(found.get(column, 0) or "") for column in COLUMNS)]
        table.append([outcome.leg.name, outcome.group, *numbers, f"{outcome.seconds:.0f}"])
    found = counts(outcomes)
    numbers = [
        str(sum(len(o.wanted) for o in outcomes)),
        *(str(found.get(column, 0) or "") for column in COLUMNS),
    ]
    return [*table, ["all", "", *numbers, f"{sum(o.seconds for o in outcomes):.0f}"]]


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the table, then every failure."""
    header = ["leg", "group", "cases", *COLUMNS, "seconds"]
    body = rows(outcomes)
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(len(row[i]) for row in [header, *body]) for i in range(len(header))]
        for row in [header, *body]:
            aligned = [
                text.ljust(w) if i < 2 else text.rjust(w)
                for i, (text, w) in enumerate(zip(row, widths, strict=True))
            ]
            print("  ".join(aligned).rstrip())
    else:
        table = Table(title="Autobahn|Testsuite")
        for i, name in enumerate(header):
            table.add_column(name, justify="left" if i < 2 else "right")
        for row in body[:-1]:
            bad = any(row[3 + COLUMNS.index(column)] for column in COLUMNS[2:])
            table.add_row(*row, style="red" if bad else None)
        table.add_section()
        table.add_row(*body[-1], style="bold")
        console = Console()
        # piped output has no width to fit, and a table cut at 80 columns says nothing
        Console(width=None if console.is_terminal else 150).print(table)
    for outcome in outcomes:
        for line in outcome.failures():
            print(f"{outcome.leg.name} {line}")


def save(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write everything as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "suite": "Autobahn|Testsuite 25.10.1",
        "passed": not any(outcome.failures() for outcome in outcomes),
        "verdicts": counts(outcomes),
        "legs": [
            {
                "name": outcome.leg.name,
                "group": outcome.group,
                "seconds": round(outcome.seconds, 1),
                "verdicts": counts([outcome]),
                "failures": outcome.failures(),
                "cases": {
                    verdict.case: {
                        "behavior": verdict.behavior,
                        "close": verdict.close,
                        "seconds": verdict.seconds,
                    }
                    for verdict in outcome.verdicts.values()
                },
            }
            for outcome in outcomes
        ],
    }
    path.write_text(json.dumps(data, indent=1) + "\n")
