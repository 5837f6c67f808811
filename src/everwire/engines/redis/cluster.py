"""A Redis cluster: which server has which keys, and what to do when that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from everwire.engines.redis.connecting import FAILURES, connect, explain, greet
from everwire.engines.redis.keys import SLOTS, slot_of
from everwire.engines.redis.link import LinkLost, Refused, pack
from everwire.engines.redis.server import Server
from everwire.engines.redis.servers import PAUSE, Servers, logger
from everwire.engines.redis.settings import Address, Settings
from everwire.errors import EngineError

__all__ = ["Cluster"]

AGAIN = 0.5
"""Seconds between two looks at who has which slots, while a server is missing."""


class Cluster(Servers):
    """The masters of a cluster, each with connections of its own. Which has what is read when it changes."""

    def __init__(self, settings: Settings, node: str, **told: Any) -> None:
        super().__init__(settings, node, **told)
        self._servers: dict[Address, Server] = {}
        self._slots: list[Server | None] = [None] * SLOTS
        self._dirty = asyncio.Event()
        self._fresh = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None

    @property
    def all(self) -> Sequence[Server]:
        """The masters that have slots."""
        return tuple(self._servers.values())

    def of(self, slot: int) -> Server:
        """The master that has this slot."""
        found = self._slots[slot]
        if found is None:
            self._dirty.set()
            raise EngineError(f"no server of the Redis cluster has slot {slot}")
        return found

    async def start(self) -> None:
        """Ask who has which slots, and connect to them."""
        try:
            await self._take_over(await self._read_slots())
            await asyncio.gather(*(each.start() for each in self.all))
        except BaseException as error:
            await self.close()
            if isinstance(error, Refused):
                raise explain(error, self.settings) from error
            raise
        self._task = asyncio.get_running_loop().create_task(self._watch())
        self._begun()

    async def close(self) -> None:
        """Close all connections."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await super().close()

    async def follow(self, name: bytes, slot: int, target: str) -> None:
        """Have what comes to a name told, wherever it is; it is from when this returns on."""
        deadline = self._deadline()
        while True:
            server = self.of(slot)
            try:
                await server.follow(name, target)
                if self._slots[slot] is server:
                    return
                await server.leave(name)
            except (Refused, EngineError) as error:
                late = asyncio.get_running_loop().time() >= deadline
                if late or (not isinstance(error, Refused) and self._slots[slot] is server):
                    raise (
                        explain(error, server.pubsub.where) if isinstance(error, Refused) else error
                    ) from None
                await self._refresh()

    async def _react(self, error: Refused, server: Server) -> Server | None:
        if error.code == "ASK":
            # ASK SLOT HOST:PORT: keys are on their way there, and this one may have arrived.
            host, _, port = str(error).split(" ")[-1].rpartition(":")
            found = self._servers.get(Address(host, int(port)))
            if found is not None:
                return found
        if error.code in ("MOVED", "ASK", "READONLY", "CLUSTERDOWN"):
            await self._refresh()
            if error.code == "MOVED":
                return None
        return await super()._react(error, server)

    # Who has which slots

    def _changed(self) -> None:
        if not self.available:
            self._dirty.set()
        super()._changed()

    def _moved(self) -> None:
        self._dirty.set()

    async def _refresh(self) -> None:
        """Look again who has which slots, together with whoever wants that now."""
        self._dirty.set()
        try:
            async with asyncio.timeout(self.settings.timeout), self._fresh:
                await self._fresh.wait()
        except TimeoutError:
            pass  # whoever asked looks at the time

    async def _watch(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._take_over(await self._read_slots())
            except FAILURES as error:
                logger.warning("who has which slots of the Redis cluster is not known: %s", error)
            async with self._fresh:
                self._fresh.notify_all()
            if self.available:
                await asyncio.sleep(PAUSE)
            else:
                await asyncio.sleep(AGAIN)
                self._dirty.set()

    async def _read_slots(self) -> dict[Address, list[tuple[int, int]]]:
        """The slots of each master, as the first server says that answers."""
        links = [each.commands.link for each in self.all]
        problems: list[str] = []
        for link in links:
            if link is not None:
                try:
                    return self._parse(await link.send(pack("CLUSTER", "SLOTS")), None)
                except FAILURES as error:
                    problems.append(str(error))
        for address in dict.fromkeys((*self._servers, *self.settings.addresses)):
            try:
                async with asyncio.timeout(self.settings.timeout / 2):
                    link = await connect(self.settings, address, lambda push: None, lambda link, reason: None)
                    try:
                        await greet(link, self.settings, f"everwire-{self._node}-slots")
                        return self._parse(await link.send(pack("CLUSTER", "SLOTS")), address)
                    finally:
                        link.abort(LinkLost("it was closed"))
            except FAILURES as error:
                problems.append(str(explain(error, address)))
        raise EngineError("; ".join(problems))

    def _parse(self, answer: Any, asked: Address | None) -> dict[Address, list[tuple[int, int]]]:
        found: dict[Address, list[tuple[int, int]]] = {}
        for first, last, master, *_ in answer:
            host = master[0].decode() if master[0] else asked.host if asked else "localhost"
            found.setdefault(Address(host, master[1]), []).append((first, last))
        if not found:
            raise EngineError("no server of the Redis cluster has any slots: was it set up?")
        return found

    async def _take_over(self, found: dict[Address, list[tuple[int, int]]]) -> None:
        """Connect to masters that are new, leave those that are gone, and follow what has moved."""
        gone = [self._servers.pop(address) for address in set(self._servers) - set(found)]
        for address in found:
            if address not in self._servers:
                server = self._servers[address] = self._make(address)
                if self._started:
                    server.begin()
        slots: list[Server | None] = [None] * SLOTS
        for address, ranges in found.items():
            for first, last in ranges:
                slots[first : last + 1] = [self._servers[address]] * (last + 1 - first)
        self._slots = slots
        moved = False
        for server in (*self.all, *gone):
            for name, target in list(server.wanted.items()):
                owner = slots[slot_of(name[name.index(b"{") + 1 : name.index(b"}")])]
                if owner is not None and owner is not server:
                    moved = True
                    server.let_go(name)
                    owner.wanted[name] = target
        if moved:
            self._positions_unknown()
        for server in gone:
            await server.close()
        for server in self.all if moved else ():
            await server.catch_up()
        self._changed()

    def _positions_unknown(self) -> None:
        """Something may have come while a channel was on its way from one server to another."""
        if self._started and self._was_available:
            self._was_available = False
            self._on_available(False)

    def _make(self, address: Address) -> Server:
        async def locate() -> Address:
            return address

        return Server(
            self.settings,
            self._node,
            locate,
            on_message=self._on_message,
            changed=self._changed,
            moved=self._moved,
        )
