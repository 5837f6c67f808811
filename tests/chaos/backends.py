"""What keeps the logs in a chaos run: an engine's servers, who leads them, and how they come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from engines.redis_servers import RedisServer, Sentinel
from engines.servers import HOST, NatsServer, Server, nats_cluster

__all__ = ["BACKENDS", "TIMEOUT", "Backend", "Kind"]

Kind = Literal["kill-node", "kill-leader", "cut", "freeze-node", "freeze-leader", "isolate-leader"]
"""What can break: see ``faults.py``."""

TIMEOUT = 2
"""Seconds that nodes wait for their engine."""

SERVERS: tuple[Kind, ...] = ("kill-node", "kill-leader", "cut", "freeze-node", "freeze-leader")
"""What can break where an engine has servers."""
PATIENCE = 40.0
"""Seconds that servers may take until they agree again: a sentinel alone takes ten to demote a master."""


class Backend:
    """An engine within the nodes: nothing to start, nothing to kill.

    Parameters:
        wait_replicas: replicas that have a publication before it is acknowledged, where that is asked for.

    Attributes:
        shared: whether several nodes can have it.
        ports: of its servers, as nodes connect to them.
        tells: whether the first of these tells nodes of the ports of the others.
        durable: whether it outlives a node.
        kinds: what can break.
    """

    shared: ClassVar[bool] = False
    durable: ClassVar[bool] = True
    tells: ClassVar[bool] = False
    kinds: ClassVar[tuple[Kind, ...]] = ("kill-node", "freeze-node")

    def __init__(self, wait_replicas: int = 1) -> None:
        self.ports: list[int] = []
        self._wait_replicas = wait_replicas
        self._stack = contextlib.ExitStack()

    async def start(self, folder: Path) -> None:
        """Start the servers, which keep their data in a folder."""
        await asyncio.to_thread(self._start, folder)

    async def close(self) -> None:
        """End them."""
        await asyncio.to_thread(self._stack.close)

    def url(self, ports: Sequence[int]) -> str:
        """Of the engine, for a node that reaches the servers at other ports than their own."""
        raise NotImplementedError

    async def leader(self) -> Server:
        """The server that takes the writes."""
        raise NotImplementedError

    async def kill_alone(self, leader: Server) -> None:
        """Kill a server after a moment in which its replicas got nothing of what it took."""
        raise NotImplementedError

    async def revive(self, server: Server) -> None:
        """Start a server again that was killed."""
        await asyncio.to_thread(server.start)

    async def settle(self) -> None:
        """Wait until all servers are there, and in step."""

    def _start(self, folder: Path) -> None:
        raise NotImplementedError


class Memory(Backend):
    """Logs in the memory of the one node."""

    durable = False

    def url(self, ports: Sequence[int]) -> str:
        return "memory:"

    def _start(self, folder: Path) -> None:
        pass


class Sqlite(Backend):
    """Logs in a file of the one node."""

    def url(self, ports: Sequence[int]) -> str:
        return f"sqlite:{self._folder}/log.db?synchronous=normal"

    def _start(self, folder: Path) -> None:
        self._folder = folder


class Redis(Backend):
    """One Redis server, which has written down what it acknowledges."""

    shared = True
    kinds = SERVERS

    def url(self, ports: Sequence[int]) -> str:
        return f"redis://{HOST}:{ports[0]}?timeout={TIMEOUT}"

    async def leader(self) -> Server:
        return self._server

    def _start(self, folder: Path) -> None:
        own = ("appendonly yes", "appendfsync always")
        self._server = self._stack.enter_context(RedisServer(folder / "redis", *own))
        self.ports = [self._server.port]


class RedisSentinel(Backend):
    """A Redis server and a replica of it, and a sentinel that promotes the other one."""

    shared = True
    tells = True
    kinds = (*SERVERS, "isolate-leader")

    def url(self, ports: Sequence[int]) -> str:
        replicas = f"&wait_replicas={self._wait_replicas}" if self._wait_replicas else ""
        return f"redis+sentinel://{HOST}:{ports[0]}/main?timeout={TIMEOUT}{replicas}"

    async def leader(self) -> Server:
        return await asyncio.to_thread(self._leader)

    async def kill_alone(self, leader: Server) -> None:
        assert isinstance(leader, RedisServer)
        (other,) = (each for each in self._servers if each is not leader)
        # Frozen, it cannot come back at once.
        other.freeze()
        try:
            await asyncio.to_thread(leader.ask, "CLIENT", "KILL", "TYPE", "replica")
            await asyncio.sleep(0.2)
            leader.kill()
        finally:
            other.thaw()

    async def revive(self, server: Server) -> None:
        """Start it once the other one was promoted, and make it a replica: what it had it has lost."""
        assert isinstance(server, RedisServer)
        master = await self._until(lambda: self._other_leads(server))
        await super().revive(server)
        await asyncio.to_thread(server.follow, master)

    async def settle(self) -> None:
        await self._until(self._in_step)

    def _start(self, folder: Path) -> None:
        enter = self._stack.enter_context
        # A replica that was cut off for a moment gets the rest, and not everything anew.
        own = ("repl-diskless-sync-delay 0", "repl-timeout 5", "repl-ping-replica-period 1")
        first = enter(RedisServer(folder / "redis0", *own))
        second = enter(RedisServer(folder / "redis1", *own, f"replicaof {HOST} {first.port}"))
        self._servers = (first, second)
        self._sentinel = enter(Sentinel(folder / "sentinel", first))
        self.ports = [self._sentinel.port, first.port, second.port]

    def _leader(self) -> RedisServer:
        port = self._sentinel.master()
        return next(each for each in self._servers if each.port == port)

    def _other_leads(self, server: RedisServer) -> RedisServer | None:
        leader = self._leader()
        return None if leader is server else leader

    def _in_step(self) -> bool:
        """Whether the master that the sentinel knows has the other server as its replica, and both agree."""
        leader = self._leader()
        (other,) = (each for each in self._servers if each is not leader)
        theirs = other.ask("INFO", "replication")
        follows = f"'master_port': {leader.port}" in theirs and "'master_link_status': 'up'" in theirs
        followed = "'state': 'online'" in leader.ask("INFO", "replication")
        return follows and followed and self._sentinel.knows_replica()

    async def _until(self, condition: Callable[[], Any]) -> Any:
        """What a condition says, once it says something."""
        return await _until(lambda: asyncio.to_thread(condition))


class Nats(Backend):
    """One NATS server."""

    shared = True
    kinds = SERVERS

    def url(self, ports: Sequence[int]) -> str:
        servers = ",".join(f"{HOST}:{port}" for port in ports)
        return f"nats://{servers}?replicas={len(ports)}&timeout={TIMEOUT}"

    async def leader(self) -> Server:
        leader: Server = await _until(self._leader)
        return leader

    async def settle(self) -> None:
        await _until(self._in_step)

    def _start(self, folder: Path) -> None:
        self._servers = [self._stack.enter_context(NatsServer(folder / "nats"))]
        self.ports = [each.port for each in self._servers]

    async def _streams(self) -> list[dict[str, Any]]:
        """What the servers say of their streams, the fullest one first."""
        import nats

        servers = [f"nats://{HOST}:{port}" for port in self.ports]
        options: dict[str, Any] = {"connect_timeout": 1, "allow_reconnect": False}
        client = await nats.connect(servers, error_cb=_ignore, **options)
        try:
            answer = json.loads((await client.request("$JS.API.STREAM.LIST", b"", timeout=2)).data)
            if "error" in answer or answer.get("missing"):
                return []
            streams: list[dict[str, Any]] = answer["streams"] or []
            return sorted(streams, key=lambda each: -int(each["state"]["messages"]))
        finally:
            await client.close()

    async def _leader(self) -> Server | None:
        for stream in await self._streams():
            name = stream.get("cluster", {}).get("leader", "")
            return next((each for each in self._servers if each.name == name), self._servers[0])
        return None

    async def _in_step(self) -> bool:
        for stream in await self._streams():
            cluster = stream.get("cluster", {})
            if len(self._servers) > 1 and not cluster.get("leader"):
                return False
            if any(not each["current"] or each.get("offline") for each in cluster.get("replicas") or ()):
                return False
        return True


class NatsCluster(Nats):
    """Three NATS servers with three replicas of each stream."""

    def _start(self, folder: Path) -> None:
        # Nodes know of no other ways to the servers than those that they are given.
        self._servers = self._stack.enter_context(nats_cluster(folder, 3, "--no_advertise"))
        self.ports = [each.port for each in self._servers]


async def _ignore(error: Exception) -> None:
    pass


async def _until(condition: Callable[[], Any]) -> Any:
    """What a condition says, once it says something; while servers are away, it says nothing."""
    deadline = time.monotonic() + PATIENCE
    problem: Exception | None = None
    while True:
        try:
            found = await condition()
            if found:
                return found
        except Exception as error:  # of redis, of nats, of sockets: it is tried again, and told at the end
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError("the servers of the engine are not in step again") from problem
        await asyncio.sleep(0.1)


BACKENDS: dict[str, type[Backend]] = {
    "memory": Memory,
    "sqlite": Sqlite,
    "redis": Redis,
    "redis-sentinel": RedisSentinel,
    "nats": Nats,
    "nats-cluster": NatsCluster,
}
"""By the name that the command line has for them."""
