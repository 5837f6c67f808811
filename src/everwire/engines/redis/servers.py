"""The servers of a Redis engine: which of them has a key, and how it is asked until it answers."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from everwire.engines.redis.connecting import FAILURES, connect, explain
from everwire.engines.redis.link import Link, LinkLost, Refused, pack
from everwire.engines.redis.server import Server
from everwire.engines.redis.settings import Address, Settings
from everwire.errors import EngineError

__all__ = ["Make", "OneServer", "Servers"]

Make = Callable[[Link], bytes]
"""Makes a command for a connection."""

logger = logging.getLogger("everwire.engines.redis")

LATER = frozenset(
    ("TRYAGAIN", "CLUSTERDOWN", "LOADING", "READONLY", "NOSCRIPT", "MASTERDOWN", "BUSY", "MOVED", "ASK")
)
"""Errors after which a command was surely not carried out: it may be sent again, there or elsewhere."""

PAUSE = 0.05
"""Seconds until it is sent again."""


class Servers:
    """What the kinds of setups have in common."""

    def __init__(
        self,
        settings: Settings,
        node: str,
        *,
        on_message: Callable[[str, bytes], None],
        on_available: Callable[[bool], None],
    ) -> None:
        self.settings = settings
        self._node = node
        self._on_message = on_message
        self._on_available = on_available
        self._was_available = False
        self._started = False

    @property
    def all(self) -> Sequence[Server]:
        """All servers that there are."""
        raise NotImplementedError

    def of(self, slot: int) -> Server:
        """The server that has this slot.

        Raises:
            EngineError: none has.
        """
        raise NotImplementedError

    async def start(self) -> None:
        """Connect to all.

        Raises:
            EngineError: that was not possible.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Close all connections."""
        self._started = False
        await asyncio.gather(*(each.close() for each in self.all))

    async def follow(self, name: bytes, slot: int, target: str) -> None:
        """Have what comes to a name told; it is from when this returns on."""
        await self.of(slot).follow(name, target)

    async def leave(self, name: bytes, slot: int) -> None:
        """Have it told no longer."""
        await self.of(slot).leave(name)

    async def ask(self, slot: int, make: Make, *, again: bool = True, replicate: bool = False) -> Any:
        """Send a command to the server that has a slot, and return its answer.

        Parameters:
            slot: of the keys of the command.
            make: makes the command for a connection, and once more for each other one that it has to go to.
            again: whether it may be carried out twice; otherwise it is not sent again when the connection was
                lost before the answer came.
            replicate: return once replicas have it, too, as many as ``wait_replicas`` says.

        Raises:
            EngineError: it was not carried out, or it is not known whether it was.
        """
        deadline = 0.0
        server = elsewhere = None
        while True:
            problem: EngineError
            try:
                server = elsewhere or self.of(slot)
                line = server.replicated if replicate else server.commands
                link = line.link
                if link is None:
                    deadline = deadline or self._deadline()
                    link = await line.ready(deadline)
                if elsewhere is not None:
                    link.send(pack("ASKING")).add_done_callback(_look_at)
                answer = link.send(make(link))
            except LinkLost as error:
                problem = error
            except EngineError as error:
                # Another server may have the slot before long.
                problem = error
                if not self._started or (server is not None and server in self.all):
                    raise
            else:
                try:
                    return await (self._replicated(link, answer) if replicate else answer)
                except LinkLost as error:
                    problem = explain(error, f"{line.where}, which may have done it all the same")
                    if not again:
                        raise problem from error
                except Refused as error:
                    problem = explain(error, line.where)
                    if error.code not in LATER:
                        raise problem from error
                    elsewhere = await self._react(error, server)
            deadline = deadline or self._deadline()
            if asyncio.get_running_loop().time() >= deadline:
                raise problem

    async def _replicated(self, link: Link, answer: asyncio.Future[Any]) -> Any:
        if not self.settings.wait_replicas:
            return await answer
        # Others share it: it does not end with this one.
        replicas = asyncio.shield(link.replicated())
        reply, count = await asyncio.gather(answer, replicas)
        if count < self.settings.wait_replicas:
            raise EngineError(
                f"only {count} replicas have it, not {self.settings.wait_replicas} (wait_replicas): it is in "
                "the log, unless the master is lost before they have it"
            )
        return reply

    async def _react(self, error: Refused, server: Server) -> Server | None:
        """Do something about an error, and return where to try again; None: at whoever has the slot.

        Raises:
            EngineError: there is nothing to do about it.
        """
        if error.code == "NOSCRIPT":
            try:
                if server.commands.link is not None:
                    await server.load_scripts(server.commands.link)
                return None
            except LinkLost:
                return None  # the next connection begins with them
            except Refused as refused:
                if refused.code not in LATER:
                    raise explain(refused, server.commands.where) from refused
        if error.code == "READONLY":
            server.commands.drop(str(error))
        await asyncio.sleep(PAUSE)
        return None

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.settings.timeout

    @property
    def available(self) -> bool:
        """Whether all servers can be reached."""
        return all(each.available for each in self.all)

    @property
    def problems(self) -> list[str]:
        """What is wrong with those that cannot."""
        return [str(line.problem) for each in self.all for line in each.lines if line.link is None]

    def _changed(self) -> None:
        """Tell of it if the servers can be reached again, or no longer."""
        available = self.available
        if self._started and available != self._was_available:
            self._was_available = available
            self._on_available(available)

    def _begun(self) -> None:
        """All are there for the first time."""
        self._started = True
        self._was_available = True
        self._changed()


def _look_at(answer: asyncio.Future[Any]) -> None:
    """Nobody waits for it: then it is not an error that nobody has seen."""
    if not answer.cancelled():
        answer.exception()


class OneServer(Servers):
    """One server, or the one that the sentinels call the master."""

    def __init__(self, settings: Settings, node: str, **told: Any) -> None:
        super().__init__(settings, node, **told)
        locate = self._ask_sentinels if settings.kind == "sentinel" else self._known
        self._server = Server(
            settings, node, locate, on_message=self._on_message, changed=self._changed, moved=lambda: None
        )

    @property
    def all(self) -> Sequence[Server]:
        """The one."""
        return (self._server,)

    def of(self, slot: int) -> Server:
        """The one."""
        return self._server

    async def start(self) -> None:
        """Connect."""
        try:
            await self._server.start()
        except BaseException:
            await self.close()
            raise
        self._begun()

    async def _known(self) -> Address:
        return self.settings.addresses[0]

    async def _ask_sentinels(self) -> Address:
        """Where the master is, as most of the sentinels say that answer: one that is cut off may be wrong."""
        problems: list[str] = []
        votes: Counter[Address] = Counter()
        asked = [asyncio.ensure_future(self._ask_sentinel(each)) for each in self.settings.addresses]
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    votes[await answer] += 1
                except EngineError as error:
                    problems.append(str(error))
                if votes and votes.most_common(1)[0][1] * 2 > len(asked):
                    break
        finally:
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if not votes:
            raise EngineError("; ".join(problems))
        return votes.most_common(1)[0][0]

    async def _ask_sentinel(self, address: Address) -> Address:
        try:
            async with asyncio.timeout(self.settings.timeout / 2):
                found = await self._master_of(address)
        except FAILURES as error:
            raise explain(error, f"{address} (sentinel)") from error
        if not found:
            raise EngineError(f"the sentinel at {address} knows no master {self.settings.master!r}")
        return Address(found[0].decode(), int(found[1]))

    async def _master_of(self, address: Address) -> Any:
        settings = self.settings
        link = await connect(settings, address, lambda push: None, lambda link, reason: None)
        try:
            if settings.sentinel_password:
                user = (settings.sentinel_username,) if settings.sentinel_username else ()
                await link.send(pack("AUTH", *user, settings.sentinel_password))
            return await link.send(pack("SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.master))
        finally:
            link.abort(LinkLost("it was closed"))
