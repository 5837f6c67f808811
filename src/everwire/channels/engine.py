"""The interface of engines: where the logs of channels are, and what carries publications between nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from everwire.wire.messages import ClientInfo, Publication
from everwire.wire.position import Position

__all__ = [
    "Engine",
    "EngineEvents",
    "EngineHealth",
    "HistoryPage",
    "LogOptions",
    "Position",
    "PresenceStats",
    "PublishOutcome",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """How the log of a channel is kept.

    Attributes:
        size: publications kept; 0: none, and publications have no offset.
        ttl: seconds that a publication is kept.
        meta_ttl: seconds that the log's epoch and top offset outlive the last publication; 0: for as long as
            the engine's data.
        namespace: what all channels have in common whose logs are kept so; an engine may keep them together.
    """

    size: int = 0
    ttl: float = 0.0
    meta_ttl: float = 30 * 86400.0
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class PublishOutcome:
    """What became of a publication.

    Attributes:
        position: where it is in the log (offset 0 and no epoch without one).
        duplicate: whether it was there already, by its idempotency key: *position* is that of the first.
        stale: whether it was left out since a newer version is there.
    """

    position: Position
    duplicate: bool = False
    stale: bool = False


class HistoryPage(NamedTuple):
    """What was read of a log.

    Attributes:
        publications: in the order asked for.
        top: the position of the newest publication in the log.
        complete: whether nothing between *since* and the first publication returned is missing: False when
        some
            of it was evicted or has expired, or the epoch is another.
    """

    publications: list[Publication]
    top: Position
    complete: bool = True


class EngineHealth(NamedTuple):
    """How an engine is, as far as it can be seen from here.

    Attributes:
        available: whether it can be published into, and read.
        detail: for people: where it is, or what is wrong.
    """

    available: bool
    detail: str = ""


class PresenceStats(NamedTuple):
    """How many are in a channel."""

    clients: int
    users: int


class EngineEvents(Protocol):
    """What an engine calls on a node, in the node's event loop. None of these waits or raises."""

    def on_publication(
        self, channel: str, publication: Publication, position: Position, previous: int, delta: bool
    ) -> None:
        """A publication of a channel that the node follows.

        *previous* is the offset of the publication before it in this log (*position.offset* - 1 where
        offsets have
        no gaps): another one than the node saw last means that some are missing. With *delta*, its publisher
        wants
        differences sent to those who asked for them. Without a log *position* is ``(0, "")``.
        """
        ...

    def on_join(self, channel: str, info: ClientInfo) -> None:
        """Somebody has come into a channel that the node follows."""
        ...

    def on_leave(self, channel: str, info: ClientInfo) -> None:
        """Somebody has left it."""
        ...

    def on_control(self, data: bytes) -> None:
        """Another node has sent something (:meth:`Engine.control`)."""
        ...

    def on_available(self, available: bool) -> None:
        """The engine is reachable again, or no longer: then positions are checked when it is back.

        That it is reachable may be told several times: each time something may have been missed before.
        """
        ...


class Engine(Protocol):
    """Where the logs of channels are.

    All methods may raise :class:`~everwire.errors.EngineError`: the engine is not available, or has refused.
    One that no other node can share has an attribute ``shared`` that is False: then the hub looks for no
    other nodes, and takes it that nothing is lost on the way from it.

    Attributes:
        name: for people: ``"memory"``, ``"sqlite"``, ...
    """

    name: str

    async def start(self, events: EngineEvents, *, node: str) -> None:
        """Begin; *node* identifies this node among those that share the engine."""
        ...

    async def close(self) -> None:
        """End; what was acknowledged is kept as far as the engine keeps anything."""
        ...

    async def subscribe(self, channel: str) -> None:
        """Follow a channel: events of it are told from when this returns on."""
        ...

    async def unsubscribe(self, channel: str) -> None:
        """Follow it no longer."""
        ...

    async def publish(
        self,
        channel: str,
        publication: Publication,
        *,
        log: LogOptions,
        idempotency_key: str = "",
        idempotency_ttl: float = 300.0,
        version: int = 0,
        version_epoch: str = "",
        expected: Position | None = None,
        delta: bool = False,
    ) -> PublishOutcome:
        """Append a publication to the channel's log, and tell the nodes that follow it.

        Returns when it is in the log. The same *idempotency_key* within *idempotency_ttl* seconds appends
        once. A *version* above 0 that is not above the last one of the same *version_epoch* appends nothing.
        What is *expected* at the top of the log is looked at last; an offset of 0 with no epoch is a log in
        which nothing ever was.

        Raises:
            PositionConflict: another position than *expected* is at the top; nothing was appended.
            EngineError: it is not known to be in the log. It may be there all the same, if the engine could
                not be reached any more: with the same idempotency key it can be tried again.
        """
        ...

    async def history(
        self,
        channel: str,
        *,
        log: LogOptions,
        since: Position | None = None,
        limit: int = -1,
        reverse: bool = False,
    ) -> HistoryPage:
        """Read the log: from after *since* on (before it, with *reverse*), at most *limit* (below 0: all).

        A channel without a log yet is given one, with an epoch, so that a position exists from the first
        reader on.
        """
        ...

    async def remove_history(self, channel: str, *, log: LogOptions) -> None:
        """Empty the log; its epoch and top offset stay."""
        ...

    async def publish_join(self, channel: str, info: ClientInfo) -> None:
        """Tell the nodes that follow the channel that somebody has come."""
        ...

    async def publish_leave(self, channel: str, info: ClientInfo) -> None:
        """Tell them that somebody has left."""
        ...

    async def add_presence(self, channel: str, info: ClientInfo, *, ttl: float) -> None:
        """Say that a client (``info.client``) is in a channel, for *ttl* seconds unless said again."""
        ...

    async def remove_presence(self, channel: str, client: str) -> None:
        """Say that it has left."""
        ...

    async def presence(self, channel: str) -> Mapping[str, ClientInfo]:
        """Who is in a channel, by client."""
        ...

    async def presence_stats(self, channel: str) -> PresenceStats:
        """How many are in a channel."""
        ...

    async def channels(self) -> Sequence[str]:
        """The channels that have a log, a follower or presence, as far as the engine knows."""
        ...

    async def control(self, data: bytes, *, node: str = "") -> None:
        """Send something to another node, or to all others but this one.

        Who is not there does not get it, and nobody is told.
        """
        ...

    async def health(self) -> EngineHealth:
        """Ask the engine how it is. Never raises, and takes a few seconds at most."""
        ...
