"""A connection that is opened again whenever it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from everwire.engines.redis.connecting import FAILURES, connect, explain, greet, read_info
from everwire.engines.redis.link import Link, LinkLost, pack
from everwire.engines.redis.settings import Address, Settings
from everwire.errors import EngineError

__all__ = ["Line", "Locate", "Prepare"]

FIRST_PAUSE = 0.05
"""Seconds before the second attempt; then twice as many each time."""

LONGEST_PAUSE = 2.0
"""Seconds between two attempts, at most."""

LOOK = 10.0
"""Seconds between two questions where the server is, while there is a connection."""

Locate = Callable[[], Awaitable[Address]]
"""Finds out where the server is."""

Prepare = Callable[[Link, dict[str, str]], Awaitable[None]]
"""Makes a connection ready, before anybody else has it; with what the server says of itself."""

logger = logging.getLogger("everwire.engines.redis")


class Line:
    """Keeps one connection to the server that takes the writes, wherever that is.

    Parameters:
        name: what the server calls the connection (``CLIENT LIST``).
        locate: is asked before each attempt.
        prepare: makes a connection ready.
        on_push: is told of pushes.
        changed: is called whenever the connection is there or gone.

    Attributes:
        link: the connection; None: there is none at the moment.
        problem: why there is none.
        where: the server that was tried last.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        locate: Locate,
        *,
        prepare: Prepare,
        on_push: Callable[[list[Any]], None],
        changed: Callable[[], None],
    ) -> None:
        self.link: Link | None = None
        self.problem: EngineError = EngineError("there was no attempt to reach Redis yet")
        self.where: Address | Settings = settings
        self._settings = settings
        self._name = name
        self._locate = locate
        self._prepare = prepare
        self._on_push = on_push
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self._opening: Link | None = None
        self._over = asyncio.Event()
        self._look_at = 0.0
        self._waiting: set[asyncio.Future[None]] = set()
        self._first: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Open the connection, and keep it from then on.

        Raises:
            EngineError: the first attempt has failed.
        """
        self._first = asyncio.get_running_loop().create_future()
        self.begin()
        await self._first

    def begin(self) -> None:
        """Do so without waiting, however often it takes."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Keep it no longer, and close it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        for link in (self.link, self._opening):
            if link is not None:
                link.abort(LinkLost("it was closed"))
        self.problem = EngineError("the engine is closed")
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(self.problem)

    def drop(self, reason: str) -> None:
        """The server is not the right one any more: give the connection up, and look again."""
        if self.link is not None:
            self.link.abort(LinkLost(reason))

    async def ready(self, deadline: float) -> Link:
        """Wait for the connection, until *deadline* in the loop's time.

        Raises:
            EngineError: it is not there by then.
        """
        loop = asyncio.get_running_loop()
        while (link := self.link) is None:
            if self._task is None or len(self._waiting) >= self._settings.max_waiting:
                # Not the problem itself: whoever is told that a connection was lost waits for the next one.
                raise EngineError(str(self.problem))
            waiter = loop.create_future()
            self._waiting.add(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                raise EngineError(str(self.problem)) from None
            finally:
                self._waiting.discard(waiter)
        return link

    # The task

    async def _run(self) -> None:
        attempts = 0
        while True:
            try:
                link = await self._open()
            except Exception as error:
                self.problem = explain(error, self.where)
                if not isinstance(error, FAILURES):
                    logger.exception("the connection to Redis at %s could not be made ready", self.where)
                if self._first is not None and not self._first.done():
                    self._first.set_exception(self.problem)
                    return
                if attempts == 0:
                    logger.warning("%s; trying again", self.problem)
                # All nodes lose a server at once: they must not come back at once.
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempts, 10))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                attempts += 1
                continue
            attempts = 0
            await self._keep(link)

    async def _open(self) -> Link:
        self._over.clear()
        async with asyncio.timeout(self._settings.timeout):
            self.where = await self._locate()
            self._opening = link = await connect(self._settings, self.where, self._on_push, self._lost)
            try:
                info = await greet(link, self._settings, self._name)
                if info.get("role") != "master":
                    raise EngineError("it is a replica, which takes no writes")
                link.generation, link.run_id = info.get("master_replid", ""), info.get("run_id", "")
            except BaseException as error:
                link.abort(LinkLost(str(error)))
                raise
        try:
            await self._prepare(link, info)
        except BaseException as error:
            link.abort(LinkLost(str(error)))
            raise
        if link.is_lost:
            raise self.problem
        self._opening = None
        return link

    async def _keep(self, link: Link) -> None:
        """Let others have a connection until it is lost; look now and then whether it is the right one."""
        self.link = link
        self._look_at = asyncio.get_running_loop().time() + LOOK
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
        self._changed()
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.heartbeat):
                    await self._over.wait()
            with contextlib.suppress(*FAILURES):
                if not self._over.is_set():
                    await self._check(link)

    async def _check(self, link: Link) -> None:
        info = read_info(await link.send(pack("INFO", "replication")))
        if info.get("role") != "master":
            self.drop("it is a replica now, which takes no writes")
        link.generation = info.get("master_replid", "")
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            # A master that is cut off from its sentinels may not know that it is no longer the one.
            self._look_at = now + LOOK
            async with asyncio.timeout(self._settings.timeout):
                where = await self._locate()
            if where != self.where:
                self.drop(f"the master is at {where} now")

    def _lost(self, link: Link, reason: Exception) -> None:
        self.problem = explain(reason, self.where)
        self._over.set()
        if link is self.link:
            self.link = None
            if self._task is not None:
                logger.warning("%s", self.problem)
                self._changed()
