"""Looking whether publications were lost on their way from the engine to this node.

A gap shows with the next publication of the channel. Where none follows, it shows here: the position at
the top of the log is compared with that of the newest publication seen. That is done for channels in which
nothing has come for a while, and for all when the engine is reachable again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from everwire.errors import EngineError

if TYPE_CHECKING:
    from everwire.channels.channel import Channel
    from everwire.channels.engine import Position
    from everwire.channels.node import Node

__all__ = ["Positions"]

AT_ONCE = 32
"""Channels of which the position is being read."""
GRACE = 0.5
"""Seconds that a publication may take from the log to here; some chance is added, so that not all come back
at once who are told of a gap."""
LOOKS = 8
"""Looks for channels to check, in an interval."""
PAUSE = 1.0
"""Seconds until what could not be read is tried again."""


class Positions:
    """Checks the positions of a node's channels.

    Parameters:
        hub: the node.
    """

    def __init__(self, hub: Node) -> None:
        self._hub = hub
        self._watching: asyncio.Task[None] | None = None
        self._all: asyncio.Task[None] | None = None
        self._again = False
        self._closed = False
        self._available = True

    def start(self, *, watch: bool) -> None:
        """Begin; *watch*: look for channels in which nothing comes."""
        self._closed = False
        if watch and self._hub.options.position_check_interval:
            self._watching = self._hub.loop.create_task(self._watch())

    async def close(self) -> None:
        """End."""
        self._closed = True
        tasks = {task for task in (self._watching, self._all) if task is not None}
        self._watching = self._all = None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def available(self, available: bool) -> None:
        """The engine is reachable again, or no longer: all channels are checked when it is."""
        self._available = self._again = available
        if available and self._all is None and not self._closed:
            self._all = self._hub.loop.create_task(self._check_all())

    async def check(self, *, grace: float = GRACE) -> None:
        """Check all channels; what is missing *grace* seconds later, at least, is lost.

        What cannot be read is tried again, as long as the engine is taken to be there.
        """
        left = self._hub.positioned_channels()
        while left and self._available:
            left = await self._check_many(left, grace)
            if left:
                await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))

    async def _check_all(self) -> None:
        try:
            while self._again:
                self._again = False
                await self.check()
        finally:
            self._all = None

    async def _watch(self) -> None:
        interval = self._hub.options.position_check_interval
        while True:
            await asyncio.sleep(interval / LOOKS * random.uniform(0.8, 1.2))
            if not self._available:
                continue
            now = self._hub.loop.time()
            due = [each for each in self._hub.positioned_channels() if _is_due(each, now, interval)]
            await self._check_many(due, GRACE)

    async def _check_many(self, channels: Sequence[Channel], grace: float) -> list[Channel]:
        """Check channels, some at a time; return those that could not be."""
        failed: list[Channel] = []
        waiting = iter(channels)

        async def work() -> None:
            for channel in waiting:
                await self._check_one(channel, grace, failed)

        await asyncio.gather(*(work() for _ in range(min(AT_ONCE, len(channels)))))
        if failed:
            self._hub.logger.warning("the positions of %d channels could not be read", len(failed))
        return failed

    async def _check_one(self, channel: Channel, grace: float, failed: list[Channel]) -> None:
        if not channel.followed or channel.position is None:
            return
        try:
            self._hub.counts.engine_reads += 1
            page = await self._hub.engine.history(channel.name, log=channel.rule.log, limit=0)
        except EngineError as error:
            self._hub.logger.debug("the position of %r could not be read: %s", channel.name, error)
            failed.append(channel)
            return
        except Exception:
            self._hub.logger.exception("the position of %r could not be read", channel.name)
            return
        if not grace:
            self._settle(channel, page.top)
        elif not _is_there(channel, page.top):
            # What is in the log may be on its way.
            self._hub.loop.call_later(grace * random.uniform(1, 2), self._settle, channel, page.top)

    def _settle(self, channel: Channel, top: Position) -> None:
        if self._closed or not channel.followed or channel.position is None or _is_there(channel, top):
            return
        self._hub.logger.warning("publications of %r were lost on their way from the engine", channel.name)
        channel.position = top
        channel.lost()


def _is_due(channel: Channel, now: float, interval: float) -> bool:
    """Whether nothing has come in a channel since it was looked at or checked an interval ago."""
    position, since = channel.idle
    if position != channel.position:
        channel.idle = channel.position, now
        return False
    if now - since < interval:
        return False
    channel.idle = position, now
    return True


def _is_there(channel: Channel, top: Position) -> bool:
    """Whether the newest publication seen is that at the top, or one after it."""
    seen = channel.position
    return seen is not None and seen.epoch == top.epoch and seen.offset >= top.offset
