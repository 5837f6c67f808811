"""Streams over HTTP against WebSockets, both of a hosted application: fan-out and memory. It needs Linux.

    python bench/streams.py [--rounds 3] [--connections 1000] [--messages 300]

A process of its own reads, and checks how much comes. The server's processor time is that of the messages
alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import select
import socket
import statistics
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import everwire
from everwire.asgi import serve

WEBSOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n"
)
STREAM = b"GET /%b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n"
AROUND = {"websocket": 2, "lines": 1 + 6, "events": 8 + 6}
"""Bytes around a message of 64."""
SIZE = 64
PACE = 0.008
"""Seconds between messages, so that the reader keeps up."""


def read(pipe: Pipe, kind: str, port: int, connections: int, messages: int) -> None:
    """Connect, and read until all that was published has come."""
    poller = select.epoll()
    sockets = []
    request = WEBSOCKET % port if kind == "websocket" else STREAM % (kind.encode(), port)
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.sendall(request)
        head = sock.recv(4096)
        assert head.endswith(b"\r\n\r\n"), head
        sockets.append(sock)
        poller.register(sock, select.EPOLLIN)
    by_number = {sock.fileno(): sock for sock in sockets}
    pipe.send("open")
    left = connections * messages * (SIZE + AROUND[kind])
    buffer = bytearray(65536)
    while left > 0:
        for number, _ in poller.poll():
            left -= by_number[number].recv_into(buffer)
    pipe.send(left)
    pipe.recv()


class App(everwire.Listener):
    """Everybody is a member of one topic."""

    limits = {"ping_interval": None}  # noqa: RUF012

    def __init__(self) -> None:
        self.topic = everwire.Topic()

    def on_open(self, ws: everwire.Connection) -> None:
        self.topic.add(ws)

    def everwire_listener(self, request: everwire.Request) -> Any:
        return self, None, None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        open_stream = scope["extensions"]["everwire"]["stream"]
        open_stream(200, [(b"content-type", b"text/event-stream")], scope["path"][1:], listener=self)


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def measure(kind: str, connections: int, messages: int) -> tuple[float, float]:
    """Microseconds of the server's processor for each delivery, and resident bytes a connection."""
    app = App()
    loop = asyncio.get_running_loop()
    async with serve(app, "127.0.0.1", 0, lifespan="off", access_log=False, compression=None) as server:
        here, there = multiprocessing.Pipe()
        before = resident()
        context = multiprocessing.get_context("spawn")
        arguments = (there, kind, server.port, connections, messages)
        reader = context.Process(target=read, args=arguments)
        reader.start()
        assert await loop.run_in_executor(None, here.recv) == "open"
        memory = (resident() - before) / connections
        assert len(app.topic) == connections
        message = b"x" * SIZE
        start = time.process_time()
        for _ in range(messages):
            app.topic.publish(message, text=True)
            await asyncio.sleep(PACE)
        spent = time.process_time() - start
        assert await loop.run_in_executor(None, here.recv) == 0
        here.send("end")
        await loop.run_in_executor(None, reader.join)
    return spent / (connections * messages) * 1e6, memory


def child(pipe: Pipe, *arguments: Any) -> None:
    pipe.send(asyncio.run(measure(*arguments)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Streams over HTTP against WebSockets.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=300)
    arguments = parser.parse_args()
    samples: dict[str, list[tuple[float, float]]] = {kind: [] for kind in AROUND}
    context = multiprocessing.get_context("spawn")
    for i in range(arguments.rounds):
        for kind in sorted(samples, reverse=bool(i % 2)):
            here, there = context.Pipe()
            process = context.Process(
                target=child, args=(there, kind, arguments.connections, arguments.messages)
            )
            process.start()
            samples[kind].append(here.recv())
            process.join()
    print(f"{'':12}{'us of CPU/delivery':>20}{'bytes/connection':>20}")
    for kind, found in samples.items():
        cost, memory = (statistics.median(each) for each in zip(*found, strict=True))
        print(f"{kind:12}{cost:20.2f}{memory:20.0f}")


if __name__ == "__main__":
    main()
