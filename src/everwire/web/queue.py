"""What happens to one event target, one thing after the other (HTML, section 8.1.7: a task queue)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

__all__ = ["TaskQueue"]


class TaskQueue:
    """Runs functions in order, and never one inside another.

    A function runs at once if nothing is before it. After one that started coroutines the next waits until
    each of these has come to its first ``await``: so much is certain about the order of what coroutines do.
    """

    __slots__ = ("_held", "_loop", "_running", "_steps")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._steps: deque[Callable[[], None]] = deque()
        self._running = False
        self._held = False

    def __len__(self) -> int:
        return len(self._steps)

    def post(self, step: Callable[[], None]) -> None:
        """Run a function when its turn has come, which may be now."""
        self._steps.append(step)
        if not self._running:
            self._advance()

    def hold(self) -> None:
        """A task was created: let it begin before the next function runs."""
        self._held = True

    def _advance(self) -> None:
        self._running = True
        try:
            while self._steps:
                self._held = False
                self._steps.popleft()()
                if self._held:
                    # Tasks begin in the order in which they were created, before what is called soon after.
                    self._loop.call_soon(self._advance)
                    return
        except BaseException:
            self._running = False
            raise
        self._running = False
