"""A Redis server as a node uses it: a connection for commands, one for what it follows, and with
``wait_replicas`` one for what replicas must have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from everwire.engines.redis.connecting import explain
from everwire.engines.redis.line import Line, Locate, Prepare
from everwire.engines.redis.link import Link, LinkLost, Refused, pack
from everwire.engines.redis.scripts import SCRIPTS
from everwire.engines.redis.settings import Settings
from everwire.errors import EngineError

__all__ = ["Server"]

AT_ONCE = 1000
"""Names that a server is asked at once to be followed."""

logger = logging.getLogger("everwire.engines.redis")


class Server:
    """The server that has some of the keys, or all; after a failover it is another one.

    Parameters:
        on_message: is told what comes to a name that is followed: the *target* that was given with it, and
            the payload.
        changed: is called whenever :attr:`available` may have changed.
        moved: is called when the server does not have a followed name any more.

    Attributes:
        commands: the connection for commands.
        pubsub: the connection for what is followed.
        replicated: the connection for what replicas must have carried out, too: the server does nothing
            else on it while it waits for them. Without ``wait_replicas`` it is :attr:`commands`.
        lines: all of these.
        sharded: whether sharded pub/sub is used.
        wanted: what is to be followed here, each with its target.
    """

    def __init__(
        self,
        settings: Settings,
        node: str,
        locate: Locate,
        *,
        on_message: Callable[[str, bytes], None],
        changed: Callable[[], None],
        moved: Callable[[], None],
    ) -> None:
        self.sharded = False
        self.wanted: dict[bytes, str] = {}
        self._settings = settings
        self._live: dict[bytes, str] = {}
        self._on_message = on_message
        self._told = changed
        self._moved = moved

        def line(suffix: str, prepare: Prepare, on_push: Callable[[list[Any]], None]) -> Line:
            name = f"everwire-{node}{suffix}"
            return Line(settings, name, locate, prepare=prepare, on_push=on_push, changed=self._changed)

        self.commands = line("", self._prepare_commands, lambda push: None)
        self.pubsub = line("-pubsub", self._prepare_pubsub, self._pushed)
        self.replicated = self.commands
        self.lines: tuple[Line, ...] = (self.commands, self.pubsub)
        if settings.wait_replicas:
            self.replicated = line("-replicated", self._prepare_replicated, lambda push: None)
            self.lines += (self.replicated,)

    @property
    def available(self) -> bool:
        """Whether all connections are there."""
        return all(line.link is not None for line in self.lines)

    async def start(self) -> None:
        """Connect.

        Raises:
            EngineError: that was not possible.
        """
        for line in self.lines:
            await line.start()

    def begin(self) -> None:
        """Connect, and do not wait for it."""
        for line in self.lines:
            line.begin()

    async def close(self) -> None:
        """Close all connections."""
        for line in self.lines:
            await line.close()

    def _changed(self) -> None:
        commands = self.commands.link
        if self.pubsub.link is None:
            self._live.clear()
        for line in self.lines:
            if commands is not None and line.link is not None and line.link.run_id != commands.run_id:
                # There was a failover, and the one that this is at may not know of it.
                line.drop(f"commands go to {self.commands.where} now")
                return
        self._told()

    async def ask(self, link: Link, command: bytes) -> Any:
        """Ask this server something on its connection for commands.

        Raises:
            EngineError: there is no answer, or the server refuses.
        """
        try:
            return await link.send(command)
        except (LinkLost, Refused) as error:
            raise explain(error, self.commands.where) from error

    async def load_scripts(self, link: Link) -> None:
        """Have the server know the scripts."""
        await asyncio.gather(*(link.send(pack("SCRIPT", "LOAD", each.source)) for each in SCRIPTS))

    def _look_at(self, info: dict[str, str]) -> None:
        self.sharded = self._settings.kind == "cluster" and int(info["redis_version"].split(".")[0]) >= 7

    async def _prepare_commands(self, link: Link, info: dict[str, str]) -> None:
        policy = info.get("maxmemory_policy", "noeviction")
        if info.get("maxmemory", "0") != "0" and policy != "noeviction":
            logger.warning(
                "Redis at %s removes keys when its memory is full (maxmemory-policy %s): logs and presence "
                "may vanish, of which clients are told. Set maxmemory-policy to noeviction, so that "
                "publishing fails instead",
                self.commands.where,
                policy,
            )
        await self._prepare_replicated(link, info)

    async def _prepare_replicated(self, link: Link, info: dict[str, str]) -> None:
        self._look_at(info)
        if self.sharded:
            link.tell = b"SPUBLISH"
        await self.load_scripts(link)

    # What is followed

    async def follow(self, name: bytes, target: str) -> None:
        """Have what comes to a name told; it is from when this returns on.

        Raises:
            EngineError: the server cannot be reached, or refuses.
        """
        self.wanted[name] = target
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.timeout
        while self.wanted.get(name) == target and name not in self._live:
            try:
                link = await self.pubsub.ready(deadline)
                if name not in self._live:
                    await self._subscribe(link, name)
            except LinkLost as error:
                # Wait for the next connection, if there is time.
                if loop.time() >= deadline:
                    self._unsubscribe(name)
                    raise explain(error, self.pubsub.where) from error
            except Refused as error:
                self.wanted.pop(name, None)
                if error.code == "MOVED":
                    raise
                raise explain(error, self.pubsub.where) from error
            except BaseException:
                self._unsubscribe(name)
                raise

    async def leave(self, name: bytes) -> None:
        """Have it told no longer."""
        confirmed = self._unsubscribe(name)
        if confirmed is not None:
            await asyncio.wait([confirmed])

    def _unsubscribe(self, name: bytes) -> asyncio.Future[Any] | None:
        self.wanted.pop(name, None)
        self._live.pop(name, None)
        kind = b"sunsubscribe" if self.sharded else b"unsubscribe"
        try:
            if self.pubsub.link is None:
                return None
            confirmed = self.pubsub.link.confirm(pack(kind, name), kind, name)
        except EngineError:
            return None  # the connection is about to go, and with it what was followed on it
        # Whatever comes of it: nothing of this name is told any more.
        confirmed.add_done_callback(lambda done: done.cancelled() or done.exception())
        return confirmed

    def let_go(self, name: bytes) -> None:
        """Have it told no longer, as another server has it now."""
        self._unsubscribe(name)

    async def catch_up(self) -> None:
        """Follow what was added to :attr:`wanted`, if there is a connection: a new one does so by itself."""
        link = self.pubsub.link
        if link is not None:
            try:
                await self._follow_all(link)
            except (EngineError, Refused) as error:
                # Something is not followed: the next connection begins with all of it.
                link.abort(LinkLost(str(error)))

    async def _follow_all(self, link: Link) -> None:
        """Follow what is wanted and not followed yet, also what comes to it meanwhile.

        Not all at once: there may be more than may wait for an answer, and others ask, too.
        """
        at_once = max(1, min(AT_ONCE, self._settings.max_waiting // 2))
        asked: set[bytes] = set()
        while missing := [name for name in self.wanted if name not in self._live and name not in asked]:
            asked.update(missing)
            for first in range(0, len(missing), at_once):
                names = [name for name in missing[first : first + at_once] if name in self.wanted]
                confirmed = await asyncio.gather(
                    *(self._subscribe(link, name) for name in names), return_exceptions=True
                )
                for error in confirmed:
                    if isinstance(error, Refused) and error.code == "MOVED":
                        self._moved()
                    elif isinstance(error, BaseException):
                        raise error

    def _subscribe(self, link: Link, name: bytes) -> asyncio.Future[Any]:
        kind = b"ssubscribe" if self.sharded else b"subscribe"
        return link.confirm(pack(kind, name), kind, name)

    async def _prepare_pubsub(self, link: Link, info: dict[str, str]) -> None:
        """Follow anew what was followed on the connection before."""
        self._look_at(info)
        self._live.clear()
        await self._follow_all(link)

    def _pushed(self, push: list[Any]) -> None:
        kind = push[0]
        if kind == b"message" or kind == b"smessage":
            target = self._live.get(push[1])
            if target is not None:
                self._on_message(target, push[2])
        elif kind == b"subscribe" or kind == b"ssubscribe":
            target = self.wanted.get(push[1])
            if target is not None:
                self._live[push[1]] = target
        elif kind == b"sunsubscribe" and self._live.pop(push[1], None) is not None:
            # Nobody asked for that: the slot has moved to another server.
            self._moved()
