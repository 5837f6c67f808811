"""The log of a channel in memory."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right

from everwire.channels.engine import HistoryPage, LogOptions, Position
from everwire.wire.messages import Publication

__all__ = ["IDLE", "MemoryLog", "is_complete", "is_stale"]

IDLE = 60.0
"""Seconds that a log is kept which nobody follows and to which nothing was ever published."""


def is_complete(since: Position, *, first: int, top: Position, reverse: bool) -> bool:
    """Whether a log that has its publications from *first* on to *top* has all that follows a position.

    With *reverse*: all that is before it. A position without an epoch is one of any log.
    """
    if since.epoch not in ("", top.epoch):
        return False
    if reverse:
        return since.offset <= 1 or first < since.offset <= top.offset + 1
    return first <= since.offset + 1 <= top.offset + 1


def is_stale(version: int, version_epoch: str, *, last: int, last_epoch: str) -> bool:
    """Whether a publication of this version comes too late; without an epoch it is compared with any last."""
    return 0 < version <= last and version_epoch in ("", last_epoch)


class MemoryLog:
    """Publications with consecutive offsets, and when each of them expires.

    Attributes:
        top: the position of the newest.
        version, version_epoch: of the last publication that had a version.
        meta_ttl: seconds that the log is kept after its last use.
    """

    __slots__ = (
        "_deadlines",
        "_head",
        "_publications",
        "_used",
        "meta_ttl",
        "top",
        "version",
        "version_epoch",
    )

    def __init__(self, epoch: str, now: float, meta_ttl: float) -> None:
        self.top = Position(0, epoch)
        self.version = 0
        self.version_epoch = ""
        self.meta_ttl = meta_ttl
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
        self.touch(now, options.meta_ttl)
        self._drop(len(self) - options.size)

    def read(self, since: Position | None, limit: int, reverse: bool) -> HistoryPage:
        """Read what has not expired; :meth:`expire` is called before."""
        first, end = self.first, self.top.offset + 1
        complete = since is None or is_complete(since, first=first, top=self.top, reverse=reverse)
        if since is not None and (complete or since.epoch in ("", self.top.epoch)):
            if reverse:
                end = min(end, max(first, since.offset))
            else:
                first = min(end, max(first, since.offset + 1))
        elif not complete:
            first = end
        if limit >= 0:
            if reverse:
                first = max(first, end - limit)
            else:
                end = min(end, first + limit)
        shift = self._head - self.first
        found = [each for each in self._publications[first + shift : end + shift] if each is not None]
        return HistoryPage(found[::-1] if reverse else found, self.top, complete)

    def touch(self, now: float, meta_ttl: float) -> None:
        """Note that it is in use."""
        self._used = now
        self.meta_ttl = meta_ttl

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
        meta_ttl = self.meta_ttl or math.inf
        return self._used + (meta_ttl if self.top.offset else min(IDLE, meta_ttl))

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
