"""``everwire echo``: a server that sends back what it is sent, to try clients with."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import typer

import everwire
from everwire.cli import settings
from everwire.cli.listening import run, until_signal
from everwire.cli.options import (
    Address,
    Host,
    MaxSize,
    NoCompression,
    Origins,
    Port,
    SslCert,
    SslKey,
    Unix,
)
from everwire.cli.text import format_size, shorten

__all__ = ["echo"]

CLOSE_TIMEOUT = 3.0
"""Seconds that a peer has, once told that the server stops, before its connection is dropped."""

WAITING = 1024
"""Messages of one connection that may wait for their delay to pass; then nothing more is read."""

SHOWN = 100
"""Characters of a message that --verbose shows."""


def echo(
    address: Address = None,
    host: Host = None,
    port: Port = None,
    unix: Unix = None,
    ssl_cert: SslCert = None,
    ssl_key: SslKey = None,
    origins: Origins = None,
    no_compression: NoCompression = False,
    max_size: MaxSize = "1MiB",
    delay: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long after its arrival a message goes back.")
    ] = 0.0,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print each connection and the beginning of each message.")
    ] = False,
) -> None:
    """Run a server that sends back every message, at any path and with any subprotocol."""
    listen_host, listen_port = settings.parse_address(address, host, port, unix)
    _, loop_factory = settings.pick_loop(settings.Loop.AUTO)
    tls = settings.load_tls(ssl_cert, ssl_key)
    listen = everwire.serve(
        Echo(delay=delay, verbose=verbose).handle,
        None if unix else listen_host,
        None if unix else listen_port,
        unix=unix,
        ssl=tls,
        origins=settings.parse_origins(origins or []),
        compression=None if no_compression else "deflate",
        max_size=settings.parse_size(max_size),
        close_timeout=CLOSE_TIMEOUT,
        select_subprotocol=_first_offered,
    )
    scheme = "wss" if tls else "ws"
    run(
        _echo(listen, scheme),
        loop_factory=loop_factory,
        command="echo",
        host=listen_host,
        port=listen_port,
        unix=unix,
    )


async def _echo(listen: everwire.serve, scheme: str) -> None:
    """Serve until a signal comes."""
    async with listen as server:
        signalled = until_signal()
        for sock in server.sockets:
            name = sock.getsockname()
            where = name if isinstance(name, str) else f"[{name[0]}]" if ":" in name[0] else name[0]
            typer.echo(
                f"{scheme}+unix:{where}" if isinstance(name, str) else f"{scheme}://{where}:{name[1]}/"
            )
        await signalled
        server.close(code=1001, reason="stopped")
        await server.wait_closed()


def _first_offered(request: everwire.Request, offered: Sequence[str]) -> str | None:
    """A browser fails a connection that accepts none of the subprotocols it asked for."""
    return offered[0] if offered else None


@dataclass(slots=True, kw_only=True)
class Echo:
    """What becomes of connections and messages."""

    delay: float
    verbose: bool
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def handle(self, ws: everwire.Connection) -> None:
        """Send back what comes until the connection closes."""
        number = next(self.numbers)
        self._log(number, f"open {_peer(ws)}: {shorten(ws.request.path, SHOWN)}")
        with contextlib.suppress(everwire.ConnectionClosed):
            if self.delay:
                await self._echo_later(ws, number)
            else:
                async for message in ws:
                    self._log(number, _shown(message))
                    await ws.send(message)
        await ws.wait_closed()
        self._log(number, f"closed: {shorten(str(ws.close_error), 2 * SHOWN)}")

    async def _echo_later(self, ws: everwire.Connection, number: int) -> None:
        """As many messages may be under way as a client likes to send: each has its own delay."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[float, str | bytes]] = asyncio.Queue(WAITING)

        async def receive() -> None:
            async for message in ws:
                self._log(number, _shown(message))
                await waiting.put((loop.time() + self.delay, message))

        async def send() -> None:
            while True:
                due, message = await waiting.get()
                await asyncio.sleep(due - loop.time())
                await ws.send(message)

        tasks = [asyncio.create_task(receive()), asyncio.create_task(send())]
        try:
            await ws.wait_closed()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _log(self, number: int, what: str) -> None:
        if self.verbose:
            typer.echo(f"{datetime.now():%H:%M:%S} #{number} {what}")


def _shown(message: str | bytes) -> str:
    """The kind of a message, its size, and its beginning."""
    if isinstance(message, str):
        return f"text {format_size(len(message.encode()))}  {shorten(message, SHOWN)}"
    more = "…" if len(message) > SHOWN // 4 else ""
    return f"binary {format_size(len(message))}  {message[: SHOWN // 4].hex(' ')}{more}"


def _peer(ws: everwire.Connection) -> str:
    address = ws.remote_address
    return f"from {address[0]} port {address[1]}" if address else "over the Unix socket"
