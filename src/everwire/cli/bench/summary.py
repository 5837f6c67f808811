"""What a run has found, as text for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from everwire.cli.bench.results import PERCENTILES, Results
from everwire.cli.bench.units import count, data, duration, rate

__all__ = ["describe", "print_summary"]

BUSY = 0.9
"""The share of a processor from which on the load itself may be what limits."""
BAR = 36
"""Characters of the longest bar."""


def describe(results: Results) -> str:
    """What was run, in a line."""
    job = results.job
    parts = [job.mode, f"{count(job.connections)} connection{'' if job.connections == 1 else 's'}"]
    if job.mode in ("echo", "fanout"):
        kind = "binary" if isinstance(job.message, bytes) else "text"
        parts.append(f"{kind} of {data(job.size)}")
        parts.append(f"{job.depth} under way" + (" each" if job.mode == "echo" else ""))
        parts.append(f"{rate(job.rate)} a second" if job.rate is not None else "as fast as answers come")
    if job.compression:
        parts.append("compression offered")
    if job.check:
        parts.append("every answer checked")
    if len(results.parts) > 1:
        parts.append(f"{len(results.parts)} processes")
    return ", ".join(parts)


def print_summary(console: Console, results: Results) -> None:
    """Print what was found: how many messages, how fast, what went wrong."""
    if console.is_terminal:
        console.print(f"[bold cyan]{escape(results.job.url)}[/]", soft_wrap=True)
    console.print(f"[dim]{describe(results)}[/]", soft_wrap=True)
    console.print()
    console.print(_counts(results))
    if results.times.count:
        console.print()
        console.print(_latencies(results))
    for kind, counted in results.mistakes.items():
        console.print()
        line = Text.assemble((f"{count(counted.count)} x {kind}", "bold red"), ": ", counted.first.example)
        console.print(line, soft_wrap=True)
        if counted.first.hint:
            console.print(Text(f"  {counted.first.hint}", "dim"), soft_wrap=True)
    for note in notes(results):
        console.print()
        console.print(Text(note, "yellow"), soft_wrap=True)


def notes(results: Results) -> list[str]:
    """What one should know before trusting the figures."""
    found: list[str] = []
    job = results.job
    if results.interrupted:
        found.append(f"Ended early: {results.seconds:.1f} of {job.duration:g} seconds were measured.")
    if job.mode in ("echo", "fanout") and results.cpu_share > BUSY:
        more = "more --processes, or another machine, may find more."
        found.append(
            f"The load took {results.cpu_share:.0%} of a processor: it may be what limits, and {more}"
        )
    wanted = job.rate if job.mode == "echo" else None
    if wanted is not None and results.seconds and results.sent_rate < 0.97 * wanted:
        found.append(
            f"Only {rate(results.sent_rate)} of {rate(wanted)} messages a second were sent: on all "
            "connections --depth was under way. The latency shows how late messages were."
        )
    return found


def _counts(results: Results) -> Table:
    job = results.job
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(justify="right")
    grid.add_column(style="dim")
    opening = (
        f"opened, {rate(results.opened / results.opening_seconds)} a second" if results.opened else "opened"
    )
    if results.openings.count:
        half, slow = results.openings.quantile(0.5), results.openings.quantile(0.99)
        opening += f"; p50 {duration(half)}, p99 {duration(slow)}"
    grid.add_row("connections", Text(count(results.opened), "bold"), opening)
    if job.mode != "idle":
        received = sum(part.received for part in results.parts)
        grid.add_row(
            "deliveries" if job.mode == "fanout" else "messages",
            Text(count(received), "bold"),
            f"received in {results.seconds:.1f} s",
        )
        grid.add_row("rate", Text(rate(results.received_rate), "bold cyan"), "a second")
        grid.add_row("data", Text(data(results.byte_rate), "bold"), "a second")
    grid.add_row("errors", Text(count(results.errors), "bold red" if results.errors else "bold green"), "")
    return grid


def _latencies(results: Results) -> Table:
    """Percentiles, each with a bar on a linear scale."""
    times = results.times
    rows = [(f"p{each:g}", times.quantile(each / 100)) for each in PERCENTILES]
    rows.append(("max", times.maximum))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(justify="right")
    grid.add_column()
    title = "time between messages" if results.job.mode == "push" else "latency"
    grid.add_row(title, "", Text(f"mean {duration(times.mean)}, min {duration(times.minimum)}", "dim"))
    for name, value in rows:
        length = max(1, round(value / max(times.maximum, 1) * BAR))
        grid.add_row(name, Text(duration(value), "bold"), Text("━" * length, "magenta"))
    return grid
