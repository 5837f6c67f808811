"""Clients that all come back at once, each with messages missed. It needs Linux and two cores,
and a limit of open files above the number of clients.

    python bench/reconnect.py [--clients 10000] [--missed 10] [--rounds 3] [--engine memory:]

A hub runs in a process of its own; another process opens all WebSockets at once, and each client connects,
subscribes, and recovers in one go, once its handshake is answered. *shared*: all were in one channel; *own*:
each in a channel of its own. What each gets is counted; one that was not recovered, or has too much or too
little, is an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import select
import socket
import statistics
import sys
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from hub import MARK, MESSAGE, frame, upgrade

import everwire
import everwire.asgi
from everwire.asgi.process import spare_collector

PATIENCE = 60.0
RECOVERED = b'"recovered":true'
FIGURES = {
    "recoveries_per_s": "recoveries/s",
    "server_us": "server µs each",
    "all_s": "all after s",
    "p50_s": "p50 s",
    "p99_s": "p99 s",
    "handshakes_s": "last handshake s",
}


async def serve(pipe: Pipe, engine: str, channels: int, missed: int) -> None:
    """The hub: publish into the channels, tell where clients were, and what was used until they have all."""
    loop = asyncio.get_running_loop()
    hub = everwire.Hub(engine, allow_anonymous_connect_without_token=True)
    hub.namespace(
        "", history=100, ttl=300, allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True
    )
    options: dict[str, Any] = {"access_log": False, "compression": None, "backlog": 16384}
    async with everwire.asgi.serve(hub, "127.0.0.1", 0, **options) as server:
        places = []
        for number in range(channels):
            position = await hub.publish(f"c{number}", "seen")
            places.append((position.offset, position.epoch))
            for _ in range(missed):
                await hub.publish(f"c{number}", MESSAGE)
        pipe.send((server.port, places))
        await loop.run_in_executor(None, pipe.recv)
        spent = time.process_time()
        pipe.send(None)
        await loop.run_in_executor(None, pipe.recv)
        pipe.send((time.process_time() - spent, hub.counts.engine_reads))
        await loop.run_in_executor(None, pipe.recv)


def child(pipe: Pipe, *arguments: Any) -> None:
    import uvloop

    spare_collector()  # as ``everwire serve`` does
    uvloop.run(serve(pipe, *arguments))


class Client:
    """One that comes back."""

    __slots__ = ("commands", "data", "marks", "open", "sock")

    def __init__(self, sock: socket.socket, commands: bytes) -> None:
        self.sock = sock
        self.commands = commands
        self.open = False
        self.marks = 0
        self.data = b""


def come_back(port: int, commands: list[bytes], missed: int) -> dict[str, float]:
    """Have all come at once; when each has all that it missed, in seconds. Raises RuntimeError."""
    poller = select.epoll()
    clients: dict[int, Client] = {}
    head = upgrade("/connection/websocket", port)
    begin = time.monotonic()
    for each in commands:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", port))
        clients[sock.fileno()] = Client(sock, each)
        poller.register(sock, select.EPOLLOUT)
    done: list[float] = []
    opened = 0.0
    while len(done) < len(clients):
        events = poller.poll(PATIENCE)
        if not events:
            raise RuntimeError(f"{len(clients) - len(done)} clients do not have all that they missed")
        for number, event in events:
            client = clients[number]
            if event & select.EPOLLOUT:
                client.sock.sendall(head)
                poller.modify(number, select.EPOLLIN)
                continue
            data = client.sock.recv(65536)
            if not data:
                raise RuntimeError("a client was cut")
            client.data += data
            if not client.open:
                if b"\r\n\r\n" not in client.data:
                    continue
                if not client.data.startswith(b"HTTP/1.1 101"):
                    raise RuntimeError(f"a client was refused: {client.data[:100]!r}")
                client.open, client.data = True, client.data.partition(b"\r\n\r\n")[2]
                opened = time.monotonic() - begin
                client.sock.sendall(client.commands)
            elif client.data.count(MARK) >= missed:
                if client.data.count(MARK) > missed or RECOVERED not in client.data:
                    raise RuntimeError(f"a client got something else: {client.data!r}")
                client.data = b""
                done.append(time.monotonic() - begin)
    for client in clients.values():
        client.sock.close()
    done.sort()
    return {
        "all_s": done[-1],
        "p50_s": done[len(done) // 2],
        "p99_s": done[len(done) * 99 // 100],
        "handshakes_s": opened,
        "recoveries_per_s": len(done) / done[-1],
    }


def measure(engine: str, clients: int, channels: int, missed: int) -> dict[str, float]:
    """One run, with a hub of its own."""
    context = multiprocessing.get_context("spawn")
    pipe, there = context.Pipe()
    process = context.Process(target=child, args=(there, engine, channels, missed), daemon=True)
    process.start()
    there.close()
    try:
        port, places = pipe.recv()
        commands = []
        for number in range(clients):
            offset, epoch = places[number % channels]
            recover = {"channel": f"c{number % channels}", "recover": True, "epoch": epoch, "offset": offset}
            again = json.dumps({"id": 2, "subscribe": recover})
            commands.append(frame('{"id":1,"connect":{}}\n' + again))
        pipe.send(None)
        pipe.recv()
        found = come_back(port, commands, missed)
        pipe.send(None)
        spent, reads = pipe.recv()
    finally:
        process.terminate()
        process.join()
    return {**found, "server_us": spent / clients * 1e6, "engine_reads": reads}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--missed", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="memory:")
    parser.add_argument("--json", type=Path, help="a file for all samples")
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    samples: dict[str, list[dict[str, float]]] = {"shared": [], "own": []}
    for turn in range(arguments.rounds):
        for name, channels in (("shared", 1), ("own", arguments.clients)):
            print(f"Round {turn + 1} of {arguments.rounds}: {name}", file=sys.stderr, flush=True)
            samples[name].append(measure(arguments.engine, arguments.clients, channels, arguments.missed))
    print(f"{'':8}" + "".join(f"{title:>18}" for title in FIGURES.values()))
    for name, found in samples.items():
        medians = (statistics.median(each[figure] for each in found) for figure in FIGURES)
        print(f"{name:8}" + "".join(f"{value:18,.2f}" for value in medians))
    if arguments.json:
        arguments.json.write_text(json.dumps(samples, indent=1) + "\n")


if __name__ == "__main__":
    main()
