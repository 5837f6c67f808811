"""Reading logs for many at once: who wants to read the same log in the same moment shares a read.

When thousands of clients come back, each asks for what it has missed of the same few channels. A read begins
after all for whom it is have asked, so it shows each of them the log as its own read would. Those who ask
while one is under way wait for the next.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Coroutine
from operator import attrgetter
from typing import Any, NamedTuple

from everwire.channels.counts import Counts
from everwire.channels.engine import Engine, HistoryPage, LogOptions, Position

__all__ = ["Reader"]

Waiter = asyncio.Future[HistoryPage]

_offset_of = attrgetter("offset")


class Want(NamedTuple):
    """What is wanted of a log: the arguments of :meth:`Engine.history`."""

    since: Position | None
    limit: int
    reverse: bool

    @property
    def begin(self) -> int:
        """The offset after which it begins."""
        return 0 if self.since is None else self.since.offset


class Batch:
    """Who wants to read a log, by what they want."""

    __slots__ = ("log", "waiters")

    def __init__(self, log: LogOptions) -> None:
        self.log = log
        self.waiters: dict[Want, list[Waiter]] = {}

    def answer(self, want: Want, outcome: HistoryPage | Exception) -> None:
        """Tell those who want this."""
        for waiter in self.waiters.pop(want, ()):
            if waiter.done():
                continue
            if isinstance(outcome, Exception):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome)

    def cancel(self) -> None:
        """Nobody reads for them any more."""
        for waiters in self.waiters.values():
            for waiter in waiters:
                waiter.cancel()


class Reader:
    """Reads logs, for all who want to read one in the same moment at once.

    Parameters:
        engine: where they are.
        counts: where reads are counted.
        spawn: runs something in the background.
    """

    def __init__(
        self, engine: Engine, counts: Counts, spawn: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._engine = engine
        self._counts = counts
        self._spawn = spawn
        self._batches: dict[str, Batch | None] = {}

    async def read(
        self,
        channel: str,
        log: LogOptions,
        *,
        since: Position | None = None,
        limit: int = -1,
        reverse: bool = False,
    ) -> HistoryPage:
        """Read as :meth:`Engine.history` does. What it returns may be others' as well: do not change it.

        With a limit of 0 it tells the top only, not whether a read from *since* on would be complete.

        Raises:
            EngineError: it could not be read.
        """
        waiter: Waiter = asyncio.get_running_loop().create_future()
        under_way = channel in self._batches
        batch = self._batches.get(channel)
        if batch is None:
            batch = self._batches[channel] = Batch(log)
        batch.waiters.setdefault(Want(since, limit, reverse), []).append(waiter)
        if not under_way:
            self._spawn(self._serve(channel))
        return await waiter

    async def _serve(self, channel: str) -> None:
        """Read for one batch after the other, until nobody wants to."""
        batch = None
        try:
            while (batch := self._batches[channel]) is not None:
                self._batches[channel] = None
                await self._read_for(channel, batch)
        finally:
            for left in (batch, self._batches.pop(channel)):
                if left is not None:
                    left.cancel()

    async def _read_for(self, channel: str, batch: Batch) -> None:
        tops: list[Want] = []
        groups: dict[object, list[Want]] = {}
        for want in batch.waiters:
            if not want.limit:
                tops.append(want)
            elif want.since is None or want.reverse:
                groups[want] = [want]
            else:
                groups.setdefault((want.since.epoch, want.limit), []).append(want)
        if not groups and tops:
            first = tops.pop()
            groups[first] = [first]
        works = [self._read_together(channel, batch, wants) for wants in groups.values()]
        outcomes = await asyncio.gather(*works)
        for want in tops:
            # Where the top is, each of the reads tells.
            told = outcomes[0]
            batch.answer(want, told if isinstance(told, Exception) else HistoryPage([], told.top))

    async def _read_together(self, channel: str, batch: Batch, wants: list[Want]) -> HistoryPage | Exception:
        """Read from the earliest of their positions on, for all; again for whom that was not enough."""
        outcome: HistoryPage | Exception = HistoryPage([], Position(0, ""))
        while wants:
            first = min(wants, key=lambda want: want.begin)
            # Who has missed less than the first needs as much from later on.
            limit = 2 * first.limit if len(wants) > 1 else first.limit
            outcome = await self._read(channel, batch.log, Want(first.since, limit, first.reverse))
            later: list[Want] = []
            apart: list[Want] = []
            for want in wants:
                if isinstance(outcome, Exception) or len(wants) == 1:
                    batch.answer(want, outcome)
                    continue
                found = _part_of(outcome, want, first, limit)
                if found is not None:
                    batch.answer(want, found)
                else:
                    (later if outcome.complete else apart).append(want)
            await asyncio.gather(*(self._read_together(channel, batch, [want]) for want in apart))
            wants = later
        return outcome

    async def _read(self, channel: str, log: LogOptions, want: Want) -> HistoryPage | Exception:
        self._counts.engine_reads += 1
        try:
            return await self._engine.history(
                channel, log=log, since=want.since, limit=want.limit, reverse=want.reverse
            )
        except Exception as error:
            return error


def _part_of(page: HistoryPage, want: Want, first: Want, limit: int) -> HistoryPage | None:
    """What a read from a later position on would have given; None: *page*, of so many, does not tell."""
    top, publications = page.top, page.publications
    if want.since is None or want.since.epoch not in ("", top.epoch) or want.begin > top.offset:
        return HistoryPage([], top, False)
    index = bisect_right(publications, want.begin, key=_offset_of)
    part = publications[index:]
    if 0 < want.limit <= len(part):
        part = part[: want.limit]
    elif 0 < limit <= len(publications):
        return None
    if want.begin == first.begin:
        return HistoryPage(part, top, page.complete)
    # The oldest go first: after one that is there, none has gone. Who has one that is not there may have it
    # from before a failover in which it was lost.
    there = want.begin == top.offset or (index > 0 and publications[index - 1].offset == want.begin)
    return HistoryPage(part, top, True) if there else None
