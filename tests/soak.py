"""A server under load for long, and its memory: ``python tests/soak.py --minutes 10`` (or ``make soak``).

One process serves, in both styles, over TCP and TLS, with a topic. Others are its clients: messages of all
sizes up to 4 MiB, compressed or not, abrupt resets in every state, peers that fall silent, handlers that are
cancelled. After a first while of that, and again at the end, all clients leave and the server's memory,
descriptors and tasks are counted: they have to be what they were, memory within a margin that is stated.
Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import ctypes
import gc
import json
import logging
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import everwire

HOST = "127.0.0.1"
LARGEST = 4 << 20
"""Bytes of the largest message."""
MARGIN = 16 << 20
"""Bytes by which the memory may have grown in the end: the allocator's pieces are never all given back."""
BUSY_MARGIN = 1 << 30
"""Bytes that the server may have under load at most."""

# The server


class Style:
    """What one of the servers does, by the path asked for: /echo, /topic or /cancel."""

    def __init__(self, topic: everwire.Topic) -> None:
        self.topic = topic

    async def coroutine(self, ws: everwire.Connection) -> None:
        """The handler of a server with a coroutine per connection."""
        if ws.request.path == "/topic":
            self.topic.add(ws)
        async for message in ws:
            if ws.request.path == "/cancel":
                task = asyncio.current_task()
                assert task is not None
                asyncio.get_running_loop().call_later(0.01, task.cancel)
            await ws.send(message)

    def listener(self) -> everwire.Listener:
        """The listener of a server without tasks."""
        topic = self.topic

        class Echo(everwire.Listener):
            def on_open(self, ws: everwire.Connection) -> None:
                if ws.request.path == "/topic":
                    topic.add(ws)

            def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
                ws.send_nowait(message)
                if ws.request.path == "/cancel":
                    ws.abort()

        return Echo()


