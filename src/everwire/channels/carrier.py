"""What a session needs of a transport: to send frames, and to share the sending of publications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from everwire.wire.codec import Codec

if TYPE_CHECKING:
    from everwire.channels.context import Credentials

__all__ = ["Carrier", "Feed", "FeedFactory", "Origin", "PlainFeed", "plain_feed"]


class Feed(Protocol):
    """Carriers that get the same frames: the subscribers of a channel that are served in one encoding.

    A frame that is published reaches each member once, after what was sent to that member alone before and
    before
    what is sent to it after.
    """

    def add(self, carrier: Any) -> None:
        """Make a carrier a member: it gets what is published from now on."""
        ...

    def discard(self, carrier: Any) -> None:
        """Remove a member, if it is one; what was published before still reaches it."""
        ...

    def publish(self, frame: bytes) -> None:
        """Send a frame to all members."""
        ...

    def __len__(self) -> int:
        """How many members there are."""
        ...


class FeedFactory(Protocol):
    """Makes feeds for a kind of carrier. Carriers that name the same factory can be in the same feed."""

    def __call__(self, codec: Codec) -> Feed:
        """Make a feed without members for frames of this format."""
        ...


class Carrier(Protocol):
    """A transport's end of one connection, as a session sees it.

    Attributes:
        codec: the format of its frames.
        transport: its name for people: ``"websocket"``, ``"sse"``, ``"http_stream"``, ``"long_poll"`` ...
        unidirectional: whether it carries pushes only, without replies around them.
        emulated: whether commands come by other requests (then the session's id is told to the client).
        pings: whether the session is to ping the client; False: the transport does that its own way.
        feeds: makes the feeds that it can be a member of.
    """

    codec: Codec
    transport: str
    unidirectional: bool
    emulated: bool
    pings: bool
    feeds: FeedFactory

    def send(self, frame: bytes) -> None:
        """Send a frame; never waits. Too slow a client is closed with 3008."""
        ...

    def close(self, code: int, reason: str) -> None:
        """End the connection, after what was sent before; tell the client why, as the transport does that."""
        ...


@dataclass(slots=True, kw_only=True)
class Origin:
    """Where a session comes from, as far as its transport knows.

    Attributes:
        headers: the request's headers, names in lower case.
        path: the request's path.
        query: the request's query string.
        client: the peer's address, as ``(host, port)``; None: not known.
        scope: the ASGI scope, where a framework has put something into it: a hook may look at its session or
            user there.
        credentials: who it is of, if that is known already: then neither a token nor a hook is asked for.
    """

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    path: str = ""
    query: str = ""
    client: tuple[str, int] | None = None
    scope: Mapping[str, Any] | None = None
    credentials: Credentials | None = None


class PlainFeed:
    """A feed that sends to each member in turn: for carriers that can share nothing but the frame."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        self._members: dict[Carrier, None] = {}

    def add(self, carrier: Carrier) -> None:
        """Make a carrier a member."""
        self._members[carrier] = None

    def discard(self, carrier: Carrier) -> None:
        """Remove a member, if it is one."""
        self._members.pop(carrier, None)

    def publish(self, frame: bytes) -> None:
        """Send a frame to all members."""
        for carrier in list(self._members):
            carrier.send(frame)

    def __len__(self) -> int:
        return len(self._members)


def plain_feed(codec: Codec) -> PlainFeed:
    """The factory of carriers that can share nothing but the frame."""
    return PlainFeed()
