"""A thread that does what waits for it in batches, and tells the event loop once per batch."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from everwire.errors import EngineError

__all__ = ["Job", "Worker"]

_logger = logging.getLogger("everwire.engines")

BATCH = 1024
"""Jobs that are done at once, at most."""


class Job:
    """Something to do in the thread. Subclasses say what.

    Attributes:
        result: what came out of it; set in the thread.
        error: what is wrong with it, in place of a result.
    """

    __slots__ = ("error", "future", "result")

    def __init__(self) -> None:
        self.result: Any = None
        self.error: EngineError | None = None
        self.future: asyncio.Future[Any] | None = None

    def on_done(self) -> None:
        """Called in the event loop when it is done, in the order of the jobs, before who waits goes on."""


J = TypeVar("J", bound=Job)


class Worker(Generic[J]):
    """The thread. *work* is called there with a batch of jobs, and sets ``result`` or ``error`` of each."""

    def __init__(self, name: str, work: Callable[[list[J]], None], *, limit: int) -> None:
        self._work = work
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[J | None] = queue.SimpleQueue()
        self._waiting = 0
        self._ended = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: J) -> asyncio.Future[Any]:
        """Have a job done; it is done even if nobody waits for it any more.

        Raises:
            EngineError: too many wait already.
        """
        if self._waiting >= self._limit:
            raise EngineError(
                f"{self._limit} operations wait for the database already: it is too slow for them"
            )
        self._waiting += 1
        job.future = future = self._loop.create_future()
        self._queue.put(job)
        return future

    async def close(self) -> None:
        """Do what waits, and end the thread."""
        self._queue.put(None)
        await asyncio.shield(self._ended)
        self._thread.join()

    def _run(self) -> None:
        ending = False
        while not ending:
            batch: list[J] = []
            job = self._queue.get()
            with contextlib.suppress(queue.Empty):
                while job is not None:
                    batch.append(job)
                    if len(batch) == BATCH:
                        break
                    job = self._queue.get_nowait()
                ending = job is None
            if batch:
                try:
                    self._work(batch)
                except Exception as error:
                    _logger.exception("the database's thread failed")
                    for each in batch:
                        each.result, each.error = (
                            None,
                            EngineError(f"the database's thread failed: {error!r}"),
                        )
                self._tell(self._done, batch)
        self._tell(self._ended.set_result, None)

    def _tell(self, callback: Callable[[Any], object], argument: object) -> None:
        # A loop that was closed before the engine wants to know nothing any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, argument)

    def _done(self, batch: list[J]) -> None:
        self._waiting -= len(batch)
        for job in batch:
            job.on_done()
            future = job.future
            if future is None or future.done():
                continue
            if job.error is None:
                future.set_result(job.result)
            else:
                future.set_exception(job.error)
