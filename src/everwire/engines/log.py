"""The log of a channel in memory."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from typing import NamedTuple

from everwire.channels.engine import HistoryPage, LogOptions, Position
from everwire.wire.messages import Publication

__all__ = ["IDLE", "MemoryLog", "forgotten_after", "is_stale", "span"]

IDLE = 60.0
"""Seconds that a log is kept which nobody follows and to which nothing was ever published."""


def forgotten_after(options: LogOptions, top: int) -> float:
    """Seconds after its last use that a log with nothing left in it may be forgotten."""
    meta_ttl = options.meta_ttl or math.inf
    return meta_ttl if top else min(IDLE, meta_ttl)


class Span(NamedTuple):
    """Offsets to read: from *begin* up to *end*, without it; and whether what was asked for starts there."""

    begin: int
    end: int
    complete: bool


def span(since: Position | None, limit: int, reverse: bool, *, first: int, top: Position) -> Span:
    """What to read of a log that has its publications from *first* on to *top*.

    A position without an epoch is one of any log.
    """
    begin, end, complete = first, top.offset + 1, True
    if since is not None:
        if since.epoch not in ("", top.epoch):
            return Span(end, end, False)
        if reverse:
            complete = since.offset <= 1 or first < since.offset <= end
            end = min(end, max(first, since.offset))
        else:
            complete = first <= since.offset + 1 <= end
            begin = min(end, max(first, since.offset + 1))
    if limit >= 0:
        if reverse:
            begin = max(begin, end - limit)
        else:
            end = min(end, begin + limit)
    return Span(begin, end, complete)


def is_stale(version: int, version_epoch: str, *, last: int, last_epoch: str) -> bool:
    """Whether a publication of this version comes too late; without an epoch it is compared with any last."""
    return 0 < version <= last and version_epoch in ("", last_epoch)


class MemoryLog:
    """Publications with consecutive offsets, and when each of them expires.

    Attributes:
        top: the position of the newest.
        version, version_epoch: of the last publication that had a version.
        options: how it is kept.
    """

    __slots__ = (
        "_deadlines",
        "_head",
        "_publications",
        "_used",
        "options",
        "top",
        "version",
        "version_epoch",
    )

    def __init__(self, epoch: str, now: float, options: LogOptions) -> None:
        self.top = Position(0, epoch)
        self.version = 0
        self.version_epoch = ""
        self.options = options
        self._used = now
        # What is in front of the head is gone, and is cut off when it is half of all: the rest moves seldom.
        self._publications: list[Publication | None] = []
        self._deadlines = array("d")
        self._head = 0

    def __len__(self) -> int:
        return len(self._publications) - self._head

    @property
    def first(self) -> int:
        """The offset of the oldest publication; of the next one if there is none."""
        return self.top.offset + 1 - len(self)

    def append(self, publication: Publication, now: float, options: LogOptions) -> None:
        """Add a publication, whose offset is the next one, and remove the oldest of too many."""
        self.top = Position(publication.offset, self.top.epoch)
        self._publications.append(publication)
        # In order even when the time to live of a channel is made shorter.
        deadline = now + options.ttl
        self._deadlines.append(max(deadline, self._deadlines[-1]) if self._deadlines else deadline)
        self.touch(now, options)
        self._drop(len(self) - options.size)

    def read(self, since: Position | None, limit: int, reverse: bool) -> HistoryPage:
        """Read what has not expired; :meth:`expire` is called before."""
        first = self.first
        begin, end, complete = span(since, limit, reverse, first=first, top=self.top)
        shift = self._head - first
        found = [each for each in self._publications[begin + shift : end + shift] if each is not None]
        return HistoryPage(found[::-1] if reverse else found, self.top, complete)

    def touch(self, now: float, options: LogOptions) -> None:
        """Note that it is in use."""
        self._used = now
        self.options = options

    def expire(self, now: float) -> None:
        """Remove the publications whose time is over."""
        if len(self) and self._deadlines[self._head] <= now:
            self._drop(bisect_right(self._deadlines, now, self._head) - self._head)

    def clear(self) -> None:
        """Remove all publications."""
        self._publications.clear()
        del self._deadlines[:]
        self._head = 0

    @property
    def deadline(self) -> float:
        """When its oldest publication expires, or, without any, when the log itself is too old to be kept."""
        if len(self):
            return self._deadlines[self._head]
        return self._used + forgotten_after(self.options, self.top.offset)

    def _drop(self, count: int) -> None:
        if count <= 0:
            return
        head = self._head + count
        if head * 2 >= len(self._publications):
            del self._publications[:head]
            del self._deadlines[:head]
            self._head = 0
        else:
            self._publications[self._head : head] = [None] * count
            self._head = head
