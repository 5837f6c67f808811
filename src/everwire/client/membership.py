"""Being subscribed: what keeps a subscription going over connections, and ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from msgspec.structs import replace

from everwire.client import events
from everwire.client.cursor import Cursor
from everwire.client.emitter import Emitter
from everwire.client.events import ClientInfo, Decoder, Failure, History, PresenceStats, Publication
from everwire.client.inbox import Gate, Inbox
from everwire.client.options import STEADY, Options, delay, refresh_after
from everwire.client.session import Session
from everwire.client.states import ConnectingCode, SubscriptionState, UnsubscribedCode
from everwire.errors import CommandError, Disconnected, Unauthorized, Unrecovered, Unsubscribed
from everwire.wire import messages as wire
from everwire.wire.position import Position

__all__ = ["Membership", "Owner", "Start"]

EVENTS = ("subscribing", "subscribed", "unsubscribed", "publication", "join", "leave", "error")

COMPACTION = 1
"""The flag of a request whose channel may be named by a number in pushes."""

REJECT_UNRECOVERED = 2
"""The flag of a request that is to fail (112) rather than succeed without all that was missed."""


class Owner(Protocol):
    """What a subscription needs of its client."""

    options: Options
    gate: Gate
    tasks: set[asyncio.Task[None]]
    ids: dict[int, Any]

    async def opened(self) -> Session:
        """Wait for a session that takes commands."""
        ...

    def forget(self, subscription: Any) -> None:
        """A subscription is over."""
        ...

    def report(self, failure: Failure) -> None:
        """Tell of a failure that no subscription's callback takes."""
        ...

    async def publish(self, channel: str, data: Any) -> None:
        """Publish."""
        ...

    async def history(
        self, channel: str, *, limit: int = 0, since: Position | None = None, reverse: bool = False
    ) -> History:
        """Read the log."""
        ...

    async def presence(self, channel: str) -> dict[str, ClientInfo]:
        """Ask who is there."""
        ...

    async def presence_stats(self, channel: str) -> PresenceStats:
        """Ask how many are there."""
        ...


class Start:
    """Marks in the inbox where publications go on after those before it."""

    __slots__ = ("error", "position")

    def __init__(self, position: Position | None, error: Unrecovered | None) -> None:
        self.position = position
        self.error = error


