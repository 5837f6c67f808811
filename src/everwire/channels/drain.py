"""Draining a node: its clients are sent elsewhere, a few at a time, before it ends."""

from __future__ import annotations

import asyncio

from everwire.channels.node import Node
from everwire.channels.session import Session
from everwire.pacing import Departure
from everwire.wire.codes import DisconnectCode

__all__ = ["Draining"]

LAST_STEPS = 10.0
"""Seconds that hooks of the ends of sessions have, where no deadline is given."""


class Draining(Node):
    """How a hub lets its clients go."""

    _departure: Departure[Session] | None = None
    _leaving: asyncio.Task[None] | None = None

    async def drain(
        self,
        *,
        spread: float | None = 60.0,
        deadline: float | None = None,
        code: int = DisconnectCode.SHUTDOWN,
        reason: str = "",
    ) -> None:
        """Send all clients away, evenly over *spread* seconds, and take no new ones.

        After the code 3001 clients come back by themselves: to another node, where they recover what they
        have missed. From the call on the node is not ready (``/health/ready``), and who comes is refused with
        503. That stays so when this returns: when no session is left, and the hooks of their ends are done.
        Called again meanwhile, it makes haste if that says so, and waits with the first.

        Parameters:
            spread: seconds from the first to the last; None: a second for each 1,000 clients, 10 at most.
            deadline: seconds after which all who are left are sent away at once, and hooks are not waited for
                any longer; None: 10 seconds after the last client.
            code, reason: what the clients are told.
        """
        loop = asyncio.get_running_loop()
        begin = loop.time()
        leaving = self.begin_drain(spread=spread, deadline=deadline, code=code, reason=reason)
        await asyncio.shield(leaving)
        last = LAST_STEPS if deadline is None else max(deadline - (loop.time() - begin), 0.0)
        if tasks := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=last)

    def begin_drain(
        self,
        *,
        spread: float | None = 60.0,
        deadline: float | None = None,
        code: int = DisconnectCode.SHUTDOWN,
        reason: str = "",
    ) -> asyncio.Future[None]:
        """Begin to drain, as :meth:`drain` does; what this returns is done when the last client was told."""
        if self._departure is None or self._leaving is None:
            self.draining = True
            self.health.set("drain", "its clients are sent elsewhere")
            self._departure = Departure(
                self._open,
                lambda session: session.disconnect(code, reason),
                is_there=lambda session: not session.is_closed,
                spread=spread,
            )
            self._leaving = asyncio.get_running_loop().create_task(self._departure.run())
            if self._open:
                self.logger.info("draining: %d clients are sent away", len(self._open))
        else:
            self._departure.hasten(spread)
        if deadline is not None:
            self._departure.hasten(deadline)
        return self._leaving

    async def _drained(self) -> None:
        """The hub closes: what drains it has nothing left to do."""
        if self._departure is not None and self._leaving is not None:
            self._departure.hasten(0.0)
            await self._leaving
        self._departure = self._leaving = None
        self.draining = False
        self.health.clear("drain")
