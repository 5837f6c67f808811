"""Drives one client library for threads: URI MODE CONNECTIONS SECONDS WARMUP; prints one JSON object.

A client script brings a function that opens a connection, an object with ``send``, ``recv`` and ``close``,
used as that library's users use it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Protocol

from .driving import MESSAGE, Meter

DEPTH = 500
"""Messages under way in the mode `pipelined`: all are sent, then all are received."""


class Connection(Protocol):
    def send(self, message: str, /) -> object: ...
    def recv(self) -> object: ...
    def close(self) -> object: ...


def _rounds(ws: Connection, message: str, depth: int, until: float) -> int:
    count = 0
    while time.perf_counter() < until:
        for _ in range(depth):
            ws.send(message)
        for _ in range(depth):
            reply = ws.recv()
            assert reply == message
        count += depth
    return count


def drive(connect: Callable[[str], Connection]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("uri")
    parser.add_argument("mode", choices=["echo", "echo-1k", "pipelined"])
    parser.add_argument("connections", type=int, choices=[1])
    parser.add_argument("seconds", type=float)
    parser.add_argument("warmup", type=float)
    arguments = parser.parse_args()
    message = "x" * 1024 if arguments.mode == "echo-1k" else MESSAGE
    depth = DEPTH if arguments.mode == "pipelined" else 1
    ws, meter = connect(arguments.uri), Meter()
    _rounds(ws, message, depth, time.perf_counter() + arguments.warmup)
    meter.start()
    meter.count = _rounds(ws, message, depth, time.perf_counter() + arguments.seconds)
    meter.stop()
    ws.close()
    print(json.dumps(meter.figures()))