class Membership:
    """A subscription without the face for applications: its state, and the task that keeps it up.

    Args:
        owner: the client.
        request: the command, as far as it is always the same.
        since: the position to begin after.
        get_token: returns a token for the channel.
        get_state: loads the application's state and returns its position.
        raises: whether a gap is an error of the iteration.
        decode: makes values of payloads.
        max_queue: how many publications may wait to be taken.
    """

    def __init__(
        self,
        owner: Owner,
        request: wire.SubscribeRequest,
        *,
        since: Position | None,
        get_token: Callable[[str], Awaitable[str]] | None,
        get_state: Callable[[], Awaitable[Position]] | None,
        raises: bool,
        decode: Decoder,
        max_queue: int,
    ) -> None:
        options = owner.options
        self.channel = request.channel
        self.state = SubscriptionState.SUBSCRIBING
        self.recovered = False
        self.was_recovering = False
        self.recoverable = False
        self.positioned = False
        self.data: Any = None
        self._owner = owner
        self._token = request.token
        self._get_token = get_token
        self._get_state = get_state
        request.flag = COMPACTION | (REJECT_UNRECOVERED if get_state is not None else 0)
        self._request = request
        self._raises = raises
        self._decode = decode
        self._cursor = Cursor(options.codec, since)
        self._position = since
        self._inbox = Inbox[Publication | Start](
            owner.gate, max_queue=max_queue, max_bytes=options.max_queue_bytes
        )
        self._emitter = Emitter(
            EVENTS,
            gate=owner.gate,
            tasks=owner.tasks,
            logger=options.logger,
            max_queue=max_queue,
            max_bytes=options.max_queue_bytes,
        )
        self._session: Session | None = None
        self._settled = asyncio.Event()
        self._left: asyncio.Future[None] | None = None
        self._refresh_at: float | None = None
        self._error: Exception | None = None
        self._taken = False
        self._id = 0
        self._driver: asyncio.Task[None] = asyncio.get_running_loop().create_task(self._drive())

    def lost(self, code: int, reason: str) -> None:
        """The connection was lost: wait for the next one."""
        self._detach()
        if self.state is SubscriptionState.SUBSCRIBED:
            self._subscribing(code, reason)

    def invalidate(self) -> None:
        """The server said that nothing known before is true."""
        self._token = "" if self._get_token is not None else self._token
        self._cursor.invalidate()

    def unsubscribed(self, code: int, reason: str) -> None:
        """The server has ended it: for good, or (codes from 2500 on) to begin anew."""
        if self.state is not SubscriptionState.SUBSCRIBED:
            return
        self._detach()
        if code < 2500:
            self.end(Unsubscribed(self.channel, code, reason), code, reason)
            return
        if code == 2502:
            self.invalidate()
        self._subscribing(code, reason)

    def end(self, error: Exception | None, code: int, reason: str) -> None:
        """It is over: who waits or iterates gets the error, or is told that it has ended."""
        if self.state is SubscriptionState.UNSUBSCRIBED:
            return
        self.state = SubscriptionState.UNSUBSCRIBED
        self._detach()
        self._error = error
        self._inbox.end(error)
        self._settled.set()
        self._owner.forget(self)
        if self._driver is not asyncio.current_task():
            self._driver.cancel()
        self._emitter.emit("unsubscribed", events.Unsubscribed(self.channel, code, reason))

    def publication(self, publication: wire.Publication) -> None:
        """Take a publication from the server."""
        raise NotImplementedError

    def _detach(self) -> None:
        """Expect nothing more of the session that there was."""
        self._session = None
        if self._id:
            self._owner.ids.pop(self._id, None)
            self._id = 0

    # Being subscribed

    async def _drive(self) -> None:
        try:
            await self._keep_subscribed()
        except Exception as exc:
            self._owner.options.logger.exception("the subscription to %r failed", self.channel)
            self.end(exc, *UnsubscribedCode.CLIENT_CLOSED.told)

    async def _keep_subscribed(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = self._owner.options.backoff
        attempts = 0
        while not self._is_over():
            session = await self._owner.opened()
            subscribed = await self._subscribe(session)
            began = loop.time()
            if subscribed:
                await self._stay(session)
                if session.over.done():
                    attempts = 0
                    continue
                if loop.time() - began > STEADY:
                    attempts = 0
                attempts += 1
                if attempts == 1:
                    continue
            elif session.over.done() or self._is_over():
                continue
            else:
                attempts += 1
            await asyncio.sleep(delay(backoff, attempts))

    def _is_over(self) -> bool:
        return self.state is SubscriptionState.UNSUBSCRIBED

    async def _subscribe(self, session: Session) -> bool:
        """Try once; returns whether the server has accepted it."""
        try:
            request = await self._prepare()
        except Unauthorized as exc:
            self.end(exc, *UnsubscribedCode.UNAUTHORIZED.told)
            return False
        except Exception as exc:
            self._report("token", exc)
            return False
        if session.over.done():
            return False
        self._session = session
        try:
            await session.request(
                wire.Command(subscribe=request), lambda reply: self._subscribed(session, reply.subscribe)
            )
        except Disconnected:
            return False
        except TimeoutError:
            session.finish(*ConnectingCode.SUBSCRIBE_TIMEOUT.told, reconnect=True)
            return False
        except CommandError as exc:
            self._session = None
            self._refused(exc)
            return False
        return True

    async def _prepare(self) -> wire.SubscribeRequest:
        """The request, with a token and a position where these have to be asked for."""
        if self._get_state is not None and self._cursor.position is None:
            self._cursor = Cursor(self._owner.options.codec, await self._get_state())
        await self._renew_token()
        return self._cursor.fill(replace(self._request, token=self._token))

    async def _renew_token(self, *, anew: bool = False) -> None:
        if self._get_token is not None and (anew or not self._token):
            self._token = await self._get_token(self.channel)
            if not self._token:
                raise Unauthorized(f"there is no token for the channel {self.channel!r}")

    def _refused(self, error: CommandError) -> None:
        if error.code == 109 and self._get_token is not None:
            self._token = ""
        elif error.code == 112 and self._get_state is not None:
            self._cursor.reset()
        elif not error.temporary:
            self.end(error, error.code, error.message)
            return
        self._report("subscribe", error)

    def _subscribed(self, session: Session, result: wire.SubscribeResult | None) -> None:
        if result is None or self.state is not SubscriptionState.SUBSCRIBING:
            return
        loop = asyncio.get_running_loop()
        before = self._cursor.position
        self._cursor.subscribed(result)
        event = events.Subscribed.of(self.channel, result, self._decode)
        if result.id:
            self._id = result.id
            self._owner.ids[result.id] = self
        self.recoverable = event.recoverable
        self.positioned = event.positioned
        self.was_recovering = event.was_recovering
        self.recovered = event.recovered
        self.data = event.data
        self._left = loop.create_future()
        self._refresh_at = loop.time() + refresh_after(result.ttl) if result.expires else None
        self.state = SubscriptionState.SUBSCRIBED
        self._settled.set()
        self._emitter.emit("subscribed", event)
        if not event.recovered:
            self._begin(before, event)
        for publication in result.publications:
            self.publication(publication)

    def _begin(self, before: Position | None, event: events.Subscribed) -> None:
        """Publications go on from a position that is not the one after the last."""
        error = None
        if event.was_recovering:
            error = Unrecovered(self.channel, before or Position(0, ""), event.position or Position(0, ""))
        if self._emitter.wants("publication") or not self._raises:
            if error is not None:
                self._report("recovery", error)
            error = None
        if error is None and (not len(self._inbox) or self._emitter.wants("publication")):
            self._position = event.position
        else:
            self._inbox.put(Start(event.position, error))

    async def _stay(self, session: Session) -> None:
        """Wait until it is to begin anew; until then refresh its token in time."""
        loop = asyncio.get_running_loop()
        assert self._left is not None
        while not self._left.done() and not session.over.done():
            timeout = None
            if self._refresh_at is not None and self._get_token is not None:
                timeout = max(0.0, self._refresh_at - loop.time())
            await asyncio.wait(
                (self._left, session.over), timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            due = self._refresh_at is not None and loop.time() >= self._refresh_at
            if due and self._get_token is not None and not self._left.done() and not session.over.done():
                await self._refresh(session)

    async def _refresh(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._renew_token(anew=True)
            command = wire.Command(
                sub_refresh=wire.SubRefreshRequest(channel=self.channel, token=self._token)
            )
            result = (await session.request(command)).sub_refresh
        except Unauthorized as exc:
            await self._give_up(session, exc, *UnsubscribedCode.UNAUTHORIZED.told)
        except Disconnected:
            return
        except CommandError as exc:
            if not exc.temporary:
                await self._give_up(session, exc, exc.code, exc.message)
                return
            self._retry_refresh(exc)
        except Exception as exc:
            self._retry_refresh(exc)
        else:
            expires = result is not None and result.expires
            self._refresh_at = (
                loop.time() + refresh_after(result.ttl) if result is not None and expires else None
            )

    def _retry_refresh(self, error: Exception) -> None:
        self._report("refresh", error)
        self._refresh_at = asyncio.get_running_loop().time() + 10.0

    async def _give_up(self, session: Session, error: Exception, code: int, reason: str) -> None:
        self.end(error, code, reason)
        session.tell(wire.Command(unsubscribe=wire.UnsubscribeRequest(channel=self.channel)))

    def _subscribing(self, code: int, reason: str) -> None:
        self.state = SubscriptionState.SUBSCRIBING
        self._settled.clear()
        if self._left is not None and not self._left.done():
            self._left.set_result(None)
        self._emitter.emit("subscribing", events.Subscribing(self.channel, code, reason))

    def _report(self, what: str, error: Exception) -> None:
        failure = Failure(what, error, self.channel)
        if self._emitter.wants("error"):
            self._emitter.emit("error", failure)
        else:
            self._owner.report(failure)
