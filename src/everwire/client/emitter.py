"""Callbacks of events: plain functions are called at once, coroutine functions one after the other."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from everwire.client.events import Event
from everwire.client.inbox import Ended, Gate, Inbox

__all__ = ["Callback", "Emitter"]

Callback = Callable[[Any], object]
"""A function or a coroutine function that is called with an event."""

C = TypeVar("C", bound=Callback)


class Lane:
    """The events that wait for one coroutine function: it gets them in order, one at a time."""

    __slots__ = ("_call", "_inbox", "_run", "_start", "_task")

    def __init__(
        self,
        callback: Callback,
        inbox: Inbox[Event],
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        call: Callable[[Callback, Event], Coroutine[Any, Any, None]],
    ) -> None:
        self._run = callback
        self._inbox = inbox
        self._start = start
        self._call = call
        self._task: asyncio.Task[None] | None = None

    def put(self, event: Event, size: int) -> None:
        """Add an event."""
        self._inbox.put(event, size)
        if self._task is None:
            self._task = self._start(self._work())

    async def _work(self) -> None:
        try:
            while (event := self._inbox.take()) is not None:
                await self._call(self._run, event)
        finally:
            self._task = None


class Stream:
    """Events as an asynchronous iterator: what happens from when it was made on, until it is closed."""

    def __init__(self, inbox: Inbox[Event], forget: Callable[[], None]) -> None:
        self._inbox = inbox
        self._forget = forget

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._inbox.get()
        except Ended:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Collect no more events; the iteration ends after those that are there."""
        self._forget()
        self._inbox.end()


class Emitter:
    """The callbacks of the events of a client, or of a subscription.

    Args:
        names: the events that there are.
        gate: what to shut while events wait for a coroutine function.
        tasks: where tasks are kept that run them.
        logger: where exceptions of callbacks are logged.
        max_queue: how many events may wait for a coroutine function before reading pauses.
        max_bytes: how many bytes of them.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        gate: Gate,
        tasks: set[asyncio.Task[None]],
        logger: logging.Logger,
        max_queue: int,
        max_bytes: int,
    ) -> None:
        self._calls: dict[str, list[Callable[[Event, int], object]]] = {name: [] for name in names}
        self._gate = gate
        self._tasks = tasks
        self._logger = logger
        self._limits = {"max_queue": max_queue, "max_bytes": max_bytes}

    def on(self, name: str, callback: Callback) -> None:
        """Have a function or a coroutine function called with the events of this name.

        Raises:
            ValueError: there is no event of this name.
        """
        # Not whether it can be called is asked: an object's __call__ may be a coroutine function, too.
        if inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
            getattr(callback, "__call__", None)  # noqa: B004
        ):
            self._add(name, Lane(callback, self._inbox(), self._start, self._await).put)
        else:

            def call(event: Event, size: int) -> None:
                try:
                    callback(event)
                except Exception:
                    self._failed(callback)

            self._add(name, call)

    def stream(self, names: Iterable[str]) -> Stream:
        """The events of these names as an asynchronous iterator."""
        inbox = self._inbox()
        chosen = list(names) or list(self._calls)
        for name in chosen:
            self._add(name, inbox.put)

        def forget() -> None:
            for name in chosen:
                if inbox.put in self._calls[name]:
                    self._calls[name].remove(inbox.put)

        return Stream(inbox, forget)

    def wants(self, name: str) -> bool:
        """Whether anybody listens."""
        return bool(self._calls[name])

    def emit(self, name: str, event: Event, size: int = 0) -> None:
        """Tell everybody who listens."""
        for call in tuple(self._calls[name]):
            call(event, size)

    def _inbox(self) -> Inbox[Event]:
        return Inbox(self._gate, **self._limits)

    def _add(self, name: str, call: Callable[[Event, int], object]) -> None:
        if name not in self._calls:
            raise ValueError(f"there is no event {name!r}; there are: {', '.join(self._calls)}")
        self._calls[name].append(call)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _await(self, callback: Callback, event: Event) -> None:
        try:
            # Only coroutine functions come here, which the type does not tell.
            await callback(event)  # type: ignore[misc]
        except Exception:
            self._failed(callback)

    def _failed(self, callback: Callback) -> None:
        name = getattr(callback, "__qualname__", repr(callback))
        self._logger.exception("the callback %s failed", name)
