"""An engine that takes its time, differently each time, and can lose what it should have told."""

from __future__ import annotations

import asyncio
import collections
import random
from collections.abc import Callable
from typing import Any

import msgspec

from everwire.channels.engine import EngineEvents, HistoryPage, LogOptions, Position, PublishOutcome
from everwire.engines.memory import MemoryEngine
from everwire.wire.messages import ClientInfo, Publication


class UnsteadyEvents:
    """Between an engine and its node: tells later, in order, and leaves out what is to be lost."""

    def __init__(self, events: EngineEvents, engine: UnsteadyEngine) -> None:
        self._events = events
        self._engine = engine

    def on_publication(
        self, channel: str, publication: Publication, position: Position, previous: int, delta: bool
    ) -> None:
        if channel in self._engine.losing:
            self._engine.losing.discard(channel)
            self._engine.lost += 1
            return
        self._engine.later(self._events.on_publication, channel, publication, position, previous, delta)

    def on_join(self, channel: str, info: ClientInfo) -> None:
        self._engine.later(self._events.on_join, channel, info)

    def on_leave(self, channel: str, info: ClientInfo) -> None:
        self._engine.later(self._events.on_leave, channel, info)

    def on_control(self, data: bytes) -> None:
        raise AssertionError("there is no other node")

    def on_available(self, available: bool) -> None:
        raise AssertionError("it is always there")


class UnsteadyEngine(MemoryEngine):
    """Answers after a random number of turns of the loop; so do its events, which stay in order.

    Attributes:
        chance: where the numbers come from.
        losing: channels whose next event is lost.
        lost: events that were lost.
        times: how often a channel was followed, and then not.
        pending: events that were not told yet.
        even: values that are tagged as even.
        ledger: all that was ever put into the log of a channel, by offset.
    """

    def __init__(self, chance: random.Random, **options: Any) -> None:
        super().__init__(**options)
        self.chance = chance
        self.losing: set[str] = set()
        self.lost = 0
        self.ledger: dict[str, dict[int, int]] = {}
        self.even: set[int] = set()
        self.times: dict[str, int] = {}
        self.pending: collections.deque[tuple[Callable[..., None], str, tuple[Any, ...], int]] = (
            collections.deque()
        )
        self._more = asyncio.Event()
        self._teller: asyncio.Task[None] | None = None

    async def start(self, events: EngineEvents, *, node: str) -> None:
        await super().start(UnsteadyEvents(events, self), node=node)
        self._teller = asyncio.get_running_loop().create_task(self._tell())

    async def close(self) -> None:
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.wait([self._teller])
        await super().close()

    async def _tell(self) -> None:
        while True:
            await self._more.wait()
            await self._wait(3)
            event, channel, args, times = self.pending[0]
            # Once a channel is not followed any more, nothing of it is told.
            if times == self.times.get(channel, 0):
                event(channel, *args)
            self.pending.popleft()
            if not self.pending:
                self._more.clear()

    def later(self, event: Callable[..., None], channel: str, *args: Any) -> None:
        """Tell something of a channel, after what was to be told before."""
        self.pending.append((event, channel, args, self.times.get(channel, 0)))
        self._more.set()

    async def _wait(self, most: int = 6) -> None:
        for _ in range(self.chance.randrange(most)):
            await asyncio.sleep(0)

    async def subscribe(self, channel: str) -> None:
        await self._wait()
        await super().subscribe(channel)
        await self._wait()

    async def unsubscribe(self, channel: str) -> None:
        await self._wait()
        await super().unsubscribe(channel)
        self.times[channel] = self.times.get(channel, 0) + 1
        await self._wait()

    async def publish(self, channel: str, publication: Publication, **options: Any) -> PublishOutcome:
        await self._wait()
        outcome = await super().publish(channel, publication, **options)
        if not outcome.duplicate and outcome.position.offset:
            value = msgspec.json.decode(publication.data)["value"]
            self.ledger.setdefault(channel, {})[outcome.position.offset] = value
            if publication.tags == {"parity": "0"}:
                self.even.add(value)
        await self._wait()
        return outcome

    async def history(self, channel: str, **options: Any) -> HistoryPage:
        await self._wait()
        page = await super().history(channel, **options)
        await self._wait()
        return page

    async def add_presence(self, channel: str, info: ClientInfo, *, ttl: float) -> None:
        await self._wait()
        await super().add_presence(channel, info, ttl=ttl)
        await self._wait()

    async def remove_presence(self, channel: str, client: str) -> None:
        await self._wait()
        await super().remove_presence(channel, client)
        await self._wait()

    async def publish_join(self, channel: str, info: ClientInfo) -> None:
        await self._wait()
        await super().publish_join(channel, info)

    async def publish_leave(self, channel: str, info: ClientInfo) -> None:
        await self._wait()
        await super().publish_leave(channel, info)

    def has_all_since(self, channel: str, since: Position) -> bool:
        """Whether nothing after a position is missing in the log, just now."""
        log = self._logs.get(channel)
        if log is None or since.epoch not in ("", log.top.epoch):
            return False
        log.expire(self._clock())
        return log.first <= since.offset + 1 <= log.top.offset + 1

    def top(self, channel: str) -> Position:
        """The position of the newest publication."""
        return self._log(channel, LogOptions(size=1, ttl=1), self._clock()).top
