"""Removing what has expired.

JetStream's own limits remove the oldest messages, and of a channel in which nothing is published any more
also the last one, and with it its position. So a stream keeps messages for as long as positions are to be
known,
and the nodes remove the publications before: in their place is a mark with the position. Until then, and if
the node that would do it has died, readers leave out what has expired.
"""

from __future__ import annotations

import asyncio
import logging
import time

from everwire.engines.deadlines import Deadlines, Sweeper
from everwire.engines.nats.names import token
from everwire.engines.nats.publishing import Publishing
from everwire.engines.nats.reading import Entry
from everwire.engines.nats.requests import NoResponders, Requests
from everwire.engines.nats.streams import Stream
from everwire.errors import EngineError

__all__ = ["Trimmer"]

_logger = logging.getLogger("everwire.engines")

MAX_CHANNELS = 200_000
"""Channels that one node looks after at once. What is beyond is removed when somebody reads it, or by the
limits of the stream."""

AT_ONCE = 32
"""Channels that are looked after at the same time."""

SLACK = 1.0
"""Seconds after its time that a publication is removed."""


class Care:
    """What is to be removed of a channel: what is before *mark*; all, if *last* is the same number then."""

    __slots__ = ("last", "mark", "offset", "stream")

    def __init__(self, stream: Stream, number: int, offset: int) -> None:
        self.stream = stream
        self.mark = self.last = number
        self.offset = offset


class Trimmer:
    """Looks after channels into which this node publishes, and those of which it has read old messages."""

    def __init__(self, requests: Requests, publishing: Publishing) -> None:
        self._requests = requests
        self._publishing = publishing
        self._channels: dict[tuple[str, str], Care] = {}
        self._deadlines: Deadlines[tuple[str, str]] = Deadlines()
        self._sweeper = Sweeper(time.monotonic, self._sweep)
        self._due: list[tuple[tuple[str, str], Care]] = []
        self._task: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Stop."""
        self._sweeper.stop()
        self._channels.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def published(self, stream: Stream, channel: str, number: int) -> None:
        """This node has published something."""
        care = self._channels.get((stream.name, channel))
        if care is None:
            self._watch(stream, channel, Care(stream, number, number), stream.options.ttl + SLACK)
        elif care.stream is stream:
            care.last = care.offset = max(care.last, number)
        else:
            del self._channels[stream.name, channel]
            self._watch(stream, channel, Care(stream, number, number), stream.options.ttl + SLACK)

    def expired(self, stream: Stream, channel: str, top: Entry) -> None:
        """The newest publication of a channel has expired."""
        self._watch(stream, channel, Care(stream, top.sequence, top.offset), SLACK)

    def _watch(self, stream: Stream, channel: str, care: Care, after: float) -> None:
        key = (stream.name, channel)
        if key in self._channels or len(self._channels) >= MAX_CHANNELS:
            return
        deadline = time.monotonic() + after
        self._channels[key] = care
        self._deadlines.set(key, deadline)
        self._sweeper.watch(deadline)

    def _sweep(self, now: float) -> float | None:
        for key in self._deadlines.pop(now):
            self._due.append((key, self._channels.pop(key)))
        if self._due and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
            self._task.add_done_callback(self._worked)
        return self._deadlines.next

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("what has expired could not be removed", exc_info=error)

    async def _work(self) -> None:
        while self._due:
            due, self._due = self._due[:AT_ONCE], self._due[AT_ONCE:]
            await asyncio.gather(*(self._trim(key[1], care) for key, care in due))

    async def _trim(self, channel: str, care: Care) -> None:
        stream = care.stream
        try:
            if care.last == care.mark:
                if await self._publishing.mark(stream, channel, care.last, care.offset) is not None:
                    return
            else:
                rest = Care(stream, care.last, care.offset)
                self._watch(stream, channel, rest, stream.options.ttl + SLACK)
            request = {"filter": stream.log + token(channel), "seq": care.mark}
            await self._requests.api(f"STREAM.PURGE.{stream.name}", request)
        except NoResponders:
            return  # there is no such stream any more
        except EngineError as error:
            _logger.debug("what has expired in %r stays for now: %s", channel, error)
            self._watch(stream, channel, care, stream.options.ttl + SLACK)
