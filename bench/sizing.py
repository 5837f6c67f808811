"""What one node holds and what things cost on it: inputs of ``everwire plan``. It needs Linux, two cores.

    python bench/sizing.py [--connections 2000] > measured.json
    everwire plan --measured measured.json --connections 1000000 ...

A hub runs in a process of its own and counts its own processor time and memory; this process has the
clients, which read all that comes. Figures are of the memory engine: what an engine elsewhere costs on top,
docs/reference/engine.md says.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import re
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from hub import frame

import everwire.asgi

MARK = b"@"
"""One in each publication."""
SMALL, LARGE = 64, 32768
"""Bytes of publications."""
ROUNDS = 30
"""Publications, one after the other: each is a system call for each subscriber. Of many at once, one is."""


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def serve(pipe: Pipe, options: dict[str, Any]) -> None:
    """A hub that does what it is told: publish, or say what it has used."""
    hub = everwire.Hub(allow_anonymous_connect_without_token=True, max_backlog=1 << 24, **options)
    hub.namespace("", history=20, allow_subscribe_for_anonymous=True, allow_subscribe_for_client=True)
    async with everwire.asgi.serve(hub, "127.0.0.1", 0, access_log=False, compression=None) as server:
        pipe.send(server.port)
        while (order := await asyncio.get_running_loop().run_in_executor(None, pipe.recv)) is not None:
            started = time.process_time()
            for channel in order[0]:
                await hub.publish(channel, "x" * (order[1] - 3) + MARK.decode())
            await asyncio.sleep(0)
            used = started, time.process_time()
            # To look at memory takes time: not while publications are on their way.
            pipe.send((*used, 0 if order[0] else resident(), hub.counts.messages_received))


def child(pipe: Pipe, options: dict[str, Any]) -> None:
    import uvloop

    uvloop.run(serve(pipe, options))


HEAD = (
    "GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n"
)
CONNECT = '{"id":1,"connect":{}}'


class Clients:
    """Connections to a hub in another process."""

    def __init__(self, **options: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=child, args=(there, options))
        self.process.start()
        self.port: int = self.pipe.recv()
        self.poller = select.epoll()
        self.sockets: dict[int, socket.socket] = {}

    def open(self, count: int, commands: Callable[[int], str]) -> None:
        """Connect so many, each with its first commands, and wait for the answers to all of these."""
        for number in range(count):
            sock = socket.create_connection(("127.0.0.1", self.port))
            sock.sendall(HEAD.format(port=self.port).encode())
            head = sock.recv(4096)
            assert head.startswith(b"HTTP/1.1 101"), head
            self.sockets[sock.fileno()] = sock
            self.poller.register(sock, select.EPOLLIN)
            sock.sendall(frame(commands(number)))
        self.wait(count, b'{"id":2,')

    def ask(self, command: Callable[[int], str], id: int) -> None:
        """Have each send a command, and wait for the answers."""
        for number, sock in enumerate(self.sockets.values()):
            sock.sendall(frame(command(number)))
        self.wait(len(self.sockets), b'{"id":%d,' % id)

    def wait(self, count: int, mark: bytes) -> bytes:
        """Read until it has come so often; return what came last."""
        data = b""
        while count > 0:
            events = self.poller.poll(20)
            assert events, f"{count} of {mark!r} did not come"
            for number, _ in events:
                data = self.sockets[number].recv(1 << 18)
                assert data, "a client was cut"
                count -= data.count(mark)
        return data

    def state(self, channels: tuple[str, ...] = (), size: int = SMALL) -> tuple[float, float, int, int]:
        """Have it publish; what it had used of the processor before and has since, its memory, commands."""
        self.pipe.send((channels, size))
        found: tuple[float, float, int, int] = self.pipe.recv()
        return found

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()

    def end(self) -> None:
        self.close()
        self.pipe.send(None)
        self.process.join()


def subscribe(channel: str, id: int = 2, **fields: Any) -> str:
    return json.dumps({"id": id, "subscribe": {"channel": channel, **fields}})


def joins(channel: str) -> Callable[[int], str]:
    return lambda number: f"{CONNECT}\n{subscribe(channel)}"


def kernel() -> int:
    """Bytes that the kernel has for sockets and what belongs to them."""
    fields = dict(re.findall(r"(\w+):\s+(\d+) kB", Path("/proc/meminfo").read_text()))
    return int(fields["Slab"]) * 1024


def costs(clients: Clients, count: int) -> Iterator[tuple[str, float]]:
    """What is measured with one hub: names of ``everwire plan``'s inputs, and values."""
    clients.open(100, joins("news"))
    clients.close()
    time.sleep(0.5)
    slab = kernel()
    _, cpu, memory, _ = clients.state()
    yield "process_bytes", memory
    clients.open(count, joins("news"))
    _, cpu_after, memory_after, _ = clients.state()
    yield "connect_us", (cpu_after - cpu) / count * 1e6
    yield "connection_bytes", (memory_after - memory) / count
    yield "socket_bytes", (kernel() - slab) / count / 2  # both ends are on this machine
    clients.ask(lambda number: subscribe("also", 3), 3)
    _, cpu, memory, _ = clients.state()
    yield "subscribe_us", (cpu - cpu_after) / count * 1e6
    shared = (memory - memory_after) / count
    yield "subscription_bytes", shared
    clients.ask(lambda number: subscribe(f"own{number}", 4), 4)
    _, cpu, memory_after, _ = clients.state()
    yield "channel_bytes", (memory_after - memory) / count - shared
    delivery = spent(clients, ("news",), SMALL, count, ROUNDS)
    yield "delivery_us", delivery
    large = spent(clients, ("news",), LARGE, count, ROUNDS)
    yield "delivery_ns_per_byte", (large - delivery) * 1000 / (LARGE - SMALL)
    own = tuple(f"own{number}" for number in range(count))
    yield "publication_us", spent(clients, own, SMALL, 1) - delivery
    clients.close()
    time.sleep(0.5)
    yield "recover_us", recovery(clients, count)


