"""The subscriptions of a client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from everwire.client.commands import Commands, encoded
from everwire.client.emitter import Callback
from everwire.client.events import Decoder, Failure
from everwire.client.inbox import Gate
from everwire.client.options import Options
from everwire.client.session import Session
from everwire.client.states import SubscribingCode, UnsubscribedCode
from everwire.client.subscription import Subscription
from everwire.errors import InvalidState
from everwire.wire import messages as wire
from everwire.wire.messages import NOTHING
from everwire.wire.position import Position

__all__ = ["Subscriber"]


class Subscriber(Commands):
    """What a client does about its subscriptions."""

    options: Options
    gate: Gate
    tasks: set[asyncio.Task[None]]

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self.ids: dict[int, Subscription] = {}

    def subscribe(
        self,
        channel: str,
        *,
        since: Position | None = None,
        token: str = "",
        get_token: Callable[[str], Awaitable[str]] | None = None,
        get_state: Callable[[], Awaitable[Position]] | None = None,
        data: Any = None,
        positioned: bool = False,
        recoverable: bool = False,
        join_leave: bool = False,
        delta: Literal["fossil"] | None = None,
        tags_filter: wire.FilterNode | None = None,
        on_unrecovered: Literal["raise", "continue"] = "raise",
        on_publication: Callback | None = None,
        decode: Decoder | None = None,
        max_queue: int | None = None,
    ) -> Subscription:
        """Subscribe to a channel, from now on or from when the client is connected.

        Args:
            channel: the channel; one subscription each.
            since: the position after which to begin: what came since is sent first.
            token: the token of the subscription, for channels that want one.
            get_token: a coroutine function that returns a token for the channel it is given; as the client's.
            get_state: a coroutine function that loads what the application knows of the channel, and returns
                the position of that: it is called at first, and when the position that is known cannot be
                recovered any more.
            data: a value to send along.
            positioned: ask the server to check that nothing is missed.
            recoverable: ask it to send what is missed (servers may do so for a channel by themselves).
            join_leave: ask for the events ``join`` and ``leave``.
            delta: ask for the differences between payloads, in this format.
            tags_filter: ask for those publications only whose tags fulfil a condition.
            on_unrecovered: what the iteration does where publications were missed that cannot be had any
                more: ``"raise"`` :exc:`~everwire.Unrecovered`, once, or ``"continue"``, with an event
                    ``error``.
            on_publication: a function or a coroutine function that is called with publications; then
                iterating over the subscription yields none.
            decode: makes the Python value of a payload, if not as the client does.
            max_queue: how many publications may wait to be taken, if not as many as the client says.

        Raises:
            InvalidState: there is a subscription to this channel.
            ValueError: options contradict each other.
        """
        if channel in self._subscriptions:
            raise InvalidState(f"there is a subscription to {channel!r} already: end it first, or share it")
        if delta is not None and tags_filter is not None:
            raise ValueError(
                "delta and tags_filter cannot be combined: differences are to what was sent before"
            )
        if on_unrecovered not in ("raise", "continue"):
            raise ValueError(f"on_unrecovered must be 'raise' or 'continue': {on_unrecovered!r}")
        subscription = Subscription(
            self,
            wire.SubscribeRequest(
                channel=channel,
                token=token,
                data=NOTHING if data is None else encoded(data),
                positioned=positioned,
                recoverable=recoverable,
                join_leave=join_leave,
                delta=delta or "",
                tf=tags_filter,
            ),
            since=since,
            get_token=get_token,
            get_state=get_state,
            raises=on_unrecovered == "raise",
            decode=decode or self._decoder,
            max_queue=max_queue or self.options.max_queue,
        )
        if on_publication is not None:
            subscription.on("publication", on_publication)
        self._subscriptions[channel] = subscription
        return subscription

    def subscription(self, channel: str) -> Subscription | None:
        """The subscription to a channel, if there is one."""
        return self._subscriptions.get(channel)

    async def opened(self) -> Session:
        """Wait for a session that takes commands. (For subscriptions.)"""
        raise NotImplementedError

    def report(self, failure: Failure) -> None:
        """Tell of a failure that is tried again. (For the parts of the client.)"""
        raise NotImplementedError

    def forget(self, subscription: Subscription) -> None:
        """A subscription is over. (For subscriptions.)"""
        if self._subscriptions.get(subscription.channel) is subscription:
            del self._subscriptions[subscription.channel]

    def _lose_subscriptions(self) -> None:
        self.ids.clear()
        for subscription in tuple(self._subscriptions.values()):
            subscription.lost(*SubscribingCode.TRANSPORT_CLOSED.told)

    def _invalidate_subscriptions(self) -> None:
        for subscription in tuple(self._subscriptions.values()):
            subscription.invalidate()

    def _end_subscriptions(self, error: Exception | None) -> None:
        for subscription in tuple(self._subscriptions.values()):
            subscription.end(error, *UnsubscribedCode.CLIENT_CLOSED.told)
