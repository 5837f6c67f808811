"""Two nodes on one engine: real servers, each in a process of its own."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from commands import Program, serving
from engines.redis_servers import RedisServer
from engines.servers import NatsServer

__all__ = ["ENGINES", "Nodes", "engine", "nodes"]

TESTS = Path(__file__).parents[1]
ENGINES = ("nats", "redis")


class Nodes:
    """What serves.

    Attributes:
        engine: the URL of the engine.
        app: what they serve.
        ports: of the nodes.
        programs: their processes.
    """

    def __init__(self, engine: str, app: str) -> None:
        self.engine = engine
        self.app = app
        self.ports: list[int] = []
        self.programs: list[Program] = []
        self._stack = contextlib.ExitStack()
        self._http = self._stack.enter_context(httpx.Client(trust_env=False, verify=False, timeout=20))

    def start(self, port: int = 0) -> None:
        """Start one more."""
        options = ("--app-dir", TESTS, "--no-access-log", "--engine", self.engine)
        program, base = self._stack.enter_context(serving(self.app, *options, port=port))
        self.ports.append(urlsplit(base).port or 0)
        self.programs.append(program)

    def api(self, node: int, method: str, **parameters: Any) -> Any:
        """Ask a node's server API."""
        url = f"http://127.0.0.1:{self.ports[node]}/api/{method}"
        answer = self._http.post(url, json=parameters).json()
        assert "error" not in answer, answer
        return answer["result"]

    def wait_for_each_other(self) -> None:
        """Wait until each node knows all."""
        deadline = time.monotonic() + 20
        while any(len(self.api(node, "info")["nodes"]) < len(self.ports) for node in range(len(self.ports))):
            assert time.monotonic() < deadline, [program.output for program in self.programs]
            time.sleep(0.02)

    def close(self) -> None:
        """End them."""
        self._stack.close()


@contextlib.contextmanager
def engine(name: str, folder: Path) -> Iterator[str]:
    """A server of an engine: its URL, with a prefix of its own."""
    server = NatsServer(folder / name) if name == "nats" else RedisServer(folder / name)
    with server:
        yield f"{server.url}?prefix=t{secrets.token_hex(4)}"


@contextlib.contextmanager
def nodes(url: str, app: str = "cluster.hubs:hub", count: int = 2) -> Iterator[Nodes]:
    """Nodes that share an engine."""
    found = Nodes(url, app)
    try:
        for _ in range(count):
            found.start()
        yield found
    finally:
        found.close()
