"""Nodes of a chaos run, each in a process of its own: started, killed, frozen."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from engines.servers import free_port

__all__ = ["Node"]

PROGRAM = Path(__file__).with_name("server.py")
PATIENCE = 60.0
"""Seconds that it may take to serve: generous, for machines under load."""


class Node:
    """A node's process.

    Parameters:
        engine: the URL of its engine.
        history: publications in a channel's log.
        ping: seconds between two pings for its clients.
        log: a file for what it says.

    Attributes:
        port: where it serves, whenever it does.
        kills: how often it was killed.
    """

    def __init__(self, engine: str, history: int, ping: float, log: Path) -> None:
        self.port = free_port()
        self.kills = 0
        self._command = (sys.executable, str(PROGRAM), str(self.port), engine, str(history), str(ping))
        self._log = log

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self._process.stdout.readline()
        if line != b"ready\n":
            raise RuntimeError(f"a node did not start: {line!r}\n{self._log.read_text()[-4000:]}")

    async def kill(self) -> None:
        """Kill it."""
        self.kills += 1
        await self.end()

    async def end(self) -> None:
        """End it at once, frozen or not."""
        with contextlib.suppress(ProcessLookupError, AttributeError):
            self._process.kill()
            await self._process.wait()

    def freeze(self) -> None:
        """Let it do nothing, with its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)
