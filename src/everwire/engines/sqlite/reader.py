"""What the reader's thread does with the database: it reads logs while the writer writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from everwire.channels.engine import HistoryPage, Position
from everwire.engines.deadlines import Clock
from everwire.engines.extra import decode
from everwire.engines.log import span
from everwire.engines.sqlite.schema import explain
from everwire.engines.sqlite.worker import Job

__all__ = ["Channels", "Found", "Read", "Reader"]


@dataclass(frozen=True, slots=True)
class Found:
    """What was read, when the log may be forgotten, and whether that time is over."""

    page: HistoryPage
    forget: float
    over: bool


class Query(Job):
    """A job of the reader."""

    __slots__ = ()

    def apply(self, connection: sqlite3.Connection, now: float) -> object:
        """Do it, in a transaction."""
        raise NotImplementedError


class Read(Query):
    """Read the log of a channel; the result is None if there is none."""

    __slots__ = ("channel", "limit", "reverse", "since")

    def __init__(self, channel: str, since: Position | None, limit: int, reverse: bool) -> None:
        super().__init__()
        self.channel = channel
        self.since = since
        self.limit = limit
        self.reverse = reverse

    def apply(self, connection: sqlite3.Connection, now: float) -> Found | None:
        """Do so."""
        execute = connection.execute
        row = execute("SELECT id, epoch, top, forget FROM logs WHERE channel = ?", (self.channel,)).fetchone()
        if row is None:
            return None
        log, epoch, offset, forget = row
        top = Position(offset, epoch)
        oldest = execute(
            "SELECT offset FROM publications WHERE log = ? AND expires > ? ORDER BY offset LIMIT 1",
            (log, now),
        ).fetchone()
        first = oldest[0] if oldest is not None else offset + 1
        begin, end, complete = span(self.since, self.limit, self.reverse, first=first, top=top)
        rows: list[tuple[int, int, bytes, bytes | None]] = []
        if begin < end:
            rows = execute(
                "SELECT offset, time, data, extra FROM publications "
                "WHERE log = ? AND offset >= ? AND offset < ? "
                f"ORDER BY offset {'DESC' if self.reverse else 'ASC'}",
                (log, begin, end),
            ).fetchall()
        page = HistoryPage([decode(*each) for each in rows], top, complete)
        return Found(page, forget, over=oldest is None and forget <= now)


class Channels(Query):
    """The channels that have a log."""

    __slots__ = ()

    def apply(self, connection: sqlite3.Connection, now: float) -> list[str]:
        """List them."""
        return [name for (name,) in connection.execute("SELECT channel FROM logs")]


class Reader:
    """The reading connection. All is called in the reader's thread."""

    def __init__(self, connection: sqlite3.Connection, path: str, *, clock: Clock) -> None:
        self.connection = connection
        self._path = path
        self._clock = clock

    def read(self, jobs: Sequence[Query]) -> None:
        """Do jobs in one transaction: all see the same state, which has what was committed before."""
        now = self._clock()
        try:
            self.connection.execute("BEGIN")
            try:
                for job in jobs:
                    job.result = job.apply(self.connection, now)
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
        except (sqlite3.Error, ValueError, OverflowError) as error:
            if len(jobs) > 1 and not isinstance(error, sqlite3.Error):
                for job in jobs:
                    self.read((job,))
            else:
                for job in jobs:
                    job.result, job.error = None, explain(error, self._path)
