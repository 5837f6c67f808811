"""Drives one client library: URI MODE CONNECTIONS SECONDS WARMUP [--asyncio]; prints one JSON object.

A client script brings two coroutines, written as that library's users write them: one that opens a connection
and closes it, and one that sends MESSAGE and waits for its echo, again and again, while the meter is running.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

MESSAGE = "0123456789abcdef"


class Meter:
    """What a client counts on: `count` goes up by one for each round trip, while `running` is true."""

    def __init__(self) -> None:
        self.count = 0
        self.running = True
        self._wall = self._cpu = 0.0

    def start(self) -> None:
        self.count = 0
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.running = False
        self._wall, self._cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu

    def figures(self) -> dict[str, float]:
        if not self.count:
            raise SystemExit("not one round trip was made")
        return {"per_s": self.count / self._wall, "cpu_us": self._cpu * 1e6 / self.count}


Connect = Callable[[str], Coroutine[Any, Any, None]]
Echo = Callable[[str, Meter], Coroutine[Any, Any, None]]


async def _connect_again_and_again(connect: Connect, uri: str, meter: Meter) -> None:
    while meter.running:
        await connect(uri)
        meter.count += 1


async def _measure(connect: Connect, echo: Echo, arguments: argparse.Namespace) -> dict[str, float]:
    meter, loop = Meter(), asyncio.get_running_loop()
    loop.call_later(arguments.warmup, meter.start)
    loop.call_later(arguments.warmup + arguments.seconds, meter.stop)
    async with asyncio.timeout(arguments.warmup + arguments.seconds + 10), asyncio.TaskGroup() as group:
        for _ in range(arguments.connections):
            if arguments.mode == "connect":
                group.create_task(_connect_again_and_again(connect, arguments.uri, meter))
            else:
                group.create_task(echo(arguments.uri, meter))
    return meter.figures()


def drive(connect: Connect, echo: Echo) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("uri")
    parser.add_argument("mode", choices=["connect", "echo"])
    parser.add_argument("connections", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("warmup", type=float)
    parser.add_argument("--asyncio", action="store_true", dest="plain_asyncio")
    arguments = parser.parse_args()
    if arguments.plain_asyncio:
        figures = asyncio.run(_measure(connect, echo, arguments))
    else:
        import uvloop

        figures = uvloop.run(_measure(connect, echo, arguments))
    print(json.dumps(figures))
