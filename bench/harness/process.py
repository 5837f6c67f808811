"""Servers and clients as processes of their own: pinned to a core, started in a group, and ended with it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from .install import BENCH, environment

START_TIMEOUT = 15.0
SETTLE = 0.2


class Failed(Exception):
    """A server did not start, or a run against it failed."""


def two_cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load")
    return cores[0], cores[1]


SERVER_CORE, LOAD_CORE = two_cores()


def busy_share() -> float:
    """How much of the processors' time others take just now: 0 to 1."""

    def ticks() -> tuple[int, int]:
        times = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(times), times[3] + times[4]

    before = ticks()
    time.sleep(1)
    after = ticks()
    return 1 - (after[1] - before[1]) / max(1, after[0] - before[0])


def raise_file_limit() -> None:
    """As many open files as allowed, for this process and all that it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _await_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines()
            raise Failed(f"the server ended at once: {said[-1] if said else 'it said nothing'}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            time.sleep(SETTLE)
            return
        time.sleep(0.02)
    raise Failed("the server did not listen in time")


@contextmanager
def serving(command: Sequence[str], port: int, log: Path) -> Iterator[int]:
    """Runs a server on its core and yields its process id; ends its whole group after."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=BENCH,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
        )
    try:
        _await_listening(process, port, log)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_load(command: Sequence[str], timeout: float) -> str:
    """Runs the load generator or a client on its core and returns what it printed. Raises Failed."""
    try:
        done = subprocess.run(
            command,
            cwd=BENCH,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}),
        )
    except subprocess.TimeoutExpired as exc:
        raise Failed(f"no result after {timeout:.0f} s") from exc
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise Failed(said[-1].removeprefix("load: ") if said else f"exit status {done.returncode}")
    return done.stdout
