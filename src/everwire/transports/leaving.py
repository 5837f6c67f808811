"""Ending streams when a server that waits for them is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

__all__ = ["Leaving", "is_stopping"]

EVERY = 0.5
"""Seconds between two looks."""


def is_stopping() -> bool:
    """Whether the server of this process was told to stop, and waits for streams: uvicorn, which says so."""
    handler = signal.getsignal(signal.SIGTERM)
    return getattr(getattr(handler, "__self__", None), "should_exit", False) is True


class Leaving:
    """Looks whether the server stops, while there are streams of whose end it would wait for ever.

    ASGI does not tell a running response that the server stops, and uvicorn tells the application's lifespan
    when all responses have ended.

    Parameters:
        end: called when it does.
    """

    def __init__(self, end: Callable[[], object]) -> None:
        self._end = end
        self._streams = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._streams += 1
        if self._timer is None:
            self._look()

    def __exit__(self, *exc: object) -> None:
        self._streams -= 1
        if not self._streams and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if is_stopping():
            self._end()
        self._timer = asyncio.get_running_loop().call_later(EVERY, self._look)
