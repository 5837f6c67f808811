"""The tables of a chaos run."""

from __future__ import annotations

import collections
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.run import Outcome

__all__ = ["report"]

MOST = 40
"""Problems that are shown."""


def report(outcome: Outcome) -> str:
    """What a run has shown, for people."""
    options, ledger, verdict = outcome.options, outcome.ledger, outcome.verdict
    tried = len(ledger.publications)
    keyed = [each for each in ledger.publications.values() if each.key]
    logged = sum(len(log.values) for log in (outcome.logs[0] if outcome.logs else {}).values())
    counts = {
        "published": f"{tried:,} ({tried / max(outcome.publishing, 0.001):,.0f} a second), "
        f"{len(keyed):,} with a key: {sum(each.tries - 1 for each in keyed):,} tries more",
        "acknowledged": f"{ledger.acknowledged:,}; not: {tried - ledger.acknowledged:,}, "
        f"of which {verdict.unacknowledged:,} are in the log all the same",
        "in the logs": f"{logged:,}",
        "gaps told": f"{verdict.told:,} ({verdict.needless:,} of them with nothing missing), "
        f"{verdict.skipped:,} publications in them, {verdict.withdrawn:,} taken back",
        "twice in a log": f"{verdict.twice:,}",
        "lost": f"{verdict.lost:,}",
        "missing, not told": f"{verdict.missing:,}",
        "received twice": f"{verdict.duplicates:,}",
        "out of order": f"{verdict.disordered:,}",
    }
    head = (
        f"{options.engine}, {options.nodes} nodes, {options.clients} clients, {options.channels} channels, "
        f"seed {options.seed}: {outcome.publishing:.0f} s, with the start and the end {outcome.seconds:.0f} s"
    )
    faults = _listed(outcome.faults) or "none"
    parts = [
        head,
        f"faults: {faults}",
        f"connections that were cut off, by their ends: {_listed(outcome.ends) or 'none'}",
        "",
        _table(("", ""), list(counts.items())),
        _by_transport(outcome),
    ]
    parts += outcome.problems[:MOST]
    if len(outcome.problems) > MOST:
        parts.append(f"and {len(outcome.problems) - MOST} problems more")
    return "\n".join([*parts, "failed" if outcome.problems else "passed"])


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _by_transport(outcome: Outcome) -> str:
    """What the followers over each transport got."""
    rows: dict[str, collections.Counter[str]] = {}
    for follower in outcome.crew:
        row = rows.setdefault(follower.transport, collections.Counter())
        row["followers"] += 1
        row["connections"] += follower.connections
        row["received"] += sum(got.count for got in follower.got.values())
        row["gaps told"] += sum(len(got.runs) - 1 for got in follower.got.values())
    names = ("followers", "connections", "received", "gaps told")
    lines = [(transport, *(f"{row[name]:,}" for name in names)) for transport, row in rows.items()]
    return _table(("transport", *names), lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: drawn by rich where that is there."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        lines = (head, *rows) if any(head) else rows
        widths = [max(len(row[column]) for row in lines) for column in range(len(head))]
        return "\n".join(
            "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in lines
        )
    table = Table(*head, box=box.SIMPLE, show_header=any(head), pad_edge=False)
    for column in table.columns[1:] if any(head) else ():
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=118, color_system=None)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip() + "\n"
