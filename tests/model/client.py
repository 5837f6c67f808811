"""A client as simple as the protocol lets it be, which keeps what it was told for the model to judge."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from everwire.channels.engine import Position
from everwire.wire.codec import Codec
from everwire.wire.codes import UnsubscribeCode
from everwire.wire.delta import FOSSIL, apply_difference
from everwire.wire.messages import (
    ClientInfo,
    Command,
    Connect,
    ConnectRequest,
    ConnectResult,
    FilterNode,
    Join,
    Leave,
    PresenceRequest,
    Publication,
    PublishRequest,
    Push,
    Reply,
    SubscribeRequest,
    SubscribeResult,
    UnsubscribeRequest,
)


class Link(Protocol):
    """One connection. What comes is given to ``Client.on_frame`` and ``Client.on_end``."""

    codec: Codec

    async def send_commands(self, frame: bytes) -> None: ...

    async def cut(self) -> None:
        """Lose the connection without a word."""
        ...


EVEN = FilterNode(key="parity", cmp="eq", val="0")
"""Publications of even values."""


def payload(value: int) -> dict[str, Any]:
    """What is published: mostly the same each time, so that differences are worth while."""
    return {"text": "what stays the same, and is long enough to be worth leaving out", "value": value}


OpenLink = Callable[["Client"], Awaitable[Link]]


class Lost(Exception):
    """The connection was lost before the answer came."""


class Refused(Exception):
    """The answer is an error: its code."""


@dataclass(slots=True)
class Segment:
    """Publications that came without a break, as far as the client was told.

    Attributes:
        start: the position before the first of them; None: without positions.
        got: their offsets and values.
    """

    start: Position
    got: list[tuple[int, Any]] = field(default_factory=list[tuple[int, Any]])

    @property
    def position(self) -> Position:
        return Position(self.got[-1][0], self.start.epoch) if self.got else self.start


Judge = Callable[[str, Position, bool], None]
"""Is told that a subscription to a channel asked for what comes after a position, and whether it got that."""


class Client:
    """A client of one user, over one connection after the other.

    Attributes:
        wanted: the channels that it is to be subscribed to.
        live: those that it is subscribed to, as far as it knows.
        segments: what it got, by channel.
        recovered, unrecovered: how often it was, and was not.
        insufficient: how often it was told that something had been lost.
        wishes: how it subscribes: with ``"delta"``, ``"filter"``, ``"compact"``.
        members: who is in a channel, as joins and leaves tell after a first look.
        ended: the codes with which connections were ended by the server.
    """

    def __init__(self, user: str, open_link: OpenLink, judge: Judge, wishes: Sequence[str] = ()) -> None:
        self.user = user
        self.wishes = wishes
        self.client = ""
        self.link: Link | None = None
        self.wanted: set[str] = set()
        self.live: set[str] = set()
        self.segments: dict[str, list[Segment]] = {}
        self.recovered = 0
        self.unrecovered = 0
        self.insufficient = 0
        self.members: dict[str, dict[str, ClientInfo]] = {}
        self.ended: list[int] = []
        self._bases: dict[str, bytes] = {}
        self._numbers: dict[int, str] = {}
        self._open_link = open_link
        self._judge = judge
        self._lock = asyncio.Lock()
        self._id = 0
        self._replies: dict[int, asyncio.Future[Reply]] = {}
        self._asked: dict[int, tuple[str, Position | None]] = {}
        self._changed = asyncio.Event()

    # What the test has it do

    async def connect(self) -> None:
        """Open a connection, if there is none, and subscribe to what is wanted."""
        async with self._lock:
            if self.link is None:
                self.link = await self._open_link(self)
                data = msgspec.Raw(msgspec.json.encode(self.user))
                await self.ask(connect=ConnectRequest(data=data))
            for channel in sorted(self.wanted - self.live):
                await self._subscribe(channel)

    async def subscribe(self, channel: str) -> None:
        """Be subscribed to a channel, now or when it is connected again."""
        async with self._lock:
            self.wanted.add(channel)
            if self.link is not None and channel not in self.live:
                await self._subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        """Be subscribed to it no longer; a later subscription goes on from there."""
        async with self._lock:
            self.wanted.discard(channel)
            if self.link is not None and channel in self.live:
                await self.ask(unsubscribe=UnsubscribeRequest(channel=channel))
                self._off(channel)

    async def publish(self, channel: str, value: Any) -> None:
        """Publish as a client."""
        data = msgspec.Raw(msgspec.json.encode(payload(value)))
        await self.ask(publish=PublishRequest(channel=channel, data=data))

    async def presence(self, channel: str) -> dict[str, ClientInfo]:
        """Ask who is there."""
        reply = await self.ask(presence=PresenceRequest(channel=channel))
        assert reply.presence is not None
        return reply.presence.presence

    async def cut(self) -> None:
        """Lose the connection."""
        link = self.link
        if link is not None:
            self._down()
            await link.cut()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what has come fulfils a condition."""
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def ask(self, **fields: Any) -> Reply:
        """Send a command and wait for its answer.

        Raises:
            Lost: the connection ended first.
            Refused: the answer is an error.
        """
        if self.link is None:
            raise Lost
        self._id += 1
        mine = self._id
        future = self._replies[mine] = asyncio.get_running_loop().create_future()
        subscribe: SubscribeRequest | None = fields.get("subscribe")
        if subscribe is not None:
            since = Position(subscribe.offset, subscribe.epoch) if subscribe.recover else None
            self._asked[mine] = subscribe.channel, since
        frame = self.link.codec.encode_commands((Command(id=mine, **fields),))
        try:
            await self.link.send_commands(frame)
        except BaseException:
            self._replies.pop(mine, None)
            future.cancel() or future.exception()
            raise
        reply = await future
        if reply.error is not None:
            raise Refused(reply.error.code, reply.error.message)
        return reply

    async def _subscribe(self, channel: str) -> None:
        segments = self.segments.get(channel)
        request = SubscribeRequest(channel=channel, join_leave=True)
        if "delta" in self.wishes:
            request.delta = FOSSIL
        if "filter" in self.wishes:
            request.tf = EVEN
        if "compact" in self.wishes:
            request.flag = 1
        if segments:
            since = segments[-1].position
            request.recover, request.offset, request.epoch = True, since.offset, since.epoch
        await self.ask(subscribe=request)
        if self.link is not None:
            # Joins and leaves that come from now on are of changes after this look, or are in it already.
            self.members[channel] = dict(await self.presence(channel))

    # What the link has it do

    def on_frame(self, frame: bytes | str) -> None:
        """Something has come."""
        link = self.link
        assert link is not None
        for reply in link.codec.decode_replies(frame):
            if self.link is not link:
                break  # this frame has told of the end
            if reply.id:
                if reply.connect is not None:
                    self._on_connected(reply.connect)
                if reply.subscribe is not None:
                    self._on_subscribed(*self._asked.pop(reply.id), reply.subscribe)
                future = self._replies.pop(reply.id)
                if not future.done():
                    future.set_result(reply)
            elif reply.push is not None:
                self._on_push(reply.push)
        self._changed.set()

    def on_end(self, code: int) -> None:
        """The server has ended the connection."""
        self.ended.append(code)
        if self.link is not None:
            self._down()

    def _down(self) -> None:
        self.link = None
        self.live.clear()
        self._numbers.clear()
        self.members.clear()
        replies, self._replies = self._replies, {}
        self._asked.clear()
        for future in replies.values():
            if not future.done():
                future.set_exception(Lost())
        self._changed.set()

    def _off(self, channel: str) -> None:
        self.live.discard(channel)
        self.members.pop(channel, None)

    def _on_connected(self, result: ConnectResult | Connect) -> None:
        self.client = result.client

    def _on_subscribed(self, channel: str, since: Position | None, result: SubscribeResult) -> None:
        assert result.was_recovering == (since is not None)
        assert result.delta == ("delta" in self.wishes)
        if result.id:
            self._numbers[result.id] = channel
        self.live.add(channel)
        segments = self.segments.setdefault(channel, [])
        if since is not None:
            self.recovered += result.recovered
            self.unrecovered += not result.recovered
            self._judge(channel, since, result.recovered)
        if result.recovered:
            assert result.epoch == segments[-1].start.epoch
            for publication in result.publications:
                self._take(channel, publication)
        else:
            self._bases.pop(channel, None)
            assert not result.publications, "what is not recovered is not sent in part"
            segments.append(Segment(Position(result.offset, result.epoch)))

    def _on_push(self, push: Push) -> None:
        channel = self._numbers[push.id] if push.id else push.channel
        if push.pub is not None:
            self._take(channel, push.pub)
        elif push.join is not None:
            self._on_join(channel, push.join)
        elif push.leave is not None:
            self._on_leave(channel, push.leave)
        elif push.disconnect is not None:
            self.on_end(push.disconnect.code)
        elif push.unsubscribe is not None:
            self._off(channel)
            if push.unsubscribe.code < 2500:
                self.wanted.discard(channel)
            self.insufficient += push.unsubscribe.code == UnsubscribeCode.INSUFFICIENT_STATE

    def _on_join(self, channel: str, join: Join) -> None:
        assert channel in self.live
        if channel in self.members and join.info is not None:
            self.members[channel][join.info.client] = join.info

    def _on_leave(self, channel: str, leave: Leave) -> None:
        assert channel in self.live
        if channel in self.members and leave.info is not None:
            self.members[channel].pop(leave.info.client, None)

    def _take(self, channel: str, publication: Publication) -> None:
        assert channel in self.live, "a publication of a channel that it is not subscribed to"
        if "delta" in self.wishes:
            assert self.link is not None
            publication = apply_difference(self.link.codec, self._bases.get(channel, b""), publication)
            self._bases[channel] = bytes(publication.data)
        value = msgspec.json.decode(publication.data)["value"]
        self.segments[channel][-1].got.append((publication.offset, value))
