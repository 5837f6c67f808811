"""Reading the logs of channels.

A stream keeps one message more of a channel than its log has publications: so a message that is *hidden*
(it has expired, or is one too many, or a mark in place of those that are gone) shows that there was something
before the first publication that is handed out. What is removed is always the oldest.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from datetime import datetime
from typing import NamedTuple

from everwire.channels.engine import HistoryPage, LogOptions, Position
from everwire.engines.nats.fetching import PAGE, Fetcher, Message, Stale
from everwire.engines.nats.frames import Frame, Kind, read
from everwire.engines.nats.names import token
from everwire.engines.nats.requests import ApiError, NoResponders, Requests, Unanswered
from everwire.engines.nats.streams import NOT_NOW, Stream, Streams
from everwire.wire.messages import Publication

__all__ = ["Entry", "Reader"]

PAUSE = 0.02
"""Seconds until a copy of a stream is asked again that was behind."""


class Entry(NamedTuple):
    """A message of a log as it is stored.

    Attributes:
        sequence: its number in the stream.
        stamp: when it was stored, as the server writes it.
        following: how many there are after it.
        frame: what is in it.
    """

    sequence: int
    stamp: str
    following: int
    frame: Frame

    @property
    def offset(self) -> int:
        """Where the log stands with it."""
        return self.frame.time if self.frame.kind == Kind.MARK else self.sequence

    @property
    def born(self) -> float:
        """When it was stored, in seconds since 1970."""
        return datetime.fromisoformat(self.stamp).timestamp()


def _entry(message: Message) -> Entry:
    return Entry(message.sequence, message.stamp, message.following, read(message.data))


class Reader:
    """Reads logs."""

    def __init__(self, requests: Requests, streams: Streams) -> None:
        self.fetcher = Fetcher(requests)
        self._requests = requests
        self._streams = streams
        self._loop = asyncio.get_running_loop()

    async def last(self, stream: Stream, channel: str) -> Entry | None:
        """The newest message of a channel; None: it has none."""
        found = await self.raw(stream, stream.log + token(channel))
        return None if found is None else _entry(found)

    async def raw(self, stream: Stream, subject: str) -> Message | None:
        """The newest message of any subject of a stream."""
        return await self.fetcher.last(stream.name, subject, of_leader=stream.replicas > 1)

    async def history(
        self, channel: str, log: LogOptions, since: Position | None, limit: int, reverse: bool, now: float
    ) -> tuple[HistoryPage, Stream, Entry | None]:
        """Read a log: the page, its stream, and the newest message there is in it."""
        deadline = self._loop.time() + self._requests.timeout
        stream = await self._streams.get(log)
        while True:
            try:
                reading = Reading(self, stream, channel, log, since, now)
                page = await (reading.back(limit) if reverse else reading.forth(limit))
                if reading.top is not None:
                    return page, stream, reading.top
                # There is nothing: neither is there in a stream of that name that was made anew.
                current = await self._streams.look(log, unless_fresh=True)
                if current is stream:
                    return page, stream, None
            except (NoResponders, Stale, ApiError) as error:
                if isinstance(error, ApiError) and error.code not in NOT_NOW:
                    raise
                if self._loop.time() + PAUSE > deadline:
                    raise Unanswered(f"the log of {channel!r} cannot be read: {error}") from error
                await asyncio.sleep(PAUSE)
                await self._requests.ready(deadline)
                current = await self._streams.look(log, unless_fresh=True)
            stream = current


class Reading:
    """One reading of a log."""

    def __init__(
        self,
        reader: Reader,
        stream: Stream,
        channel: str,
        log: LogOptions,
        since: Position | None,
        now: float,
    ) -> None:
        self._reader = reader
        self._stream = stream
        self._channel = channel
        self._size = log.size
        self._expired = now - log.ttl
        self._since = since
        self.top: Entry | None = None

    async def forth(self, limit: int) -> HistoryPage:
        """From after *since* on."""
        since, foreign = self._since, self._foreign()
        if self._stream.replicas > 1 or foreign or (since is None and limit == 0):
            await self._look_at_top()
            if self.top is None or foreign or (since is None and limit == 0):
                return self._page([], complete=not foreign and not (since and since.offset))
        offset = since.offset if since is not None else 0
        found: list[Entry] = []
        complete = True
        start, following, ended = offset, 1, False
        while following and (limit < 0 or len(found) < limit or start == offset):
            count = PAGE if limit < 0 else min(PAGE, limit - len(found) + 2)
            entries, following = await self._fetch(start, count)
            if not entries:
                ended = True
                break
            hidden = self._hidden(entries)
            complete = complete and not any(each.offset > offset for each in entries[:hidden])
            found += [each for each in entries[hidden:] if each.sequence > offset]
            start = entries[-1].sequence + 1
            if not following:
                self._reached(entries[-1])
        if following or self.top is None:
            await self._look_at_top()
        if ended:
            self._expect_nothing(start)
        top = self.top.offset if self.top is not None else 0
        if offset > top:
            return self._page([], complete=False)
        return self._page(found if limit < 0 else found[:limit], complete=complete or since is None)

    async def back(self, limit: int) -> HistoryPage:
        """From before *since* on, backwards."""
        if self._foreign():
            await self._look_at_top()
            return self._page([], complete=False)
        if self._stream.replicas > 1:
            await self._look_at_top()
        entries: list[Entry] = []
        start, following = 1, 1
        while following:
            page, following = await self._fetch(start, PAGE)
            entries += page
            if page:
                start = page[-1].sequence + 1
        if entries:
            self._reached(entries[-1])
        else:
            self._expect_nothing(start)
        hidden = self._hidden(entries)
        top = self.top.offset if self.top is not None else 0
        end, complete = len(entries), True
        if self._since is not None:
            offset = self._since.offset
            end = bisect_right(entries, offset - 1, key=lambda each: each.offset)
            complete = offset <= top and (end > hidden or not hidden or not offset)
        found = entries[hidden:end][::-1]
        return self._page(found if limit < 0 else found[:limit], complete=complete)

    async def _fetch(self, start: int, count: int) -> tuple[list[Entry], int]:
        subject = self._stream.log + token(self._channel)
        messages, following = await self._reader.fetcher.page(self._stream.name, subject, start, count)
        return [_entry(each) for each in messages], following

    def _foreign(self) -> bool:
        """Whether the position is of another log."""
        return self._since is not None and self._since.epoch not in ("", self._stream.epoch)

    async def _look_at_top(self) -> None:
        self.top = await self._reader.last(self._stream, self._channel)

    def _reached(self, last: Entry) -> None:
        """There is nothing after this message in the copy that was read."""
        if self.top is not None and self.top.sequence > last.sequence:
            raise Stale("a copy of the stream is behind")
        self.top = last

    def _expect_nothing(self, start: int) -> None:
        """There was nothing from a number on in the copy that was read, when it was read."""
        if self.top is not None and self.top.sequence >= start:
            raise Stale("something was published meanwhile, or a copy of the stream is behind")

    def _hidden(self, entries: list[Entry]) -> int:
        """How many of these, which come first, are not handed out."""
        count = 0
        if entries and entries[0].frame.kind == Kind.MARK:
            count = 1
        if entries:
            count = max(count, entries[0].following + 1 - self._size)
        if count < len(entries) and entries[count].born <= self._expired:
            count = bisect_right(entries, self._expired, count, key=lambda each: each.born)
        return min(max(count, 0), len(entries))

    def _page(self, entries: list[Entry], *, complete: bool) -> HistoryPage:
        top = Position(self.top.offset if self.top is not None else 0, self._stream.epoch)
        return HistoryPage([_publication(each) for each in entries], top, complete)


def _publication(entry: Entry) -> Publication:
    return entry.frame.publication(entry.sequence)
