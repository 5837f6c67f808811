"""The SQLite engine, as the event loop sees it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Literal, cast

from everwire.channels.engine import EngineEvents, HistoryPage, LogOptions, Position, PublishOutcome
from everwire.engines.deadlines import Clock
from everwire.engines.local import LocalEngine, check_expected, copy_publication, has_log
from everwire.engines.log import forgotten_after
from everwire.engines.sqlite import schema
from everwire.engines.sqlite.reader import Channels, Found, Query, Read, Reader
from everwire.engines.sqlite.store import Create, Publish, Remove, Store, Sweep, Write
from everwire.engines.sqlite.worker import Worker
from everwire.errors import ConfigError, EngineError
from everwire.wire.messages import Publication

__all__ = ["SqliteEngine"]

SWEEP = 30.0
"""Seconds between two searches for what has expired, while there is anything that can."""

LARGEST = 2**63 - 1
"""What SQLite takes for a number."""


class SqliteEngine(LocalEngine):
    """Keeps logs and idempotency keys in an SQLite database, which belongs to one process at a time.

    A publication is acknowledged when it is committed. Those that come at the same time are committed
    together. After a restart, or a crash of the process, all goes on where it was. Presence is kept in memory
    only: clients that come back are present again.

    Args:
        path: of the database; ``-wal``, ``-shm`` and ``-lock`` are beside it while it is in use.
        synchronous: ``"full"``: what was acknowledged survives a power cut too. ``"normal"``: it survives the
            end of the process, but the last ones may be lost in a power cut; all logs have another epoch
            then, so that clients are told. Faster, as no commit waits for the disk.
        max_size: bytes that the database may have (its ``-wal`` not counted); publications beyond raise
            :class:`~everwire.errors.EngineError`. None: what the disk has room for.
        max_waiting: publications and reads that wait for the database at once; more raise it, too.
        max_idempotency_keys: keys kept at once; beyond it, publications with a new one raise it.
        patience: seconds to wait for another program that has locked the database.
        clock: tells the time of day in seconds since 1970.

    Raises:
        ConfigError: an option has no such value.
    """

    name = "sqlite"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["full", "normal"] = "full",
        max_size: int | None = None,
        max_waiting: int = 100_000,
        max_idempotency_keys: int = 1_000_000,
        patience: float = 5.0,
        clock: Clock = time.time,
    ) -> None:
        super().__init__(clock)
        self._path = os.fspath(path)
        if not self._path or self._path.startswith(":"):
            raise ConfigError("the sqlite engine needs the path of a file; for none there is memory:")
        if synchronous not in schema.SYNCHRONOUS:
            raise ConfigError(f"synchronous is full or normal, not {synchronous!r}")
        self._synchronous = synchronous
        self._max_size = max_size
        self._max_waiting = max_waiting
        self._max_keys = max_idempotency_keys
        self._patience = patience
        self._lock: schema.Lock | None = None
        self._writer: Worker[Write] | None = None
        self._reader: Worker[Query] | None = None
        self._connections: list[sqlite3.Connection] = []
        self._sweep_at = math.inf
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, events: EngineEvents, *, node: str) -> None:
        """Open the database, or make it.

        Raises:
            EngineError: that is not possible, or another process has it.
        """
        await super().start(events, node=node)
        try:
            store, reader = await asyncio.to_thread(self._open)
        except BaseException as error:
            self._release()
            await super().close()
            if isinstance(error, sqlite3.Error):
                raise schema.explain(error, self._path) from error
            raise
        self._writer = Worker("everwire-sqlite-writer", store.write, limit=self._max_waiting)
        self._reader = Worker("everwire-sqlite-reader", reader.read, limit=self._max_waiting)
        self._sweep_soon()

    async def close(self) -> None:
        """Commit what waits, and close the database."""
        await super().close()
        self._sweep_at = math.inf
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait((self._sweeping,))
        for worker in (self._writer, self._reader):
            if worker is not None:
                await worker.close()
        self._writer = self._reader = None
        await asyncio.to_thread(self._release)

    async def publish(
        self,
        channel: str,
        publication: Publication,
        *,
        log: LogOptions,
        idempotency_key: str = "",
        idempotency_ttl: float = 300.0,
        version: int = 0,
        version_epoch: str = "",
        expected: Position | None = None,
        delta: bool = False,
    ) -> PublishOutcome:
        """Append a publication to the channel's log, if it has one, and tell the node if it follows it."""
        events = self._started
        if version > LARGEST:
            raise EngineError(f"a version is at most {LARGEST}, not {version}")
        publication = copy_publication(publication, offset=0, time=self._clock())
        if not has_log(log):
            check_expected(channel, expected, Position(0, ""))
        if not has_log(log) and not idempotency_key:
            if channel in self._followed:
                events.on_publication(channel, publication, Position(0, ""), 0, delta)
            return PublishOutcome(Position(0, ""))

        def tell(job: Publish) -> None:
            if self._events is not None and channel in self._followed:
                self._events.on_publication(channel, publication, job.result.position, job.previous, delta)

        self._sweep_soon()
        key, versions = (idempotency_key, idempotency_ttl), (version, version_epoch)
        return cast(
            PublishOutcome,
            await self._write(Publish(channel, publication, log, key, versions, expected, tell)),
        )

    async def history(
        self,
        channel: str,
        *,
        log: LogOptions,
        since: Position | None = None,
        limit: int = -1,
        reverse: bool = False,
    ) -> HistoryPage:
        """Read the log of a channel; give it one if it has none."""
        found = cast(Found | None, await self._read(Read(channel, since, limit, reverse)))
        if found is None or (found.over and channel not in self._followed):
            self._sweep_soon()
            await self._write(Create(channel, log))
            found = cast(Found | None, await self._read(Read(channel, since, limit, reverse)))
            if found is None:
                raise EngineError(f"the log of {channel} ended before it was read: its meta_ttl is too short")
        elif found.forget < self._clock() + forgotten_after(log, found.page.top.offset) / 2:
            # Noted seldom, and not needed for the answer: it may be that the disk is full.
            with contextlib.suppress(EngineError):
                await self._write(Create(channel, log))
        return found.page

    async def remove_history(self, channel: str, *, log: LogOptions) -> None:
        """Empty the log; its epoch and top offset stay."""
        await self._write(Remove(channel))

    async def channels(self) -> Sequence[str]:
        """The channels that have a log, a follower or presence."""
        names = cast(list[str], await self._read(Channels()))
        return sorted({*names, *self._followed, *self._leases.channels})

    def _open(self) -> tuple[Store, Reader]:
        """Open both connections; in a thread, as a disk may be slow."""
        self._lock = schema.Lock(self._path)
        writing = schema.connect(self._path, patience=self._patience)
        self._connections.append(writing)
        schema.prepare(writing, self._path, synchronous=self._synchronous, max_size=self._max_size)
        reading = schema.connect(self._path, patience=self._patience, read_only=True)
        self._connections.append(reading)
        store = Store(
            writing,
            self._path,
            clock=self._clock,
            is_followed=self._followed.__contains__,
            max_keys=self._max_keys,
        )
        return store, Reader(reading, self._path, clock=self._clock)

    def _release(self) -> None:
        # The reader's first, so that the writer's, the last one, moves all into the database.
        if len(self._connections) == 2:
            schema.note_closed(self._connections[0])
        while self._connections:
            self._connections.pop().close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _write(self, job: Write) -> asyncio.Future[Any]:
        _ = self._started
        if self._writer is None:
            raise EngineError(f"the {self.name} engine is not started, or is closed")
        return self._writer.submit(job)

    def _read(self, job: Query) -> asyncio.Future[Any]:
        _ = self._started
        if self._reader is None:
            raise EngineError(f"the {self.name} engine is not started, or is closed")
        return self._reader.submit(job)

    # What has expired

    def _sweep_soon(self) -> None:
        if self._sweep_at == math.inf:
            self._sweep_at = self._clock() + SWEEP
            self._sweeper.watch(self._sweep_at)

    def _sweep(self, now: float) -> float | None:
        leases = super()._sweep(now)
        if self._sweep_at <= now:
            self._sweep_at = math.inf
            if self._sweeping is None or self._sweeping.done():
                self._sweeping = asyncio.get_running_loop().create_task(self._sweep_database())
        return min(
            (each for each in (leases, self._sweep_at) if each is not None and each < math.inf), default=None
        )

    async def _sweep_database(self) -> None:
        following: int | None = 0
        empty = False
        try:
            while following is not None:
                following, empty = await self._write(Sweep(following))
        except EngineError:
            empty = False  # another time
        if not empty and self._events is not None:
            self._sweep_soon()
