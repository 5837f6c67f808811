"""A node is drained, and all of its clients come back to the other. It needs Linux and nats-server.

    python bench/drain.py [--clients 10000] [--channels 100] [--spread 20] [--engine nats://HOST]

Two nodes share an engine, and each is a process of its own; so are those that hold the clients, which all
connect to the first node, each following one channel. While somebody publishes into all channels, the first
node is drained. Clients come back to the second one as SDKs do: after 0.5 seconds and up to half a second
more, and later from then on if that fails, and ask for what they have missed. Each publication has a number,
so that a client sees what is missing. Printed is how evenly they came, how long each was away, what was lost,
and how many reads of the engine that took.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import uvloop

import everwire
import everwire.asgi
from everwire.cli.embedded import EmbeddedServer
from everwire.errors import EverwireError

HOLDERS = 4
"""Processes of clients."""
AT_ONCE = 50
"""Clients of one process that connect at once in the beginning."""
BACK, LONGEST = 0.5, 20.0
"""Seconds: the least and the most that a client waits before it comes back."""
PACE = 0.5
"""Seconds between two publications of a channel."""
SLOT = 0.5
"""Seconds in which arrivals are counted together."""

spawn = multiprocessing.get_context("spawn")


async def node(pipe: Pipe, engine: str) -> None:
    """A node that does what it is told, and says what it counts."""
    hub = everwire.Hub(engine, allow_anonymous_connect_without_token=True)
    hub.namespace("", history=200, allow_subscribe_for_anonymous=True, allow_subscribe_for_client=True)
    async with everwire.asgi.serve(
        hub, "127.0.0.1", 0, access_log=False, compression=None, backlog=4096
    ) as server:
        pipe.send(server.port)
        loop = asyncio.get_running_loop()
        while (order := await loop.run_in_executor(None, pipe.recv)) is not None:
            if order == "counts":
                counts = hub.counts
                pipe.send((counts.engine_reads, counts.recovered, counts.unrecovered, hub.open_sessions))
            elif isinstance(order, list):
                await asyncio.gather(*(hub.publish(channel, number) for channel, number in order))
                pipe.send(len(order))
            else:
                await hub.drain(spread=order)
                pipe.send("drained")


class Follower(everwire.Listener):
    """A client: it follows one channel, and comes back to the second node when the first sends it away."""

    def __init__(self, crowd: Crowd, channel: str) -> None:
        self.crowd = crowd
        self.channel = channel
        self.position: tuple[int, str] | None = None
        self.last: int | None = None
        self.left = 0.0
        self.attempts = 0

    async def come(self, port: int) -> None:
        """Connect; again, later each time, if that fails."""
        while True:
            try:
                await everwire.connect(
                    f"ws://127.0.0.1:{port}/connection/websocket",
                    listener=self,
                    proxy=None,
                    compression=None,
                    ping_interval=None,
                    open_timeout=30,
                )
                return
            except (OSError, EverwireError) as error:
                self.crowd.errors[type(error).__name__] += 1
                await asyncio.sleep(self.delay())

    def delay(self) -> float:
        most = min(BACK * 2.0**self.attempts, LONGEST)
        self.attempts += 1
        return BACK + random.random() * most

    def on_open(self, ws: everwire.Connection) -> None:
        subscribe: dict[str, Any] = {"channel": self.channel}
        if self.position is not None:
            subscribe |= {"recover": True, "offset": self.position[0], "epoch": self.position[1]}
        commands = ({"id": 1, "connect": {}}, {"id": 2, "subscribe": subscribe})
        ws.send_nowait("\n".join(map(json.dumps, commands)))

    def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
        for line in message.splitlines():
            reply = json.loads(line)
            if not reply:
                ws.send_nowait("{}")
            elif "push" in reply:
                self.take(reply["push"].get("pub"))
            elif "error" in reply:
                self.crowd.errors[reply["error"]["message"]] += 1
            elif (result := reply.get("subscribe")) is not None:
                self.subscribed(result)

    def subscribed(self, result: dict[str, Any]) -> None:
        if self.position is None:
            self.position = result.get("offset", 0), result["epoch"]
        else:
            self.crowd.unrecovered += not result.get("recovered", False)
            self.crowd.away.append(time.monotonic() - self.left)
            self.crowd.back.append(time.monotonic())
            for publication in result.get("publications", ()):
                self.take(publication)
        self.crowd.ready += 1
        self.crowd.news.set()

    def take(self, publication: dict[str, Any] | None) -> None:
        if publication is None or self.position is None:
            return
        number = publication["data"]
        if self.last is not None and number != self.last + 1:
            self.crowd.wrong += 1
        self.last = number
        self.position = publication["offset"], self.position[1]

    def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
        if self.crowd.over:
            return
        self.left = time.monotonic()
        self.crowd.codes[code] += 1
        self.attempts = 0
        self.crowd.spawn(self.come_back())

    async def come_back(self) -> None:
        await asyncio.sleep(self.delay())
        await self.come(self.crowd.second)


class Crowd:
    """The clients of one process."""

    def __init__(self, second: int) -> None:
        self.second = second
        self.errors: collections.Counter[str] = collections.Counter()
        self.codes: collections.Counter[int] = collections.Counter()
        self.away: list[float] = []
        self.back: list[float] = []
        self.ready = self.wrong = self.unrecovered = 0
        self.over = False
        self.news = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def until(self, ready: int) -> None:
        while self.ready < ready:
            self.news.clear()
            await self.news.wait()


async def hold(pipe: Pipe, first: int, second: int, channels: list[str]) -> None:
    """Hold clients: all come to the first node, and when it is drained to the second."""
    crowd = Crowd(second)
    followers = iter([Follower(crowd, channel) for channel in channels])

    async def come() -> None:
        for follower in followers:
            await follower.come(first)

    await asyncio.gather(*(come() for _ in range(AT_ONCE)))
    await crowd.until(len(channels))
    pipe.send(crowd.ready)
    await crowd.until(2 * len(channels))
    pipe.send("back")
    await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
    crowd.over = True
    last = collections.Counter(crowd.codes)
    pipe.send((crowd.errors, last, crowd.away, crowd.back, crowd.wrong, crowd.unrecovered))


def child(work: Callable[..., Awaitable[None]], pipe: Pipe, *arguments: Any) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(pipe, *arguments))


class Child:
    """A process, and the pipe to it."""

    def __init__(self, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        self.pipe, theirs = spawn.Pipe()
        self.process = spawn.Process(target=child, args=(work, theirs, *arguments), daemon=True)
        self.process.start()

    async def hear(self) -> Any:
        """What it says next."""
        return await asyncio.get_running_loop().run_in_executor(None, self.pipe.recv)

    async def ask(self, order: Any) -> Any:
        """Tell it something, and wait for what it says."""
        self.pipe.send(order)
        return await self.hear()


async def run(arguments: argparse.Namespace, engine: str) -> dict[str, Any]:
    """Drain one node of two."""
    channels = [f"c{number}" for number in range(arguments.channels)]
    nodes = [Child(node, engine) for _ in range(2)]
    first, second = [await each.hear() for each in nodes]
    share = arguments.clients // HOLDERS
    begun = time.monotonic()
    holders = [
        Child(hold, first, second, [channels[number % len(channels)] for number in range(share)])
        for _ in range(HOLDERS)
    ]
    connected = sum([await each.hear() for each in holders])
    opening = time.monotonic() - begun
    published, publishing = 0, True

    async def publish() -> None:
        nonlocal published
        while publishing:
            due = time.monotonic() + PACE
            published += 1
            await nodes[1].ask([(channel, published) for channel in channels])
            await asyncio.sleep(max(due - time.monotonic(), 0))

    publisher = asyncio.create_task(publish())
    await asyncio.sleep(3 * PACE)
    draining = time.monotonic()
    nodes[0].pipe.send(arguments.spread)
    for each in holders:
        await each.hear()
    all_back = time.monotonic() - draining
    await asyncio.sleep(3 * PACE)
    publishing = False
    await publisher
    await asyncio.sleep(1)
    assert await nodes[0].hear() == "drained"
    reads, recovered, unrecovered, there = await nodes[1].ask("counts")
    told = [await each.ask("end") for each in holders]
    errors: collections.Counter[str] = sum((each[0] for each in told), collections.Counter())
    codes: collections.Counter[int] = sum((each[1] for each in told), collections.Counter())
    away = sorted(seconds for each in told for seconds in each[2])
    slots = collections.Counter(int((at - draining) / SLOT) for each in told for at in each[3])
    for each in (*nodes, *holders):
        each.process.kill()
        each.process.join()
    return {
        "clients": connected,
        "spread_seconds": arguments.spread,
        "opening_seconds": round(opening, 1),
        "all_back_seconds": round(all_back, 2),
        "arrivals_a_second": {
            "mean": round(connected / all_back),
            "most": round(max(slots.values()) / SLOT),
        },
        "away_seconds": {
            "p50": round(statistics.median(away), 3),
            "p99": round(away[int(len(away) * 0.99)], 3),
            "max": round(away[-1], 3),
        },
        "codes": dict(codes),
        "errors": dict(errors),
        "there": there,
        "recovered": recovered,
        "unrecovered": unrecovered + sum(each[5] for each in told),
        "gaps_or_doubles": sum(each[4] for each in told),
        "published": published * len(channels),
        "engine_reads": reads,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description="Drain a node whose clients come back to the other.")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--channels", type=int, default=100)
    parser.add_argument("--spread", type=float, default=20.0)
    parser.add_argument("--engine", default="", help="default: a nats-server of its own")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder))
        try:
            print(json.dumps(await run(arguments, arguments.engine or await server.url()), indent=2))
        finally:
            await server.close()


if __name__ == "__main__":
    asyncio.run(main())
