"""What the writer's thread does with the database, a batch of jobs to a transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Generator, Sequence
from typing import Any

from everwire.channels.engine import LogOptions, Position, PublishOutcome
from everwire.engines.deadlines import Clock
from everwire.engines.extra import encode
from everwire.engines.local import check_expected, has_log, new_epoch
from everwire.engines.log import forgotten_after, is_stale
from everwire.engines.sqlite.schema import explain
from everwire.engines.sqlite.worker import Job
from everwire.errors import EngineError
from everwire.wire.messages import Publication

__all__ = ["Create", "Publish", "Remove", "Store", "Sweep", "Write"]

KNOWN = 10_000
"""Logs whose state the writer keeps at hand."""

SLICE = 500
"""Logs, and keys, that are swept in one transaction."""

SLACK = 1.0
"""Seconds that what has expired may stay in the file, so that not each publication has to look for it."""

PAUSE = 1.0
"""Seconds between two searches for room on a full disk."""


Row = tuple[int, int, float, int, bytes, bytes | None]
"""A publication in its table."""


class State:
    """A log as the writer knows it.

    Attributes:
        first: the offset of the oldest publication that is kept.
        oldest: it expires then, or later.
        stored: the offset of the newest that is in the database.
        size: how many may be kept.
    """

    __slots__ = (
        "dirty",
        "epoch",
        "expires",
        "first",
        "forget",
        "id",
        "oldest",
        "size",
        "stored",
        "top",
        "version",
        "version_epoch",
    )

    def __init__(
        self, id: int, epoch: str, top: int, version: int, version_epoch: str, expires: float, forget: float
    ) -> None:
        self.id = id
        self.epoch = epoch
        self.top = top
        self.version = version
        self.version_epoch = version_epoch
        self.expires = expires
        self.forget = forget
        self.first = 0
        self.stored = top
        self.oldest = 0.0
        self.size = 0
        self.dirty = False

    @property
    def position(self) -> Position:
        """Of the newest publication."""
        return Position(self.top, self.epoch)


class Store:
    """The writing connection. All is called in the writer's thread."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: str,
        *,
        clock: Clock,
        is_followed: Callable[[str], bool],
        max_keys: int,
    ) -> None:
        self.connection = connection
        self._path = path
        self._clock = clock
        self._is_followed = is_followed
        self._max_keys = max_keys
        self._states: dict[str, State] = {}
        self._dirty: list[State] = []
        self._rows: list[tuple[State, Row]] = []
        self._made_room = 0.0
        self._now = 0.0
        self._epoch: str = connection.execute("SELECT epoch FROM engine").fetchone()[0]
        self._keys: int = connection.execute("SELECT count(*) FROM keys").fetchone()[0]

    def write(self, jobs: Sequence[Write], *, again: bool = True) -> None:
        """Do jobs in one transaction; if it fails because of one of them, the others are done without it."""
        try:
            with self._transaction():
                for job in jobs:
                    try:
                        job.result = job.apply(self, self._now)
                    except EngineError as error:  # raised before anything was changed
                        job.error = error
        except (sqlite3.Error, ValueError, OverflowError) as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            full = code == sqlite3.SQLITE_FULL
            if again and (full or code == sqlite3.SQLITE_TOOBIG or not isinstance(error, sqlite3.Error)):
                if full:
                    self._make_room()
                for job in jobs:
                    job.result = job.error = None
                    self.write((job,), again=False)
            else:
                for job in jobs:
                    job.result, job.error = None, explain(error, self._path)

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        """Commit what the block does, or nothing of it."""
        if len(self._states) > KNOWN:
            self._states.clear()
        self._now = self._clock()
        before = self._epoch, self._keys
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.flush()
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            # What was not committed is forgotten, and all that could depend on it.
            self._states.clear()
            self._dirty.clear()
            self._rows.clear()
            self._epoch, self._keys = before
            raise

    def _make_room(self) -> None:
        """Have the file of what was written last be used anew, and remove what has expired; seldom."""
        if self._now < self._made_room + PAUSE:
            return
        self._made_room = self._now
        following: int | None = 0
        with contextlib.suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        with contextlib.suppress(sqlite3.Error):
            while following is not None:
                with self._transaction():
                    following = self.sweep(following)

    def flush(self) -> None:
        """Write what was gathered in this transaction; what it replaces is removed before."""
        execute = self.connection.execute
        for state in self._dirty:
            state.dirty = False
            execute(
                "UPDATE logs SET top = ?, version = ?, version_epoch = ?, expires = ?, forget = ? "
                "WHERE id = ?",
                (state.top, state.version, state.version_epoch, state.expires, state.forget, state.id),
            )
            first = max(state.first, state.top + 1 - state.size)
            if state.oldest + SLACK <= self._now:
                first = max(first, self._oldest(state))
            if first > state.first:
                execute("DELETE FROM publications WHERE log = ? AND offset < ?", (state.id, first))
                state.first = first
            state.stored = state.top
        self._dirty.clear()
        if self._rows:
            self.connection.executemany(
                "INSERT INTO publications VALUES (?, ?, ?, ?, ?, ?)",
                (row for state, row in self._rows if row[1] >= state.first),
            )
            self._rows.clear()

    def _oldest(self, state: State) -> int:
        """Look for the oldest publication that has not expired."""
        found = self.connection.execute(
            "SELECT offset, expires FROM publications WHERE log = ? AND expires > ? ORDER BY offset LIMIT 1",
            (state.id, self._now),
        ).fetchone()
        first, state.oldest = found if found is not None else (state.stored + 1, self._now)
        return int(first)

    def find(self, channel: str) -> State | None:
        """The log of a channel; None if it has none, or none that has to be kept."""
        state = self._states.get(channel)
        if state is None:
            row = self.connection.execute(
                "SELECT id, epoch, top, version, version_epoch, expires, forget FROM logs WHERE channel = ?",
                (channel,),
            ).fetchone()
            if row is None:
                return None
            state = self._states[channel] = State(*row)
        if state.forget <= self._now and state.expires <= self._now and not self._is_followed(channel):
            self.flush()
            self.forget(channel, state.id, state.top)
            return None
        return state

    def log(self, channel: str, options: LogOptions) -> State:
        """The log of a channel; a new one if there is none."""
        state = self.find(channel)
        if state is None:
            forget = self._now + forgotten_after(options, 0)
            cursor = self.connection.execute(
                "INSERT INTO logs (channel, epoch, top, version, version_epoch, expires, forget) "
                "VALUES (?, ?, 0, 0, '', 0, ?)",
                (channel, self._epoch, forget),
            )
            assert cursor.lastrowid is not None
            state = self._states[channel] = State(cursor.lastrowid, self._epoch, 0, 0, "", 0.0, forget)
        return state

    def change(self, state: State) -> None:
        """Note that a log is to be written."""
        if not state.dirty:
            state.dirty = True
            self._dirty.append(state)

    def append(self, state: State, publication: Publication, options: LogOptions) -> Position:
        """Add a publication to a log."""
        state.top += 1
        state.expires = max(state.expires, self._now + options.ttl)
        state.size = options.size
        self.touch(state, options)
        publication.offset = state.top
        row = (
            state.id,
            state.top,
            state.expires,
            publication.time,
            bytes(publication.data),
            encode(publication),
        )
        self._rows.append((state, row))
        return state.position

    def touch(self, state: State, options: LogOptions) -> None:
        """Note that a log is in use."""
        state.forget = self._now + forgotten_after(options, state.top)
        state.size = options.size
        self.change(state)

    def forget(self, channel: str, log: int, top: int) -> None:
        """Remove a log. Logs share their epoch until one is removed, and with it how far it had come."""
        execute = self.connection.execute
        self._states.pop(channel, None)
        execute("DELETE FROM publications WHERE log = ?", (log,))
        execute("DELETE FROM logs WHERE id = ?", (log,))
        if top:
            self._epoch = new_epoch()
            execute("UPDATE engine SET epoch = ?", (self._epoch,))

    def key(self, channel: str, key: str) -> Position | None:
        """The position of what was published with an idempotency key."""
        found = self.connection.execute(
            "SELECT offset, epoch, expires FROM keys WHERE channel = ? AND key = ?", (channel, key)
        ).fetchone()
        if found is not None and found[2] > self._now:
            return Position(found[0], found[1])
        if found is None and self._keys >= self._max_keys:
            raise EngineError(
                f"{self._max_keys} idempotency keys are kept already: make idempotency_ttl shorter, or "
                f"max_idempotency_keys larger"
            )
        return None

    def keep_key(self, channel: str, key: str, position: Position, ttl: float) -> None:
        """Keep an idempotency key."""
        self.connection.execute(
            "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?)", (channel, key, *position, self._now + ttl)
        )
        self._keys += 1

    def remove(self, channel: str) -> None:
        """Remove the publications of a channel."""
        state = self.find(channel)
        if state is not None:
            self.flush()
            self.connection.execute("DELETE FROM publications WHERE log = ?", (state.id,))
            state.first, state.expires = state.top + 1, 0.0
            self.change(state)

    def sweep(self, after: int) -> int | None:
        """Remove what has expired, of some logs and keys; return where to go on, None at the end."""
        execute, now = self.connection.execute, self._now
        self.flush()
        rows = execute(
            "SELECT id, channel, top, expires, forget FROM logs WHERE id > ? ORDER BY id LIMIT ?",
            (after, SLICE),
        ).fetchall()
        for log, channel, top, expires, forget in rows:
            if expires <= now:
                if forget <= now and not self._is_followed(channel):
                    self.forget(channel, log, top)
                else:
                    execute("DELETE FROM publications WHERE log = ?", (log,))
        removed = execute(
            "DELETE FROM keys WHERE (channel, key) IN "
            "(SELECT channel, key FROM keys WHERE expires <= ? LIMIT ?)",
            (now, SLICE),
        ).rowcount
        if removed:
            (self._keys,) = execute("SELECT count(*) FROM keys").fetchone()
        if len(rows) == SLICE:
            return int(rows[-1][0])
        return after if removed == SLICE else None

    def is_empty(self) -> bool:
        """Whether there is nothing that could expire."""
        return not self._keys and self.connection.execute("SELECT 1 FROM logs LIMIT 1").fetchone() is None


