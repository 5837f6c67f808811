"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["count", "data", "duration", "rate"]


def count(number: int) -> str:
    """A number of things: ``12,345``."""
    return f"{number:,}"


def rate(per_second: float) -> str:
    """A number of things a second: ``12,345``, ``3.21``."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def duration(nanoseconds: float) -> str:
    """A length of time with three digits: ``950 ns``, ``12.3 µs``, ``4.56 ms``, ``1.23 s``."""
    for unit, factor in (("ns", 1.0), ("µs", 1e3), ("ms", 1e6)):
        if nanoseconds < 999.5 * factor:
            return f"{_three(nanoseconds / factor)} {unit}"
    return f"{_three(nanoseconds / 1e9)} s"


def data(size: float) -> str:
    """A number of bytes: ``16 B``, ``1.5 KiB``, ``20 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1023.5:
            return f"{_three(size)} {unit}"
        size /= 1024
    return f"{_three(size)} GiB"


def _three(number: float) -> str:
    if number >= 99.95:
        return f"{number:,.0f}"
    return (
        f"{number:.1f}".removesuffix(".0")
        if number >= 9.995
        else f"{number:.2f}".rstrip("0").removesuffix(".")
    )
