"""Clients that the server subscribes: as they connect, and later; some of them only listen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from everwire.channels.engine import Position
from everwire.channels.hub import Hub
from everwire.wire.codes import DisconnectCode
from everwire.wire.messages import (
    Connect,
    ConnectRequest,
    ConnectResult,
    Push,
    Subscribe,
    SubscribeRequest,
)
from model.client import EVEN, Client, Judge, Lost, OpenLink, Segment, payload


class Listener(Protocol):
    """A connection that only carries pushes."""

    async def start(self, request: ConnectRequest) -> None:
        """Say who it is, and what it wants."""
        ...


class ServerSideClient(Client):
    """A client whose subscriptions its application asks the hub for, and not it itself."""

    def __init__(
        self, user: str, open_link: OpenLink, judge: Judge, wishes: Sequence[str], *, hub: Hub
    ) -> None:
        super().__init__(user, open_link, judge, wishes)
        self._hub = hub
        self._since: dict[str, Position | None] = {}
        self._made: asyncio.Future[None] | None = None

    # What the test has it do

    async def connect(self) -> None:
        """Open a connection, if there is none, and ask for what is wanted with it."""
        async with self._lock:
            if self.link is None:
                self._since = {channel: self._position(channel) for channel in sorted(self.wanted)}
                subs = {channel: self._request(channel, since) for channel, since in self._since.items()}
                data = msgspec.Raw(msgspec.json.encode(self.user))
                self.link = await self._open_link(self)
                await self._start(ConnectRequest(data=data, subs=subs))
                for channel in sorted(self.live):
                    await self._look(channel)

    async def subscribe(self, channel: str) -> None:
        """Have the hub subscribe it, now or when it is connected again."""
        async with self._lock:
            self.wanted.add(channel)
            if self.link is None or channel in self.live:
                return
            if "filter" in self.wishes:
                # Only who connects can say what it wants to see.
                await self.cut()
                return
            self._since[channel] = since = self._position(channel)
            made = self._made = asyncio.get_running_loop().create_future()
            await self._hub.subscribe_user(
                self.user, channel, client=self.client, recover_since=since, force_push_join_leave=True
            )
            await made
            await self._look(channel)

    async def unsubscribe(self, channel: str) -> None:
        """Have the hub end its subscription."""
        async with self._lock:
            self.wanted.discard(channel)
            if self.link is not None and channel in self.live:
                await self._hub.unsubscribe(self.user, channel, client=self.client)
                await self.until(lambda: channel not in self.live)

    async def _start(self, request: ConnectRequest) -> None:
        await self.ask(connect=request)

    async def _look(self, channel: str) -> None:
        """See who is there."""
        if self.link is not None and channel in self.live:
            self.members[channel] = dict(await self.presence(channel))

    def _position(self, channel: str) -> Position | None:
        segments = self.segments.get(channel)
        return segments[-1].position if segments else None

    def _request(self, channel: str, since: Position | None) -> SubscribeRequest:
        request = SubscribeRequest(join_leave=True, tf=EVEN if "filter" in self.wishes else None)
        if since is not None:
            request.recover, request.offset, request.epoch = True, since.offset, since.epoch
        return request

    # What the link has it do

    def _on_connected(self, result: ConnectResult | Connect) -> None:
        super()._on_connected(result)
        assert set(result.subs) == set(self._since)
        for channel, each in result.subs.items():
            self._on_subscribed(channel, self._since[channel], each)

    def _on_push(self, push: Push) -> None:
        if push.subscribe is not None:
            self._on_made(push.channel, push.subscribe)
        elif push.unsubscribe is not None:
            # Whatever the code: who did not subscribe itself does not do so again.
            self._off(push.channel)
            self.wanted.discard(push.channel)
        else:
            super()._on_push(push)

    def _on_made(self, channel: str, made: Subscribe) -> None:
        """The hub has subscribed it: what comes goes on from a position."""
        assert channel not in self.live
        self.live.add(channel)
        since = self._since[channel]
        position = Position(made.offset, made.epoch)
        if since is not None:
            self._judge(channel, since, position == since)
        if position != since:
            self.segments.setdefault(channel, []).append(Segment(position))
        if self._made is not None and not self._made.done():
            self._made.set_result(None)

    def on_end(self, code: int) -> None:
        """The server has ended the connection: with it the subscriptions, which cannot be told of a gap."""
        self.insufficient += code == DisconnectCode.INSUFFICIENT_STATE
        super().on_end(code)

    def _down(self) -> None:
        if self._made is not None and not self._made.done():
            self._made.set_exception(Lost())
            self._made.exception()  # perhaps nobody waits any more
        super()._down()


class ListeningClient(ServerSideClient):
    """A client over a transport that is unidirectional: there are no commands and no replies."""

    async def _start(self, request: ConnectRequest) -> None:
        link: Any = self.link
        listener: Listener = link
        self._made = made = asyncio.get_running_loop().create_future()
        await listener.start(request)
        await made

    async def _look(self, channel: str) -> None:
        """It cannot ask who is there."""

    async def publish(self, channel: str, value: Any) -> None:
        """Have the application publish for it."""
        await self._hub.publish(channel, payload(value))

    def on_frame(self, frame: bytes | str) -> None:
        """A push has come."""
        push = msgspec.json.decode(frame, type=Push)
        if push.connect is not None:
            self._on_connected(push.connect)
            assert self._made is not None
            self._made.set_result(None)
        else:
            self._on_push(push)
        self._changed.set()
