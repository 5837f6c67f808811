"""One thread for what no thread of the user's does: dialing, and looking after idle connections."""

from __future__ import annotations

import asyncio
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
        self._tended: weakref.WeakSet[Tended] = weakref.WeakSet()
        self._timer: asyncio.TimerHandle | None = None

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
        self._tended.add(connection)
        if self._timer is not None:
            self._timer.cancel()
        self._tend()

    def _tend(self) -> None:
        loop = self.loop
        self._timer = None
        dues: list[float] = []
        for connection in list(self._tended):
            due: float | None = None
            try:
                due = connection.tend()
            except Exception as exc:
                loop.call_exception_handler(
                    {"message": "looking after a connection failed", "exception": exc}
                )
            if due is None:
                self._tended.discard(connection)
            else:
                dues.append(due)
        if dues:
            self._timer = loop.call_later(max(0.0, min(dues) - monotonic()), self._tend)


background = Background()
"""The one of this process."""


def _after_fork() -> None:
    # The thread is not there in the child; neither are the connections, which are the parent's.
    background.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
