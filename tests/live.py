"""Servers of everwire on the loopback interface, connections to them, and waiting for what happens there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import everwire

Message = str | bytes

HOST = "127.0.0.1"

both_styles = pytest.mark.parametrize("style", ["coroutine", "listener"])
both_ends = pytest.mark.parametrize("end", ["server", "client"])


def uri(server: everwire.Server, path: str = "/", *, scheme: str = "ws") -> str:
    """The URI of a server that listens on the loopback interface."""
    return f"{scheme}://{HOST}:{server.port}{path}"


def connect(server: everwire.Server, path: str = "/", **options: Any) -> everwire.connect:
    """A connection to a server; TLS if there is an option ``ssl``."""
    scheme = "wss" if options.get("ssl") else "ws"
    return everwire.connect(uri(server, path, scheme=scheme), proxy=None, **{"close_timeout": 3.0, **options})


async def echo(ws: everwire.Connection) -> None:
    """A handler that sends back what comes."""
    async for message in ws:
        await ws.send(message)


class Echo(everwire.Listener):
    """A listener that sends back what comes."""

    def on_message(self, ws: everwire.Connection, message: Message) -> None:
        ws.send_nowait(message)


def serve_echo(style: str, **options: Any) -> everwire.serve:
    """An echo server on an ephemeral port, in one style or the other."""
    return everwire.serve(echo if style == "coroutine" else Echo(), HOST, 0, **options)


async def idle(ws: everwire.Connection) -> None:
    """A handler that neither receives nor sends."""
    await ws.wait_closed()


@asynccontextmanager
async def pair(
    *, client: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[everwire.Connection, everwire.Connection]]:
    """The two ends of one connection: the server's and the client's.

    Options are the server's, those in ``client`` the client's. Nothing is compressed unless options say so.
    """
    opened: asyncio.Future[everwire.Connection] = asyncio.get_running_loop().create_future()

    async def handler(ws: everwire.Connection) -> None:
        opened.set_result(ws)
        await ws.wait_closed()

    defaults: dict[str, Any] = {"compression": None, "close_timeout": 3.0}
    async with (
        everwire.serve(handler, HOST, 0, **{**defaults, **options}) as server,
        connect(server, **{**defaults, **(client or {})}) as theirs,
    ):
        yield await opened, theirs


@asynccontextmanager
async def ends(end: str, **options: Any) -> AsyncIterator[tuple[everwire.Connection, everwire.Connection]]:
    """As :func:`pair`, the end that the test is about first."""
    async with pair(**options) as (server, client):
        yield (server, client) if end == "server" else (client, server)


class Recorder(everwire.Listener):
    """A listener that notes what it is told, for one connection at a time."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[everwire.Connection] = loop.create_future()
        self.closed: asyncio.Future[tuple[int, str]] = loop.create_future()
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.drained = asyncio.Event()

    def on_open(self, ws: everwire.Connection) -> None:
        self.opened.set_result(ws)

    def on_message(self, ws: everwire.Connection, message: Message) -> None:
        self.messages.put_nowait(message)

    def on_drain(self, ws: everwire.Connection) -> None:
        self.drained.set()

    def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
        self.closed.set_result((code, reason))


async def until(condition: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Let the loop turn until a condition holds that nothing announces."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def turns(n: int = 10) -> None:
    """Let the loop turn *n* times."""
    for _ in range(n):
        await asyncio.sleep(0)


def deaf_socket(server: everwire.Server, *, received: int = 4096) -> socket.socket:
    """A connected, non-blocking socket with a small buffer for what it receives and nobody reads."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
    sock.connect((HOST, server.port))
    sock.setblocking(False)
    return sock


def reset(sock: socket.socket) -> None:
    """Close a socket so that the other end gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def resident() -> int:
    """The memory of this process in bytes (Linux)."""
    with contextlib.suppress(FileNotFoundError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    pytest.skip("needs /proc to measure memory")


def take_errors(caplog: pytest.LogCaptureFixture) -> list[tuple[str, type[BaseException] | None]]:
    """What the server has logged as warnings and errors: messages, and the kinds of the exceptions with them.

    They are taken out of the log: the tracebacks and errors in it would keep the connections alive.
    """
    found: list[tuple[str, type[BaseException] | None]] = []
    for record in caplog.records:
        if record.name.startswith("everwire") and record.levelno >= logging.WARNING:
            found.append((record.getMessage(), record.exc_info[0] if record.exc_info else None))
            record.msg, record.args, record.exc_info = record.getMessage(), None, None
    caplog.clear()
    return found
