"""Who publishes in a chaos run, and what is known of each publication."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import everwire
from chaos.followers import HOST
from everwire.channels.engine import Position

__all__ = ["Ledger", "Publication", "Publisher", "publish"]

Failed = (everwire.CommandError, everwire.Disconnected, TimeoutError)
AGAIN = 0.02
"""Seconds until a publication is tried again."""
BEHIND = 1.0
"""Seconds that a publisher may be behind its rate and make up for it; what is beyond is left out."""


@dataclass(slots=True)
class Publication:
    """What became of a value that was published.

    Attributes:
        channel: where.
        publisher: who.
        key: its idempotency key; with none, it is tried once.
        tries: how often it was tried.
        position: where it is, as it was acknowledged; None: it was not.
    """

    channel: str
    publisher: int
    key: str
    tries: int = 0
    position: Position | None = None


@dataclass(slots=True)
class Ledger:
    """All that was published, by value: values differ, and those of a publisher rise.

    Attributes:
        acknowledged: how many were.
        failed_at: when a try has failed last, in the time of the loop.
    """

    publications: dict[int, Publication] = field(default_factory=dict[int, Publication])
    acknowledged: int = 0
    failed_at: float = 0.0

    def add(self, publication: Publication) -> int:
        """A publication is about to be tried; its value."""
        value = len(self.publications)
        self.publications[value] = publication
        return value


async def publish(client: everwire.Client, ledger: Ledger, publication: Publication) -> None:
    """Publish until it is acknowledged, or, without a key, once."""
    value = ledger.add(publication)
    data = {"channel": publication.channel, "value": value, "key": publication.key}
    while publication.position is None:
        publication.tries += 1
        try:
            answer = await client.rpc("publish", data)
        except Failed:
            ledger.failed_at = asyncio.get_running_loop().time()
            if not publication.key:
                return
            await asyncio.sleep(AGAIN)
        else:
            publication.position = Position(answer["offset"], answer["epoch"])
            ledger.acknowledged += 1


class Publisher:
    """Publishes into channels that it draws, one after the other, half of it with idempotency keys.

    Parameters:
        port: of the node, or of a way to the nodes.
        number: which one it is.
        rate: publications a second that it tries to do.
        keys: whether all have keys.
        ping: seconds between two pings of the server.
    """

    def __init__(
        self,
        port: int,
        number: int,
        channels: Sequence[str],
        ledger: Ledger,
        *,
        rate: float,
        keys: bool,
        ping: float,
        seed: int,
    ) -> None:
        self._client = connect(port, ping)
        self._number = number
        self._channels = channels
        self._ledger = ledger
        self._rate = rate
        self._chance = random.Random(f"publisher {number} {seed}")
        self._keyed = keys or number % 2 == 0

    async def run(self, over: asyncio.Event) -> None:
        """Publish until it is over, and what was begun is acknowledged."""
        loop = asyncio.get_running_loop()
        async with self._client as client:
            due = loop.time() + self._chance.uniform(0, 1 / self._rate)
            count = 0
            while not over.is_set():
                await asyncio.sleep(max(0.0, due - loop.time()))
                due = max(due + 1 / self._rate, loop.time() - BEHIND)
                count += 1
                key = f"{self._number} {count}" if self._keyed else ""
                channel = self._chance.choice(self._channels)
                await publish(client, self._ledger, Publication(channel, self._number, key))


def connect(port: int, ping: float) -> everwire.Client:
    """A client for publishing, which gives up soon what is not answered."""
    return everwire.Client(
        f"ws://{HOST}:{port}/connection/websocket",
        timeout=1 + ping,
        open_timeout=1 + ping,
        ready_timeout=None,
        max_ping_delay=ping,
        min_reconnect_delay=0.05,
        max_reconnect_delay=0.3,
    )
