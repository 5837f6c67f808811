"""Plots for the report of a run, as SVG that takes its colours from the page around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Line", "Plot", "ticks"]

LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 30


class Line(NamedTuple):
    """A line of a plot: its name, which is its class in the style sheet, too, and its points."""

    name: str
    points: Sequence[tuple[float, float]]


class Plot:
    """A plot of lines over a common axis.

    Args:
        label: what it shows, for those who cannot see it.
        x: the least and the greatest value of the horizontal axis.
        y: those of the vertical axis.
        logarithmic: whether the vertical axis is logarithmic.
        width, height: in units of the drawing, which scales with the page.
    """

    def __init__(
        self,
        label: str,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        logarithmic: bool = False,
        width: int = 480,
        height: int = 220,
    ) -> None:
        self.label = label
        self.x, self.y = x, y
        self.logarithmic = logarithmic
        self.width, self.height = width, height
        self.parts: list[str] = []

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is in the drawing."""
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        low, high = self.y
        if self.logarithmic:
            low, high, y = math.log10(low), math.log10(high), math.log10(max(y, low))
        up = (y - low) / ((high - low) or 1)
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        return round(LEFT + across * (right - LEFT), 1), round(bottom - up * (bottom - TOP), 1)

    def rows(self, values: Sequence[float], text: Callable[[float], str]) -> None:
        """Draw horizontal lines with what they stand for."""
        for value in values:
            x, y = self.at(self.x[0], value)
            self.parts.append(f'<path class="grid" d="M{x} {y}H{self.width - RIGHT}"/>')
            self.parts.append(f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{escape(text(value))}</text>')

    def columns(self, values: Sequence[float], text: Callable[[float], str]) -> None:
        """Name places of the horizontal axis."""
        bottom = self.height - BOTTOM
        self.parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{self.width - RIGHT}"/>')
        for value in values:
            x, _ = self.at(value, self.y[0])
            self.parts.append(f'<path class="axis" d="M{x} {bottom}v4"/>')
            self.parts.append(
                f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{escape(text(value))}</text>'
            )

    def span(self, start: float, end: float, name: str) -> None:
        """Shade a stretch of the horizontal axis."""
        left, right = self.at(start, self.y[0])[0], self.at(end, self.y[0])[0]
        height = self.height - BOTTOM - TOP
        box = f'x="{left}" y="{TOP}" width="{round(right - left, 1)}" height="{height}"'
        self.parts.append(f'<rect class="warmup" {box}><title>{escape(name)}</title></rect>')

    def line(self, line: Line, text: Callable[[float, float], str], *, filled: bool = False) -> None:
        """Draw a line whose points say what they are where the pointer is."""
        if not line.points:
            return
        places = [self.at(x, y) for x, y in line.points]
        path = "L".join(f"{x} {y}" for x, y in places)
        if filled:
            bottom = self.height - BOTTOM
            self.parts.append(f'<path class="area" d="M{places[0][0]} {bottom}L{path}V{bottom}z"/>')
        self.parts.append(f'<path class="series {line.name}" d="M{path}"/>')
        for (x, y), point in zip(places, line.points, strict=True):
            title = f"<title>{escape(f'{line.name} {text(*point)}')}</title>"
            self.parts.append(f'<circle class="dot f-{line.name}" cx="{x}" cy="{y}" r="5">{title}</circle>')

    def marker(self, x: float, y: float, name: str, text: str) -> None:
        """Draw a point, and above it what it stands for."""
        across, up = self.at(x, y)
        anchor = "end" if across > self.width - 90 else "start"
        shift = -9 if anchor == "end" else 0
        self.parts.append(f'<circle class="marker f-{name}" cx="{across}" cy="{up}" r="5"/>')
        place = f'x="{across + shift}" y="{max(up - 10, 10)}" text-anchor="{anchor}"'
        self.parts.append(f'<text class="label" {place}>{escape(text)}</text>')

    def svg(self) -> str:
        """The drawing."""
        label = escape(self.label, quote=True)
        head = f'viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{label}"'
        return f"<svg {head}>\n" + "\n".join(self.parts) + "\n</svg>\n"


def ticks(most: float, about: int = 4) -> list[float]:
    """Round values from 0 up to the first that is not below *most*: some four of them."""
    if most <= 0:
        return [0.0, 1.0]
    step = 10.0 ** math.floor(math.log10(most / about))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if most / (step * factor) <= about)
    return [step * number for number in range(math.ceil(most / step) + 1)]
