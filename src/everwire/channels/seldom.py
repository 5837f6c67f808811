"""What would be logged for each of thousands of clients, logged now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

__all__ = ["Seldom"]


class Seldom:
    """Logs a warning, and then none for a while; the next one says how many there were.

    When an engine cannot be reached, there is one for each client and channel.

    Parameters:
        logger: where they go.
        interval: seconds between two.
        clock: tells the seconds.
    """

    __slots__ = ("_clock", "_interval", "_left_out", "_logger", "_next")

    def __init__(
        self, logger: logging.Logger, *, interval: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._interval = interval
        self._clock = clock
        self._next = 0.0
        self._left_out = 0

    def warning(self, message: str, *args: object) -> None:
        """Log it, or count it."""
        now = self._clock()
        if now < self._next:
            self._left_out += 1
            return
        self._next = now + self._interval
        left_out, self._left_out = self._left_out, 0
        if left_out:
            message, args = f"{message} (and %d warnings like it before)", (*args, left_out)
        self._logger.warning(message, *args)
