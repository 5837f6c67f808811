"""The cases of Autobahn|Testsuite 25.10.1: what must have run, and which of it a quick run takes.

The list is written out here, as counts per section, so that a suite that silently runs less is noticed.
"""

from __future__ import annotations

_CORE = (
    "1.1:8 1.2:8 2:11 3:7 4.1:5 4.2:5 5:20 6.1:3 6.2:4 6.3:2 6.4:4 6.5:5 6.6:11 6.7:4 6.8:2 6.9:4 6.10:3 "
    "6.11:5 6.12:8 6.13:5 6.14:10 6.15:1 6.16:3 6.17:5 6.18:5 6.19:5 6.20:7 6.21:8 6.22:34 6.23:7 "
    "7.1:6 7.3:6 7.5:1 7.7:13 7.9:9 7.13:2 10.1:1"
)
SECTIONS = {
    **{section: int(count) for section, count in (part.split(":") for part in _CORE.split())},
    **{f"9.{section}": count for section, count in enumerate((6, 6, 9, 9, 6, 6, 6, 6), 1)},
    **{f"12.{section}": 18 for section in range(1, 6)},
    **{f"13.{section}": 18 for section in range(1, 8)},
}
"""How many cases each section has; they are numbered from 1."""

GROUPS = ("core", "limits", "deflate")
"""Framing, UTF-8 and closing; large messages and many fragments (9); permessage-deflate (12, 13)."""

QUICK_DEFLATE = (3, 11)
"""Of each of the 12 deflate sections (five kinds of data, seven sets of parameters), two numbers: messages of
256 bytes, and of 8 KiB in fragments of 256 bytes."""

QUICK_DEFLATE_LARGE = ("12.1.1", "12.1.7", "12.2.10", "12.4.8", "13.3.7", "13.5.12")
"""In addition, the smallest messages, and large ones of three kinds of data and with small windows."""

QUICK_LIMITS = ("9.1.6", "9.2.6", "9.3.1", "9.3.9", "9.4.1", "9.4.9", "9.5.1", "9.6.6", "9.7.6", "9.8.6")
"""The largest messages, the most fragments, the smallest chops and the longest exchanges."""

_DEFLATE_SECONDS = (1, 1, 1, 1, 1.2, 1.5, 2, 3, 5, 8, 1.5, 2, 3, 5, 9, 9, 9, 9)
_WAITING_SECONDS = {"5.19": 1.0, "5.20": 1.0, "6.4.1": 2.0, "6.4.2": 2.0, "6.4.3": 2.0, "6.4.4": 2.0}


def group_of(case: str) -> str:
    """The group that a case is in."""
    chapter = case.split(".")[0]
    return "limits" if chapter == "9" else "deflate" if chapter in ("12", "13") else "core"


def select(group: str, *, quick: bool = False) -> list[str]:
    """The cases of a group: all of them, or the representative ones (core has no others)."""
    cases = [case for case in ALL if group_of(case) == group]
    if not quick or group == "core":
        return cases
    if group == "limits":
        return list(QUICK_LIMITS)
    return [c for c in cases if int(c.split(".")[2]) in QUICK_DEFLATE or c in QUICK_DEFLATE_LARGE]


def match(patterns: list[str]) -> list[str]:
    """The cases that are named, or that are in a section given as ``6.*``.

    Raises:
        ValueError: if a pattern matches no case.
    """
    chosen: list[str] = []
    for pattern in patterns:
        prefix = pattern.removesuffix("*")
        found = [case for case in ALL if case == pattern or (prefix != pattern and case.startswith(prefix))]
        if not found:
            raise ValueError(f"no case of the suite matches {pattern!r}; write 6.4.1, or 6.* for a section")
        chosen.extend(case for case in found if case not in chosen)
    return chosen


def cost(case: str) -> float:
    """About how many seconds a case takes, to share the cases out."""
    group = group_of(case)
    if group == "deflate":
        return _DEFLATE_SECONDS[int(case.split(".")[2]) - 1]
    return 0.25 if group == "limits" else _WAITING_SECONDS.get(case, 0.02)


def share_out(cases: list[str], shards: int) -> list[list[str]]:
    """Split cases into at most so many lists that take about as long as each other."""
    lists: list[list[str]] = [[] for _ in range(shards)]
    seconds = [0.0] * shards
    for case in sorted(cases, key=cost, reverse=True):
        lightest = seconds.index(min(seconds))
        lists[lightest].append(case)
        seconds[lightest] += cost(case)
    return [sorted(shard, key=ALL.index) for shard in lists if shard]


ALL = tuple(f"{section}.{number}" for section, count in SECTIONS.items() for number in range(1, count + 1))
"""All 517."""
