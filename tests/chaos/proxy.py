"""A TCP proxy that cuts, stalls, delays and splits; what it does to a connection depends on a seed only."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import socket
import struct
from dataclasses import dataclass
from typing import Self

HOST = "127.0.0.1"
STALL = 1.5
"""Seconds for which a connection is silent before it ends, when it does not end at once."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to a connection.

    Attributes:
        how: ``"close"``, ``"reset"`` or ``"stall"``; ``"none"``: nothing.
        down, up: after how many bytes from and to the server.
        piece: bytes that are passed on at once, at most.
        delay: seconds between pieces, at most.
    """

    how: str
    down: int
    up: int
    piece: int
    delay: float


def fate(chance: random.Random) -> Fate:
    """Draw the fate of a connection."""
    how = chance.choices(("close", "reset", "stall", "none"), (40, 35, 5, 20))[0]
    # Some end within their first bytes: in a handshake, in a head of HTTP, in the answer to a command.
    down = int(
        chance.choice((chance.uniform(1, 400), chance.expovariate(1 / 4000), chance.expovariate(1 / 16000)))
    )
    up = int(chance.choice((chance.uniform(100, 800), 1 << 40, 1 << 40)))
    piece = chance.choice((1 << 16, 1 << 16, 700, 40, 7))
    return Fate(how, down, up, piece, chance.choice((0, 0, 0.001)))


class Chaos:
    """The proxy: ``async with Chaos(port, seed=1) as chaos: ... chaos.port ...``.

    Attributes:
        calm: while it is set, new connections are left alone.
        connections: how many there were.
        ends: how many ended in which way.
    """

    def __init__(self, target: int, *, seed: int) -> None:
        self._target = target
        self._seed = seed
        self._tasks: set[asyncio.Task[None]] = set()
        self.calm = False
        self.connections = 0
        self.ends: collections.Counter[str] = collections.Counter()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        chance = random.Random(f"{self._seed} {self.connections}")
        mine = Fate("none", 0, 0, 1 << 16, 0) if self.calm else fate(chance)
        writers = [writer]
        try:
            try:
                there_reader, there_writer = await asyncio.open_connection(HOST, self._target)
            except OSError:
                self.ends["no server"] += 1
                return
            writers.append(there_writer)
            pumps = [
                asyncio.create_task(self._pump(reader, there_writer, mine, mine.up, chance)),
                asyncio.create_task(self._pump(there_reader, writer, mine, mine.down, chance)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                cut = any(
                    done for done in await asyncio.gather(*pumps, return_exceptions=True) if done is True
                )
            if cut and mine.how == "stall":
                await asyncio.sleep(STALL)
            self.ends[mine.how if cut else "by a side"] += 1
            if cut and mine.how == "reset":
                for each in writers:
                    _reset_at_end(each)
        except asyncio.CancelledError:
            pass  # the streams of asyncio log a handler that was cancelled
        finally:
            self._tasks.discard(task)
            for each in writers:
                each.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        mine: Fate,
        left: int,
        chance: random.Random,
    ) -> bool:
        """Carry bytes; True when the time for the cut has come, False when a side has ended."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                while data:
                    size = min(len(data), chance.randint(1, mine.piece))
                    if mine.how != "none":
                        size = min(size, left)
                    writer.write(data[:size])
                    await writer.drain()
                    data = data[size:]
                    left -= size
                    if mine.how != "none" and left <= 0:
                        return True
                    if mine.delay and data:
                        await asyncio.sleep(chance.uniform(0, mine.delay))
        return False


def _reset_at_end(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
