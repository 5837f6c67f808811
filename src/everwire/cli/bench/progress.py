"""How a run goes, while it goes: on a terminal a display that is drawn anew, else one line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from everwire.cli.bench.results import Results
from everwire.cli.bench.units import count, duration, rate

__all__ = ["Progress", "sparkline"]

REDRAWN = 0.25
"""Seconds from one drawing to the next: drawing takes processor time that the load may want."""
BARS = "▁▂▃▄▅▆▇█"
PHASES = {
    "opening": "opening connections",
    "warmup": "warming up",
    "measuring": "measuring",
    "ending": "waiting for the last answers",
    "closing": "closing connections",
}


class Progress:
    """The display of a run.

    Args:
        console: where it is shown.
        results: what is shown; it grows meanwhile.
    """

    def __init__(self, console: Console, results: Results) -> None:
        self.console = console
        self.results = results

    @asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """Show it until the block ends."""
        if not self.console.is_terminal:
            job = self.results.job
            self.console.print(f"everwire bench {escape(job.url)}", soft_wrap=True)
            yield
            return
        with Live(self.render(), console=self.console, auto_refresh=False, transient=True) as live:
            drawing = asyncio.create_task(self._draw(live))
            try:
                yield
            finally:
                drawing.cancel()

    async def _draw(self, live: Live) -> None:
        while True:
            await asyncio.sleep(REDRAWN)
            live.update(self.render(), refresh=True)

    def render(self) -> RenderableType:
        """The display at this moment."""
        results, job = self.results, self.results.job
        per_second, times = results.recent()
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim")
        grid.add_column(justify="right", min_width=10)
        grid.add_column()
        width = max(10, min(60, self.console.width - 40))
        series = [bucket for _, bucket in results.series()]
        grid.add_row("connections", f"{count(results.open)}", Text(f"of {count(job.connections)}", "dim"))
        if job.mode != "idle":
            rates = [each.received / each.seconds for each in series]
            grid.add_row(
                "messages/s", Text(rate(per_second), "bold cyan"), Text(sparkline(rates, width), "cyan")
            )
        if times.count:
            slow = [float(each.times.quantile(0.99)) for each in series]
            name = "gap" if job.mode == "push" else "latency"
            grid.add_row(f"{name} p50", Text(duration(times.quantile(0.5)), "bold"), "")
            late = Text(duration(times.quantile(0.99)), "bold magenta")
            grid.add_row(f"{name} p99", late, Text(sparkline(slow, width), "magenta"))
        if job.mode in ("echo", "fanout"):
            grid.add_row("under way", count(results.under_way), "")
        errors = results.errors
        kinds = ", ".join(f"{kind} {count(each.count)}" for kind, each in results.mistakes.items())
        grid.add_row("errors", Text(count(errors), "bold red" if errors else "green"), Text(kinds, "red"))
        return Panel(
            Group(self._bar(), Text(), grid, Text(), Text("Ctrl-C ends it early, with a report.", "dim")),
            title=f"[bold]everwire bench[/] {escape(job.url)}",
            title_align="left",
            border_style="cyan",
            padding=(1, 2),
        )

    def _bar(self) -> RenderableType:
        results, job = self.results, self.results.job
        if not results.ready or results.began is None:
            done, total = float(results.open), float(job.connections)
        else:
            total = job.warmup + job.duration
            done = max(0.0, min(total, (time.monotonic_ns() - results.began) / 1e9))
        grid = Table.grid(padding=(0, 2))
        left = "" if not results.ready else f"{max(0.0, total - done):.0f} s left"
        grid.add_row(
            ProgressBar(total, done, width=40, complete_style="cyan", finished_style="cyan"),
            Text(PHASES[results.phase]),
            Text(left, "dim"),
        )
        return grid


def sparkline(values: list[float], width: int) -> str:
    """The last values as bars of text, one character each."""
    shown = values[-width:]
    top = max(shown, default=0.0) or 1.0
    return "".join(BARS[min(7, int(value / top * 7.999))] for value in shown)
