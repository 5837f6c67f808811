"""A WebSocket echo server, to be tested by Autobahn's fuzzing client.

::

    python -m conformance.peers.echo_server [--implementation everwire|websockets]
        [--style coroutine|listener|threads] [--certificate CHAIN --key KEY]

It listens on a free port of 127.0.0.1, prints that port on a line, and ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

MAX_SIZE = 32 << 20
"""The suite's largest messages are of 16 MiB."""


def everwire_coroutine(context: ssl.SSLContext | None) -> AbstractAsyncContextManager[Any]:
    """A coroutine per connection."""
    import everwire

    async def echo(ws: everwire.Connection) -> None:
        async for message in ws:
            await ws.send(message)

    return everwire.serve(echo, "127.0.0.1", 0, ssl=context, max_size=MAX_SIZE)


def everwire_listener(context: ssl.SSLContext | None) -> AbstractAsyncContextManager[Any]:
    """Callbacks: no task and no queue."""
    import everwire

    class Echo(everwire.Listener):
        def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
            ws.send_nowait(message)

    return everwire.serve(Echo(), "127.0.0.1", 0, ssl=context, max_size=MAX_SIZE, max_backlog=2 * MAX_SIZE)


@asynccontextmanager
async def everwire_threads(context: ssl.SSLContext | None) -> AsyncIterator[Any]:
    """A thread per connection."""
    import everwire

    def echo(ws: everwire.sync.Connection) -> None:
        for message in ws:
            ws.send(message)

    with everwire.sync.serve(echo, "127.0.0.1", 0, ssl=context, max_size=MAX_SIZE) as server:
        yield server


def websockets_coroutine(context: ssl.SSLContext | None) -> AbstractAsyncContextManager[Any]:
    """Another library, to tell its peculiarities and the suite's from our own."""
    import websockets.asyncio.server

    async def echo(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)

    return websockets.asyncio.server.serve(echo, "127.0.0.1", 0, ssl=context, max_size=MAX_SIZE)


SERVERS = {
    ("everwire", "coroutine"): everwire_coroutine,
    ("everwire", "listener"): everwire_listener,
    ("everwire", "threads"): everwire_threads,
    ("websockets", "coroutine"): websockets_coroutine,
}


async def main() -> None:
    parser = argparse.ArgumentParser(description="A WebSocket echo server for conformance suites.")
    parser.add_argument("--implementation", choices=("everwire", "websockets"), default="everwire")
    parser.add_argument("--style", choices=("coroutine", "listener", "threads"), default="coroutine")
    parser.add_argument("--certificate", help="serve over TLS with this chain (PEM)")
    parser.add_argument("--key", help="the private key of the certificate (PEM)")
    options = parser.parse_args()
    context = None
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    async with SERVERS[options.implementation, options.style](context) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(main())
