"""Redis servers that the engine is tested against: one alone, one with sentinels, and a cluster."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from engines.servers import HOST, PATIENCE, Server, free_port, greeting

__all__ = [
    "RedisServer",
    "Sentinel",
    "ask",
    "binary_client",
    "redis_client",
    "redis_cluster",
    "redis_program",
    "wait_until",
]


QUICK = ("repl-diskless-sync-delay 0", "enable-debug-command yes")
"""Options that save time."""


def redis_program() -> str:
    """The program of Redis or Valkey."""
    folders = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    found = shutil.which("redis-server", path=folders) or shutil.which("valkey-server", path=folders)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("neither redis-server nor valkey-server is installed")
        pytest.skip("neither redis-server nor valkey-server is installed")
    return found


def redis_client() -> str:
    """The program that speaks to it."""
    found = shutil.which("redis-cli") or shutil.which("valkey-cli")
    assert found is not None, "redis-cli is missing"
    return found


class RedisServer(Server):
    """A Redis server, which keeps its data in *folder*.

    Parameters:
        options: lines of its configuration.

    Attributes:
        port: where clients connect.
    """

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        lines = (f"bind {HOST}", f"port {self.port}", f"dir {folder}", 'save ""', *QUICK, *options)
        (folder / "redis.conf").write_text("\n".join(lines) + "\n")
        super().__init__(
            (redis_program(), folder / "redis.conf"),
            log=folder / "log",
            answers=lambda: greeting(self.port, b"+PONG", ask=b"PING\r\n"),
        )

    @property
    def url(self) -> str:
        """For an engine."""
        return f"redis://{HOST}:{self.port}"

    def follow(self, master: RedisServer) -> None:
        """Make it a replica, and wait until it has all that the master has."""
        self.ask("REPLICAOF", HOST, str(master.port))
        wait_until(lambda: "'master_link_status': 'up'" in self.ask("INFO", "replication"))

    def ask(self, *command: str) -> str:
        """Ask it something, as its own client does; fail if it answers with an error."""
        return ask(self.port, *command)


def ask(port: int, *command: str) -> str:
    """Ask the server at a port something."""
    with contextlib.closing(_connect(port)) as client:
        return str(client.execute_command(*command))


class Sentinel(Server):
    """A sentinel that watches a master called ``main``, and acts on its own."""

    def __init__(
        self, folder: Path, master: RedisServer, *, down_after: float = 0.5, quorum: int = 1
    ) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        lines = (
            f"bind {HOST}",
            f"port {self.port}",
            f"dir {folder}",
            f"sentinel monitor main {HOST} {master.port} {quorum}",
            f"sentinel down-after-milliseconds main {int(down_after * 1000)}",
            "sentinel failover-timeout main 3000",
        )
        (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
        super().__init__(
            (redis_program(), folder / "sentinel.conf", "--sentinel"),
            log=folder / "log",
            answers=lambda: greeting(self.port, b"+PONG", ask=b"PING\r\n"),
        )

    @property
    def url(self) -> str:
        """For an engine."""
        return f"redis+sentinel://{HOST}:{self.port}/main"

    def master(self) -> int:
        """The port of the master, as it tells nodes."""
        with contextlib.closing(_connect(self.port)) as client:
            return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])

    def knows_replica(self) -> bool:
        """Whether it has found a replica that it could make the master."""
        found = ask(self.port, "SENTINEL", "REPLICAS", "main")
        return "master-link-status" in found and "'ok'" in found


@contextlib.contextmanager
def redis_cluster(folder: Path, size: int = 3) -> Iterator[list[RedisServer]]:
    """Masters without replicas that have all slots between them."""
    options = ("cluster-enabled yes", "cluster-node-timeout 2000", "cluster-require-full-coverage no")
    with contextlib.ExitStack() as stack:
        servers: list[RedisServer] = []
        for number in range(size):
            # The bus listens on a port of its own.
            own = (*options, f"cluster-port {free_port()}")
            servers.append(stack.enter_context(RedisServer(folder / f"r{number}", *own)))
        addresses = [f"{HOST}:{server.port}" for server in servers]
        subprocess.run(
            [redis_client(), "--cluster", "create", *addresses, "--cluster-yes"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        wait_until(lambda: all("cluster_state:ok" in each.ask("CLUSTER", "INFO") for each in servers))
        yield servers


def wait_until(condition: object) -> None:
    """Wait for something that a server does by itself."""
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.02)


def _connect(port: int) -> redis.Redis:
    return redis.Redis(HOST, port, decode_responses=True, protocol=2)


def binary_client(port: int) -> redis.Redis:
    """A client of another library, for what has bytes in it."""
    return redis.Redis(HOST, port)
