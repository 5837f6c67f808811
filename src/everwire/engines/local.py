"""What the engines of a single process have in common: followers, presence, and no other nodes."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from everwire.channels.engine import EngineEvents, EngineHealth, LogOptions, Position, PresenceStats
from everwire.engines.deadlines import Clock, Deadlines, Sweeper
from everwire.engines.presence import Leases
from everwire.errors import EngineError, PositionConflict
from everwire.wire.messages import ClientInfo, Publication

__all__ = ["LocalEngine", "check_expected", "copy_publication", "has_log", "new_epoch"]


def new_epoch() -> str:
    """The identity of a log: short, as clients send it along, and never the same twice."""
    return secrets.token_urlsafe(6)


def has_log(log: LogOptions) -> bool:
    """Whether publications are kept at all."""
    return log.size > 0 and log.ttl > 0


def check_expected(channel: str, expected: Position | None, top: Position) -> None:
    """See that the top of a log is where its publisher thinks.

    Raises:
        PositionConflict: it is elsewhere.
    """
    if expected is None or expected == top or (expected == (0, "") and not top.offset):
        return
    raise PositionConflict(channel, offset=top.offset, epoch=top.epoch)


def copy_publication(publication: Publication, *, offset: int, time: float) -> Publication:
    """One of our own: its publisher may do what it likes with the other, and with the frame that it is in."""
    return Publication(
        data=publication.data.copy(),
        info=publication.info,
        offset=offset,
        tags=publication.tags,
        time=publication.time or int(time * 1000),
        channel=publication.channel,
    )


class Keys:
    """The idempotency keys of channels, each with the position of what was published with it."""

    __slots__ = ("_deadlines", "_limit", "_positions")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._positions: dict[tuple[str, str], Position] = {}
        self._deadlines: Deadlines[tuple[str, str]] = Deadlines()

    def find(self, channel: str, key: str, now: float) -> Position | None:
        """The position of a publication that had this key.

        Raises:
            EngineError: it is a new one, and there are too many already.
        """
        self.expire(now)
        found = self._positions.get((channel, key))
        if found is None and len(self._positions) >= self._limit:
            raise EngineError(
                f"{self._limit} idempotency keys are kept already: make idempotency_ttl shorter, or "
                f"max_idempotency_keys larger"
            )
        return found

    def add(self, channel: str, key: str, position: Position, deadline: float) -> None:
        """Keep a key until then."""
        self._positions[channel, key] = position
        self._deadlines.set((channel, key), deadline)

    def expire(self, now: float) -> float | None:
        """Forget those whose time is over; return when the next one's may be."""
        for key in self._deadlines.pop(now):
            del self._positions[key]
        return self._deadlines.next

    def clear(self) -> None:
        """Forget all."""
        self._positions.clear()
        self._deadlines.clear()


class LocalEngine:
    """An engine whose only node is in the same process. Its presence ends with the process.

    Attributes:
        name: for people.
        shared: whether other nodes may have it, too: none.
    """

    name: str
    shared = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: EngineEvents | None = None
        self._followed: set[str] = set()
        self._leases = Leases()
        self._sweeper = Sweeper(clock, self._sweep)

    def _sweep(self, now: float) -> float | None:
        """Free what has expired; return when something may expire next."""
        return self._leases.expire(now)

    @property
    def _started(self) -> EngineEvents:
        if self._events is None:
            raise EngineError(f"the {self.name} engine is not started, or is closed")
        return self._events

    async def start(self, events: EngineEvents, *, node: str) -> None:
        """Begin, and tell *events* from now on."""
        if self._events is not None:
            raise EngineError(f"the {self.name} engine is started already: each hub needs one of its own")
        self._events = events

    async def close(self) -> None:
        """End."""
        self._events = None
        self._sweeper.stop()
        self._followed.clear()
        self._leases.clear()

    async def subscribe(self, channel: str) -> None:
        """Follow a channel."""
        _ = self._started
        self._followed.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        """Follow it no longer."""
        self._followed.discard(channel)

    async def publish_join(self, channel: str, info: ClientInfo) -> None:
        """Tell that somebody has come, if the channel is followed."""
        events = self._started
        if channel in self._followed:
            events.on_join(channel, info)

    async def publish_leave(self, channel: str, info: ClientInfo) -> None:
        """Tell that somebody has left."""
        events = self._started
        if channel in self._followed:
            events.on_leave(channel, info)

    async def add_presence(self, channel: str, info: ClientInfo, *, ttl: float) -> None:
        """Say that a client is in a channel, for *ttl* seconds unless said again."""
        _ = self._started
        deadline = self._clock() + ttl
        self._leases.add(channel, info, deadline)
        self._sweeper.watch(deadline)

    async def remove_presence(self, channel: str, client: str) -> None:
        """Say that it has left."""
        self._leases.remove(channel, client)

    async def presence(self, channel: str) -> Mapping[str, ClientInfo]:
        """Who is in a channel, by client."""
        _ = self._started
        self._leases.expire(self._clock())
        return self._leases.clients(channel)

    async def presence_stats(self, channel: str) -> PresenceStats:
        """How many are in a channel."""
        _ = self._started
        self._leases.expire(self._clock())
        return self._leases.stats(channel)

    async def control(self, data: bytes, *, node: str = "") -> None:
        """There is no other node that could get it."""
        _ = self._started

    async def health(self) -> EngineHealth:
        """Well, from start to close."""
        started = self._events is not None
        return EngineHealth(
            started, "" if started else f"the {self.name} engine is not started, or is closed"
        )
