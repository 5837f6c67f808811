"""How fast clients come and go: departures that are spread over a time, and a limit of arrivals by rate."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from everwire.errors import HandshakeError

__all__ = ["AT_ONCE", "Departure", "RateLimit", "as_rate_limit", "spread_of"]

T = TypeVar("T")

STEP = 0.05
"""Seconds between two steps of a departure, where that is not more than one turn can tell."""
AT_ONCE = 500
"""Members told in one turn of the loop at most."""
PER_SECOND = 1000
"""Clients that leave in a second where nothing else is said: what another node takes without effort."""
LONGEST = 10.0
"""Seconds that a departure takes at most where nothing else is said."""
MAX_RETRY_AFTER = 30


def spread_of(count: int) -> float:
    """Seconds over which so many clients are sent away where nothing else is said."""
    return min(count / PER_SECOND, LONGEST)


class Departure(Generic[T]):
    """Tells the members of a crowd to leave, evenly over a time and in random order.

    Those that come back elsewhere then do not come back all at once.

    Parameters:
        members: who is to leave.
        end: called for each of them.
        is_there: whether one still is: who has left by itself is not told.
        spread: seconds from the first to the last; None: a second for each 1,000, 10 at most.
    """

    def __init__(
        self,
        members: Iterable[T],
        end: Callable[[T], object],
        *,
        is_there: Callable[[T], bool],
        spread: float | None,
    ) -> None:
        self._waiting = list(members)
        random.shuffle(self._waiting)
        self._end = end
        self._is_there = is_there
        self._hurry = asyncio.Event()
        self._until = _now() + (spread_of(len(self._waiting)) if spread is None else spread)

    def hasten(self, spread: float | None) -> None:
        """Have all gone within *spread* seconds from now (None: as above), if that is sooner."""
        until = _now() + (spread_of(len(self._waiting)) if spread is None else spread)
        if until < self._until:
            self._until = until
            self._hurry.set()

    async def run(self) -> None:
        """Tell them; return when the last one was told."""
        while True:
            left = self._until - _now()
            gap = left / len(self._waiting) if self._waiting and left > 0 else 0.0
            count = min(max(int(STEP / gap), 1), AT_ONCE) if gap else AT_ONCE
            told = 0
            while self._waiting and told < count:
                member = self._waiting.pop()
                if self._is_there(member):
                    self._end(member)
                    told += 1
            if not self._waiting:
                return
            await self._pause(count * gap)

    async def _pause(self, seconds: float) -> None:
        if not seconds:
            await asyncio.sleep(0)
            return
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()


class RateLimit:
    """How many may come in a second: a token bucket that holds as many as come in one.

    Those who are refused are told when to come again, each a little later than the one before, as if they
    stood in a queue.

    Parameters:
        rate: how many a second.
        clock: the time in seconds, never going back.

    Attributes:
        refused: how many were.
    """

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.refused = 0
        self._rate = rate
        self._most = max(rate, 1.0)
        self._clock = clock
        self._tokens = self._most
        self._queue = 0.0
        self._at = clock()

    def admit(self) -> None:
        """Let one in.

        Raises:
            HandshakeError: they come too fast (503).
        """
        if wait := self.take():
            raise HandshakeError(
                "too many connections come at once; the option connection_rate_limit says how many may in a "
                "second",
                503,
                retry_after=wait,
            )

    def take(self) -> int:
        """Let one in (0), or say after how many seconds it may come again."""
        now = self._clock()
        passed = (now - self._at) * self._rate
        self._at = now
        self._tokens = min(self._tokens + passed, self._most)
        self._queue = max(self._queue - passed, 0.0)
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        self.refused += 1
        self._queue += 1
        return min(math.ceil(self._queue / self._rate), MAX_RETRY_AFTER)


def as_rate_limit(rate: float) -> RateLimit | None:
    """The option ``connection_rate_limit``; None: there is no limit.

    Raises:
        ValueError: it is below 0.
    """
    if not rate >= 0:
        raise ValueError(f"connection_rate_limit is connections a second, or 0 for no limit, not {rate!r}")
    return RateLimit(rate) if rate else None
