"""One thread for what no thread of the user's does: dialing, and looking after idle connections."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import socket
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from everwire._core.stream import monotonic

__all__ = ["Background", "Tended", "background"]

T = TypeVar("T")


class Tended(Protocol):
    """A connection as it is looked after."""

    def tend(self) -> float | None:
        """Do what is due. The time to come again, or None if there is nothing more to do."""
        ...


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that resolves names in daemon threads: a slow name server does not hold up the exit."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        found: asyncio.Future[Any] = self.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if not found.done():
                found.set_result(result) if error is None else found.set_exception(error)

        def resolve() -> None:
            result = error = None
            try:
                result = socket.getaddrinfo(*args, **kwargs)
            except Exception as exc:
                error = exc
            self.call_soon_threadsafe(settle, result, error)

        threading.Thread(target=resolve, name="everwire-resolve", daemon=True).start()
        return await found


class Background:
    """A daemon thread with an event loop, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: _Loop | None = None
        # When to look at which connection, and the number of the one entry that counts for it.
        self._dues: list[tuple[float, int, weakref.ref[Tended]]] = []
        self._entries: weakref.WeakKeyDictionary[Tended, int] = weakref.WeakKeyDictionary()
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs."""
        loop = self._loop
        if loop is None:
            with self._lock:
                loop = self._loop
                if loop is None:
                    loop = self._loop = _Loop()
                    threading.Thread(target=loop.run_forever, name="everwire-sync", daemon=True).start()
        return loop

    def call(self, function: Callable[[], Coroutine[Any, Any, T]], timeout: float | None) -> T:
        """Run a coroutine function there, and wait for its result for so many seconds.

        Raises:
            TimeoutError: it was cancelled, because it took longer.
        """

        async def bounded() -> T:
            async with asyncio.timeout(timeout):
                return await function()

        future = asyncio.run_coroutine_threadsafe(bounded(), self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def tend(self, connection: Tended) -> None:
        """Look after a connection until it says that it is over, or is forgotten."""
        self.loop.call_soon_threadsafe(self._add, connection)

    def _add(self, connection: Tended) -> None:
        self._look_at(connection)
        self._set_timer()

    def _tend(self) -> None:
        """Look at those whose time has come."""
        self._timer = None
        now = monotonic()
        while self._dues and self._dues[0][0] <= now:
            _, number, known = heapq.heappop(self._dues)
            connection = known()
            if connection is not None and self._entries.get(connection) == number:
                self._look_at(connection)
        self._set_timer()

    def _look_at(self, connection: Tended) -> None:
        """Have a connection do what is due, and note when to come again."""
        due: float | None = None
        try:
            due = connection.tend()
        except Exception as exc:
            self.loop.call_exception_handler(
                {"message": "looking after a connection failed", "exception": exc}
            )
        if due is None:
            self._entries.pop(connection, None)
        else:
            self._entries[connection] = number = next(self._numbers)
            heapq.heappush(self._dues, (due, number, weakref.ref(connection)))

    def _set_timer(self) -> None:
        if not self._dues:
            return
        due = self._dues[0][0]
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self.loop.call_later(max(0.0, due - monotonic()), self._tend)


background = Background()
"""The one of this process."""


def _after_fork() -> None:
    # The thread is not there in the child; neither are the connections, which are the parent's.
    background.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
