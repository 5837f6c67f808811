"""Subscriptions that the server has made for a connection: the client only tells of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from everwire.client import events
from everwire.client.cursor import Cursor
from everwire.client.emitter import Emitter
from everwire.client.events import Decoder, Failure, Publication
from everwire.client.states import SubscribingCode
from everwire.errors import Unrecovered
from everwire.wire import messages as wire
from everwire.wire.codec import Codec
from everwire.wire.codes import UnsubscribeCode
from everwire.wire.position import Position

__all__ = ["ServerSubscription", "ServerSubscriptions"]


class ServerSubscription:
    """One of them."""

    __slots__ = ("_channel", "_owner", "cursor")

    def __init__(self, owner: ServerSubscriptions, channel: str) -> None:
        self._owner = owner
        self._channel = channel
        self.cursor = Cursor(owner.codec)

    def subscribed(self, result: wire.SubscribeResult) -> None:
        """The server has made it, or has taken it up again."""
        owner = self._owner
        before = self.cursor.position
        self.cursor.subscribed(result)
        event = events.Subscribed.of(self._channel, result, owner.decode)
        owner.emitter.emit("subscribed", event)
        if event.was_recovering and not event.recovered:
            nowhere = Position(0, "")
            error = Unrecovered(self._channel, before or nowhere, event.position or nowhere)
            owner.report(Failure("recovery", error, self._channel))
        for publication in result.publications:
            self.publication(publication)

    def unsubscribed(self, code: int, reason: str) -> None:
        """The server has ended it."""
        if self._owner.subscriptions.pop(self._channel, None) is not None:
            self._owner.emitter.emit("unsubscribed", events.Unsubscribed(self._channel, code, reason))

    def publication(self, publication: wire.Publication) -> None:
        """Tell of a publication."""
        owner = self._owner
        raw = self.cursor.received(publication)
        if raw is not None:
            epoch = "" if self.cursor.position is None else self.cursor.position.epoch
            event = Publication(self._channel, raw, publication, epoch, owner.decode)
            owner.emitter.emit("publication", event, len(raw))

    def join(self, info: wire.ClientInfo) -> None:
        """Tell that somebody has come."""
        told = events.client_info(info, self._owner.decode)
        self._owner.emitter.emit("join", events.Joined(self._channel, told))

    def leave(self, info: wire.ClientInfo) -> None:
        """Tell that somebody has left."""
        told = events.client_info(info, self._owner.decode)
        self._owner.emitter.emit("leave", events.Left(self._channel, told))


class ServerSubscriptions:
    """The subscriptions of a connection that its server has made, and up to where each was received."""

    def __init__(
        self, codec: Codec, emitter: Emitter, decode: Decoder, report: Callable[[Failure], None]
    ) -> None:
        self.codec = codec
        self.emitter = emitter
        self.decode = decode
        self.report = report
        self.subscriptions: dict[str, ServerSubscription] = {}

    def get(self, channel: str) -> ServerSubscription | None:
        """The one to a channel."""
        return self.subscriptions.get(channel)

    def requests(self) -> dict[str, wire.SubscribeRequest]:
        """What to ask for when connecting again: what was missed of those that can be recovered."""
        return {
            channel: subscription.cursor.fill(wire.SubscribeRequest())
            for channel, subscription in self.subscriptions.items()
            if subscription.cursor.recoverable
        }

    def connected(self, results: Mapping[str, wire.SubscribeResult]) -> None:
        """The client is connected, with these subscriptions and no others."""
        for channel, subscription in tuple(self.subscriptions.items()):
            if channel not in results:
                subscription.unsubscribed(UnsubscribeCode.SERVER, UnsubscribeCode.SERVER.reason)
        for channel, result in results.items():
            self._take(channel, result)

    def subscribed(self, channel: str, push: wire.Subscribe) -> None:
        """The server has made one more."""
        result = wire.SubscribeResult(
            recoverable=push.recoverable,
            epoch=push.epoch,
            offset=push.offset,
            positioned=push.positioned,
            data=push.data,
        )
        self._take(channel, result)

    def lost(self) -> None:
        """The connection is lost: they wait for the next."""
        for channel in self.subscriptions:
            told = events.Subscribing(channel, *SubscribingCode.TRANSPORT_CLOSED.told)
            self.emitter.emit("subscribing", told)

    def invalidate(self) -> None:
        """The server said that nothing known before is true."""
        for subscription in self.subscriptions.values():
            subscription.cursor.invalidate()

    def clear(self) -> None:
        """The client is disconnected for good."""
        self.subscriptions.clear()

    def _take(self, channel: str, result: wire.SubscribeResult) -> None:
        subscription = self.subscriptions.get(channel)
        if subscription is None:
            subscription = self.subscriptions[channel] = ServerSubscription(self, channel)
        subscription.subscribed(result)
