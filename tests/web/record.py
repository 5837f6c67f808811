"""What happens to a WebSocket, noted event by event, so that none goes unseen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from live import turns

import everwire

TYPES = ("open", "message", "error", "close")


class Record:
    """The events of a WebSocket, in order, from its first one on."""

    def __init__(self, socket: everwire.WebSocket) -> None:
        self.socket = socket
        self.events: asyncio.Queue[everwire.Event] = asyncio.Queue()
        self.types: list[str] = []
        for type in TYPES:
            socket.addEventListener(type, self._note)

    def _note(self, event: everwire.Event) -> None:
        self.types.append(event.type)
        self.events.put_nowait(event)

    async def next(self, type: str) -> Any:
        """Wait for the next event, which has to be of this type."""
        event = await self.events.get()
        assert event.type == type, f"expected {type}, and this came: {event!r}, {event}"
        return event

    async def no_more(self) -> None:
        """Nothing more has happened, and nothing is about to."""
        await turns()
        assert self.events.empty(), self.events.get_nowait()

    async def closed(self) -> everwire.CloseEvent:
        """Wait for the event ``close``, whatever comes before it."""
        while True:
            event = await self.events.get()
            if isinstance(event, everwire.CloseEvent):
                return event

    async def end(self) -> None:
        """Close the WebSocket, and wait until it is."""
        self.socket.close()
        if "close" not in self.types:
            await self.closed()


@contextlib.asynccontextmanager
async def recorded(socket: everwire.WebSocket) -> AsyncIterator[Record]:
    """The record of a new WebSocket, which is closed in the end."""
    record = Record(socket)
    try:
        yield record
    finally:
        await record.end()
