"""Carriers for connections of any ASGI server: a bounded queue, and a task that writes what is in it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from everwire.channels.carrier import FeedFactory, plain_feed
from everwire.transports.ending import GONE, farewell
from everwire.wire.codec import Codec
from everwire.wire.codes import DisconnectCode

if TYPE_CHECKING:
    from everwire.channels.session import Session

__all__ = ["QueuedCarrier"]

LAST_WORDS = 1.0
"""Seconds in which a client that is behind must take its last frames, when its connection ends."""


class QueuedCarrier:
    """A connection whose frames wait in a queue until the server takes them.

    Parameters:
        codec: the format.
        transport: its name.
        max_backlog: bytes that may wait; a client that is behind by more is closed with 3008.
        unidirectional, emulated, pings: as in :class:`everwire.channels.carrier.Carrier`.
        farewell: whether the client is told by a message why the connection ends.

    Attributes:
        session: its session, once there is one.
        ending: the code and the reason, once it ends.
        is_stuck: whether it has ended before the client took all that was for it.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        transport: str,
        max_backlog: int,
        unidirectional: bool = False,
        emulated: bool = False,
        pings: bool = True,
        farewell: bool = False,
    ) -> None:
        self.codec = codec
        self.transport = transport
        self.unidirectional = unidirectional
        self.emulated = emulated
        self.pings = pings
        self.feeds: FeedFactory = plain_feed
        self.session: Session | None = None
        self.ending: tuple[int, str] | None = None
        self.is_stuck = False
        self._max_backlog = max_backlog
        self._farewell = farewell
        self._frames: deque[bytes] = deque()
        self._waiting = 0
        self._news = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        if self.ending is not None:
            return
        if self._waiting and self._waiting + len(frame) > self._max_backlog:
            self._cut()
            return
        self._frames.append(frame)
        self._waiting += len(frame)
        self._news.set()

    def _cut(self) -> None:
        """The client is too far behind: what waits for it is dropped."""
        self._frames.clear()
        self._waiting = 0
        self.close(DisconnectCode.SLOW, DisconnectCode.SLOW.reason)
        if self.session is not None:
            # Not now: what sends is in the middle of something.
            loop = asyncio.get_running_loop()
            loop.call_soon(self.session.disconnect, DisconnectCode.SLOW, DisconnectCode.SLOW.reason)

    def close(self, code: int, reason: str) -> None:
        """End the connection, after what was sent before."""
        if self.ending is not None:
            return
        last = farewell(self, code, reason) if self._farewell else b""
        if last:
            self._frames.append(last)
        self.ending = (code, reason)
        self._news.set()
        writer = self._writer
        if writer is not None:
            # It may be waiting for a client that takes nothing.
            asyncio.get_running_loop().call_later(LAST_WORDS, writer.cancel)

    async def _write(self, write: Callable[[Sequence[bytes]], Awaitable[None]]) -> None:
        """Write what comes, until it ends."""
        while True:
            while self._frames:
                batch = list(self._frames)
                self._frames.clear()
                await write(batch)
                # Until the server has taken them, they count.
                self._waiting -= sum(map(len, batch))
                self._waiting = max(self._waiting, 0)
            if self.ending is not None:
                return
            self._news.clear()
            await self._news.wait()

    async def run(
        self, write: Callable[[Sequence[bytes]], Awaitable[None]], read: Callable[[], Awaitable[None]]
    ) -> None:
        """Write what is sent and read what comes, until it ends or *read* returns: the client is gone.

        What *write* raises counts as a client that is gone: servers raise all kinds of things then.
        """
        loop = asyncio.get_running_loop()
        self._writer = loop.create_task(self._write(write))
        reader = loop.create_task(_as_coroutine(read))
        tasks = (self._writer, reader)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self.ending is None:
                self.ending = (GONE, "")
            if self.session is not None:
                self.session.closed()
            self.is_stuck = not self._writer.done() or self._writer.cancelled()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        failure = results[1]
        if isinstance(failure, Exception):
            raise failure


async def _as_coroutine(read: Callable[[], Awaitable[None]]) -> None:
    await read()
