"""The hub for threads: Django views, Celery tasks, scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from everwire.channels.engine import HistoryPage, Position, PresenceStats
from everwire.errors import ConcurrencyError, EverwireError
from everwire.wire.messages import ClientInfo

if TYPE_CHECKING:
    from everwire.channels.hub import Hub

__all__ = ["Blocking"]

T = TypeVar("T")


class Blocking:
    """A hub's methods as calls that wait: from other threads than that of the hub's event loop.

    Each takes ``timeout``: seconds after which it raises :exc:`TimeoutError`; what was asked may still happen
    then. An *idempotency_key* makes it safe to publish again.

    Raises:
        ConcurrencyError: called in the event loop's own thread, which it would block for ever.
        RuntimeError: the hub was not started.
    """

    __slots__ = ("_hub",)

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def _wait(self, work: Coroutine[Any, Any, T], timeout: float | None) -> T:
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        try:
            loop = self._hub.loop
            if running is loop:
                raise ConcurrencyError("hub.sync is for other threads; in the event loop use `await hub...`")
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise

    def publish(self, channel: str, data: Any, *, timeout: float | None = 10.0, **options: Any) -> Position:
        """Publish into a channel: see :meth:`Hub.publish`."""
        return self._wait(self._hub.publish(channel, data, **options), timeout)

    def broadcast(
        self, channels: Sequence[str], data: Any, *, timeout: float | None = 10.0, **options: Any
    ) -> list[Position | EverwireError]:
        """Publish the same into several channels: see :meth:`Hub.broadcast`."""
        return self._wait(self._hub.broadcast(channels, data, **options), timeout)

    def history(self, channel: str, *, timeout: float | None = 10.0, **options: Any) -> HistoryPage:
        """Read the log of a channel: see :meth:`Hub.history`."""
        return self._wait(self._hub.history(channel, **options), timeout)

    def presence(self, channel: str, *, timeout: float | None = 10.0) -> dict[str, ClientInfo]:
        """Who is in a channel: see :meth:`Hub.presence`."""
        return self._wait(self._hub.presence(channel), timeout)

    def presence_stats(self, channel: str, *, timeout: float | None = 10.0) -> PresenceStats:
        """How many are in a channel: see :meth:`Hub.presence_stats`."""
        return self._wait(self._hub.presence_stats(channel), timeout)

    def disconnect(self, user: str, *, timeout: float | None = 10.0, **options: Any) -> int:
        """End a user's sessions: see :meth:`Hub.disconnect`."""
        return self._wait(self._hub.disconnect(user, **options), timeout)

    def unsubscribe(
        self, user: str, channel: str = "", *, timeout: float | None = 10.0, **options: Any
    ) -> int:
        """End subscriptions of a user: see :meth:`Hub.unsubscribe`."""
        return self._wait(self._hub.unsubscribe(user, channel, **options), timeout)
