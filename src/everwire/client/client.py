"""The client of channels."""

from __future__ import annotations

import asyncio
import logging
import ssl as tls
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec
from msgspec.structs import replace

from everwire.client import events
from everwire.client.commands import encoded
from everwire.client.connector import Connector, Way
from everwire.client.emitter import Callback, Emitter, Stream
from everwire.client.events import Decoder, Failure
from everwire.client.inbox import Gate
from everwire.client.links import LinkOptions
from everwire.client.options import Options
from everwire.client.server_side import ServerSubscription, ServerSubscriptions
from everwire.client.session import Ending, Session
from everwire.client.states import (
    ClientState,
    ConnectingCode,
    DisconnectedCode,
)
from everwire.client.subscriber import Subscriber
from everwire.client.subscription import Subscription
from everwire.client.ways import emulation_uri, ways
from everwire.errors import Disconnected, InvalidState
from everwire.websocket.backoff import Backoff
from everwire.websocket.messages import HeadersLike
from everwire.wire import messages as wire
from everwire.wire.codes import DisconnectCode
from everwire.wire.formats import codec
from everwire.wire.messages import NOTHING

__all__ = ["Client"]

C = TypeVar("C", bound=Callback)

EVENTS = (
    "connecting",
    "connected",
    "disconnected",
    "error",
    "message",
    "subscribing",
    "subscribed",
    "unsubscribed",
    "publication",
    "join",
    "leave",
)


