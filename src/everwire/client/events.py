"""What a client tells the application: publications, and what happens to connections and subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from msgspec import Raw

from everwire.wire import messages as wire
from everwire.wire.position import Position

__all__ = [
    "ClientInfo",
    "Connected",
    "Connecting",
    "Decoder",
    "Disconnected",
    "Event",
    "Failure",
    "History",
    "Joined",
    "Left",
    "Message",
    "PresenceStats",
    "Publication",
    "Subscribed",
    "Subscribing",
    "Unsubscribed",
    "client_info",
    "payload",
]

Decoder = Callable[[bytes], Any]
"""Makes the Python value of a payload."""


def payload(raw: Raw, decode: Decoder) -> Any:
    """The value of a payload of the wire, None where there is none."""
    data = bytes(raw)
    return decode(data) if data else None


class Publication:
    """A message of a channel.

    Attributes:
        channel: its channel.
        raw: its payload as it came, with differences applied.
        offset: its place in the channel's log; 0 without a log.
        epoch: the identity of that log.
        tags: what its publisher has labelled it with.
        info: who published it, where a client did.
        time: when it was published, in seconds since 1970; 0: the server does not say.
    """

    __slots__ = ("_data", "_decode", "channel", "epoch", "info", "offset", "raw", "tags", "time")

    _data: Any

    def __init__(
        self, channel: str, raw: bytes, wired: wire.Publication, epoch: str, decode: Decoder
    ) -> None:
        self.channel = channel
        self.raw = raw
        self.offset = wired.offset
        self.epoch = epoch
        self.tags: Mapping[str, str] = wired.tags
        self.info = None if wired.info is None else client_info(wired.info, decode)
        self.time = wired.time / 1000
        self._decode = decode

    @property
    def data(self) -> Any:
        """Its payload as a Python value.

        It is decoded when this is read first, so that a payload which cannot be decoded raises the decoder's
        error here, where the application can handle it.
        """
        try:
            return self._data
        except AttributeError:
            self._data = self._decode(self.raw) if self.raw else None
            return self._data

    @property
    def position(self) -> Position:
        """Its place: what ``since`` takes to go on after it."""
        return Position(self.offset, self.epoch)

    def __repr__(self) -> str:
        return f"<Publication channel={self.channel!r} offset={self.offset} raw={self.raw[:80]!r}>"


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Who a connection is of.

    Attributes:
        user: the user's id; empty for who has none.
        client: the connection's id.
        conn_info: what the application attached to the connection.
        chan_info: what it attached to the subscription.
    """

    user: str
    client: str
    conn_info: Any = None
    chan_info: Any = None


def client_info(info: wire.ClientInfo, decode: Decoder) -> ClientInfo:
    """The information about a connection as the application gets it."""
    return ClientInfo(
        info.user, info.client, payload(info.conn_info, decode), payload(info.chan_info, decode)
    )


class History(NamedTuple):
    """A part of a channel's log.

    Attributes:
        publications: in the order asked for.
        position: the place of the newest publication in the log.
    """

    publications: list[Publication]
    position: Position


class PresenceStats(NamedTuple):
    """How many are in a channel."""

    clients: int
    users: int


@dataclass(frozen=True, slots=True)
class Connecting:
    """The client connects, for the first time or again (event ``connecting``)."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The server has accepted the client (event ``connected``).

    Attributes:
        client: the connection's id.
        version: the server's version, if it tells.
        transport: the transport's name: ``"websocket"``, ``"http_stream"``, ``"sse"``.
        data: what the server's application sent along.
    """

    client: str
    version: str
    transport: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The client does not connect any more by itself (event ``disconnected``)."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Something failed that is tried again, or that concerns no caller (event ``error``).

    Attributes:
        what: what failed: ``"connect"``, ``"token"``, ``"refresh"``, ``"subscribe"``, ``"recovery"`` ...
        error: the exception.
        channel: the channel that it concerns; empty: the connection.
    """

    what: str
    error: Exception
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """The server's application sent a message to this connection, of no channel (event ``message``)."""

    data: Any


@dataclass(frozen=True, slots=True)
class Subscribing:
    """A subscription waits for the server to accept it (event ``subscribing``)."""

    channel: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The server has accepted a subscription (event ``subscribed``).

    Attributes:
        channel: the channel.
        recoverable: whether what is missed while the connection is away can be had afterwards.
        positioned: whether the server checks that nothing is missed.
        was_recovering: whether the client came back for what it had missed.
        recovered: whether it got all of that.
        position: the place in the log from which the subscription goes on; None: there is no log.
        data: what the server's application sent along.
    """

    channel: str
    recoverable: bool
    positioned: bool
    was_recovering: bool
    recovered: bool
    position: Position | None
    data: Any = None

    @classmethod
    def of(cls, channel: str, result: wire.SubscribeResult, decode: Decoder) -> Subscribed:
        """The event of a result."""
        has_log = result.recoverable or result.positioned
        return cls(
            channel,
            result.recoverable,
            result.positioned,
            result.was_recovering,
            result.recovered,
            Position(result.offset, result.epoch) if has_log else None,
            payload(result.data, decode),
        )


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A subscription is over (event ``unsubscribed``)."""

    channel: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody has come into a channel (event ``join``)."""

    channel: str
    info: ClientInfo


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody has left a channel (event ``leave``)."""

    channel: str
    info: ClientInfo


Event = (
    Connecting
    | Connected
    | Disconnected
    | Failure
    | Message
    | Subscribing
    | Subscribed
    | Unsubscribed
    | Publication
    | Joined
    | Left
)
"""What callbacks are called with."""
