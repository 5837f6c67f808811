"""Following a channel in this process: a cursor that the application moves."""

from __future__ import annotations

import asyncio
import collections
from typing import TYPE_CHECKING

from everwire.channels.channel import Channel
from everwire.channels.engine import Position
from everwire.errors import Disconnected
from everwire.wire.codes import DisconnectCode
from everwire.wire.messages import Publication

if TYPE_CHECKING:
    from everwire.channels.node import Node

__all__ = ["Following"]

MAX_AHEAD = 1024
"""Publications that wait for the application; with a log, the cursor reads what is beyond from there."""


class Following:
    """The publications of a channel, one after the other: what :meth:`Hub.subscribe` gives.

    An asynchronous iterator and context manager. It begins with the first step, or on entering the context.
    When the application is slower than the channel, what it has not taken is read from the log later; without
    a log, or when the log does not reach back far enough, it ends with :class:`~everwire.errors.Disconnected`
    (3008 or 3010), and nothing is left out before.

    Attributes:
        position: of the last publication taken; pass it to :meth:`Hub.subscribe` to go on from there later.
            None without a log.
    """

    def __init__(self, node: Node, channel: Channel, since: Position | None) -> None:
        self.position = since
        self._node = node
        self._channel: Channel | None = channel
        self._since = since
        self._queue: collections.deque[tuple[Publication, Position]] = collections.deque()
        self._waiter: asyncio.Future[None] | None = None
        self._begun = False
        self._behind = False
        self._ahead = 0
        """The offset up to which the log was read, as long as that much has not come here."""
        self._problem: DisconnectCode | None = None

    async def __aenter__(self) -> Following:
        await self._begin()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> Publication:
        await self._begin()
        while not self._queue:
            if self._problem is not None:
                self.close()
                raise Disconnected(self._problem, self._problem.reason)
            if self._channel is None:
                raise StopAsyncIteration
            if self._behind:
                await self._catch_up()
                continue
            self._waiter = self._node.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        publication, position = self._queue.popleft()
        if position.epoch:
            self.position = position
        return publication

    def close(self) -> None:
        """Follow the channel no longer; who waits for a publication gets none."""
        channel, self._channel = self._channel, None
        if channel is not None:
            if self._begun:
                channel.remove_follower(self)
            self._node.release(channel)
        self._wake()

    async def _begin(self) -> None:
        if self._begun or self._channel is None:
            return
        await self._node.ready()
        self._begun = True
        channel = self._channel
        channel.add_follower(self)
        try:
            await self._node.follow(channel)
            log = channel.rule.log
            if log.size:
                if self._since is not None:
                    await self._catch_up()
                else:
                    page = await self._node.engine.history(channel.name, log=log, limit=0)
                    self._seen(channel, page.top)
                    self.position = page.top
                    self._drop_until(page.top.offset)
                    self._look_ahead(page.top.offset)
        except BaseException:
            self.close()
            raise

    async def _catch_up(self) -> None:
        """Read from the log what is missing between the cursor and what has come since."""
        channel = self._channel
        assert channel is not None
        self._behind = False
        self._queue.clear()
        log = channel.rule.log
        page = await self._node.engine.history(channel.name, log=log, since=self.position, limit=MAX_AHEAD)
        if not page.complete:
            self._problem = DisconnectCode.INSUFFICIENT_STATE
            return
        self._seen(channel, page.top)
        read = [(each, Position(each.offset, page.top.epoch)) for each in page.publications]
        newest = read[-1][1].offset if read else page.top.offset
        self._behind = self._behind or newest < page.top.offset
        if self._behind:
            self._queue.clear()
        self._drop_until(newest)
        self._look_ahead(newest)
        self._queue.extendleft(reversed(read))

    def _seen(self, channel: Channel, top: Position) -> None:
        if self._channel is not None:
            channel.seen(top)  # else it was closed meanwhile, and the channel may be followed anew

    def _drop_until(self, offset: int) -> None:
        while self._queue and self._queue[0][1].offset <= offset:
            self._queue.popleft()

    def _look_ahead(self, read: int) -> None:
        """Remember how far the log was read if what follows is still to come."""
        position = self._channel.position if self._channel is not None else None
        came = self._queue[-1][1].offset if self._queue else 0
        if position is not None:
            came = max(came, position.offset)
        self._ahead = read if came < read else 0

    # What the channel tells

    def push(self, publication: Publication, position: Position, previous: int) -> None:
        """There is a publication, after the one at *previous*."""
        if self._behind or self._problem is not None:
            return
        if self._ahead and position.epoch:
            if position.offset <= self._ahead:
                self._ahead = 0 if position.offset == self._ahead else self._ahead
                return
            ahead, self._ahead = self._ahead, 0
            if previous != ahead:
                # A failover of the engine has lost what was read.
                self.lost()
                return
        if len(self._queue) >= MAX_AHEAD:
            if not position.epoch:
                self._problem = DisconnectCode.SLOW
                return
            # The cursor stays; what comes after it is in the log.
            self._behind = True
        else:
            self._queue.append((publication, position))
        self._wake()

    def lost(self) -> None:
        """Publications are missing: they are looked for in the log."""
        self._behind = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
