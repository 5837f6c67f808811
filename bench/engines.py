"""Engines between two nodes, beside what other libraries send through Redis. It needs Linux and redis-server.

    python bench/engines.py [--rounds 3] [--messages 20000] [--channels 1,10,1000] [--only redis,nats]

One process publishes messages of 64 bytes, another follows the channels. Both run on uvloop, and each counts
its own processor time. *at once*: how many publications are under way; with one, *p50* and *p99* are how
long it takes from the call to the event in the other process. Engines acknowledge what is in the log (of
1,000 publications a channel); the others keep nothing and acknowledge nothing. channels_redis and
python-socketio take part if they are installed (``pip install channels_redis python-socketio``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

FILLING = "x" * 44
"""With the time and the quotes of JSON, 64 bytes."""

Publish = Callable[[str, str], Awaitable[object]]
Told = Callable[[str], None]
"""What a follower does with the text of a message."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def redis_server() -> Iterator[str]:
    port = free_port()
    program = shutil.which("redis-server") or "redis-server"
    with running([program, "--bind", "127.0.0.1", "--port", str(port), "--save", ""], port):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def nats_server() -> Iterator[str]:
    port = free_port()
    program = shutil.which("nats-server") or str(Path(sys.executable).with_name("nats-server"))
    with (
        tempfile.TemporaryDirectory() as folder,
        running([program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder], port),
    ):
        yield f"nats://127.0.0.1:{port}"


class Events:
    """What an engine tells."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def on_publication(self, channel: str, publication: Any, *rest: Any) -> None:
        self._told(json.loads(bytes(publication.data)))

    def on_available(self, available: bool) -> None:
        assert available

    def on_join(self, channel: str, info: Any) -> None: ...
    def on_leave(self, channel: str, info: Any) -> None: ...
    def on_control(self, data: bytes) -> None: ...


@asynccontextmanager
async def engine(url: str, follow: list[str], told: Told) -> AsyncIterator[Publish]:
    """An engine of everwire."""
    import msgspec

    from everwire.channels.engine import LogOptions
    from everwire.engines import open_engine
    from everwire.wire.messages import Publication

    log = LogOptions(size=1000, ttl=300)
    used = open_engine(url)
    await used.start(Events(told), node="follower" if follow else "publisher")

    async def publish(channel: str, text: str) -> None:
        await used.publish(channel, Publication(data=msgspec.Raw(json.dumps(text).encode())), log=log)

    for name in follow:
        await used.subscribe(name)
    try:
        yield publish
    finally:
        await used.close()


@asynccontextmanager
async def channels_redis(url: str, follow: list[str], told: Told) -> AsyncIterator[Publish]:
    """The layer of Django Channels over pub/sub, the faster one."""
    from channels_redis.pubsub import RedisPubSubChannelLayer

    layer = RedisPubSubChannelLayer(hosts=[url])

    async def receive(name: str) -> None:
        while True:
            told((await layer.receive(name))["text"])

    tasks: list[asyncio.Task[None]] = []
    for group in follow:
        name = await layer.new_channel()
        await layer.group_add(group, name)
        tasks.append(asyncio.create_task(receive(name)))
    yield lambda channel, text: layer.group_send(channel, {"type": "message", "text": text})
    for task in tasks:
        task.cancel()
    await layer.flush()


@asynccontextmanager
async def socketio(url: str, follow: list[str], told: Told) -> AsyncIterator[Publish]:
    """The Redis manager of python-socketio: up to where it would send to its clients, without that."""
    import socketio as library

    class Manager(library.AsyncRedisManager):  # type: ignore[misc, name-defined]
        async def _handle_emit(self, message: dict[str, Any]) -> None:
            told(message["data"])

    manager = Manager(url, write_only=not follow)
    manager.set_server(library.AsyncServer(async_mode="asgi"))
    manager.initialize()
    await asyncio.sleep(0.5)  # it does not say when it listens
    yield lambda channel, text: manager._publish(
        {"method": "emit", "event": "m", "data": text, "namespace": "/", "room": channel, "host_id": "other"}
    )
    if getattr(manager, "thread", None) is not None:
        manager.thread.cancel()


KINDS: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
    "redis": (engine, redis_server),
    "nats": (engine, nats_server),
    "channels_redis": (channels_redis, redis_server),
    "python-socketio": (socketio, redis_server),
}


async def follow(pipe: Pipe, kind: str, url: str, channels: int, messages: int) -> None:
    """The process that follows: tell when all has come, how long each took, and what it cost."""
    loop = asyncio.get_running_loop()
    ages: list[float] = []
    done = asyncio.Event()

    def told(text: str) -> None:
        ages.append(time.monotonic() - float(text[:18]))
        if len(ages) == messages:
            done.set()

    async with KINDS[kind][0](url, [f"c{n}" for n in range(channels)], told):
        pipe.send("ready")
        spent = time.process_time()
        ended = loop.run_in_executor(None, pipe.recv)
        await asyncio.wait([asyncio.ensure_future(done.wait()), ended], return_when=asyncio.FIRST_COMPLETED)
        pipe.send((len(ages), time.monotonic(), time.process_time() - spent, ages))
        await ended


async def publish(pipe: Pipe, kind: str, url: str, channels: int, messages: int, at_once: int) -> None:
    """The process that publishes."""
    left = iter(range(messages))

    async def work() -> None:
        for number in left:
            await publish(f"c{number % channels}", f"{time.monotonic():018.9f}{FILLING}")

    async with KINDS[kind][0](url, [], lambda text: None) as publish:
        begin, spent = time.monotonic(), time.process_time()
        await asyncio.gather(*(work() for _ in range(at_once)))
        pipe.send((begin, time.monotonic(), time.process_time() - spent))


def child(pipe: Pipe, role: Callable[..., Any], *arguments: Any) -> None:
    try:
        import uvloop

        uvloop.run(role(pipe, *arguments))
    except ModuleNotFoundError as error:
        pipe.send(f"not installed: {error.name}")


def measure(kind: str, url: str, channels: int, messages: int, at_once: int) -> dict[str, float] | str:
    """One run: rates a second, microseconds of processor time a message, milliseconds of delay."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    follower = context.Process(target=child, args=(there, follow, kind, url, channels, messages))
    follower.start()
    answer = here.recv()
    if answer != "ready":
        follower.join()
        return str(answer)
    mine, theirs = context.Pipe()
    publisher = context.Process(target=child, args=(theirs, publish, kind, url, channels, messages, at_once))
    publisher.start()
    begin, published, spent = mine.recv()
    publisher.join()
    if not here.poll(30):
        here.send("enough")
    came, delivered, received, ages = here.recv()
    here.send("end")
    follower.join()
    ages = sorted(ages) or [0.0]
    return {
        "published": messages / (published - begin),
        "delivered": came / (delivered - begin),
        "publisher": spent / messages * 1e6,
        "follower": received / max(1, came) * 1e6,
        "p50": statistics.median(ages) * 1e3,
        "p99": ages[len(ages) * 99 // 100] * 1e3,
        "lacking": messages - came,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Engines between two nodes, beside others.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--channels", default="1,10,1000")
    parser.add_argument("--at-once", default="1,100,1000")
    parser.add_argument("--only", default=",".join(KINDS))
    parser.add_argument("--json", type=Path, help="a file for all samples")
    arguments = parser.parse_args()
    samples: list[dict[str, Any]] = []
    columns = ("published", "delivered", "publisher", "follower", "p50", "p99", "lacking")
    print(f"{'':16}{'channels':>9}{'at once':>8}" + "".join(f"{name:>11}" for name in columns))
    for channels in map(int, arguments.channels.split(",")):
        for at_once in map(int, arguments.at_once.split(",")):
            for kind in arguments.only.split(","):
                count = arguments.messages // (10 if at_once == 1 else 1)
                found: list[Any] = []
                for _ in range(arguments.rounds):
                    with KINDS[kind][1]() as url:
                        found.append(measure(kind, url, channels, count, at_once))
                    if isinstance(found[-1], str):
                        break
                label = f"{kind:16}{channels:>9}{at_once:>8}"
                if isinstance(found[-1], str):
                    print(f"{label}  {found[-1]}")
                    continue
                samples += [
                    {"kind": kind, "channels": channels, "at_once": at_once, **each} for each in found
                ]
                medians = (statistics.median(each[name] for each in found) for name in columns)
                print(label + "".join(f"{each:>11,.1f}" for each in medians), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(samples, indent=1) + "\n")


if __name__ == "__main__":
    main()
