"""Nodes as processes: one publishes, others follow; each counts what comes and its own processor time."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple

from .backends import BACKENDS, Publish, Running
from .process import Failed

FILLING = "x" * 44
"""With the time and the quotes of JSON, 64 bytes."""
QUIET = 1.0
"""Seconds without a message after which nothing more is expected."""


class Traffic(NamedTuple):
    """What is published: for *seconds*, over so many channels.

    *rate*: publications a second, begun whether or not those before are through; 0: as fast as *at_once*
    publishers can that wait for each other's acknowledgement.
    """

    channels: int
    seconds: float
    at_once: int = 1
    rate: float = 0.0

    @property
    def names(self) -> list[str]:
        return [f"c{number}" for number in range(self.channels)]


class Follower:
    """Counts what comes, and how long each was on its way."""

    def __init__(self) -> None:
        self.ages: list[float] = []
        self.last = 0.0

    def told(self, text: str) -> None:
        if text.startswith("w"):
            return  # to warm up
        self.last = time.monotonic()
        self.ages.append(self.last - float(text[:18]))

    async def all(self, expected: int) -> dict[str, float]:
        """Wait for so many, or until nothing comes any more."""
        seen, since = -1, 0.0
        while len(self.ages) < expected:
            if seen != len(self.ages):
                seen, since = len(self.ages), time.monotonic()
            elif time.monotonic() - since > QUIET:
                break
            await asyncio.sleep(0.02)
        ages = sorted(self.ages) or [0.0]
        return {
            "came": len(self.ages),
            "last": self.last,
            "p50_ms": ages[len(ages) // 2] * 1e3,
            "p99_ms": ages[len(ages) * 99 // 100] * 1e3,
        }


async def warm_up(publish: Publish, traffic: Traffic) -> None:
    """Have everything there that is made when it is first needed."""
    names = traffic.names
    for first in range(0, len(names), 100):
        await asyncio.gather(*(publish(name, "w") for name in names[first : first + 100]))
    await asyncio.sleep(0.2)


async def send(publish: Publish, traffic: Traffic) -> tuple[int, float, float, float]:
    """Publish; how many, from when until when, and the processor time of this process meanwhile."""
    names = traffic.names
    count = 0
    begin, spent = time.monotonic(), time.process_time()
    end = begin + traffic.seconds

    async def work() -> None:
        nonlocal count
        while (now := time.monotonic()) < end:
            name = names[count % len(names)]
            count += 1
            await publish(name, f"{now:018.9f}{FILLING}")

    async def one(name: str) -> None:
        await publish(name, f"{time.monotonic():018.9f}{FILLING}")

    if traffic.rate:
        tasks: list[asyncio.Task[None]] = []
        while (due := begin + count / traffic.rate) < end:
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            tasks.append(asyncio.create_task(one(names[count % len(names)])))
            count += 1
        await asyncio.gather(*tasks)
    else:
        await asyncio.gather(*(work() for _ in range(traffic.at_once)))
    return count, begin, time.monotonic(), time.process_time() - spent


async def follow(pipe: Pipe, kind: str, url: str, traffic: Traffic) -> None:
    """A process that follows."""
    loop = asyncio.get_running_loop()
    follower = Follower()
    async with BACKENDS[kind].open(url, traffic.names, follower.told):
        pipe.send("ready")
        await loop.run_in_executor(None, pipe.recv)  # it begins
        spent = time.process_time()
        expected = await loop.run_in_executor(None, pipe.recv)
        found = await follower.all(expected)
        pipe.send({**found, "cpu": time.process_time() - spent})
        await loop.run_in_executor(None, pipe.recv)


async def publish(pipe: Pipe, kind: str, url: str, traffic: Traffic) -> None:
    """The process that publishes."""
    async with BACKENDS[kind].open(url, [], lambda text: None) as publish:
        await warm_up(publish, traffic)
        pipe.send("ready")
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        pipe.send(await send(publish, traffic))


async def alone(pipe: Pipe, kind: str, url: str, traffic: Traffic) -> None:
    """A process that does both."""
    follower = Follower()
    async with BACKENDS[kind].open(url, traffic.names, follower.told) as publish:
        await warm_up(publish, traffic)
        pipe.send("ready")
        pipe.recv()
        sent = await send(publish, traffic)
        pipe.send((sent, await follower.all(sent[0])))


def child(pipe: Pipe, role: Callable[..., Any], *arguments: Any) -> None:
    import uvloop

    try:
        uvloop.run(role(pipe, *arguments))
    except BaseException as error:
        pipe.send(f"{type(error).__name__}: {error}")


class Node:
    """One of these processes."""

    def __init__(self, role: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=child, args=(there, role, *arguments), daemon=True)
        self.process.start()
        there.close()

    def ask(self, word: Any = None) -> None:
        self.pipe.send(word)

    def answer(self, timeout: float = 60) -> Any:
        if not self.pipe.poll(timeout):
            raise Failed("a node did not answer in time")
        try:
            answer = self.pipe.recv()
        except EOFError:
            raise Failed("a node ended") from None
        if isinstance(answer, str) and answer != "ready":
            raise Failed(answer)
        return answer

    def end(self) -> None:
        self.process.terminate()
        self.process.join()


def exchange(kind: str, server: Running, traffic: Traffic, followers: int = 1) -> dict[str, float]:
    """One run: rates a second, microseconds of processor time a publication, milliseconds of delay.

    Raises Failed.
    """
    arguments = (kind, server.url, traffic)
    if BACKENDS[kind].alone:
        node = Node(alone, *arguments)
        try:
            node.answer()
            node.ask()
            (count, begin, end, spent), found = node.answer()
            return _figures(count, begin, end, {"publisher_us": spent / count * 1e6}, [found])
        finally:
            node.end()
    nodes = [Node(follow, *arguments) for _ in range(followers)]
    try:
        for node in nodes:
            node.answer()
        nodes.append(publisher := Node(publish, *arguments))
        publisher.answer()
        used = server.spent()
        for node in nodes:
            node.ask()
        count, begin, end, spent = publisher.answer()
        for node in nodes[:-1]:
            node.ask(count)
        found = [node.answer() for node in nodes[:-1]]
        cpu = {
            "publisher_us": spent / count * 1e6,
            "server_us": (server.spent() - used) / count * 1e6,
            "follower_us": sum(each["cpu"] / max(1, each["came"]) for each in found) / followers * 1e6,
        }
        return _figures(count, begin, end, cpu, found)
    finally:
        for node in nodes:
            node.end()


def _figures(
    count: int, begin: float, end: float, cpu: dict[str, float], found: list[dict[str, float]]
) -> dict[str, float]:
    slowest = max(found, key=lambda each: each["last"] or float("inf"))
    return {
        "published_per_s": count / (end - begin),
        "delivered_per_s": slowest["came"] / max(1e-9, slowest["last"] - begin),
        **cpu,
        "p50_ms": slowest["p50_ms"],
        "p99_ms": slowest["p99_ms"],
        "lacking": sum(count - each["came"] for each in found),
    }
