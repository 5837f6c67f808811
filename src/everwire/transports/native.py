"""Carriers on everwire's own connections: WebSockets and streams without a task, which share what is sent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from everwire._core.connection import Connection
from everwire._core.topic import Topic
from everwire.channels.carrier import Feed, FeedFactory
from everwire.errors import ConnectionClosed
from everwire.transports.ending import farewell
from everwire.wire.codec import Codec
from everwire.wire.codes import DisconnectCode

if TYPE_CHECKING:
    from everwire.channels.session import Session

__all__ = ["LAST_WORDS", "NativeCarrier", "NativeFeed", "NativeFeeds"]

LAST_WORDS = 3.0
"""Seconds in which a client has to take its last frames and to answer the close frame."""


class NativeCarrier:
    """One of everwire's connections: a WebSocket, an SSE stream or an HTTP stream.

    Parameters:
        connection: the connection, which is open.
        codec: the format.
        transport: its name.
        feeds: makes the feeds that it shares with others.
        unidirectional, emulated, pings: as in :class:`everwire.channels.carrier.Carrier`.
        farewell: whether the client is told by a message why the connection ends; a WebSocket's close frame
            does that without.

    Attributes:
        connection: the connection.
        session: its session, once there is one.
    """

    __slots__ = (
        "_farewell",
        "_max_backlog",
        "codec",
        "connection",
        "emulated",
        "feeds",
        "pings",
        "session",
        "transport",
        "unidirectional",
    )

    session: Session | None

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        *,
        transport: str,
        feeds: NativeFeeds,
        unidirectional: bool = False,
        emulated: bool = False,
        pings: bool = True,
        farewell: bool = False,
    ) -> None:
        self.connection = connection
        self.codec = codec
        self.transport = transport
        self.feeds: FeedFactory = feeds
        self._max_backlog = feeds.max_backlog
        self.unidirectional = unidirectional
        self.emulated = emulated
        self.pings = pings
        self.session = None
        self._farewell = farewell

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        # Closed, it has told the session so, or is about to.
        with contextlib.suppress(ConnectionClosed):
            connection = self.connection
            if connection.buffered_amount > self._max_backlog:
                connection.close(DisconnectCode.SLOW, DisconnectCode.SLOW.reason)
            else:
                connection.send_nowait(frame, text=not self.codec.binary)

    def close(self, code: int, reason: str) -> None:
        """End the connection, after what was sent before."""
        if not self.connection.is_open:
            return
        last = farewell(self, code, reason) if self._farewell else b""
        if last:
            self.send(last)
        self.connection.close(code, reason)


class NativeFeed:
    """Connections that get the same frames from one log in memory: see :class:`everwire.Topic`."""

    __slots__ = ("_text", "_topic")

    def __init__(self, codec: Codec, *, max_backlog: int) -> None:
        self._text = not codec.binary
        self._topic = Topic(
            max_backlog=max_backlog,
            close_code=DisconnectCode.SLOW,
            close_reason=DisconnectCode.SLOW.reason,
        )

    def add(self, carrier: NativeCarrier) -> None:
        """Make a carrier a member."""
        # Closed, its session is about to end.
        with contextlib.suppress(ConnectionClosed):
            self._topic.add(carrier.connection)

    def discard(self, carrier: NativeCarrier) -> None:
        """Remove a member, if it is one."""
        self._topic.discard(carrier.connection)

    def publish(self, frame: bytes) -> None:
        """Send a frame to all members."""
        self._topic.publish(frame, text=self._text)

    def __len__(self) -> int:
        return len(self._topic)


class NativeFeeds:
    """Makes the feeds of everwire's connections: the ``feeds`` of all carriers of one application.

    Parameters:
        max_backlog: unsent bytes of one member; one that is behind by more is closed with 3008.
    """

    def __init__(self, max_backlog: int) -> None:
        self.max_backlog = max_backlog

    def __call__(self, codec: Codec) -> Feed:
        """Make a feed."""
        return NativeFeed(codec, max_backlog=self.max_backlog)
