"""A hub, some clients, and what has to be true of them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from everwire.channels.context import Context, Credentials
from everwire.channels.engine import Position
from everwire.channels.hub import Hub
from everwire.engines.contract import ManualClock
from model.client import Client, Lost, payload
from model.link import LocalLink
from model.server_side import ListeningClient, ServerSideClient
from model.unsteady import UnsteadyEngine

CHANNELS = ("one", "two")
KINDS = (
    "json",
    "protobuf",
    "json delta",
    "protobuf delta compact",
    "json filter compact",
    "protobuf delta filter",
    "json served",
    "protobuf served filter",
    "json listens",
    "json listens filter",
)
"""Formats of clients, with what they wish for. *served*: the server subscribes them. *listens*: likewise, and
all that comes are pushes."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens: what, to which client, in which channel."""

    what: str
    client: int
    channel: str


class World:
    """Clients over links of their own to one hub, whose logs are small.

    Attributes:
        kinds: of links, one for each client.
    """

    kinds: tuple[str, ...] = KINDS

    def __init__(self, seed: int, *, history: int = 4, ttl: float = 60.0) -> None:
        self.clock = ManualClock()
        self.engine = UnsteadyEngine(random.Random(seed), clock=self.clock)
        self.hub = self.make_hub(presence_ttl=1e6, recovery_max_publication_limit=0)
        self.hub.clock = self.clock
        self.hub.namespace(
            "",
            history=history,
            ttl=ttl,
            presence=True,
            join_leave=True,
            allow_subscribe_for_client=True,
            allow_publish_for_client=True,
            allow_presence_for_client=True,
            allowed_delta_types=["fossil"],
            allow_channel_compaction=True,
        )
        self.hub.on_connect(self._connect)
        self.links: list[Any] = []
        self.clients = [self._client(f"u{number}", *kind.split()) for number, kind in enumerate(self.kinds)]
        self.online = set[int]()
        self.acknowledged: list[tuple[str, int]] = []
        self._value = 0

    def _client(self, user: str, kind: str, *wishes: str) -> Client:
        opener = self.opener(kind)
        if "listens" in wishes:
            return ListeningClient(user, opener, self._judge, wishes, hub=self.hub)
        if "served" in wishes:
            return ServerSideClient(user, opener, self._judge, wishes, hub=self.hub)
        return Client(user, opener, self._judge, wishes)

    async def _connect(self, ctx: Context) -> Credentials:
        return Credentials(user=ctx.data)

    def make_hub(self, **options: Any) -> Hub:
        """The hub of this world."""
        return Hub(self.engine, **options)

    def opener(self, kind: str) -> Callable[[Client], Awaitable[Any]]:
        """What opens the links of a client."""

        async def open_link(client: Client) -> LocalLink:
            link = LocalLink(self.hub, client, kind)
            self.links.append(link)
            return link

        return open_link

    def _judge(self, channel: str, since: Position, recovered: bool) -> None:
        """What is still in the log was there when it was read, so it had to be recovered."""
        if not recovered:
            assert not self.engine.has_all_since(channel, since), "it could have been recovered"

    # What happens

    async def together(self, acts: Sequence[Act]) -> None:
        """Have things happen at the same time."""
        for outcome in await asyncio.gather(*map(self.act, acts), return_exceptions=True):
            if outcome is not None and not isinstance(outcome, Lost):
                raise outcome

    async def act(self, act: Act) -> None:
        """Have one thing happen, soon."""
        client, channel = self.clients[act.client], act.channel
        for _ in range(self.engine.chance.randrange(20)):
            await asyncio.sleep(0)
        match act.what:
            case "publish":
                await self.publish(channel)
            case "publish twice":
                await self.publish(channel, idempotency_key=f"k{self._value}")
            case "publish as client":
                if client.link is not None:
                    value = self._next()
                    await client.publish(channel, value)
                    self.acknowledged.append((channel, value))
            case "subscribe":
                self.online.add(act.client)
                await client.connect()
                await client.subscribe(channel)
            case "unsubscribe":
                await client.unsubscribe(channel)
            case "cut":
                self.online.discard(act.client)
                await client.cut()
            case "return":
                self.online.add(act.client)
                await client.connect()
            case "kick":
                await self.hub.disconnect(client.user, code=3011)
            case "unsubscribe by server":
                await self.hub.unsubscribe(client.user, channel)
            case "invalidate":
                await self.hub.unsubscribe(client.user, channel, code=2502)
            case _:
                raise AssertionError(act.what)

    def _next(self) -> int:
        self._value += 1
        return self._value

    async def publish(self, channel: str, *, idempotency_key: str = "") -> None:
        """Publish the next value; with a key, as somebody does who did not get the answer."""
        value = self._next()
        options: dict[str, Any] = {
            "idempotency_key": idempotency_key,
            "tags": {"parity": str(value % 2)},
            "delta": value % 5 > 0,
        }
        position = await self.hub.publish(channel, payload(value), **options)
        if idempotency_key:
            again = await self.hub.publish(channel, payload(value), **options)
            assert again == position
        assert self.engine.ledger[channel][position.offset] == value
        self.acknowledged.append((channel, value))

    # What has to be true

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        async with asyncio.timeout(10):
            while self.engine.pending or self.hub._tasks or not all(link.is_idle for link in self.links):
                await asyncio.sleep(0)

    async def settle(self) -> None:
        """Let everything come to rest; all who are online are connected then, and have what they want."""
        await self.idle()
        # As when an engine is back: whether something was missed is looked for.
        await self.hub.positions.check(grace=0)
        await self.idle()
        for number, client in enumerate(self.clients):
            if number in self.online or client.link is not None:
                await client.connect()
        await self.idle()
        self.check()
        await self.check_presence()

    def check(self) -> None:
        """Check what everybody has got."""
        for link in self.links:
            if link.error is not None:
                raise link.error
        for channel in CHANNELS:
            ledger = self.engine.ledger.get(channel, {})
            values = list(ledger.values())
            assert list(ledger) == list(range(1, len(ledger) + 1))
            assert len(set(values)) == len(values), "something was published twice"
            acknowledged = {value for name, value in self.acknowledged if name == channel}
            assert acknowledged <= set(values), "something that was acknowledged is not in the log"
            for client in self.clients:
                self.check_client(client, channel, ledger)

            if not self.engine.lost:
                assert not client.insufficient, "it was told that something was lost, and nothing was"

    def check_client(self, client: Client, channel: str, ledger: dict[int, Any]) -> None:
        """Check what one client has got of a channel."""
        wanted = [
            offset for offset in ledger if "filter" not in client.wishes or ledger[offset] in self.engine.even
        ]
        last = 0
        for segment in client.segments.get(channel, ()):
            assert segment.start.offset >= last, "it was put back to where it had been"
            after = [offset for offset in wanted if offset > segment.start.offset]
            expected = after[: len(segment.got)]
            assert [offset for offset, _ in segment.got] == expected, (
                f"a gap, or another order, for {client.user} in {channel}"
            )
            assert [value for _, value in segment.got] == [ledger[offset] for offset in expected]
            last = segment.position.offset
        if client.link is not None:
            assert client.live == client.wanted
            if channel in client.live:
                assert not any(offset > last for offset in wanted), "it lags behind"

    async def check_presence(self) -> None:
        """Check who is where, as the hub, the engine and the clients see it."""
        for channel in CHANNELS:
            there = {each.client: each.user for each in self.clients if channel in each.live}
            presence = await self.hub.presence(channel)
            assert {info.client: info.user for info in presence.values()} == there
            for client in self.clients:
                if channel in client.live and channel in client.members:
                    members = {info.client: info.user for info in client.members[channel].values()}
                    assert members == there, f"joins and leaves tell otherwise to {client.user} in {channel}"
        count = sum(client.link is not None for client in self.clients)
        assert self.hub.info().clients == count

    async def start(self) -> None:
        """Begin."""
        await self.hub.start()

    async def close(self) -> None:
        """End it."""
        await self.hub.close()