class Errors(logging.Handler):
    """Keeps what is logged as an error: there should be none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(
            f"{record.name}: {record.getMessage()} {record.exc_info and record.exc_info[1]!r}"
        )


def sample(settings: list[Any], errors: Errors) -> dict[str, Any]:
    """What the server process holds now."""
    return {
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": len(asyncio.all_tasks()),
        "connections": sum(one.connections for one in settings),
        "errors": errors.messages[-3:],
    }


async def serve(folder: Path) -> None:
    """Serve until stdin ends. Each line of it asks for a sample; ``trim`` gives unused memory back before."""
    errors = Errors()
    logging.getLogger().addHandler(errors)
    logging.getLogger("everwire").setLevel(logging.INFO)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem")
    topic = everwire.Topic()
    style = Style(topic)
    options: dict[str, Any] = {
        "max_size": 2 * LARGEST,
        "ping_interval": 1,
        "ping_timeout": 1,
        "open_timeout": 2,
        "close_timeout": 2,
    }
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def publish() -> None:
        for i in range(1 << 62):
            topic.publish(f"{i} " * (1 + i % 1000))
            await asyncio.sleep(0.02)

    async with contextlib.AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(everwire.serve(handler, HOST, 0, ssl=tls, **options))
            for handler in (style.coroutine, style.listener())
            for tls in (None, context)
        ]
        publishing = asyncio.create_task(publish())
        settings = [server.settings for server in servers]
        print(json.dumps({"ports": [server.port for server in servers]}), flush=True)
        while line := await reader.readline():
            if line.strip() == b"trim":
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)
            print(json.dumps(sample(settings, errors)), flush=True)
        publishing.cancel()


# The clients


class Load:
    """Clients of one process, and what they have done."""

    def __init__(self, ports: list[int], folder: Path, seed: int) -> None:
        self.ports = ports
        self.context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self.random = random.Random(seed)
        self.counts: collections.Counter[str] = collections.Counter()
        self.pool = self.random.randbytes(LARGEST)

    def connect(self, path: str, **options: Any) -> everwire.connect:
        """A connection to one of the servers."""
        which = self.random.randrange(len(self.ports))
        secure = which % 2 == 1
        return everwire.connect(
            f"{'wss' if secure else 'ws'}://{HOST}:{self.ports[which]}{path}",
            ssl=self.context if secure else None,
            proxy=None,
            max_size=2 * LARGEST,
            compression=self.random.choice(["deflate", None]),
            close_timeout=5,
            **options,
        )

    def message(self) -> str | bytes:
        """A message of any size, mostly small; random bytes or text that compresses well."""
        size = min(int(2 ** self.random.uniform(0, 22.1)) - 1, LARGEST)
        if self.random.random() < 0.5:
            start = self.random.randrange(LARGEST - size + 1)
            return self.pool[start : start + size]
        return ("everwire soak " * (size // 14 + 1))[:size]

    async def echo(self) -> None:
        """Messages there and back."""
        async with self.connect("/echo") as ws:
            for _ in range(self.random.randrange(1, 12)):
                batch = [self.message() for _ in range(self.random.randrange(1, 4))]
                async with asyncio.TaskGroup() as group:
                    for message in batch:
                        group.create_task(ws.send(message))
                    for message in batch:
                        if await ws.recv() != message:
                            raise AssertionError(f"another message of {len(message)} bytes came back")
                        self.counts["bytes"] += len(message)
                        self.counts["messages"] += 1

    async def subscribe(self) -> None:
        """Messages of the topic, in order."""
        async with self.connect("/topic") as ws:
            last = -1
            for _ in range(self.random.randrange(1, 40)):
                number = int((await ws.recv()).split(maxsplit=1)[0])
                if last >= 0 and number != last + 1:
                    raise AssertionError(f"the topic's message {number} came after {last}")
                last = number
                self.counts["published"] += 1

    async def cancel(self) -> None:
        """A handler that is cancelled, or a connection that the server aborts."""
        with contextlib.suppress(everwire.ConnectionClosed):
            async with self.connect("/cancel") as ws:
                await ws.send(self.message())
                await ws.recv()
                async for _ in ws:
                    pass

    async def reset(self) -> None:
        """A connection reset at any moment: in the handshakes, in a frame, while much is sent."""
        with contextlib.suppress(everwire.EverwireError, OSError):
            ws = await asyncio.wait_for(self.connect("/echo"), self.random.choice([0.001, 0.01, 10]))
            for _ in range(self.random.randrange(4)):
                ws.send_nowait(self.message())
            await asyncio.sleep(self.random.choice([0, 0.001, 0.02]))
            ws.abort()

    async def half(self) -> None:
        """A peer that falls silent at any moment; some with a reset much later."""
        loop = asyncio.get_running_loop()
        request = (
            b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            b"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00"
        ) + bytes(self.random.randrange(300_000))
        with socket.socket() as sock, contextlib.suppress(OSError, TimeoutError):
            sock.setblocking(False)
            await loop.sock_connect(sock, (HOST, self.ports[self.random.randrange(len(self.ports))]))
            end = self.random.choice([0, 1, 30, 200, len(request)])
            await asyncio.wait_for(loop.sock_sendall(sock, request[:end]), 1)
            await asyncio.sleep(self.random.choice([0.1, 1, 4]))
            if self.random.random() < 0.5:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def work(self, deadline: float) -> None:
        """One client after the other."""
        kinds = [self.echo, self.subscribe, self.cancel, self.reset, self.half]
        while time.monotonic() < deadline:
            kind = self.random.choices(kinds, [10, 2, 2, 4, 1])[0]
            await asyncio.wait_for(kind(), 60)
            self.counts[kind.__name__] += 1

    async def run(self, seconds: float, clients: int) -> None:
        """Work for so long."""
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self.work(time.monotonic() + seconds))


# The run


@dataclass
class Plan:
    """How long, and with how many."""

    seconds: float
    processes: int
    clients: int


class Soak:
    """The server's process, those of the clients, and a table of what is measured."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.counts: collections.Counter[str] = collections.Counter()
        self.started = time.monotonic()
        self.server = self.start("--serve", stdin=subprocess.PIPE)
        self.ports = self.answer()["ports"]

    def start(self, *args: str, stdin: int | None = None) -> subprocess.Popen[str]:
        """Start this file in another role."""
        return subprocess.Popen(
            [sys.executable, __file__, "--folder", str(self.folder), *args],
            stdin=stdin,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> dict[str, Any]:
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        if not line:
            raise SystemExit("the server has died")
        return dict(json.loads(line))

    def measure(self, what: str) -> dict[str, Any]:
        """Ask the server for a sample, and print it; ``trim`` and ``sample`` are what it understands."""
        assert self.server.stdin is not None
        self.server.stdin.write(f"{what}\n")
        self.server.stdin.flush()
        found = self.answer()
        print(
            f"{time.monotonic() - self.started:8.1f} s {found['rss'] / 2**20:9.1f} MiB "
            f"{found['descriptors']:12} {found['tasks']:6} {found['connections']:12}",
            flush=True,
        )
        return found

    def load(self, seconds: float, seed: int) -> int:
        """Put load on the server; the largest memory seen meanwhile."""
        clients = [
            self.start("--load", json.dumps([self.ports, seconds, self.plan.clients, seed + i]))
            for i in range(self.plan.processes)
        ]
        most = 0
        pause = max(seconds / 8, 1)
        measured = 0.0
        try:
            while any(client.poll() is None for client in clients):
                if time.monotonic() - measured > pause:
                    measured = time.monotonic()
                    most = max(most, self.measure("sample")["rss"])
                time.sleep(0.1)
                if any(client.poll() for client in clients):
                    raise SystemExit("a client has failed")
            for client in clients:
                self.counts.update(json.loads(client.communicate()[0]))
        finally:
            for client in clients:
                client.kill()
                client.wait()
                assert client.stdout is not None
                client.stdout.close()
        return most

    def quiet(self) -> dict[str, Any]:
        """Wait until every connection is gone; the server's sample then."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = self.measure("trim")
            if not found["connections"]:
                time.sleep(0.2)  # the last handlers may be about to end
                return self.measure("trim")
            time.sleep(0.5)
        raise SystemExit(f"{found['connections']} connections are left 20 seconds after the last client")

    def run(self) -> list[str]:
        """All of it: what was wrong."""
        print("      time       memory  descriptors  tasks  connections")
        warm = min(max(self.plan.seconds / 4, 3), 60)
        self.load(warm, 1)
        before = self.quiet()
        most = self.load(max(self.plan.seconds - warm, 2), 100)
        after = self.quiet()
        print("counts: " + ", ".join(f"{name} {n:,}" for name, n in sorted(self.counts.items())))
        grown = after["rss"] - before["rss"]
        print(
            f"memory: {before['rss'] / 2**20:.1f} MiB after warm-up, {most / 2**20:.1f} MiB at most, "
            f"{after['rss'] / 2**20:.1f} MiB in the end: {grown / 2**20:+.1f} MiB "
            f"(margin {MARGIN / 2**20:.0f} MiB)"
        )
        wrong = []
        if grown > MARGIN:
            wrong.append(f"memory has grown by {grown / 2**20:.1f} MiB")
        if most > before["rss"] + BUSY_MARGIN:
            wrong.append(f"memory went up to {most / 2**20:.1f} MiB under load")
        wrong += [
            f"{after[name]} {name} are left, before there were {before[name]}"
            for name in ("descriptors", "tasks")
            if after[name] > before[name]
        ]
        wrong += [f"the server has logged: {message}" for message in after["errors"]]
        return wrong

    def stop(self) -> list[str]:
        """End the server by ending its input: what was wrong."""
        assert self.server.stdin is not None
        self.server.stdin.close()
        try:
            code = self.server.wait(30)
        except subprocess.TimeoutExpired:
            self.server.kill()
            self.server.wait()
            return ["the server does not end"]
        finally:
            assert self.server.stdout is not None
            self.server.stdout.close()
        return [f"the server has ended with {code}"] if code else []


@contextlib.contextmanager
def certificates() -> Iterator[Path]:
    """A folder with a certificate for the loopback interface and its authority's."""
    import trustme

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        leaf = authority.issue_cert(HOST, key_type=trustme.KeyType.ECDSA)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "cert.pem"))
        yield folder


def loop_factory(name: str) -> Any:
    """What makes an event loop of that name."""
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return None


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description="Run a server under load for long, watching its memory.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the load lasts (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="processes of clients (%(default)s)")
    parser.add_argument("--clients", type=int, default=16, help="clients a process has at once (%(default)s)")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], help="the server's event loop (asyncio)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--load", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.loop:
        os.environ["SOAK_LOOP"] = args.loop
    if args.serve:
        with asyncio.Runner(loop_factory=loop_factory(os.environ.get("SOAK_LOOP", ""))) as runner:
            runner.run(serve(args.folder))
        return
    if args.load:
        ports, seconds, clients, seed = args.load
        load = Load(ports, args.folder, seed)
        asyncio.run(load.run(seconds, clients))
        print(json.dumps(load.counts))
        return
    with certificates() as folder:
        soak = Soak(Plan(args.minutes * 60, args.processes, args.clients), folder)
        wrong = []
        try:
            wrong += soak.run()
        finally:
            wrong += soak.stop()
    if wrong:
        sys.exit("FAILED: " + "; ".join(wrong))
    print("passed")


if __name__ == "__main__":
    main()
