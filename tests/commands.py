"""Programs that a test starts, talks to and ends: the command line, the examples, peers."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

TIMEOUT = 30.0
"""Seconds that a program may take to say what is waited for, or to end; generous, for machines under load."""


class Program:
    """A running program, what it printed so far (stdout and stderr as one) and its end.

    Use it as a context manager: a program that still runs at the end is killed. ``terminal`` gives it one.
    """

    def __init__(
        self,
        args: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        terminal: bool = False,
    ) -> None:
        self._ours, theirs = pty.openpty() if terminal else os.pipe()
        if terminal:
            termios.tcsetwinsize(theirs, (40, 120))
        try:
            self.process = subprocess.Popen(
                [str(arg) for arg in args],
                stdin=theirs if terminal else subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                cwd=cwd,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "TERM": "xterm-256color", **(env or {})},
                start_new_session=terminal,
                preexec_fn=_take_terminal if terminal else None,
            )
        finally:
            os.close(theirs)
        self.output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def wait_for(self, pattern: str, *, timeout: float = TIMEOUT) -> re.Match[str]:
        """Read on until the output matches; fail if the program ends or the time is up."""
        deadline = time.monotonic() + timeout
        while (found := re.search(pattern, self.output)) is None:
            assert self._read(deadline), f"{pattern!r} was not printed:\n{self.output}"
        return found

    def write(self, text: str) -> None:
        """Type this at its terminal."""
        os.write(self._ours, text.encode())

    def attributes(self) -> list[Any]:
        """The settings of its terminal."""
        return termios.tcgetattr(self._ours)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, *, timeout: float = TIMEOUT) -> int:
        """Read all that is left and return the exit code; fail if the program does not end in time."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        remaining = deadline - time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(max(remaining, 0))
        raise AssertionError(f"still running after {timeout:g} seconds:\n{self.output}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait for the exit code."""
        self.send_signal(number)
        return self.wait()

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(deadline - time.monotonic(), 0))
        data = b""
        with contextlib.suppress(OSError):  # how Linux reports that the other end of a terminal is closed
            data = os.read(self._ours, 65536) if ready else b""
        self.output += data.decode(errors="replace")
        return bool(data)


def _take_terminal() -> None:
    """Make standard input the terminal that controls this process, as a shell's is."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def everwire(
    *args: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, terminal: bool = False
) -> Program:
    """Start the command ``everwire`` with these arguments."""
    return Program([sys.executable, "-m", "everwire.cli", *args], env=env, cwd=cwd, terminal=terminal)


@contextlib.contextmanager
def serving(*args: str | Path, port: int = 0, terminal: bool = False) -> Iterator[tuple[Program, str]]:
    """``everwire serve``, on a free port unless one is given, and its address, like ``http://127.0.0.1:45678``."""
    where = () if "--unix" in args else ("--port", str(port))
    with everwire("serve", *where, *args, terminal=terminal) as program:
        page = program.wait_for(r"(?s)\b(https?://[\w.:\[\]]+)/(?!\w).*Ctrl-C")
        yield program, page[1]


@contextlib.contextmanager
def open_mute(url: str) -> Iterator[None]:
    """A WebSocket whose client does nothing any more once it is open."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as mute:
        mute.sendall(
            f"GET /echo HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert mute.recv(12) == b"HTTP/1.1 101"
        yield
