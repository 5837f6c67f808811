"""Telling a running server what to do, from the same machine: a socket that only its own user can reach.

The socket is ``PID.sock`` in a folder of the user's. Who connects sends one line of JSON,
``{"method": "drain", "spread": 60}``, and gets lines in return: ``{"clients": 512}`` now and then,
``{"clients": 0, "done": true}`` in the end, or ``{"error": "..."}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any, Protocol, Self, cast

__all__ = ["FOLDER", "Control", "Drainable", "check_order", "control_folder", "control_path", "report"]

FOLDER = "EVERWIRE_RUNTIME_DIR"
"""The environment variable that names the folder."""
MAX_LINE = 4096
PATIENCE = 5.0
"""Seconds that an order may take to come, and clients to answer their close frames."""
EVERY = 0.25
"""Seconds between two reports."""

_logger = logging.getLogger("everwire.workers")


class Drainable(Protocol):
    """What can be drained: a server, or the supervisor of several."""

    def clients(self) -> int:
        """How many clients there are."""
        ...

    async def drain(self, *, spread: float | None, deadline: float | None) -> None:
        """Send them away, evenly over *spread* seconds."""
        ...


def control_folder() -> Path:
    """The folder of the sockets: that of ``EVERWIRE_RUNTIME_DIR``, or the user's own for such things."""
    if given := os.environ.get(FOLDER):
        return Path(given)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "everwire"
    return Path(tempfile.gettempdir()) / f"everwire-{os.getuid()}"


def control_path(pid: int) -> Path:
    """The socket of a process."""
    return control_folder() / f"{pid}.sock"


def _make_folder() -> Path:
    """The folder, which nobody else may enter.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    folder = control_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not a folder that only its owner may enter")
    return folder


def check_order(order: object) -> dict[str, float | None]:
    """What is asked for, as arguments of :meth:`Drainable.drain`.

    Raises:
        ValueError: it is no such order.
    """
    if not isinstance(order, dict):
        raise ValueError("an order is an object")
    given = cast(dict[str, Any], order)
    if given.get("method") != "drain":
        raise ValueError(f"there is no method {given.get('method')!r}; there is drain")
    times: dict[str, float | None] = {}
    for name in ("spread", "deadline"):
        seconds = given.get(name)
        if isinstance(seconds, bool) or not (
            seconds is None or (isinstance(seconds, int | float) and seconds >= 0)
        ):
            raise ValueError(f"{name} is a number of seconds or null, not {seconds!r}")
        times[name] = seconds
    return times


class Control:
    """The socket of a server, while it serves: ``async with Control(server): ...``.

    A server works without it: where it cannot be made, that is logged.
    """

    def __init__(self, server: Drainable) -> None:
        self._drainable = server
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if not hasattr(socket, "AF_UNIX"):
            return self
        try:
            self._path = _make_folder() / f"{os.getpid()}.sock"
            # Of a process that had the number before, and could not clean up.
            self._path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._connected, self._path, limit=MAX_LINE)
        except OSError as error:
            _logger.warning("`everwire drain` cannot reach this process: %s; set %s", error, FOLDER)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is None or self._path is None:
            return
        self._server.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def tell(**what: object) -> None:
            writer.write(json.dumps(what).encode() + b"\n")
            await writer.drain()

        try:
            async with asyncio.timeout(PATIENCE):
                line = await reader.readline()
            try:
                order = check_order(json.loads(line))
            except (ValueError, RecursionError) as error:
                await tell(error=str(error))
            else:
                await report(self._drainable, tell, **order)
        except (OSError, TimeoutError, ValueError):
            pass  # whoever asked has gone; what was begun goes on
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def report(server: Drainable, tell: Any, *, spread: float | None, deadline: float | None) -> None:
    """Drain a server, and tell of it: *tell* is called with ``clients=`` again and again, then ``done=``."""
    draining = asyncio.get_running_loop().create_task(server.drain(spread=spread, deadline=deadline))
    count = -1
    try:
        while not draining.done():
            if (now := server.clients()) != count:
                count = now
                await tell(clients=count)
            await asyncio.wait((draining,), timeout=EVERY)
    finally:
        # It only waits for what has begun, and goes on without it.
        draining.cancel()
    await draining
    # They were told; their connections take a moment to close.
    for _ in range(int(PATIENCE / EVERY)):
        if not server.clients():
            break
        await asyncio.sleep(EVERY)
    await tell(clients=server.clients(), done=True)
