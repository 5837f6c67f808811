"""Serve an application anew whenever its source changes, for development."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from everwire.asgi.process import Options
from everwire.asgi.workers import Supervisor

__all__ = ["Reloader", "changes"]

_logger = logging.getLogger("everwire.reload")


async def changes(directories: Sequence[str | os.PathLike[str]]) -> AsyncIterator[list[str]]:
    """Yield the Python files that have changed, as paths from here where that is shorter."""
    watchfiles: Any = importlib.import_module("watchfiles")  # an extra
    async for found in watchfiles.awatch(
        *directories, watch_filter=watchfiles.PythonFilter(), step=50, debounce=400
    ):
        yield sorted(_short(path) for _, path in found)


def _short(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


class Reloader(Supervisor):
    """Runs one worker, and another one in its place when files change.

    Requests that come meanwhile wait. A worker that cannot start, or dies, is not started again before a file
    has changed.
    """

    def __init__(
        self,
        options: Options,
        sockets: Sequence[Sequence[socket.socket]],
        *,
        directories: Sequence[str | os.PathLike[str]],
        on_ready: Callable[[str], object],
        on_stop: Callable[[], object],
    ) -> None:
        super().__init__(options, sockets, on_ready=on_ready, on_stop=on_stop)
        self._directories = directories

    async def _work(self) -> None:
        worker = self._started(self._sockets[0])
        worker.ended.add_done_callback(self._ended)
        worker.ready.add_done_callback(lambda _: self._on_ready(worker.websocket_path))
        async for paths in changes(self._directories):
            _logger.warning("%s changed: starting anew", ", ".join(paths))
            if not worker.ended.done():
                worker.ended.remove_done_callback(self._ended)
                await worker.stop(self._patience)
            worker = self._started(self._sockets[0])
            worker.ended.add_done_callback(self._ended)

    def _ended(self, code: asyncio.Future[int]) -> None:
        if not self._stop.is_set():
            _logger.error("the application has ended; it is started anew when a file changes")
