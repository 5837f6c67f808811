"""Keeps a client connected: tokens, transports, and coming back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from everwire.client.events import Failure
from everwire.client.inbox import Gate
from everwire.client.links import Link, LinkOptions
from everwire.client.options import STEADY, Options, delay, refresh_after
from everwire.client.session import Ending, Session
from everwire.client.states import ConnectingCode, DisconnectedCode
from everwire.errors import CommandError, Unauthorized
from everwire.websocket.backoff import Backoff
from everwire.wire import messages as wire
from everwire.wire.codes import DisconnectCode, ErrorCode

__all__ = ["Connector", "Host", "Way"]


class Way(NamedTuple):
    """A way to the server.

    Attributes:
        name: the transport's name.
        uri: where to connect to.
        open: opens a link, given the URI, the options and the first frame.
        first_frame: bytes that the first frame may have, where a link is opened with it; 0: it is opened
            without.
    """

    name: str
    uri: str
    open: Callable[[str, LinkOptions, bytes], Awaitable[Link]]
    first_frame: int


class Host(Protocol):
    """What a connector needs of its client."""

    options: Options
    gate: Gate
    tasks: set[asyncio.Task[None]]

    def request(self) -> wire.ConnectRequest:
        """The request to connect, without a token."""
        ...

    def connected(self, way: Way, result: wire.ConnectResult) -> None:
        """The server has accepted the client."""
        ...

    def pushed(self, push: wire.Push) -> None:
        """The server sent something by itself."""
        ...

    def lost(self, ending: Ending, *, was_connected: bool) -> None:
        """A session is over, and another one is tried."""
        ...

    def report(self, failure: Failure) -> None:
        """Tell of a failure that is tried again."""
        ...


class Connector:
    """Opens one session after the other until the server, or the application, ends it for good.

    Args:
        host: the client.
        ways: the ways to the server, the preferred ones first.
        link_options: how links are made.
        token: the first token; empty: none, or to be asked for.
    """

    def __init__(self, host: Host, ways: Sequence[Way], link_options: LinkOptions, token: str) -> None:
        self._host = host
        self._options = host.options
        self._ways = ways
        self._link_options = link_options
        self._token = token
        self._way = 0
        self._proven = False
        self._ever = False
        self._session: Session | None = None
        self._announced = asyncio.Event()
        self._accepted = False
        self._refresh_at: float | None = None
        self._rescheduled = asyncio.Event()
        self.error: Exception | None = None
        """Why it is over for good, where there is more to tell than a code."""

    async def run(self) -> Ending:
        """Stay connected; returns why it is over for good."""
        loop = asyncio.get_running_loop()
        attempts = 0
        while True:
            began = loop.time()
            self.error = None
            ending, accepted = await self._once()
            if ending.code == int(DisconnectCode.STATE_INVALIDATED) and self._options.get_token is not None:
                self._token = ""
            if not ending.reconnect:
                return ending
            self._host.lost(ending, was_connected=accepted)
            if not accepted and not self._proven and not self._next_way():
                continue
            if accepted and loop.time() - began > STEADY:
                attempts = 0
            attempts += 1
            await asyncio.sleep(delay(self._options.backoff, attempts))

    async def opened(self) -> Session:
        """Wait for a session that takes commands: perhaps they are sent along with the first."""
        while True:
            session = self._session
            if session is not None and not session.over.done():
                return session
            self._announced.clear()
            await self._announced.wait()

    @property
    def current(self) -> Session | None:
        """The session that the server has accepted, if there is one."""
        session = self._session
        return session if session is not None and self._accepted and not session.over.done() else None

    def end(self, code: int, reason: str) -> None:
        """End the session: the server says so."""
        if self._session is not None:
            self._session.finish(code, reason)

    def schedule_refresh(self, expires: bool, ttl: int) -> None:
        """The token is valid for so many seconds from now, if it expires at all."""
        self._refresh_at = asyncio.get_running_loop().time() + refresh_after(ttl) if expires else None
        self._rescheduled.set()

    def _next_way(self) -> bool:
        """Try another transport next; returns whether all of them have been tried."""
        self._way = (self._way + 1) % len(self._ways)
        return self._way == 0

    async def _once(self) -> tuple[Ending, bool]:
        """One session, from its token to its end; returns why that was, and whether it was accepted."""
        options = self._options
        way = self._ways[self._way]
        session = Session(
            options.codec,
            self._host.gate,
            self._host.pushed,
            timeout=options.timeout,
            max_ping_delay=options.max_ping_delay,
            logger=options.logger,
        )
        self._refresh_at = None
        reader: asyncio.Task[None] | None = None
        connecting: asyncio.Task[wire.Reply] | None = None
        link: Link | None = None
        accepted = False
        try:
            request = self._host.request()
            request.token = await self._current_token()
            command = wire.Command(connect=request)

            def on_reply(reply: wire.Reply) -> None:
                self._on_connected(session, way, reply)

            if not way.first_frame:
                link = await way.open(way.uri, self._link_options, b"")
            connecting = asyncio.create_task(session.request(command, on_reply))
            await self._announce(session)
            if way.first_frame:
                link = await way.open(way.uri, self._link_options, session.pack(way.first_frame))
            assert link is not None
            reader = session.start(link)
            await connecting
            accepted = True
            await self._stay(session)
        except asyncio.CancelledError:
            session.finish(*DisconnectedCode.DISCONNECT_CALLED.told, reconnect=False)
            raise
        except Exception as exc:
            self._failed(session, exc, accepted)
        finally:
            await self._clean(session, connecting, reader, link)
        return session.over.result(), accepted

    async def _current_token(self) -> str:
        get_token = self._options.get_token
        if get_token is not None and not self._token:
            self._token = await get_token()
            if not self._token:
                raise Unauthorized("there is no token for the connection")
        return self._token

    async def _announce(self, session: Session) -> None:
        """Let subscriptions add their commands to the first frame."""
        self._accepted = False
        self._session = session
        self._announced.set()
        # They and the command to connect, which is first, are at it in this turn of the loop.
        await asyncio.sleep(0)

    def _on_connected(self, session: Session, way: Way, reply: wire.Reply) -> None:
        result = reply.connect or wire.ConnectResult()
        session.established(result)
        self._proven = self._ever = True
        self.schedule_refresh(result.expires, result.ttl)
        self._host.connected(way, result)
        self._accepted = True

    def _failed(self, session: Session, error: Exception, accepted: bool) -> None:
        """An attempt or a session ended with an error: say whether to try again."""
        if session.over.done():
            return
        self.error = error
        if isinstance(error, Unauthorized) and session is not self._session:
            session.finish(*DisconnectedCode.UNAUTHORIZED.told, reconnect=False)
            return
        if isinstance(error, CommandError):
            again = error.temporary
            if error.code == int(ErrorCode.TOKEN_EXPIRED) and self._options.get_token is not None:
                self._token = ""
                again = True
            session.finish(error.code, error.message, reconnect=again)
        else:
            again = (
                self._ever or Backoff.is_transient(error) or not self._last_way() or session is self._session
            )
            session.finish(ConnectingCode.TRANSPORT_CLOSED, str(error) or repr(error), reconnect=again)
        if again:
            self._host.report(Failure("connect", error))

    def _last_way(self) -> bool:
        return self._way == len(self._ways) - 1

    async def _stay(self, session: Session) -> None:
        """Wait until the session is over; until then refresh its token in time."""
        loop = asyncio.get_running_loop()
        while not session.over.done():
            self._rescheduled.clear()
            timeout = None
            if self._refresh_at is not None and self._options.get_token is not None:
                timeout = max(0.0, self._refresh_at - loop.time())
            changed = loop.create_task(self._rescheduled.wait())
            try:
                done, _ = await asyncio.wait(
                    (session.over, changed), timeout=timeout, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                changed.cancel()
            if not done:
                await self._refresh(session)

    async def _refresh(self, session: Session) -> None:
        self._token = ""
        try:
            token = await self._current_token()
            command = wire.Command(refresh=wire.RefreshRequest(token=token))
            result = (await session.request(command)).refresh or wire.RefreshResult()
        except Exception as exc:
            if session.over.done():
                return
            if isinstance(exc, CommandError) and not exc.temporary:
                self.error = exc
                unauthorized = isinstance(exc, Unauthorized)
                code, reason = DisconnectedCode.UNAUTHORIZED.told if unauthorized else (exc.code, exc.message)
                session.finish(code, reason, reconnect=False)
                return
            self._host.report(Failure("refresh", exc))
            self.schedule_refresh(True, 10)
        else:
            self.schedule_refresh(result.expires, result.ttl)

    async def _clean(
        self,
        session: Session,
        connecting: asyncio.Task[wire.Reply] | None,
        reader: asyncio.Task[None] | None,
        link: Link | None,
    ) -> None:
        if not session.over.done():
            session.finish(*ConnectingCode.TRANSPORT_CLOSED.told, reconnect=True)
        self._accepted = False
        if link is not None:
            self._spawn(link.close())
        left = [task for task in (connecting, reader) if task is not None]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _spawn(self, work: Awaitable[None]) -> None:
        """Close a link beside what goes on: the other end may take its time."""
        tasks = self._host.tasks

        async def close() -> None:
            try:
                await work
            except Exception as exc:
                self._options.logger.debug("closing a connection failed: %r", exc)

        task = asyncio.get_running_loop().create_task(close())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
