"""Where an engine is checked: how one is made, how its time passes, and what it tells."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from everwire.channels.engine import Engine, LogOptions, Position
from everwire.wire.messages import ClientInfo, Publication

__all__ = [
    "LOG",
    "PATIENCE",
    "Bench",
    "Check",
    "ManualClock",
    "Node",
    "Recorder",
    "Told",
    "publication",
    "values",
]

LOG = LogOptions(size=100, ttl=300.0, meta_ttl=3600.0)
"""A log that keeps all that a check publishes."""

PATIENCE = 5.0
"""Seconds that an engine may take to tell of something."""


def publication(value: Any) -> Publication:
    """A publication of this value."""
    return Publication(data=msgspec.Raw(msgspec.json.encode(value)))


def values(publications: list[Publication]) -> list[Any]:
    """The values of publications."""
    return [msgspec.json.decode(each.data) for each in publications]


@dataclass(slots=True)
class Told:
    """A call of ``on_publication``."""

    channel: str
    publication: Publication
    position: Position
    previous: int
    delta: bool


@dataclass(slots=True)
class Recorder:
    """Keeps what an engine tells its node."""

    publications: list[Told] = field(default_factory=list[Told])
    joins: list[tuple[str, ClientInfo]] = field(default_factory=list[tuple[str, ClientInfo]])
    leaves: list[tuple[str, ClientInfo]] = field(default_factory=list[tuple[str, ClientInfo]])
    controls: list[bytes] = field(default_factory=list[bytes])
    available: list[bool] = field(default_factory=list[bool])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_publication(
        self, channel: str, publication: Publication, position: Position, previous: int, delta: bool
    ) -> None:
        """Keep it."""
        self.publications.append(Told(channel, publication, position, previous, delta))
        self.changed.set()

    def on_join(self, channel: str, info: ClientInfo) -> None:
        """Keep it."""
        self.joins.append((channel, info))
        self.changed.set()

    def on_leave(self, channel: str, info: ClientInfo) -> None:
        """Keep it."""
        self.leaves.append((channel, info))
        self.changed.set()

    def on_control(self, data: bytes) -> None:
        """Keep it."""
        self.controls.append(data)
        self.changed.set()

    def on_available(self, available: bool) -> None:
        """Keep it."""
        self.available.append(available)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was told fulfils a condition; a few seconds at most."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class ManualClock:
    """A clock that stands still until it is moved."""

    __slots__ = ("now",)

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time."""
        return self.now

    async def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Node(NamedTuple):
    """An engine that runs, and what it tells."""

    engine: Engine
    events: Recorder


@dataclass(slots=True, kw_only=True)
class Bench:
    """How the checks get at an engine.

    Attributes:
        make: makes one that is not started, whose logs are empty.
        advance: lets time pass for it: moves its clock, or sleeps. Checks ask for whole seconds, and allow
            what is kept for *n* seconds to be there for up to *n* + 1.
        peer: makes another one that shares everything with the one that was made last, for the checks of
            several nodes; None: the engine has one node only.
    """

    make: Callable[[], Engine]
    advance: Callable[[float], Awaitable[None]]
    peer: Callable[[], Engine] | None = None

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncGenerator[tuple[Engine, Recorder]]:
        """An engine that runs until the block ends, and what it tells."""
        async with _running(self.make(), "contract") as running:
            yield running

    @contextlib.asynccontextmanager
    async def nodes(self) -> AsyncGenerator[tuple[Node, Node]]:
        """Two nodes, ``"one"`` and ``"two"``, on the same logs; they run until the block ends."""
        assert self.peer is not None, "the bench makes no second node: give it a peer"
        async with _running(self.make(), "one") as one, _running(self.peer(), "two") as two:
            yield Node(*one), Node(*two)


@contextlib.asynccontextmanager
async def _running(engine: Engine, node: str) -> AsyncGenerator[tuple[Engine, Recorder]]:
    events = Recorder()
    await engine.start(events, node=node)
    try:
        yield engine, events
    finally:
        await engine.close()


Check = Callable[[Bench], Awaitable[None]]
"""Raises :exc:`AssertionError` where a promise is not kept."""
