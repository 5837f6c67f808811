"""The report of a run as one HTML file, with nothing to fetch and no script."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from html import escape
from importlib import resources
from string import Template

import everwire
from everwire.cli.bench.machine import describe_machine
from everwire.cli.bench.plot import Line, Plot, ticks
from everwire.cli.bench.results import PERCENTILES, Results
from everwire.cli.bench.summary import describe, notes
from everwire.cli.bench.units import count, data, duration, rate

__all__ = ["render_page"]

TOP_PERCENTILE = 99.999
"""The right edge of the percentile plot."""
NAMED = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)
"""Percentiles that the axis names."""


def render_page(results: Results, loop: str) -> str:
    """The page."""
    page = resources.files("everwire.cli").joinpath("pages/bench.html").read_text(encoding="utf-8")
    charts = [_distribution(results), _rates(results), _latencies(results)] if results.times.count else []
    values = {
        "version": everwire.__version__,
        "title": escape(f"{results.job.url}: everwire bench"),
        "heading": escape(results.job.url),
        "description": escape(describe(results)),
        "notes": _notes(results),
        "figures": _figures(results),
        "charts": "".join(charts),
        "errors": _errors(results),
        "job": _rows(_job(results)),
        "machine": _rows(describe_machine(loop)),
        "footer": escape(f"everwire {everwire.__version__}, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"),
    }
    return Template(page).substitute(values)


def _notes(results: Results) -> str:
    found = notes(results)
    if not found:
        return ""
    return '<section class="notes">' + "".join(f"<p>{escape(each)}</p>" for each in found) + "</section>\n"


def _figures(results: Results) -> str:
    times, job = results.times, results.job
    figures = [("Connections", count(results.opened), f"of {count(job.connections)}", "")]
    if job.mode != "idle":
        name = "Deliveries a second" if job.mode == "fanout" else "Messages a second"
        figures.append((name, rate(results.received_rate), f"{data(results.byte_rate)}/s", ""))
    if times.count:
        what = "Gap" if job.mode == "push" else "Latency"
        figures.append((f"{what}, median", duration(times.quantile(0.5)), f"mean {duration(times.mean)}", ""))
        figures.append((f"{what}, p99", duration(times.quantile(0.99)), f"max {duration(times.maximum)}", ""))
    elif results.openings.count:
        figures.append(("Opening, median", duration(results.openings.quantile(0.5)), "", ""))
    kind = "bad" if results.errors else "good"
    figures.append(("Errors", count(results.errors), "", kind))
    return "".join(
        f'<div class="{kind}"><dt>{name}</dt><dd>{escape(value)} <small>{escape(more)}</small></dd></div>\n'
        for name, value, more, kind in figures
    )


def _nines(percentile: float) -> float:
    """Where a percentile stands: each further nine takes as much room as the one before."""
    return -math.log10(1 - min(percentile, TOP_PERCENTILE) / 100)


def _distribution(results: Results) -> str:
    """Latency by percentile, on an axis that gives the slowest few the room that they need."""
    times = results.times
    last = min(TOP_PERCENTILE, 100 * (1 - 1 / max(times.count, 2)))
    right = max(_nines(last), _nines(90))
    shares = [right * step / 160 for step in range(161)]
    points = [(nines, float(times.quantile(1 - 10**-nines))) for nines in shares]
    points[-1] = right, float(times.maximum)
    low = 10 ** math.floor(math.log10(max(times.minimum, 1)))
    high = 10 ** math.ceil(math.log10(max(times.maximum, 2) * 1.05))
    title = "Time between messages" if results.job.mode == "push" else "Latency"
    plot = Plot(f"{title} by percentile", (0, right), (low, high), logarithmic=True, width=960, height=260)
    plot.rows(_powers(low, high), duration)
    plot.columns([_nines(each) for each in NAMED if _nines(each) <= right], _percentile)
    plot.line(Line("latency", points), lambda x, y: f"{_percentile(x)}: {duration(y)}")
    for each in PERCENTILES:
        if _nines(each) <= right:
            value = float(times.quantile(each / 100))
            plot.marker(_nines(each), value, "latency", duration(value))
    plot.marker(right, float(times.maximum), "latency", duration(times.maximum))
    note = "How long messages took at most, for a growing share of all of them: half, nine in ten, 99 in 100."
    return f'<section class="wide"><h2>{title} by percentile</h2><p>{note}</p>{plot.svg()}</section>\n'


def _percentile(nines: float) -> str:
    return f"p{100 * (1 - 10**-nines):.5g}"


def _powers(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]


def _rates(results: Results) -> str:
    processes = len(results.parts)
    points = [
        (at + results.width / 2, bucket.received / bucket.seconds * processes)
        for at, bucket in results.series()
    ]
    marks = ticks(max((y for _, y in points), default=1.0))
    plot = Plot("Messages a second over time", (0, _end(results)), (0, marks[-1]))
    plot.rows(marks, rate)
    _time(plot, results)
    plot.line(Line("rate", points), lambda x, y: f"at {x:.1f} s: {rate(y)} a second", filled=True)
    name = "Deliveries" if results.job.mode == "fanout" else "Messages"
    return f"<section><h2>{name} a second</h2><p>Received, by all connections.</p>{plot.svg()}</section>\n"


def _latencies(results: Results) -> str:
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    lines = [
        Line(name, [(at + results.width / 2, float(bucket.times.quantile(share))) for at, bucket in filled])
        for name, share in shares.items()
        if (filled := [(at, bucket) for at, bucket in results.series() if bucket.times.count])
    ]
    values = [y for line in lines for _, y in line.points] or [1.0]
    low, high = (
        10 ** math.floor(math.log10(max(min(values), 1))),
        10 ** math.ceil(math.log10(max(values) * 1.05)),
    )
    plot = Plot("Latency over time", (0, _end(results)), (low, high), logarithmic=True)
    plot.rows(_powers(low, high), duration)
    _time(plot, results)
    for line in lines:
        plot.line(line, lambda x, y: f"at {x:.1f} s: {duration(y)}")
    names = "".join(f'<span class="l-{name}">{name}</span>' for name in shares)
    what = "Time between messages" if results.job.mode == "push" else "Latency"
    return f'<section><h2>{what} over time</h2><p class="legend">{names}</p>{plot.svg()}</section>\n'


def _end(results: Results) -> float:
    """Where the time axis ends."""
    series = results.series()
    return series[-1][0] + results.width if series else 1.0


def _time(plot: Plot, results: Results) -> None:
    end = _end(results)
    if results.job.warmup:
        plot.span(0, min(results.job.warmup, end), "warm-up")
    plot.columns([each for each in ticks(end, 6) if each <= end * 1.001], lambda value: f"{value:g} s")


def _errors(results: Results) -> str:
    if not results.mistakes:
        return ""
    rows = "".join(
        f'<tr><td class="number">{count(each.count)}</td><th>{escape(kind)}</th>'
        f"<td>{escape(each.first.example)}<br><small>{escape(each.first.hint)}</small></td></tr>\n"
        for kind, each in results.mistakes.items()
    )
    return f"<section><h2>Errors</h2><table>\n{rows}</table></section>\n"


def _job(results: Results) -> Iterable[tuple[str, str]]:
    job = results.job
    yield "mode", job.mode
    yield "connections", f"{count(job.connections)}, opened over {results.opening_seconds:.2g} s"
    if results.openings.count:
        half, slow = results.openings.quantile(0.5), results.openings.quantile(0.99)
        yield "opening", f"p50 {duration(half)}, p99 {duration(slow)}"
    if job.mode in ("echo", "fanout"):
        kind = "binary" if isinstance(job.message, bytes) else "text"
        yield "message", f"{kind}, {data(job.size)}"
        yield "under way", f"{count(job.depth)} per connection" if job.mode == "echo" else count(job.depth)
        yield "rate", f"{rate(job.rate)} a second" if job.rate else "as fast as answers come"
        yield "checked", "sizes, types and contents" if job.check else "sizes and types"
    yield "compression", "offered" if job.compression else "not offered"
    yield "warm-up", f"{job.warmup:g} s"
    yield "measured", f"{results.seconds:.2f} s"
    yield (
        "messages",
        f"{count(results.sent)} sent, {count(results.received)} received, warm-up and end included",
    )
    yield "processes", f"{len(results.parts)}, the busiest at {results.cpu_share:.0%} of a processor"


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>\n" for name, value in rows)
