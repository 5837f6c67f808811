"""What the charts have in common: measures, colours for light and dark, text and bars."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

WIDTH, MARGIN, GUTTER = 900, 24, 44
COLUMN = (WIDTH - 2 * MARGIN - GUTTER) / 2
PITCH, BAR, HEAD = 20, 12, 44

STYLE = """
svg { --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --peer: #b6bfc9; --ours: #0f766e; --also: #2ba598 }
@media (prefers-color-scheme: dark) {
  svg { --ink: #f0f6fc; --soft: #9198a1; --line: #3d444d; --peer: #545d68; --ours: #2dd4bf; --also: #1a9487 }
}
text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: var(--soft) }
.title { font-size: 15px; font-weight: 600; fill: var(--ink) }
.value { font-variant-numeric: tabular-nums }
.our { font-weight: 600; fill: var(--ink) }
.peer { fill: var(--peer) } .callbacks { fill: var(--ours) } .coroutines { fill: var(--also) }
.line { fill: none; stroke-width: 2 }
.redis { stroke: var(--ours) } .nats { stroke: var(--also); stroke-dasharray: 6 4 }
.axis { stroke: var(--line) }
"""


def text(x: float, y: float, what: str, style: str = "", anchor: str = "start") -> str:
    """A line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{style}" text-anchor="{anchor}">{escape(what)}</text>'


def number(value: float) -> str:
    """With three digits, more or less."""
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def bar(x: float, y: float, length: float, style: str) -> str:
    """Square where it starts, rounded where it ends."""
    radius = min(3.0, length / 2)
    path = f"M{x:g} {y:g}h{length - radius:.1f}a{radius:.1f} {radius:.1f} 0 0 1 {radius:.1f} {radius:.1f}"
    path += f"v{BAR - 2 * radius:.1f}a{radius:.1f} {radius:.1f} 0 0 1 -{radius:.1f} {radius:.1f}H{x:g}z"
    return f'<path d="{path}" class="{style}"/>'


def picture(parts: Iterable[str], height: float, title: str, summary: str) -> str:
    """The whole of a chart."""
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" role="img"'
            f' width="{WIDTH}" viewBox="0 0 {WIDTH} {height:g}">',
            f"<title>{escape(title)}</title><desc>{escape(summary)}</desc><style>{STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )
