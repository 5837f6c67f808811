"""Fan-out through a hub, beside the bare topic and other libraries for Python. It needs Linux.

    python bench/hub.py [--rounds 3] [--connections 1000] [--messages 200] [--only hub,fastapi]

Each server runs in a process of its own, publishes messages of 64 bytes to all who are connected, and counts
its own processor time for each delivery; another process reads, and checks how many come. python-socketio and
Django Channels take part if they are installed (``pip install python-socketio channels``).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import select
import socket
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import everwire
import everwire.asgi

MARK = b"@"
"""One a message."""
MESSAGE = "x" * 61 + "@"
"""64 bytes as JSON."""
PACE = 0.01
"""Seconds between messages, so that the readers keep up."""

Publish = Callable[[], Awaitable[object]]


def upgrade(path: str, port: int) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n"
    ).encode()


def frame(text: str) -> bytes:
    """A message of a client (RFC 6455), masked with zeros."""
    data = text.encode()
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + size + bytes(4) + data


JOIN = frame('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}')
SSE = (
    "/connection/sse?cf_connect=" + "%7B%22id%22:1,%22connect%22:%7B%22subs%22:%7B%22news%22:%7B%7D%7D%7D%7D"
)


def opening(kind: str, port: int) -> tuple[bytes, bytes]:
    """What a client sends first, and after the answer."""
    if kind == "hub-sse":
        head = f"GET {SSE} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n"
        return head.encode(), b""
    paths = {"hub": "/connection/websocket", "python-socketio": "/socket.io/?EIO=4&transport=websocket"}
    then = {"hub": JOIN, "python-socketio": frame("40")}
    return upgrade(paths.get(kind, "/ws"), port), then.get(kind, b"")


def read(pipe: Pipe, kind: str, port: int, connections: int, messages: int) -> None:
    """Connect, and read until all that was published has come."""
    poller = select.epoll()
    sockets: dict[int, socket.socket] = {}
    first, then = opening(kind, port)
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(first)
        head = sock.recv(4096)
        assert head.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")), head
        if then:
            sock.sendall(then)
            sock.recv(4096)
        sockets[sock.fileno()] = sock
        poller.register(sock, select.EPOLLIN)
    pipe.send("open")
    left = connections * messages
    while left > 0:
        events = poller.poll(30)
        if not events:
            break
        for number, _ in events:
            left -= sockets[number].recv(65536).count(MARK)
    pipe.send(left)
    pipe.recv()


# The servers


class Members(everwire.Listener):
    """Everybody is a member of one topic."""

    def __init__(self) -> None:
        self.topic = everwire.Topic()

    def on_open(self, ws: everwire.Connection) -> None:
        self.topic.add(ws)


@asynccontextmanager
async def topic() -> AsyncIterator[tuple[int, Publish]]:
    """The bare topic: no log, no session, no protocol."""
    members = Members()
    data = json.dumps(MESSAGE)

    async def publish() -> None:
        members.topic.publish(data)

    async with everwire.serve(members, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        yield server.port, publish


@asynccontextmanager
async def hub(engine: str = "memory:") -> AsyncIterator[tuple[int, Publish]]:
    """A hub with its log."""
    served = everwire.Hub(engine)
    options = {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}
    served.namespace("", history=100, ttl=300, **options)
    async with everwire.asgi.serve(served, "127.0.0.1", 0, access_log=False, compression=None) as server:
        yield server.port, lambda: served.publish("news", MESSAGE)


@asynccontextmanager
async def under_uvicorn(app: Any, publish: Publish) -> AsyncIterator[tuple[int, Publish]]:
    """Any application under uvicorn."""
    import uvicorn

    sock = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(app, log_level="critical", ws_per_message_deflate=False, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield sock.getsockname()[1], publish
    finally:
        server.should_exit = server.force_exit = True
        await task
        sock.close()


@asynccontextmanager
async def fastapi() -> AsyncIterator[tuple[int, Publish]]:
    """The loop of FastAPI's own documentation: each client is sent each message in turn."""
    from fastapi import FastAPI, WebSocket

    clients: list[WebSocket] = []

    async def join(websocket: Any) -> None:
        await websocket.accept()
        clients.append(websocket)
        await websocket.receive_text()

    # Annotations are text here, and the class is known in this function only.
    join.__annotations__["websocket"] = WebSocket

    async def publish() -> None:
        for each in clients:
            await each.send_json(MESSAGE)

    app = FastAPI()
    app.add_api_websocket_route("/ws", join)
    async with under_uvicorn(app, publish) as served:
        yield served


@asynccontextmanager
async def socketio() -> AsyncIterator[tuple[int, Publish]]:
    """python-socketio."""
    import socketio as library

    server = library.AsyncServer(async_mode="asgi")
    async with under_uvicorn(library.ASGIApp(server), lambda: server.emit("m", MESSAGE)) as served:
        yield served


@asynccontextmanager
async def django() -> AsyncIterator[tuple[int, Publish]]:
    """Django Channels with its layer in memory."""
    from django.conf import settings

    layers = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.configure(CHANNEL_LAYERS=layers)
    from channels.generic.websocket import AsyncWebsocketConsumer
    from channels.layers import get_channel_layer

    class Consumer(AsyncWebsocketConsumer):
        async def connect(self) -> None:
            await self.channel_layer.group_add("news", self.channel_name)
            await self.accept()

        async def news(self, event: dict[str, Any]) -> None:
            await self.send(text_data=json.dumps(event["data"]))

    async def publish() -> None:
        await get_channel_layer().group_send("news", {"type": "news", "data": MESSAGE})

    async with under_uvicorn(Consumer.as_asgi(), publish) as served:
        yield served


KINDS: dict[str, Callable[[], Any]] = {
    "topic": topic,
    "hub": hub,
    "hub-sse": hub,
    "fastapi": fastapi,
    "python-socketio": socketio,
    "django-channels": django,
}


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def measure(kind: str, connections: int, messages: int, *options: str) -> tuple[float, float, int]:
    """Microseconds of the server's processor a delivery, bytes a connection, deliveries that lack."""
    loop = asyncio.get_running_loop()
    async with KINDS[kind](*options) as (port, publish):
        here, there = multiprocessing.Pipe()
        before = resident()
        context = multiprocessing.get_context("spawn")
        reader = context.Process(target=read, args=(there, kind, port, connections, messages))
        reader.start()
        assert await loop.run_in_executor(None, here.recv) == "open"
        await asyncio.sleep(0.2)
        memory = (resident() - before) / connections
        start = time.process_time()
        for _ in range(messages):
            await publish()
            await asyncio.sleep(PACE)
        left = await loop.run_in_executor(None, here.recv)
        spent = time.process_time() - start
        here.send("end")
        await loop.run_in_executor(None, reader.join)
    return spent / (connections * messages) * 1e6, memory, left


def child(pipe: Pipe, *arguments: Any) -> None:
    try:
        pipe.send(asyncio.run(measure(*arguments)))
    except ModuleNotFoundError as error:
        pipe.send(f"not installed: {error.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Fan-out through a hub, beside others.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--only", default=",".join(KINDS))
    arguments = parser.parse_args()
    samples: dict[str, list[Any]] = {kind: [] for kind in arguments.only.split(",")}
    context = multiprocessing.get_context("spawn")
    for i in range(arguments.rounds):
        for kind in sorted(samples, reverse=bool(i % 2)):
            here, there = context.Pipe()
            slow = kind in ("fastapi", "python-socketio", "django-channels")
            count = arguments.messages // 4 if slow else arguments.messages
            process = context.Process(target=child, args=(there, kind, arguments.connections, count))
            process.start()
            samples[kind].append(here.recv())
            process.join()
    print(f"{'':18}{'us of CPU/delivery':>20}{'range':>16}{'bytes/connection':>18}{'lacking':>9}")
    for kind, found in samples.items():
        if isinstance(found[0], str):
            print(f"{kind:18}{found[0]:>20}")
            continue
        cost, memory, lacking = zip(*found, strict=True)
        spread = f"{min(cost):.2f} to {max(cost):.2f}"
        print(
            f"{kind:18}{statistics.median(cost):20.2f}{spread:>16}{statistics.median(memory):18.0f}"
            f"{max(lacking):9}"
        )


if __name__ == "__main__":
    main()
