"""Draws the chart of the README from the results of a run, as SVG that reads well on light and on dark.

    python bench/plot.py [RESULTS.json] [--output bench/results/chart.svg]

Without RESULTS.json: the newest in bench/results.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from harness.drawing import COLUMN, GUTTER, HEAD, MARGIN, PITCH, bar, number, picture, text
from harness.loads import BYTES, CPU, HANDSHAKES
from harness.results import Results

RESULTS = Path(__file__).resolve().parent / "results"


class Panel(NamedTuple):
    load: str
    figure: str
    title: str
    unit: str
    more_is_better: bool = False
    scale: float = 1.0


PANELS = (
    Panel("echo", CPU, "Echo", "µs of CPU a message: 100 connections, 16 B"),
    Panel("pipelined", CPU, "Echo, 50 messages in flight", "µs of CPU a message: 20 connections, 16 B"),
    Panel("fan", CPU, "Fan-out", "µs of CPU a delivery: 1000 connections, 64 B"),
    Panel("tls-echo-1k", CPU, "Echo over TLS", "µs of CPU a message: 100 connections, 1 KiB"),
    Panel(
        "deflate-echo",
        CPU,
        "Echo with permessage-deflate",
        "µs of CPU a message: 50 connections, 1 KiB of JSON",
    ),
    Panel("echo-16k", CPU, "Echo of large messages", "µs of CPU a message: 50 connections, 16 KiB"),
    Panel("idle", HANDSHAKES, "Opening handshakes", "thousands a second: more is better", True, 1e-3),
    Panel("idle", BYTES, "An idle connection", "KiB of memory: 5000 connections", scale=1 / 1024),
)
NAMES = {
    "callbacks": "everwire, callbacks",
    "coroutines": "everwire, coroutines",
    "picows": "picows",
    "picows.websockets": "picows.websockets",
    "websockets": "websockets",
    "aiohttp": "aiohttp",
    "uvicorn": "uvicorn",
    "granian": "granian",
    "socketify": "socketify (C++)",
    "bun": "Bun (C++)",
    "node-ws": "Node.js ws",
}
OURS = ("callbacks", "coroutines")

NAME_WIDTH, VALUE_WIDTH = 150, 46
FOOT, GAP = 40, 30


def _rows(results: Results, panel: Panel) -> list[tuple[str, float]]:
    found = [(name, results.median(panel.load, name, panel.figure)) for name in NAMES]
    rows = [(name, value * panel.scale) for name, value in found if value is not None]
    return sorted(rows, key=lambda row: row[1], reverse=panel.more_is_better)


def _panel(panel: Panel, rows: list[tuple[str, float]], x: float, y: float) -> Iterator[str]:
    yield text(x, y + 14, panel.title, "title")
    yield text(x, y + 31, panel.unit)
    start, room = x + NAME_WIDTH, COLUMN - NAME_WIDTH - VALUE_WIDTH
    longest = max(value for _, value in rows)
    for row, (name, value) in enumerate(rows):
        top = y + HEAD + row * PITCH
        ours = name in OURS
        length = max(1.0, room * max(value, 0) / longest)
        yield text(start - 8, top + 10, NAMES[name], "our" if ours else "", "end")
        yield bar(start, top, length, name if ours else "peer")
        yield text(start + length + 6, top + 10, number(value), "value our" if ours else "value")
    bottom = y + HEAD + len(rows) * PITCH
    yield f'<path d="M{start - 0.5:g} {y + HEAD - 4:g}V{bottom - 4:g}" class="axis"/>'


def draw(results: Results) -> str:
    """The whole chart: two panels a row, in each the best first; panels without figures are left out."""
    panels = [(panel, rows) for panel in PANELS if (rows := _rows(results, panel))]
    parts: list[str] = []
    y = float(MARGIN)
    for left in range(0, len(panels), 2):
        pair = panels[left : left + 2]
        for side, (panel, rows) in enumerate(pair):
            parts += _panel(panel, rows, MARGIN + side * (COLUMN + GUTTER), y)
        y += HEAD + max(len(rows) for _, rows in pair) * PITCH + GAP
    facts = results.machine
    foot = f"{facts['cpu']}, one core for the server and one for the load. {facts['kernel']}, "
    foot += f"Python {facts['python']}. Medians of {results.rounds} rounds, {results.date}."
    parts.append(text(MARGIN, y + 4, foot))
    height = y + FOOT - MARGIN
    summary = "WebSocket servers compared; shorter bars are better, except for opening handshakes."
    return picture(parts, height, "everwire measured beside others", summary)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--output", type=Path, default=RESULTS / "chart.svg")
    arguments = parser.parse_args()
    source = arguments.results or max(RESULTS.glob("[0-9]*.json"), default=None)
    if source is None:
        raise SystemExit("there are no results yet: run bench/run.py first")
    arguments.output.write_text(draw(Results.load(source)))
    print(f"drew {arguments.output}")


if __name__ == "__main__":
    main()