class Client(Subscriber):
    """A client of a hub, or of a server that speaks Centrifugo's client protocol.

    ::

        async with everwire.Client("ws://localhost:8000/connection/websocket", token=token) as client:
            async with client.subscribe("news") as news:
                await client.publish("news", {"text": "hello"})
                async for publication in news:
                    print(publication.data)

    It stays connected: when the connection is lost it comes back, after a random delay, subscribes
    again and gets what it has missed. The names of options, states, events and codes are those of
    Centrifugo's specification of client SDKs.

    Args:
        uri: where the server's WebSocket endpoint is, as ``ws://``, ``wss://``, ``http://`` or ``https://``.
        token: the token of the connection (a JWT, mostly), for servers that want one.
        get_token: a coroutine function that returns a new token: it is called when there is none, before the
            token expires, and when the server says that it has expired. It raises
            :exc:`~everwire.Unauthorized`, or returns an empty string, if there is none to be had: then the
            client is disconnected for good.
        data: a value to send along when connecting.
        name: what the client calls itself; servers show it.
        version: of what version it is.
        headers: headers to send in the protocol, for servers that take them from there.
        format: ``"json"`` or ``"protobuf"``.
        decode: makes the Python value of a payload, which is ``bytes``; by default it is JSON. ``bytes``
            leaves it as it is. ``msgspec.json.Decoder(T).decode`` and ``TypeAdapter(T).validate_json`` check
            it.
        transports: the transports to try, the preferred ones first: ``"websocket"``, ``"http_stream"``,
            ``"sse"``. The next one is tried when one has never worked; the last two need the extra
            ``client``.
        endpoints: where other transports, and ``"emulation"`` (the commands of those that only receive) are,
            if not beside the WebSocket endpoint under their names.
        timeout: seconds that the answer to a command may take.
        ready_timeout: seconds that ``async with`` and :meth:`connect` wait to be connected; None for no
            limit.
        max_ping_delay: seconds that a ping of the server may be late before the connection counts as lost.
        min_reconnect_delay: seconds: the shortest delay before connecting or subscribing again.
        max_reconnect_delay: seconds: the longest. In between it doubles with each attempt, and is drawn at
            random.
        max_queue: publications of a subscription that may wait to be taken; then nothing more is read from
            the server.
        max_queue_bytes: bytes of their payloads that may wait.
        ssl: the context for TLS; None or True for one that trusts whom the system trusts.
        proxy: the URI of a proxy; True for the one that the environment names, None for no proxy.
        additional_headers: further headers of requests, such as Cookie or Authorization.
        max_size: bytes of the largest frame to receive, or None for no limit.
        open_timeout: seconds for all until a transport is open; None for no limit.
        logger: where to log; by default the logger ``everwire.client``.
        **options: further options of :class:`everwire.connect`, for WebSockets.

    Raises:
        ValueError: an option has no meaning.

    Attributes:
        uri: where its server is.
        state: where it is.
        id: the connection's id, as the server has named it; empty before.
    """

    def __init__(
        self,
        uri: str,
        *,
        token: str = "",
        get_token: Callable[[], Awaitable[str]] | None = None,
        data: Any = None,
        name: str = "python",
        version: str = "",
        headers: Mapping[str, str] | None = None,
        format: Literal["json", "protobuf"] = "json",
        decode: Decoder = msgspec.json.decode,
        transports: Sequence[str] = ("websocket",),
        endpoints: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        ready_timeout: float | None = 30.0,
        max_ping_delay: float = 10.0,
        min_reconnect_delay: float = 0.5,
        max_reconnect_delay: float = 20.0,
        max_queue: int = 1024,
        max_queue_bytes: int = 1 << 24,
        ssl: tls.SSLContext | Literal[True] | None = None,
        proxy: str | Literal[True] | None = True,
        additional_headers: HeadersLike | None = None,
        max_size: int | None = 1 << 20,
        open_timeout: float | None = 10.0,
        logger: logging.Logger | None = None,
        **options: Any,
    ) -> None:
        for option, value in (("max_queue", max_queue), ("max_queue_bytes", max_queue_bytes)):
            if value < 1:
                raise ValueError(f"{option} must be at least 1: {value!r}")
        if not 0 <= min_reconnect_delay <= max_reconnect_delay:
            raise ValueError(
                "min_reconnect_delay must be from 0 to max_reconnect_delay: "
                f"{min_reconnect_delay!r} and {max_reconnect_delay!r}"
            )
        self.uri = uri
        self.state = ClientState.DISCONNECTED
        self.id = ""
        self.gate = Gate()
        self.tasks: set[asyncio.Task[None]] = set()
        self.options = Options(
            codec=codec(format),
            decode=decode,
            timeout=timeout,
            max_ping_delay=max_ping_delay,
            backoff=Backoff(initial=min_reconnect_delay, maximum=max_reconnect_delay),
            max_queue=max_queue,
            max_queue_bytes=max_queue_bytes,
            logger=logger or logging.getLogger("everwire.client"),
            get_token=get_token,
        )
        self._ready_timeout = ready_timeout
        self._decoder = decode
        self._timeout = timeout
        super().__init__()
        self._request = wire.ConnectRequest(
            data=NOTHING if data is None else encoded(data),
            name=name,
            version=version,
            headers=dict(headers or {}),
        )
        self._token = token
        self._emitter = Emitter(
            EVENTS,
            gate=self.gate,
            tasks=self.tasks,
            logger=self.options.logger,
            max_queue=max_queue,
            max_bytes=max_queue_bytes,
        )
        self._server_side = ServerSubscriptions(self.options.codec, self._emitter, decode, self.report)
        self._ways = ways(uri, transports, endpoints or {}, self.options.codec)
        self._link_options = LinkOptions(
            codec=self.options.codec,
            connect={
                "ssl": ssl,
                "proxy": proxy,
                "additional_headers": additional_headers,
                "max_size": max_size,
                "open_timeout": open_timeout,
            },
            websocket=options,
            emulation=emulation_uri(uri, endpoints or {}),
        )
        self._connector = self._new_connector()
        self._runner: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._last_failure: Exception | None = None
        self._settled = asyncio.Event()

    # Connecting

    async def connect(self) -> None:
        """Connect, and wait until the server has accepted the client.

        Raises:
            CommandError: the server refused.
            Disconnected: it sent the client away for good.
            TimeoutError: ``ready_timeout`` passed; it still tries.
            Exception: what :class:`everwire.connect` raises for a failure that time does not heal.
        """
        if self.state is ClientState.DISCONNECTED:
            await self._finished()
            self._begin()
        try:
            async with asyncio.timeout(self._ready_timeout):
                await self._connected()
        except TimeoutError as exc:
            raise TimeoutError(
                f"not connected within {self._ready_timeout:g} seconds"
                + (f"; the last attempt failed: {self._last_failure}" if self._last_failure else "")
            ) from (self._last_failure or exc)

    async def disconnect(self) -> None:
        """Disconnect, and end all subscriptions. :meth:`connect` connects again."""
        if self.state is not ClientState.DISCONNECTED:
            self._end(None, *DisconnectedCode.DISCONNECT_CALLED.told)
        else:
            self._end_subscriptions(None)
        await self._finished()

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.disconnect()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    # Events

    def on(self, name: str, callback: Callback) -> None:
        """Have a function or a coroutine function called with each event of a name.

        The names: ``connecting``, ``connected``, ``disconnected``, ``error``, ``message``; and of the
        subscriptions that the server has made ``subscribing``, ``subscribed``, ``unsubscribed``,
        ``publication``, ``join``, ``leave``. A plain function is called at once and is not to wait; a
        coroutine function gets one event after the other, and nothing more is read while ``max_queue`` wait
        for it. What they raise is logged. Errors that nobody listens to are logged, too.

        Raises:
            ValueError: there is no event of this name.
        """
        self._emitter.on(name, callback)

    def events(self, *names: str) -> Stream:
        """The events of these names, or all, as an asynchronous iterator; ``close()`` ends it.

        ::

            async for event in client.events("message", "publication"): ...

        It has what happens from this call on. While ``max_queue`` events wait, nothing more is read.

        Raises:
            ValueError: there is no event of one of these names.
        """
        return self._emitter.stream(names)

    # What the parts of the client need of it

    async def opened(self) -> Session:
        """Wait for a session that takes commands. (For subscriptions.)"""
        return await self._connector.opened()

    def report(self, failure: Failure) -> None:
        """Tell of a failure that is tried again. (For the parts of the client.)"""
        if failure.what == "connect":
            self._last_failure = failure.error
        if self._emitter.wants("error"):
            self._emitter.emit("error", failure)
        else:
            about = f" of {failure.channel!r}" if failure.channel else ""
            # Not the exception itself: who keeps the record would keep its traceback, and the client in it.
            self.options.logger.warning("%s%s failed: %s", failure.what, about, str(failure.error))

    def request(self) -> wire.ConnectRequest:
        """The request to connect. (For the connector.)"""
        return replace(self._request, subs=self._server_side.requests())

    def connected(self, way: Way, result: wire.ConnectResult) -> None:
        """The server has accepted the client. (For the connector.)"""
        self.state = ClientState.CONNECTED
        self.id = result.client
        self._last_failure = None
        self._settled.set()
        told = events.Connected(
            result.client, result.version, way.name, events.payload(result.data, self._decoder)
        )
        self._emitter.emit("connected", told)
        self._server_side.connected(result.subs)

    def lost(self, ending: Ending, *, was_connected: bool) -> None:
        """A session is over, and another one is tried. (For the connector.)"""
        if ending.code == int(DisconnectCode.STATE_INVALIDATED):
            self._server_side.invalidate()
            self._invalidate_subscriptions()
        self._lose_subscriptions()
        if was_connected:
            self._settled.clear()
            self._server_side.lost()
            self._set_connecting(ending.code, ending.reason)

    def pushed(self, push: wire.Push) -> None:
        """The server sent something by itself. (For the connector.)"""
        target: Subscription | ServerSubscription | None = self.ids.get(push.id)
        if not push.id:
            target = self._subscriptions.get(push.channel) or self._server_side.get(push.channel)
        if push.pub is not None:
            if target is not None:
                target.publication(push.pub)
        elif push.join is not None:
            if target is not None and push.join.info is not None:
                target.join(push.join.info)
        elif push.leave is not None:
            if target is not None and push.leave.info is not None:
                target.leave(push.leave.info)
        elif push.unsubscribe is not None:
            if target is not None:
                target.unsubscribed(push.unsubscribe.code, push.unsubscribe.reason)
        elif push.subscribe is not None:
            self._server_side.subscribed(push.channel, push.subscribe)
        elif push.message is not None:
            self._emitter.emit("message", events.Message(events.payload(push.message.data, self._decoder)))
        elif push.disconnect is not None:
            self._connector.end(push.disconnect.code, push.disconnect.reason)
        elif push.refresh is not None:
            self._connector.schedule_refresh(push.refresh.expires, push.refresh.ttl)

    # Inside

    def _new_connector(self) -> Connector:
        return Connector(self, self._ways, self._link_options, self._token)

    def _begin(self) -> None:
        self._failure = None
        self._settled.clear()
        self._set_connecting(*ConnectingCode.CONNECT_CALLED.told)
        self._runner = asyncio.get_running_loop().create_task(self._run())

    def _set_connecting(self, code: int, reason: str) -> None:
        self.state = ClientState.CONNECTING
        self._emitter.emit("connecting", events.Connecting(code, reason))

    async def _run(self) -> None:
        try:
            ending = await self._connector.run()
        except Exception as exc:
            self.options.logger.exception("the client failed")
            self._end(exc, DisconnectedCode.BAD_PROTOCOL, f"internal error: {exc!r}")
            return
        error = self._connector.error or Disconnected(ending.code, ending.reason)
        self._end(error, ending.code, ending.reason)

    async def _connected(self) -> Session:
        if self._failure is not None:
            raise self._failure
        if self._is_disconnected():
            raise InvalidState("the client is not connected: use `async with`, or call connect()")
        while True:
            await self._settled.wait()
            if self._failure is not None:
                raise self._failure
            session = self._connector.current
            if session is not None:
                return session
            if self._is_disconnected():
                raise Disconnected(*DisconnectedCode.DISCONNECT_CALLED.told)
            # The session is over, which the connector is about to say.
            self._settled.clear()

    def _is_disconnected(self) -> bool:
        return self.state is ClientState.DISCONNECTED

    def _end(self, error: Exception | None, code: int, reason: str) -> None:
        """It is over for good: who waits gets the error."""
        if self.state is ClientState.DISCONNECTED:
            return
        self.state = ClientState.DISCONNECTED
        self._failure = error
        runner = self._runner
        if runner is not None and runner is not asyncio.current_task():
            runner.cancel()
        self._settled.set()
        self._end_subscriptions(error)
        self._server_side.clear()
        self._emitter.emit("disconnected", events.Disconnected(code, reason))

    async def _finished(self) -> None:
        """Wait until all of an earlier connection is over, callbacks too, if they do not wait for this."""
        runner, self._runner = self._runner, None
        left: set[asyncio.Task[None]] = set(self.tasks)
        if runner is not None:
            left.add(runner)
            self._connector = self._new_connector()
        left -= {asyncio.current_task()}
        if left:
            _, late = await asyncio.wait(left, timeout=self._timeout)
            for task in late:
                task.cancel()
