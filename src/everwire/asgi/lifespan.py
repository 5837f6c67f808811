"""The start and the end of an ASGI application (ASGI specification, Lifespan Protocol 2.0)."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from everwire.asgi.scope import Application, Event
from everwire.errors import LifespanError

__all__ = ["Lifespan", "LifespanMode"]

LifespanMode = Literal["auto", "on", "off"]

_logger = logging.getLogger("uvicorn.error")
_ANSWERS = ("startup.complete", "startup.failed", "shutdown.complete", "shutdown.failed")


class Lifespan:
    """Has an application prepare, before the first request, and clean up, after the last one.

    Parameters:
        app: the ASGI application.
        mode: ``"on"``: it must know the protocol; ``"auto"``: one that raises at the start is taken not to;
            ``"off"``: it is not asked.

    Attributes:
        state: what the application puts there is in the scope of every request, as a shallow copy.
    """

    def __init__(self, app: Application, mode: LifespanMode = "auto") -> None:
        if mode not in ("auto", "on", "off"):
            raise ValueError(f"lifespan is 'auto', 'on' or 'off', not {mode!r}")
        self._app = app
        self._mode = mode
        self.state: dict[str, Any] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[str | None] | None = None
        self._phase: Literal["startup", "shutdown"] = "startup"

    async def startup(self) -> None:
        """Return when the application is ready.

        Raises:
            LifespanError: it says that it cannot start; or, with ``"on"``, it raised, or returned too early.
        """
        if self._mode == "off":
            return
        self._answer = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name="everwire lifespan")
        try:
            await self._ask("startup")
        except BaseException:
            await self._cancel()
            raise

    async def shutdown(self, *, timeout: float | None = None) -> None:
        """Return when the application has cleaned up; does nothing if it does not know the protocol.

        Raises:
            LifespanError: it failed, or took more than *timeout* seconds.
        """
        task = self._task
        if task is None or task.done():
            return
        self._answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._ask("shutdown")
                await asyncio.wait((task,))
        except TimeoutError:
            raise LifespanError(f"the application's shutdown took more than {timeout:g} seconds") from None
        finally:
            await self._cancel()

    async def _ask(self, phase: Literal["startup", "shutdown"]) -> None:
        assert self._answer is not None
        self._phase = phase
        self._events.put_nowait({"type": f"lifespan.{phase}"})
        problem = await self._answer
        if problem is not None:
            raise LifespanError(f"the application's {phase} failed" + (f": {problem}" if problem else ""))

    async def _cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1)

    async def _run(self) -> None:
        """Run the application; what it does not answer itself is answered when it is over."""
        asgi = {"version": "3.0", "spec_version": "2.0"}
        try:
            await self._app(
                {"type": "lifespan", "asgi": asgi, "state": self.state}, self._receive, self._send
            )
            problem = f"it returned without lifespan.{self._phase}.complete"
        except BaseException as error:
            if self._answered():
                if not isinstance(error, asyncio.CancelledError) and self._phase == "startup":
                    _logger.error("the application's lifespan ended early", exc_info=error)
                return
            if self._phase == "startup" and self._mode == "auto":
                _logger.info("the application does not take part in the lifespan protocol: %r", error)
                self._reply(None)
                return
            if not isinstance(error, asyncio.CancelledError):
                _logger.error("exception in the application's %s", self._phase, exc_info=error)
            problem = repr(error)
        unsupported = self._phase == "startup" and self._mode == "auto"
        self._reply(None if unsupported else problem)

    def _answered(self) -> bool:
        return self._answer is None or self._answer.done()

    def _reply(self, problem: str | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(problem)

    async def _receive(self) -> Event:
        return await self._events.get()

    async def _send(self, message: Event) -> None:
        kind = str(message.get("type", "")).removeprefix("lifespan.")
        phase, _, outcome = kind.partition(".")
        if kind not in _ANSWERS:
            raise RuntimeError(f"lifespan.{self._phase}.complete or .failed was expected, not {message!r}")
        if phase != self._phase or self._answered():
            raise RuntimeError(
                f"lifespan.{kind} was sent at the wrong time: nobody asked, or it was said before"
            )
        if outcome == "complete":
            self._reply(None)
            return
        problem = str(message.get("message", "")).strip()
        if "\n" in problem:  # a traceback, as Starlette gives it
            _logger.error(problem)
        self._reply(problem.rpartition("\n")[2])
