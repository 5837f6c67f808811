"""One use of ``everwire connect``: a connection, or one after the other, from first to last."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import everwire
from everwire.cli.connect.streams import LineError, read_lines
from everwire.cli.connect.views import View
from everwire.cli.explain import Problem, explain, explain_close, is_regular
from everwire.websocket.uri import WebSocketURI

__all__ = ["Executed", "Exit", "Lines", "Plan", "Session", "Source"]

STDIN = 0

TURN = 32
"""Messages that are taken in one turn of the event loop."""


class Exit(IntEnum):
    """The exit codes."""

    CLOSED = 0
    """The connection was closed normally (1000, 1001, or no code), by either side."""
    FAILED = 1
    """There was no connection: the server refused or was not reached."""
    USAGE = 2
    """The command or its input was wrong."""
    LOST = 3
    """The connection was closed with another code, or lost."""
    MISSED = 4
    """Fewer messages came in time than --count wants."""
    INTERRUPTED = 130
    """Interrupted twice, or while there was no connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do.

    Attributes:
        url: where to connect to, perhaps with a user name and a password.
        uri: the same taken apart, and without them when printed.
        options: options for everwire.connect().
        timeout: seconds that an attempt may take.
        reconnect: whether to connect again when the connection is lost.
        wait: seconds to stay for answers when all is sent; None is until ``count`` messages came.
        count: how many messages to stay for.
        ping_interval: seconds between pings that the view is told of; None is none.
    """

    url: str
    uri: WebSocketURI
    options: dict[str, Any]
    timeout: float | None
    reconnect: bool
    wait: float | None
    count: int | None
    ping_interval: float | None = None


class Source(Protocol):
    """Where messages to send come from."""

    async def run(self, session: Session) -> None:
        """Send what there is; return when that is all.

        Raises:
            LineError: something cannot be sent.
        """


class Lines:
    """The lines of standard input are the messages."""

    async def run(self, session: Session) -> None:
        """Send lines until the input ends."""
        async for line in read_lines(STDIN):
            await session.send(line)
        await session.finish()


@dataclass(frozen=True, slots=True)
class Executed:
    """The messages of --execute."""

    messages: Sequence[str]

    async def run(self, session: Session) -> None:
        """Send them all."""
        for message in self.messages:
            await session.send(message)
        await session.finish()


@dataclass(slots=True)
class Tally:
    """How many messages went one way, and their bytes."""

    messages: int = 0
    size: int = 0

    def add(self, message: str | bytes) -> None:
        """Count one more."""
        self.messages += 1
        self.size += len(message.encode() if isinstance(message, str) else message)


@dataclass(slots=True)
class Session:
    """The state of one use, and what can be done with it."""

    plan: Plan
    view: View
    source: Source
    ws: everwire.Connection | None = None
    received: Tally = field(default_factory=Tally)
    sent: Tally = field(default_factory=Tally)
    opened_at: float = 0.0
    """When the connection was opened, by time.monotonic()."""
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)
    _leaving: bool = False
    _interrupts: int = 0
    _exit: Exit | None = None
    _main: asyncio.Task[Any] | None = None

    async def run(self) -> Exit:
        """Connect, and go on until it is over."""
        loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.interrupt)
        source = asyncio.create_task(self._feed())
        source.add_done_callback(self._fed)
        try:
            ended = await (self._stay() if self.plan.reconnect else self._once())
        except asyncio.CancelledError:
            # Only interrupt() and leave() cancel this task.
            ended = Exit.INTERRUPTED if self._interrupts else Exit.CLOSED
        except BrokenPipeError:
            # Whoever reads the output has had enough of it.
            ended = Exit.CLOSED
        finally:
            source.cancel()
            await asyncio.gather(source, return_exceptions=True)
            if self.ws is not None and not self.ws.closed:
                self.ws.abort()
            with contextlib.suppress(BrokenPipeError):
                await self.view.flush()
        if not source.cancelled() and (error := source.exception()) is not None:
            raise error
        return ended if self._exit is None else self._exit

    async def send(self, message: str | bytes) -> None:
        """Send a message as soon as there is a connection for it."""
        while True:
            await self._open.wait()
            assert self.ws is not None
            try:
                await self.ws.send(message)
            except everwire.ConnectionClosed:
                self._open.clear()
            else:
                self.sent.add(message)
                self.view.sent(message)
                return

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent now."""
        return self.ws is not None and self.ws.is_open

    async def finish(self) -> None:
        """All is sent: wait for answers as long as the plan says, then close."""
        await self._open.wait()
        with contextlib.suppress(TimeoutError):
            if self.plan.wait is None or self.plan.wait > 0:
                async with asyncio.timeout(self.plan.wait):
                    await self._enough.wait()
        if self.plan.count is not None and not self._enough.is_set():
            came = f"{self.received.messages} of {self.plan.count} messages came"
            missed = f"{came} within {self.plan.wait:g} seconds"
            await self.view.failed(Problem("count", missed, "--wait SECONDS gives them more time"))
            self._exit = Exit.MISSED
        self.leave()

    def leave(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, and do not come back.

        Raises:
            ValueError: the code or the reason cannot be sent.
        """
        if self.ws is not None and not self.ws.closed:
            self.ws.close(code, reason)
            self._leaving = True
        elif self._main is not None:
            self._main.cancel()

    def interrupt(self) -> None:
        """Ctrl-C: close the connection; the second time, drop it."""
        self._interrupts += 1
        if self._interrupts == 1 and self.is_open:
            self.view.note("closing; Ctrl-C again drops the connection at once")
            self.leave(1001)
        elif self._main is not None:
            self._main.cancel()

    async def _once(self) -> Exit:
        plan = self.plan
        self.view.connecting(str(plan.uri))
        try:
            ws = await everwire.connect(plan.url, open_timeout=plan.timeout, **plan.options)
        except (OSError, everwire.EverwireError) as error:
            await self.view.failed(explain(error, plan.uri, timeout=plan.timeout))
            return Exit.FAILED
        return await self._use(ws)

    async def _stay(self) -> Exit:
        """Connect again whenever the connection is lost; until the user leaves, or it makes no sense."""
        plan, view = self.plan, self.view
        failures: list[Problem] = []

        def retry(error: Exception) -> bool:
            failures.append(explain(error, plan.uri, timeout=plan.timeout))
            return everwire.Backoff.is_transient(error)

        async def sleep(seconds: float) -> None:
            why = f"{failures.pop().message}; " if failures else ""
            view.note(f"{why}connecting again in {seconds:.1f} seconds")
            await asyncio.sleep(seconds)
            view.connecting(str(plan.uri))

        view.connecting(str(plan.uri))
        backoff = everwire.Backoff(retry=retry, sleep=sleep)
        ended = Exit.CLOSED
        try:
            async for ws in everwire.connect(
                plan.url, open_timeout=plan.timeout, backoff=backoff, **plan.options
            ):
                ended = await self._use(ws)
                if self._leaving:
                    return ended
        except (OSError, everwire.EverwireError) as error:
            await view.failed(explain(error, plan.uri, timeout=plan.timeout))
            return Exit.FAILED
        return ended

    async def _use(self, ws: everwire.Connection) -> Exit:
        """Take what comes over one connection, to its end."""
        self.ws, self.opened_at = ws, time.monotonic()
        await self.view.opened(ws, str(self.plan.uri))
        self._open.set()
        pinger = asyncio.create_task(self._ping(ws)) if self.plan.ping_interval else None
        try:
            while True:
                message = await ws.recv()
                if self._enough.is_set():
                    continue
                self.received.add(message)
                await self.view.received(message)
                if self.received.messages % TURN == 0:
                    # recv() does not wait while messages are there; keys and timers have their turn, too.
                    await asyncio.sleep(0)
                if self.received.messages == self.plan.count:
                    self._enough.set()
                    self.leave()
        except everwire.ConnectionClosed as error:
            self._open.clear()
            problem = explain_close(error)
            close = error.sent if problem.kind == "client" else error.received
            regular = is_regular(error) or self._leaving
            await self.view.closed(problem, close or everwire.Close(1006, ""), regular=regular)
            return Exit.CLOSED if regular else Exit.LOST
        finally:
            if pinger is not None:
                pinger.cancel()
                await asyncio.gather(pinger, return_exceptions=True)

    async def _ping(self, ws: everwire.Connection) -> None:
        """Tell the view the latency now and then."""
        assert self.plan.ping_interval is not None
        with contextlib.suppress(everwire.ConnectionClosed):
            while True:
                await asyncio.sleep(self.plan.ping_interval)
                await self.view.ponged(await ws.ping())

    def _fed(self, source: asyncio.Task[None]) -> None:
        if not source.cancelled() and source.exception() is not None and self._main is not None:
            self._main.cancel()

    async def _feed(self) -> None:
        try:
            await self.source.run(self)
        except LineError as error:
            await self.view.failed(Problem("input", str(error)))
            self._exit = Exit.USAGE
            self.leave()
