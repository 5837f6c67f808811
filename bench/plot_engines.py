"""Draws engines beside others from the results of bench/engines.py, as SVG for light and dark.

    python bench/plot_engines.py [RESULTS.json] [--output docs/images/engines.svg]

Without RESULTS.json: the newest in bench/results.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from engines import AT_ONCE, OURS, PARTS, best
from harness.drawing import COLUMN, GUTTER, HEAD, MARGIN, PITCH, bar, number, picture, text
from harness.results import Results

RESULTS = Path(__file__).resolve().parent / "results"
IMAGES = RESULTS.parents[1] / "docs" / "images"
NAME_WIDTH, VALUE_WIDTH = 120, 46
PLOT, GAP, FOOT = 150, 34, 40
NAMES = {"redis-no-log": "redis, no log", "nats-no-log": "nats, no log"}
ALSO = ("redis-no-log", "nats-no-log")

Rows = Sequence[tuple[str, float]]


class Line(NamedTuple):
    name: str
    points: Rows
    """What is below a point, and its value."""


def _bars(title: str, unit: str, rows: Rows, x: float, y: float) -> Iterator[str]:
    yield text(x, y + 14, title, "title")
    yield text(x, y + 31, unit)
    start, room = x + NAME_WIDTH, COLUMN - NAME_WIDTH - VALUE_WIDTH
    longest = max(value for _, value in rows)
    for row, (name, value) in enumerate(rows):
        top = y + HEAD + row * PITCH
        ours = name in OURS
        style = "coroutines" if name in ALSO else "callbacks" if ours else "peer"
        length = max(1.0, room * value / longest)
        yield text(start - 8, top + 10, NAMES.get(name, name), "our" if ours else "", "end")
        yield bar(start, top, length, style)
        yield text(start + length + 6, top + 10, number(value), "value our" if ours else "value")
    yield f'<path d="M{start - 0.5:g} {y + HEAD - 4:g}v{len(rows) * PITCH:g}" class="axis"/>'


def _lines(title: str, unit: str, lines: Sequence[Line], x: float, y: float) -> Iterator[str]:
    """Lines from zero up, with the values at their ends."""
    yield text(x, y + 14, title, "title")
    yield text(x, y + 31, unit)
    left, right, bottom = x + 30, x + COLUMN - 90, y + HEAD + PLOT
    most = max(value for line in lines for _, value in line.points)
    step = 10 ** math.floor(math.log10(most))
    step = next(size for size in (step / 2, step, 2 * step, 5 * step) if most / size <= 5)
    top = step * math.ceil(most / step)

    def height(value: float) -> float:
        return bottom - PLOT * value / top

    for mark in range(round(top / step) + 1):
        level = height(mark * step)
        yield f'<path d="M{left:g} {level:g}H{right:g}" class="axis"/>'
        yield text(left - 6, level + 4, f"{mark * step:g}", "value", "end")
    labels = sorted(lines, key=lambda line: line.points[-1][1], reverse=True)
    lowest = -math.inf
    for line in labels:
        wide = (right - left) / max(1, len(line.points) - 1)
        places = [(left + wide * index, height(value)) for index, (_, value) in enumerate(line.points)]
        path = "L".join(f"{across:.1f} {down:.1f}" for across, down in places)
        yield f'<path d="M{path}" class="line {line.name}"/>'
        lowest = max(places[-1][1] + 4, lowest + 14)
        yield text(right + 8, lowest, f"{line.name} {number(line.points[-1][1])}", "value our")
        if line is labels[0]:
            for (across, _), (label, _) in zip(places, line.points, strict=True):
                yield text(across, bottom + 17, label, "value", "middle")


def _cost(results: Results, prefix: str) -> list[Line]:
    """Microseconds of the publisher and the server for a publication, over what grows."""
    lines = []
    for kind in ("redis", "nats"):
        points = []
        for part in PARTS:
            if part.name.startswith(prefix):
                found = [results.median(part.name, kind, f"{who}_us") for who in ("publisher", "server")]
                if None not in found:
                    count = int(part.name.removeprefix(prefix))
                    points.append((f"{count:,}", sum(value or 0.0 for value in found)))
        if points:
            lines.append(Line(kind, points))
    return lines


def draw(results: Results) -> str:
    """The whole chart."""
    kinds = list(results.samples.get("delay", {}))
    fastest = [(kind, best(results, kind, 10) / 1000) for kind in kinds]
    late = [(kind, results.median("delay", kind, "p99_ms") or 0.0) for kind in kinds]
    right = MARGIN + COLUMN + GUTTER
    y = float(MARGIN)
    rates = sorted((row for row in fastest if row[1]), key=lambda row: -row[1])
    unit = f"thousands a second, the best of {', '.join(f'{count:,}' for count in AT_ONCE)} at once"
    parts = [*_bars("Delivered to another node", unit + "; 10 channels", rates, MARGIN, y)]
    delays = sorted(late, key=lambda row: row[1])
    parts += _bars(
        "From the call to the other node", "ms, p99 at 1,000 a second; 10 channels", delays, right, y
    )
    y += HEAD + max(len(rates), len(delays)) * PITCH + GAP
    unit = "µs of CPU of publisher and server, 100 at once"
    parts += _lines("A publication, by nodes that follow", unit, _cost(results, "nodes-"), MARGIN, y)
    parts += _lines("A publication, by channels", unit, _cost(results, "channels-"), right, y)
    y += HEAD + PLOT + GAP + 20
    facts = results.machine
    foot = f"{facts['cpu']}, {facts['cores']} cores for all processes; memory and sqlite: one process. "
    foot += f"Python {facts['python']}. Medians of {results.rounds} rounds, {results.date}."
    parts.append(text(MARGIN, y + 4, foot))
    summary = "Rates, delays and costs of everwire's engines beside channels_redis and python-socketio."
    return picture(parts, y + FOOT - MARGIN, "Engines of everwire measured beside others", summary)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--output", type=Path, default=IMAGES / "engines.svg")
    arguments = parser.parse_args()
    source = arguments.results or max(RESULTS.glob("engines-*.json"), default=None)
    if source is None:
        raise SystemExit("there are no results yet: run bench/engines.py first")
    arguments.output.write_text(draw(Results.load(source)))
    print(f"drew {arguments.output}")


if __name__ == "__main__":
    main()