def spent(clients: Clients, channels: tuple[str, ...], size: int, subscribers: int, rounds: int = 3) -> float:
    """Microseconds of the hub's processor for each delivery."""
    used = []
    for _ in range(rounds):
        before, _, _, _ = clients.state(channels, size)
        clients.wait(len(channels) * subscribers, MARK)
        _, after, _, _ = clients.state()
        used.append(after - before)
    return sorted(used)[rounds // 2] / (len(channels) * subscribers) * 1e6


def recovery(clients: Clients, count: int, missed: int = 10) -> float:
    """Microseconds for a client that connects and recovers so many publications."""
    clients.open(1, joins("news"))
    first = next(iter(clients.sockets.values()))
    first.sendall(frame(subscribe("seen", 3)))
    answer = clients.wait(1, b'{"id":3,')
    position = json.loads(answer.split(b'{"id":3,')[1].join([b"{", b""]))["subscribe"]
    clients.close()
    clients.state(("seen",) * missed)
    _, before, _, _ = clients.state()
    again = subscribe("seen", recover=True, epoch=position["epoch"], offset=position.get("offset", 0))
    clients.open(count, lambda number: f"{CONNECT}\n{again}")
    _, after, _, _ = clients.state()
    return (after - before) / count * 1e6


def pings(count: int, seconds: float = 5.0) -> float:
    """Microseconds for a ping and its answer."""
    clients = Clients(ping_interval=0.5, pong_timeout=0.4)
    clients.open(count, joins("news"))
    _, before, _, received = clients.state()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for number, _ in clients.poller.poll(0.1):
            sock = clients.sockets[number]
            for _ in range(sock.recv(65536).count(b"{}")):
                sock.sendall(frame("{}"))
    _, after, _, answered = clients.state()
    clients.end()
    return (after - before) / (answered - received) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="What one node holds, and what things cost on it.")
    parser.add_argument("--connections", type=int, default=2000)
    arguments = parser.parse_args()
    clients = Clients()
    found: dict[str, float] = {}
    for name, value in costs(clients, arguments.connections):
        found[name] = round(value, 2)
        print(f"{name:24}{value:14.2f}", file=sys.stderr)
    clients.end()
    found["ping_us"] = round(pings(arguments.connections // 2), 2)
    # What a publication costs apart from deliveries is the engine's.
    engine = {"publish_us": found.pop("publication_us"), "receive_us": 0.0}
    print(json.dumps({**found, "memory": engine}, indent=2))


if __name__ == "__main__":
    main()
