"""What was received and waits to be taken, in bounds; and the gate that holds reading back at the bound."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from everwire.errors import ConcurrencyError

__all__ = ["Ended", "Gate", "Inbox"]

T = TypeVar("T")

FLOOD = 4
"""How many times its bounds an inbox may hold while an answer is waited for."""

FLOODED = 1 << 14
"""How many items it may hold then at least, if they are small: who asks with much unread is answered."""


class Ended(Exception):
    """There is nothing more to take."""


class Gate:
    """Whether a connection is read: not while an inbox is full, so that the server notices and waits.

    But while a command waits for its answer reading goes on for a while. Who takes from a full inbox may be
    the very one who waits for that answer, and would wait for ever.
    """

    def __init__(self) -> None:
        self._full: set[object] = set()
        self._flooded: set[object] = set()
        self._calls = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def shut(self) -> bool:
        """Whether to stop reading."""
        return bool(self._full) and (not self._calls or bool(self._flooded))

    async def passage(self) -> None:
        """Wait until it is open."""
        while self.shut:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def count_call(self, change: int) -> None:
        """A command was sent (1), or is answered (-1)."""
        self._calls += change
        self._changed()

    def mark(self, inbox: object, *, full: bool, flooded: bool) -> None:
        """Say how full an inbox is."""
        (self._full.add if full else self._full.discard)(inbox)
        (self._flooded.add if flooded else self._flooded.discard)(inbox)
        self._changed()

    def _changed(self) -> None:
        if self._waiter is not None and not self._waiter.done() and not self.shut:
            self._waiter.set_result(None)


class Inbox(Generic[T]):
    """A queue with one reader, and with bounds that shut a gate.

    Args:
        gate: what to shut while it is full.
        max_queue: how many items are taken before it is full.
        max_bytes: how many bytes of items are taken before it is full.
    """

    __slots__ = ("_bytes", "_ending", "_full", "_gate", "_items", "_waiter", "max_bytes", "max_queue")

    def __init__(self, gate: Gate, *, max_queue: int, max_bytes: int) -> None:
        self.max_queue = max_queue
        self.max_bytes = max_bytes
        self._gate = gate
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._full = False
        self._ending: tuple[Exception | None] | None = None
        self._waiter: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T, size: int = 0) -> bool:
        """Add an item of so many bytes; returns whether it is this that filled the inbox."""
        self._items.append((item, size))
        self._bytes += size
        if self._waiter is not None:
            self._wake()
        if self._full:
            self._measure()
        elif len(self._items) >= self.max_queue or self._bytes >= self.max_bytes:
            self._measure()
            return True
        return False

    def end(self, error: Exception | None = None) -> None:
        """Nothing more comes: after what is there the reader gets this error, or is told that it is over."""
        if self._ending is None:
            self._ending = (error,)
            self._gate.mark(self, full=False, flooded=False)
            self._wake()

    def clear(self) -> None:
        """Forget what is there."""
        self._items.clear()
        self._bytes = 0
        self._measure()

    def take(self) -> T | None:
        """Take the first item, if there is one."""
        if not self._items:
            return None
        item, size = self._items.popleft()
        self._bytes -= size
        if self._full:
            self._measure()
        return item

    async def get(self) -> T:
        """Take the first item; wait for it.

        Raises:
            Ended: nothing more comes.
            Exception: the error with which it ended, once.
            ConcurrencyError: somebody else waits for it.
        """
        if self._waiter is not None:
            raise ConcurrencyError("two coroutines wait for what comes of one subscription; only one may")
        while not self._items:
            if self._ending is not None:
                error = self._ending[0]
                self._ending = (None,)
                raise error or Ended
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        item = self.take()
        assert item is not None
        return item

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _measure(self) -> None:
        # A full inbox opens the gate when it is half empty: stopping and going on have a price.
        held, kept = len(self._items), self._bytes
        share = 2 if self._full else 1
        self._full = held * share >= self.max_queue or kept * share >= self.max_bytes
        self._full = self._full and self._ending is None and bool(held)
        flooded = self._full and (
            held >= max(self.max_queue * FLOOD, FLOODED) or kept >= self.max_bytes * FLOOD
        )
        self._gate.mark(self, full=self._full, flooded=flooded)
