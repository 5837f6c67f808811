"""A WebSocket echo client, to be tested by Autobahn's fuzzing server.

::

    python -m conformance.peers.echo_client URI [--implementation everwire|websockets]
        [--style coroutine|threads] [--authorities FILE] [--concurrency N] CASE...

For each case (``1.1.1``, ``1.1.2``, ...) it connects to ``URI/runCase?casetuple=CASE&agent=testee`` and sends
back what it receives until the connection ends; then it has the server write its reports and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
from collections.abc import Awaitable, Callable

MAX_SIZE = 32 << 20
"""The suite's largest messages are of 16 MiB."""

Echo = Callable[[str, ssl.SSLContext | None], Awaitable[None]]


async def everwire_echo(uri: str, context: ssl.SSLContext | None) -> None:
    """Echo until the connection ends, as agreed or not: many cases are made to end it otherwise."""
    import everwire

    try:
        async with everwire.connect(uri, ssl=context, max_size=MAX_SIZE, proxy=None) as ws:
            async for message in ws:
                await ws.send(message)
    except everwire.ConnectionClosed:
        pass


async def threads_echo(uri: str, context: ssl.SSLContext | None) -> None:
    """The same with everwire.sync, each case in a thread."""
    import everwire

    def echo() -> None:
        try:
            with everwire.sync.connect(uri, ssl=context, max_size=MAX_SIZE, proxy=None) as ws:
                for message in ws:
                    ws.send(message)
        except everwire.ConnectionClosed:
            pass

    await asyncio.to_thread(echo)


async def websockets_echo(uri: str, context: ssl.SSLContext | None) -> None:
    """The same with another library, to tell its peculiarities and the suite's from our own."""
    import websockets
    import websockets.asyncio.client

    try:
        async with websockets.asyncio.client.connect(uri, ssl=context, max_size=MAX_SIZE, proxy=None) as ws:
            async for message in ws:
                await ws.send(message)
    except websockets.ConnectionClosed:
        pass


ECHOES: dict[tuple[str, str], Echo] = {
    ("everwire", "coroutine"): everwire_echo,
    ("everwire", "threads"): threads_echo,
    ("websockets", "coroutine"): websockets_echo,
}


async def run_cases(
    echo: Echo, uri: str, context: ssl.SSLContext | None, cases: list[str], concurrency: int
) -> None:
    """Run the cases, so many at a time, and ask for the reports."""
    waiting = iter(cases)

    async def worker() -> None:
        for case in waiting:
            await echo(f"{uri}/runCase?casetuple={case}&agent=testee", context)

    async with asyncio.TaskGroup() as workers:
        for _ in range(concurrency):
            workers.create_task(worker())
    await echo(f"{uri}/updateReports?agent=testee", context)


def main() -> None:
    parser = argparse.ArgumentParser(description="A WebSocket echo client for conformance suites.")
    parser.add_argument("uri")
    parser.add_argument("cases", nargs="+", metavar="CASE")
    parser.add_argument("--implementation", choices=("everwire", "websockets"), default="everwire")
    parser.add_argument("--style", choices=("coroutine", "threads"), default="coroutine")
    parser.add_argument("--authorities", help="trust the servers of these certificate authorities (PEM)")
    parser.add_argument("--concurrency", type=int, default=1, help="cases run at the same time")
    options = parser.parse_args()
    context = ssl.create_default_context(cafile=options.authorities) if options.authorities else None
    echo = ECHOES[options.implementation, options.style]
    asyncio.run(run_cases(echo, options.uri, context, options.cases, options.concurrency))


if __name__ == "__main__":
    main()
