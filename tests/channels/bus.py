"""Several nodes in one process: engines that share the log of one in memory, and a bus between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from everwire.channels.engine import EngineEvents, EngineHealth, Position
from everwire.channels.hub import Hub
from everwire.engines.memory import MemoryEngine
from everwire.errors import EngineError
from everwire.wire.messages import ClientInfo, Publication


class Bus:
    """What the nodes have in common.

    Attributes:
        log: the engine that has it all.
        engines: of the nodes that are there, by node.
    """

    def __init__(self) -> None:
        self.log = MemoryEngine()
        self.engines: dict[str, BusEngine] = {}

    def engine(self) -> BusEngine:
        """An engine for one more node."""
        return BusEngine(self)

    def _followers(self, channel: str) -> list[EngineEvents]:
        there = list(self.engines.values())
        return [engine.events for engine in there if channel in engine.followed and engine.is_up]

    # What the log tells

    def on_publication(
        self, channel: str, publication: Publication, position: Position, previous: int, delta: bool
    ) -> None:
        for events in self._followers(channel):
            events.on_publication(channel, publication, position, previous, delta)

    def on_join(self, channel: str, info: ClientInfo) -> None:
        for events in self._followers(channel):
            events.on_join(channel, info)

    def on_leave(self, channel: str, info: ClientInfo) -> None:
        for events in self._followers(channel):
            events.on_leave(channel, info)

    def on_control(self, data: bytes) -> None:
        raise AssertionError("the log sends nothing")

    def on_available(self, available: bool) -> None:
        raise AssertionError("the log is always there")


class BusEngine:
    """The engine of one node.

    Attributes:
        followed: the channels that it follows.
        is_up: whether the log can be reached; :meth:`cut` and :meth:`mend` say so to the node.
        mute: nodes to which nothing of this one gets through.
        loses: one of so many messages to other nodes, if it is not 0.
        lost: how many were.
        sent: the messages that this node has sent to others.
        reads: how often the log was read.
    """

    name = "bus"
    FORWARDED = frozenset(
        {
            "add_presence",
            "channels",
            "history",
            "presence",
            "presence_stats",
            "publish",
            "publish_join",
            "publish_leave",
            "remove_history",
            "remove_presence",
        }
    )

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.followed: set[str] = set()
        self.is_up = True
        self.mute: set[str] = set()
        self.loses = self.lost = 0
        self.sent: list[bytes] = []
        self.reads = 0
        self.node = ""
        self.events: Any = None

    def __getattr__(self, name: str) -> Any:
        if name not in self.FORWARDED:
            raise AttributeError(name)
        self._check()
        self.reads += name == "history"
        return getattr(self.bus.log, name)

    def _check(self) -> None:
        if not self.is_up:
            raise EngineError("the bus cannot be reached")

    async def start(self, events: EngineEvents, *, node: str) -> None:
        self._check()
        if not self.bus.engines:
            await self.bus.log.start(self.bus, node=node)
        self.node, self.events = node, events
        self.bus.engines[node] = self

    async def close(self) -> None:
        self.bus.engines.pop(self.node, None)
        if not self.bus.engines:
            await self.bus.log.close()

    async def subscribe(self, channel: str) -> None:
        self._check()
        self.followed.add(channel)
        await self.bus.log.subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        self._check()
        self.followed.discard(channel)
        if not any(channel in engine.followed for engine in self.bus.engines.values()):
            await self.bus.log.unsubscribe(channel)

    async def control(self, data: bytes, *, node: str = "") -> None:
        self._check()
        self.sent.append(data)
        if self.loses and not len(self.sent) % self.loses:
            self.lost += 1
            return
        loop = asyncio.get_running_loop()
        for other, engine in list(self.bus.engines.items()):
            if engine is not self and node in ("", other) and engine.is_up and other not in self.mute:
                loop.call_soon(engine.events.on_control, data)

    async def health(self) -> EngineHealth:
        return EngineHealth(self.is_up, "" if self.is_up else "the bus cannot be reached")

    def cut(self) -> None:
        """The log cannot be reached from here any more."""
        self.is_up = False
        self.events.on_available(False)

    def mend(self) -> None:
        """It can be, again."""
        self.is_up = True
        self.events.on_available(True)


@asynccontextmanager
async def nodes(count: int = 2, *, kind: Any = Hub, **options: Any) -> AsyncIterator[list[Any]]:
    """Hubs of one cluster that know each other."""
    bus = Bus()
    options = {"insecure": True, "node_info_interval": 0.5, "survey_timeout": 5.0, **options}
    async with AsyncExitStack() as stack:
        hubs: list[Any] = []
        for _ in range(count):
            hub = kind(bus.engine(), **options)
            hub.namespace("", history=20, ttl=300, presence=True, force_push_join_leave=True, join_leave=True)
            hubs.append(await stack.enter_async_context(hub))
        await acquainted(*hubs)
        yield hubs


async def acquainted(*hubs: Any) -> None:
    """Wait until all know all."""
    async with asyncio.timeout(5):
        while not all(len(hub.cluster.members) == len(hubs) - 1 for hub in hubs):
            await asyncio.sleep(0.002)
