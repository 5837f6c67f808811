"""Deadlines of many keys behind one timer of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

__all__ = ["Clock", "Deadlines", "Sweeper"]

Clock = Callable[[], float]
"""Tells the time in seconds, from any beginning."""

Key = TypeVar("Key", str, tuple[str, str])


class Deadlines(Generic[Key]):
    """Keys that each have a deadline. To move one to a later time costs no more than to note it."""

    __slots__ = ("_deadlines", "_heap")

    def __init__(self) -> None:
        self._deadlines: dict[Key, float] = {}
        # Each key is in it at its deadline or before; what is too early is put back when its time comes.
        self._heap: list[tuple[float, Key]] = []

    def __len__(self) -> int:
        return len(self._deadlines)

    def set(self, key: Key, deadline: float) -> None:
        """Give a key a deadline, in place of the one that it has."""
        known = self._deadlines.get(key)
        self._deadlines[key] = deadline
        if known is None or deadline < known:
            if len(self._heap) > 2 * len(self._deadlines) + 64:
                self._heap = [(time, each) for each, time in self._deadlines.items()]
                heapify(self._heap)
            else:
                heappush(self._heap, (deadline, key))

    def discard(self, key: Key) -> None:
        """Forget a key, if it is known."""
        self._deadlines.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._deadlines.clear()
        self._heap.clear()

    def pop(self, now: float) -> list[Key]:
        """Take out the keys whose deadline has come."""
        due: list[Key] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            _, key = heappop(heap)
            deadline = self._deadlines.get(key)
            if deadline is None:
                continue
            if deadline <= now:
                del self._deadlines[key]
                due.append(key)
            else:
                heappush(heap, (deadline, key))
        return due

    @property
    def next(self) -> float | None:
        """No deadline is before this time; None: there is none."""
        return self._heap[0][0] if self._heap else None


class Sweeper:
    """The one timer of an engine: calls *sweep* when something may be due, and sleeps while nothing is.

    *sweep* takes the time and returns the next one at which something may be due, or None. What is due waits
    up to a second, so that much of it costs one call.
    """

    __slots__ = ("_at", "_clock", "_sweep", "_timer")

    PAUSE = 1.0
    """Seconds between two calls, at least."""

    def __init__(self, clock: Clock, sweep: Callable[[float], float | None]) -> None:
        self._clock = clock
        self._sweep = sweep
        self._timer: asyncio.TimerHandle | None = None
        self._at = float("inf")

    def watch(self, deadline: float) -> None:
        """See to it that *sweep* is called soon after this time."""
        if deadline + self.PAUSE < self._at:
            self._start(deadline)

    def stop(self) -> None:
        """Call it no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._at = float("inf")

    def _start(self, deadline: float) -> None:
        self.stop()
        now = self._clock()
        self._at = max(deadline, now + self.PAUSE)
        self._timer = asyncio.get_running_loop().call_later(self._at - now, self._on_time)

    def _on_time(self) -> None:
        self.stop()
        deadline = self._sweep(self._clock())
        if deadline is not None:
            self._start(deadline)
