"""A wheel of timers: many sessions, one timer of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

__all__ = ["Timed", "Wheel"]


class Timed(Protocol):
    """What can be on a wheel: at one place at a time.

    Attributes:
        due: the tick at which it is; 0: on none. The wheel's own.
    """

    due: int

    def tick(self) -> None:
        """Its time has come."""
        ...


class Wheel:
    """Calls :meth:`Timed.tick` of many things, each once after its delay, to the quarter of a second.

    There is one timer of the event loop while there is anything on the wheel, and none otherwise.

    Parameters:
        loop: the event loop.
        failed: called with what an entry's ``tick`` has raised.
    """

    TICK = 0.25

    def __init__(self, loop: asyncio.AbstractEventLoop, failed: Callable[[Exception], None]) -> None:
        self._loop = loop
        self._failed = failed
        self._slots: dict[int, dict[Timed, None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._now = self._tick_of(loop.time())
        self._size = 0

    def _tick_of(self, time: float) -> int:
        return int(time / self.TICK) + 1

    def __len__(self) -> int:
        return self._size

    def put(self, entry: Timed, delay: float) -> None:
        """Put an entry on the wheel, at *delay* seconds from now; it leaves the place it had."""
        self.remove(entry)
        if self._timer is None:
            self._now = self._tick_of(self._loop.time())
        due = max(self._tick_of(self._loop.time() + delay), self._now + 1)
        entry.due = due
        self._slots.setdefault(due, {})[entry] = None
        self._size += 1
        if self._timer is None:
            self._turn_later()

    def remove(self, entry: Timed) -> None:
        """Take an entry off the wheel, if it is there."""
        if entry.due:
            slot = self._slots.get(entry.due)
            if slot is not None and entry in slot:
                del slot[entry]
                self._size -= 1
            entry.due = 0

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots.clear()
        self._size = 0

    def _turn_later(self) -> None:
        self._timer = self._loop.call_later(self.TICK, self._turn)

    def _turn(self) -> None:
        now = self._tick_of(self._loop.time())
        while self._now < now:
            self._now += 1
            for entry in self._slots.pop(self._now, ()):
                self._size -= 1
                entry.due = 0
                try:
                    entry.tick()
                except Exception as error:
                    self._failed(error)
        self._timer = None
        if self._size:
            self._turn_later()