class Write(Job):
    """A job of the writer."""

    __slots__ = ()

    def apply(self, store: Store, now: float) -> Any:
        """Do it, in a transaction. An :class:`EngineError` is raised before anything is changed."""
        raise NotImplementedError


class Publish(Write):
    """Append a publication; *tell* is called with it and its outcome in the event loop."""

    __slots__ = (
        "channel",
        "expected",
        "key",
        "key_ttl",
        "log",
        "previous",
        "publication",
        "tell",
        "version",
        "version_epoch",
    )

    def __init__(
        self,
        channel: str,
        publication: Publication,
        log: LogOptions,
        key: tuple[str, float],
        version: tuple[int, str],
        expected: Position | None,
        tell: Callable[[Publish], None],
    ) -> None:
        super().__init__()
        self.channel = channel
        self.publication = publication
        self.log = log
        self.key, self.key_ttl = key
        self.version, self.version_epoch = version
        self.expected = expected
        self.tell = tell
        self.previous = 0

    def apply(self, store: Store, now: float) -> PublishOutcome:
        """Append it, unless it is there already, or a newer one."""
        if self.key:
            found = store.key(self.channel, self.key)
            if found is not None:
                return PublishOutcome(found, duplicate=True)
        position = Position(0, "")
        if has_log(self.log):
            state = store.log(self.channel, self.log)
            self.previous = state.top
            if self.version > 0 and is_stale(
                self.version, self.version_epoch, last=state.version, last_epoch=state.version_epoch
            ):
                return PublishOutcome(state.position, stale=True)
            check_expected(self.channel, self.expected, state.position)
            if self.version > 0:
                state.version, state.version_epoch = self.version, self.version_epoch
            position = store.append(state, self.publication, self.log)
        if self.key:
            store.keep_key(self.channel, self.key, position, self.key_ttl)
        return PublishOutcome(position)

    def on_done(self) -> None:
        """Tell who follows the channel."""
        if self.error is None and not self.result.duplicate and not self.result.stale:
            self.tell(self)


class Create(Write):
    """Give a channel a log, or note that its log is in use."""

    __slots__ = ("channel", "log")

    def __init__(self, channel: str, log: LogOptions) -> None:
        super().__init__()
        self.channel = channel
        self.log = log

    def apply(self, store: Store, now: float) -> None:
        """Do so."""
        state = store.log(self.channel, self.log)
        store.touch(state, self.log)


class Remove(Write):
    """Remove the publications of a channel."""

    __slots__ = ("channel",)

    def __init__(self, channel: str) -> None:
        super().__init__()
        self.channel = channel

    def apply(self, store: Store, now: float) -> None:
        """Do so."""
        store.remove(self.channel)


class Sweep(Write):
    """Remove what has expired after a log; the result is where to go on, and whether all is empty."""

    __slots__ = ("after",)

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def apply(self, store: Store, now: float) -> tuple[int | None, bool]:
        """Do so."""
        following = store.sweep(self.after)
        return following, following is None and store.is_empty()
