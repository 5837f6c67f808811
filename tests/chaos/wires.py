"""Ways between two processes that can be cut, and healed: what a network does, seen from its ends."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Literal, Self, cast

__all__ = ["Cut", "Wire"]

HOST = "127.0.0.1"
Cut = Literal["reset", "silence"]
"""How a wire is cut: connections are reset and new ones, too; or nothing comes through, and all stay open."""


class Wire:
    """Carries the connections to its port to one of some targets: ``async with Wire([6379]) as wire: ...``.

    Parameters:
        targets: ports; each connection goes to one drawn from them, or to the next one that takes it.
        chance: draws the target.
        translate: bytes to replace in what comes back: other ports for those that a server tells of.

    Attributes:
        port: where to connect.
        connections: how many there were.
    """

    def __init__(
        self, targets: Sequence[int], *, chance: random.Random, translate: Mapping[bytes, bytes] | None = None
    ) -> None:
        self.connections = 0
        self.translate = dict(translate or {})
        self._targets = targets
        self._chance = chance
        self._cut: Cut | None = None
        self._sides: set[_Side] = set()
        self._waiting: list[_Side] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(lambda: _Side(self), HOST, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for side in list(self._sides):
            side.transport.abort()
        await self._server.wait_closed()

    @property
    def is_silent(self) -> bool:
        """Whether nothing comes through, for now."""
        return self._cut == "silence"

    def cut(self, how: Cut) -> None:
        """Let nothing through from now on."""
        self._cut = how
        for side in list(self._sides):
            if how == "reset":
                side.reset()
            else:
                side.transport.pause_reading()

    def heal(self) -> None:
        """Let everything through, first what has waited."""
        self._cut = None
        waiting, self._waiting = self._waiting, []
        for side in list(self._sides):
            if side.other is not None and not side.other.is_full:
                side.transport.resume_reading()
        for side in waiting:
            self._connect(side)

    def opened(self, side: _Side) -> None:
        """Somebody has connected."""
        self._sides.add(side)
        self.connections += 1
        if self._cut == "reset":
            side.reset()
            return
        if self._cut == "silence":
            self._waiting.append(side)
        else:
            self._connect(side)

    def closed(self, side: _Side) -> None:
        """A connection is over."""
        self._sides.discard(side)

    def _connect(self, side: _Side) -> None:
        task = asyncio.get_running_loop().create_task(self._reach(side))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reach(self, side: _Side) -> None:
        """Connect to a target, and carry what comes from now on."""
        loop = asyncio.get_running_loop()
        for port in self._chance.sample(list(self._targets), len(self._targets)):
            try:
                _, there = await loop.create_connection(lambda: _Side(self, back=True), HOST, port)
            except OSError:
                continue
            self._sides.add(there)
            if side.transport.is_closing() or self._cut == "reset":
                there.transport.abort()
                break
            side.other, there.other = there, side
            # Who is connected to may have spoken first.
            for one, other in ((side, there), (there, side)):
                early, one.early = one.early, []
                for data in early:
                    other.transport.write(data)
            if self._cut == "silence":
                side.transport.pause_reading()
                there.transport.pause_reading()
            return
        side.transport.abort()


class _Side(asyncio.Protocol):
    """One end of what is carried.

    Attributes:
        other: the other end; None: not yet.
        early: what has come by then.
        is_full: whether it takes no more at the moment.
    """

    transport: asyncio.Transport

    def __init__(self, wire: Wire, *, back: bool = False) -> None:
        self.other: _Side | None = None
        self.early: list[bytes] = []
        self.is_full = False
        self._wire = wire
        self._back = back

    def reset(self) -> None:
        """End it as a network does that has forgotten it."""
        sock = self.transport.get_extra_info("socket")
        if not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self.transport = cast(asyncio.Transport, transport)
        if not self._back:
            self._wire.opened(self)

    def data_received(self, data: bytes) -> None:
        """Pass on what has come."""
        if self._back:
            for each, instead in self._wire.translate.items():
                data = data.replace(each, instead)
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other one, too."""
        self._wire.closed(self)
        other, self.other = self.other, None
        if other is not None:
            other.other = None
            other.transport.close()

    def pause_writing(self) -> None:
        """It takes no more."""
        self.is_full = True
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It takes more."""
        self.is_full = False
        if self.other is not None and not self._wire.is_silent:
            self.other.transport.resume_reading()
