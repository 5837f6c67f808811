"""Logs in the memory of the process: the engine that is there without anything to set up."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from everwire.channels.engine import HistoryPage, LogOptions, Position, PublishOutcome
from everwire.engines.deadlines import Clock, Deadlines
from everwire.engines.local import Keys, LocalEngine, check_expected, copy_publication, has_log, new_epoch
from everwire.engines.log import IDLE, MemoryLog, is_stale
from everwire.errors import EngineError
from everwire.wire.messages import Publication

__all__ = ["MemoryEngine"]


class MemoryEngine(LocalEngine):
    """Keeps logs, idempotency keys and presence in this process, and only while it runs.

    After a restart all logs have another epoch: clients that come back are told that they were not recovered.

    Args:
        max_logs: logs kept at once; beyond it, what would need another one raises
            :class:`~everwire.errors.EngineError`.
        max_idempotency_keys: keys kept at once; beyond it, publications with a new one raise it.
        clock: tells the seconds by which things expire; it must not go back. Publications are stamped with
            the time of day.
    """

    name = "memory"

    def __init__(
        self,
        *,
        max_logs: int = 1_000_000,
        max_idempotency_keys: int = 1_000_000,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(clock)
        self._max_logs = max_logs
        self._logs: dict[str, MemoryLog] = {}
        self._deadlines: Deadlines[str] = Deadlines()
        self._keys = Keys(max_idempotency_keys)
        # Logs share their epoch as long as none of them was forgotten, and with it how far it had come.
        self._epoch = new_epoch()

    async def close(self) -> None:
        """End, and forget all."""
        await super().close()
        self._logs.clear()
        self._deadlines.clear()
        self._keys.clear()
        self._epoch = new_epoch()

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
        now = self._clock()
        if idempotency_key:
            found = self._keys.find(channel, idempotency_key, now)
            if found is not None:
                return PublishOutcome(found, duplicate=True)
        if has_log(log):
            kept = self._log(channel, log, now)
            previous = kept.top.offset
            last = kept.version, kept.version_epoch
            if version > 0 and is_stale(version, version_epoch, last=last[0], last_epoch=last[1]):
                return PublishOutcome(kept.top, stale=True)
            check_expected(channel, expected, kept.top)
            if version > 0:
                kept.version, kept.version_epoch = version, version_epoch
            publication = copy_publication(publication, offset=previous + 1, time=time.time())
            kept.append(publication, now, log)
            position = kept.top
            if len(kept) == 1:
                self._schedule(channel, kept, now)
        else:
            previous, position = 0, Position(0, "")
            check_expected(channel, expected, position)
            publication = copy_publication(publication, offset=0, time=time.time())
        if idempotency_key:
            deadline = now + idempotency_ttl
            self._keys.add(channel, idempotency_key, position, deadline)
            self._sweeper.watch(deadline)
        if channel in self._followed:
            events.on_publication(channel, publication, position, previous, delta)
        return PublishOutcome(position)

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
        _ = self._started
        now = self._clock()
        kept = self._log(channel, log, now)
        kept.touch(now, log)
        return kept.read(since, limit, reverse)

    async def remove_history(self, channel: str, *, log: LogOptions) -> None:
        """Empty the log; its epoch and top offset stay."""
        _ = self._started
        kept = self._logs.get(channel)
        if kept is not None:
            kept.clear()

    async def channels(self) -> Sequence[str]:
        """The channels that have a log, a follower or presence."""
        _ = self._started
        return sorted(self._logs.keys() | self._followed | self._leases.channels)

    def _log(self, channel: str, options: LogOptions, now: float) -> MemoryLog:
        """The log of a channel, without what has expired; a new one if there is none."""
        kept = self._logs.get(channel)
        if kept is not None:
            kept.expire(now)
            if not self._is_over(channel, kept, now):
                return kept
            self._forget(channel, kept)
        if len(self._logs) >= self._max_logs:
            raise EngineError(f"{self._max_logs} channels have a log already: make max_logs larger")
        kept = self._logs[channel] = MemoryLog(self._epoch, now, options)
        self._schedule(channel, kept, now)
        return kept

    def _schedule(self, channel: str, kept: MemoryLog, now: float) -> None:
        deadline = kept.deadline
        if deadline <= now:
            deadline = now + IDLE  # it is kept only since it is followed: look again later
        if deadline < math.inf:
            self._deadlines.set(channel, deadline)
            self._sweeper.watch(deadline)

    def _is_over(self, channel: str, kept: MemoryLog, now: float) -> bool:
        return kept.deadline <= now and not len(kept) and channel not in self._followed

    def _forget(self, channel: str, kept: MemoryLog) -> None:
        del self._logs[channel]
        self._deadlines.discard(channel)
        if kept.top.offset:
            self._epoch = new_epoch()

    def _sweep(self, now: float) -> float | None:
        for channel in self._deadlines.pop(now):
            kept = self._logs[channel]
            kept.expire(now)
            if self._is_over(channel, kept, now):
                self._forget(channel, kept)
            else:
                self._schedule(channel, kept, now)
        times = (super()._sweep(now), self._keys.expire(now), self._deadlines.next)
        return min((each for each in times if each is not None), default=None)
