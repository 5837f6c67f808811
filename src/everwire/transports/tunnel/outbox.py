"""What an application has sent and a client has not acknowledged yet."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from everwire.errors import ProtocolError
from everwire.transports.tunnel.records import Record

__all__ = ["Outbox"]


class Outbox:
    """Numbered records, from 1, that are kept until they are acknowledged.

    Parameters:
        limit: bytes that may be kept; who sends more waits.
        on_news: called when there is a record more.

    Attributes:
        first: the number of the oldest record that is kept, or of the next one that is sent.
    """

    def __init__(self, limit: int, on_news: Callable[[], None]) -> None:
        self.first = 1
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._limit = limit
        self._on_news = on_news
        self._room = asyncio.Event()
        self._room.set()

    @property
    def last(self) -> int:
        """The number of the newest record; 0: there was none yet."""
        return self.first + len(self._records) - 1

    async def wait_for_room(self) -> None:
        """Return when what is kept is under the limit."""
        await self._room.wait()

    def put(self, record: Record) -> None:
        """Number a record and keep it."""
        self._records.append(record)
        self._bytes += len(record.payload)
        if self._bytes >= self._limit:
            self._room.clear()
        self._on_news()

    def acknowledge(self, number: int) -> None:
        """Forget all records up to this number.

        Raises:
            ProtocolError: nothing of this number was sent.
        """
        if not 0 <= number <= self.last:
            raise ProtocolError(f"message {number} is acknowledged, and {self.last} is the last one there is")
        while self.first <= number:
            self._bytes -= len(self._records.popleft().payload)
            self.first += 1
        if self._bytes < self._limit:
            self._room.set()

    def batch(self, start: int, limit: int) -> list[Record]:
        """The records from a number on, as many as have *limit* bytes, but one at least if there is one."""
        batch: list[Record] = []
        size = 0
        for index in range(start - self.first, len(self._records)):
            record = self._records[index]
            size += len(record.payload)
            if batch and size > limit:
                break
            batch.append(record)
        return batch

    def clear(self) -> None:
        """Forget everything: nobody will ask for it. Nobody waits for room any more."""
        self.first += len(self._records)
        self._records.clear()
        self._bytes = 0
        self._room.set()
