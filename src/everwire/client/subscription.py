"""Subscriptions: the publications of a channel, in order, over as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self

from everwire.client import events
from everwire.client.emitter import Callback
from everwire.client.events import ClientInfo, History, PresenceStats, Publication
from everwire.client.inbox import Ended
from everwire.client.membership import Membership, Start
from everwire.client.states import ConnectingCode, SubscriptionState, UnsubscribedCode
from everwire.errors import CommandError, Disconnected, InvalidState, WireError
from everwire.wire import messages as wire
from everwire.wire.position import Position

__all__ = ["Subscription"]


class Subscription(Membership):
    """A subscription to a channel, made by :meth:`everwire.Client.subscribe`.

    It begins at once. ``await`` it, or enter it with ``async with``, to wait until the server has accepted
    it; leave it with ``async with`` or :meth:`unsubscribe` to end it. Iterate over it for its publications::

        async with client.subscribe("news") as news:
            async for publication in news: ...

    The iteration goes on over lost connections. It raises :exc:`~everwire.Unrecovered` once where
    publications were missed that the server cannot send any more (iterate again to go on),
    :exc:`~everwire.Unsubscribed`, :exc:`~everwire.CommandError` or :exc:`~everwire.Disconnected` when the
    server has ended the subscription or the connection for good; and it ends when you have ended it.

    Attributes:
        channel: its channel.
        state: where it is.
        recovered: whether, when it was accepted last, everything missed before was sent.
        was_recovering: whether, then, it asked for what was missed.
        recoverable: whether the server can send what is missed.
        positioned: whether the server checks that nothing is missed.
        data: what the server's application sent along when it was accepted last.
    """

    # For the application

    @property
    def position(self) -> Position | None:
        """The place of the last publication taken: what ``since`` takes to go on from here.

        None where the channel has no log. With callbacks, that of the last publication they were called with.
        """
        return self._position

    def on(self, name: str, callback: Callback) -> None:
        """Have a function or a coroutine function called with each event of a name.

        The names: ``subscribing``, ``subscribed``, ``unsubscribed``, ``publication``, ``join``, ``leave``,
        ``error``. Who listens to ``publication`` gets publications so, and no longer by iterating.

        Raises:
            ValueError: there is no event of this name.
        """
        self._emitter.on(name, callback)

    async def ready(self) -> None:
        """Wait until the server has accepted it.

        Raises:
            CommandError: the server has refused it.
            Unsubscribed: the server has ended it.
            Disconnected: the client was disconnected for good.
            InvalidState: it was ended by the application.
        """
        while self.state is SubscriptionState.SUBSCRIBING:
            await self._settled.wait()
        if self.state is SubscriptionState.UNSUBSCRIBED:
            raise self._error or InvalidState(f"the subscription to {self.channel!r} is over")

    async def unsubscribe(self) -> None:
        """End it. What is there to be taken already can still be taken; then the iteration ends."""
        if self.state is SubscriptionState.UNSUBSCRIBED:
            return
        session = self._session
        self.end(None, *UnsubscribedCode.UNSUBSCRIBE_CALLED.told)
        if session is None or session.over.done():
            return
        command = wire.Command(unsubscribe=wire.UnsubscribeRequest(channel=self.channel))
        try:
            await session.request(command)
        except Disconnected:
            pass
        except (CommandError, TimeoutError):
            # Whether the server still sends this channel is not known; a new session does not.
            session.finish(*ConnectingCode.UNSUBSCRIBE_ERROR.told, reconnect=True)

    async def publish(self, data: Any) -> None:
        """Publish to the channel; see :meth:`everwire.Client.publish`."""
        await self._owner.publish(self.channel, data)

    async def history(
        self, *, limit: int = 0, since: Position | None = None, reverse: bool = False
    ) -> History:
        """Read the channel's log; see :meth:`everwire.Client.history`."""
        return await self._owner.history(self.channel, limit=limit, since=since, reverse=reverse)

    async def presence(self) -> dict[str, ClientInfo]:
        """Who is in the channel; see :meth:`everwire.Client.presence`."""
        return await self._owner.presence(self.channel)

    async def presence_stats(self) -> PresenceStats:
        """How many are in the channel; see :meth:`everwire.Client.presence_stats`."""
        return await self._owner.presence_stats(self.channel)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Publication:
        self._taken = True
        while True:
            item = self._inbox.take()
            if item is None:
                try:
                    item = await self._inbox.get()
                except Ended:
                    raise StopAsyncIteration from None
            if isinstance(item, Start):
                self._position = item.position
                if item.error is not None:
                    raise item.error
                continue
            if self._position is not None:
                self._position = item.position
            return item

    def __await__(self) -> Generator[Any, None, Self]:
        return self._entered().__await__()

    async def __aenter__(self) -> Self:
        return await self._entered()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.unsubscribe()

    async def _entered(self) -> Self:
        try:
            await self.ready()
        except asyncio.CancelledError:
            await self.unsubscribe()
            raise
        return self

    def __repr__(self) -> str:
        return f"<Subscription channel={self.channel!r} {self.state.value}>"

    # For the client

    def publication(self, publication: wire.Publication) -> None:
        """Take a publication from the server."""
        if self.state is not SubscriptionState.SUBSCRIBED:
            return
        try:
            raw = self._cursor.received(publication)
        except WireError as exc:
            # Subscribe anew: what is recovered after the last good publication begins with a whole one.
            self._report("delta", exc)
            if self._session is not None:
                self._session.tell(wire.Command(unsubscribe=wire.UnsubscribeRequest(channel=self.channel)))
            self.unsubscribed(2500, "bad delta")
            return
        if raw is None:
            return
        position = self._cursor.position
        event = Publication(
            self.channel, raw, publication, "" if position is None else position.epoch, self._decode
        )
        if self._emitter.wants("publication"):
            if position is not None:
                self._position = position
            self._emitter.emit("publication", event, len(raw))
        elif self._inbox.put(event, len(raw)) and not self._taken:
            self._owner.options.logger.warning(
                "%d publications of %r wait and nobody takes them: nothing more is read from the server "
                "until somebody iterates over the subscription; listen to `publication` if you want none",
                len(self._inbox),
                self.channel,
            )

    def join(self, info: wire.ClientInfo) -> None:
        """Somebody has come."""
        if self._emitter.wants("join"):
            told = events.client_info(info, self._decode)
            self._emitter.emit("join", events.Joined(self.channel, told))

    def leave(self, info: wire.ClientInfo) -> None:
        """Somebody has left."""
        if self._emitter.wants("leave"):
            told = events.client_info(info, self._decode)
            self._emitter.emit("leave", events.Left(self.channel, told))
