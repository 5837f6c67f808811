"""The hub: channels, who may be in them, and what is published into them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Raw

from everwire.channels.blocking import Blocking
from everwire.channels.cluster import NodeInfo
from everwire.channels.drain import Draining
from everwire.channels.engine import Engine, HistoryPage, Position, PresenceStats
from everwire.channels.following import Following
from everwire.channels.options import ChannelOptions, HubOptions
from everwire.channels.patterns import Pattern
from everwire.channels.payload import encode
from everwire.channels.reaching import Reaching
from everwire.channels.rules import Rule, SubscribeHook
from everwire.errors import BadRequest, CommandError, EverwireError, UnknownChannel
from everwire.wire.codes import DisconnectCode, ErrorCode
from everwire.wire.messages import ClientInfo, Publication

__all__ = ["Hub", "NodeInfo"]

Hook = TypeVar("Hook", bound=Callable[..., Any])


class Hub(Reaching, Draining):
    """Channels that lose nothing, for browsers and programs: declared in code, published into from anywhere.

    Parameters:
        engine: where the logs of channels are.
        name: for people, in logs and on the page.
        ping_interval: seconds between pings; pong_timeout: seconds in which they must be answered.
        stale_timeout: seconds that a connection has until it says who it is.
        expired_close_delay: seconds that a client has to refresh a session or a subscription that has
            expired.
        presence_ttl: seconds after which a client that nothing is heard of is no longer present.
        channel_limit: subscriptions of one session.
        channel_max_length: characters of a channel's name.
        user_connection_limit: sessions of one user; 0: no limit. connection_limit: of all; 0: no limit.
        connection_rate_limit: connections that may come in a second; others are refused with 503 and the
            header ``Retry-After``; 0: no limit.
        history_max_publication_limit: publications of one history request of a client.
        recovery_max_publication_limit: publications that are recovered at once; a client that has missed more
            is
            told so (``recovered: false``), and gets none of them.
        max_queued: bytes of commands of one session that wait to be handled.
        insecure: for development: everybody may do everything. A warning is logged at each start.
        allow_anonymous_connect_without_token: whether who has no token may connect; None: if there is neither
            an
            ``on_connect`` hook nor a key for tokens. Channels still ask who may subscribe.
        user_personal_channel: a namespace (``""``: none): each user is subscribed to ``namespace:#user`` at
            once.
        node_info_interval: seconds between a node's announcements to the others; who misses three is
            forgotten.
        survey_timeout: seconds to wait for the answers of other nodes.
        position_check_interval: seconds without a publication in a channel after which it is checked that
            none was lost on its way from the engine; 0: never.
        engine_start_timeout: seconds for which to try again if the engine cannot be reached at the start; 0:
            it is an error at once.
        verifier: checks tokens.
        logger: instead of ``logging.getLogger("everwire.hub")``.

    Raises:
        ValueError: an option does not make sense.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        name: str = "",
        ping_interval: float = 25.0,
        pong_timeout: float = 8.0,
        stale_timeout: float = 10.0,
        expired_close_delay: float = 25.0,
        presence_ttl: float = 60.0,
        channel_limit: int = 128,
        channel_max_length: int = 255,
        user_connection_limit: int = 0,
        connection_limit: int = 0,
        connection_rate_limit: float = 0,
        history_max_publication_limit: int = 300,
        recovery_max_publication_limit: int = 300,
        max_queued: int = 1 << 20,
        insecure: bool = False,
        allow_anonymous_connect_without_token: bool | None = None,
        user_personal_channel: str | None = None,
        node_info_interval: float = 3.0,
        survey_timeout: float = 5.0,
        position_check_interval: float = 40.0,
        engine_start_timeout: float = 0.0,
        verifier: Any = None,
        logger: logging.Logger | None = None,
    ) -> None:
        options = HubOptions(
            ping_interval=ping_interval,
            pong_timeout=pong_timeout,
            stale_timeout=stale_timeout,
            expired_close_delay=expired_close_delay,
            presence_ttl=presence_ttl,
            channel_limit=channel_limit,
            channel_max_length=channel_max_length,
            user_connection_limit=user_connection_limit,
            connection_limit=connection_limit,
            connection_rate_limit=connection_rate_limit,
            history_max_publication_limit=history_max_publication_limit,
            recovery_max_publication_limit=recovery_max_publication_limit,
            max_queued=max_queued,
            insecure=insecure,
            allow_anonymous_connect_without_token=allow_anonymous_connect_without_token,
            user_personal_channel=user_personal_channel,
            node_info_interval=node_info_interval,
            survey_timeout=survey_timeout,
            position_check_interval=position_check_interval,
            engine_start_timeout=engine_start_timeout,
        )
        super().__init__(engine, options, logger if logger is not None else logging.getLogger("everwire.hub"))
        self.name = name
        self.verifier = verifier
        self._starting: asyncio.Future[None] | None = None

    @property
    def insecure(self) -> bool:
        """Whether everybody may do everything."""
        return self.options.insecure

    @property
    def is_started(self) -> bool:
        """Whether it has begun, and was not closed since."""
        return self._starting is not None

    # Declaring

    def channel(self, pattern: str, **options: Any) -> Callable[[SubscribeHook], Rule]:
        """Declare channels, and who may subscribe: ``@hub.channel("room:{room}", history=100)``.

        The function that is decorated is called as ``function(ctx, **fields)`` with the fields of the
        channel's name.
        It allows the subscription by returning: None, or :class:`SubscribeOptions`. It refuses by raising
        :class:`~everwire.errors.Forbidden`. *options* are those of :class:`ChannelOptions`.
        """
        channel_options = ChannelOptions(**options)
        compiled = Pattern(pattern)

        def declare(function: SubscribeHook) -> Rule:
            rule = Rule(compiled, channel_options, function)
            self.rules.add(rule)
            return rule

        return declare

    def add_channels(self, pattern: str, options: ChannelOptions) -> Rule:
        """Declare channels by a pattern without a function: the options say who may subscribe."""
        rule = Rule(Pattern(pattern), options)
        self.rules.add(rule)
        return rule

    def namespace(self, name: str = "", options: ChannelOptions | None = None, **fields: Any) -> Rule:
        """Declare the channels of a namespace, ``name:...``; without a name, those without a colon."""
        rule = Rule(name, options if options is not None else ChannelOptions(**fields))
        self.rules.add(rule)
        return rule

    def on_connect(self, hook: Hook) -> Hook:
        """Ask ``hook(ctx)`` who a new session is of: it returns :class:`Credentials`, or raises Unauthorized.

        Where tokens are checked, it is asked about those who come without.
        """
        return self.hooks.set("connect", hook, ("ctx",))

    def on_connected(self, hook: Hook) -> Hook:
        """Call ``hook(ctx)`` when a session has begun."""
        return self.hooks.set("connected", hook, ("ctx",))

    def on_refresh(self, hook: Hook) -> Hook:
        """Ask ``hook(ctx)`` when a session expires that the client does not refresh: for ``expire_at``."""
        return self.hooks.set("refresh", hook, ("ctx",))

    def on_subscribe(self, hook: Hook) -> Hook:
        """Ask ``hook(ctx)`` about subscriptions that neither a function nor an option allows."""
        return self.hooks.set("subscribe", hook, ("ctx",))

    def on_publish(self, hook: Hook) -> Hook:
        """Ask ``hook(ctx, data)`` about what clients publish where nothing else allows it."""
        return self.hooks.set_publish(hook)

    def on_message(self, hook: Hook) -> Hook:
        """Call ``hook(ctx, data)`` for messages that clients send without waiting for an answer."""
        return self.hooks.set_message(hook)

    def on_disconnect(self, hook: Hook) -> Hook:
        """Call ``hook(ctx, code, reason)`` when a session has ended."""
        return self.hooks.set("disconnect", hook, ("ctx", "code", "reason"))

    def rpc(self, method: str = "") -> Callable[[Hook], Hook]:
        """Let clients call a function: ``@hub.rpc("add")`` of ``(ctx, data)``; what it returns is the answer.

        Without a method it gets the calls of all other methods, as ``(ctx, method, data)``.
        """
        return lambda hook: self.hooks.add_rpc(method, hook)

    # The beginning and the end

    async def start(self) -> None:
        """Begin, in the event loop that runs; doing so again does nothing.

        Raises:
            EngineError: the engine is not available.
            RuntimeError: it was started in another event loop.
        """
        loop = asyncio.get_running_loop()
        if self._starting is None:
            self._loop = loop
            self._closing = False
            self._starting = loop.create_future()
            try:
                await self._begin()
            except BaseException as error:
                starting, self._starting = self._starting, None
                starting.cancel() if isinstance(error, asyncio.CancelledError) else starting.set_exception(
                    error
                )
                starting.exception() if not starting.cancelled() else None
                raise
            self._starting.set_result(None)
            self.health.clear("hub")
            if self.insecure:
                self.logger.warning("the hub is insecure: everybody may do everything. For development only")
        elif self._loop is not loop:
            raise RuntimeError("the hub was started in another event loop")
        await asyncio.shield(self._starting)

    async def ready(self) -> None:
        """Begin, if that was not done yet: what is called first does it."""
        if self._starting is None:
            if self._closing:
                return  # it was closed: the engine says so
            await self.start()
        elif not self._starting.done():
            await asyncio.shield(self._starting)

    async def close(
        self, code: int = DisconnectCode.SHUTDOWN, reason: str = "", *, timeout: float | None = 5.0
    ) -> None:
        """End all sessions (clients come back after 3001), then the engine.

        Hooks that run have *timeout* seconds to end; then they are cancelled. None: for ever.
        """
        if self._starting is None or self._closing:
            return
        self._closing = True
        self.health.set("hub", "it is closing")
        self.end_sessions(code, reason)
        await self._drained()
        try:
            async with asyncio.timeout(timeout):
                await self._all_done()
        except TimeoutError:
            self.logger.error("hooks that do not end are cancelled: %d", len(self._tasks))
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
            await self._all_done()
        if self._wheel is not None:
            self._wheel.close()
            self._wheel = None
        await self._end()
        self._starting = None

    async def _begin(self) -> None:
        """Begin what a hub has besides sessions."""
        await self.start_engine()

    async def _end(self) -> None:
        """End it."""
        await self.positions.close()
        await self.cluster.close()
        await self.engine.close()

    async def _all_done(self) -> None:
        while tasks := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(tasks)

    def end_sessions(self, code: int = DisconnectCode.SHUTDOWN, reason: str = "") -> None:
        """End all sessions that there are; clients come back after 3001."""
        for session in list(self._open):
            session.disconnect(code, reason)

    async def __aenter__(self) -> Hub:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # Publishing

    async def publish(
        self,
        channel: str,
        data: Any,
        *,
        idempotency_key: str = "",
        idempotency_ttl: float = 300.0,
        tags: Mapping[str, str] | None = None,
        delta: bool = False,
        skip_history: bool = False,
        version: int = 0,
        version_epoch: str = "",
        expected: Position | None = None,
        info: ClientInfo | None = None,
    ) -> Position:
        """Publish into a channel; it is in the log when this returns, with its position there.

        Parameters:
            channel: its name.
            data: what JSON can carry, a pydantic model; bytes are taken as they are.
            idempotency_key: what is published with the same key within *idempotency_ttl* seconds is there
                once.
            tags: by which subscribers may filter.
            delta: send it as a difference to those who asked for that.
            skip_history: send it to those who are there only.
            version: above that of the publication before, or this one is left out; 0: none. *version_epoch*:
                what versions are compared within.
            expected: publish only if this is the position at the top of the log: that of the last publication
                known, or ``Position(0, "")`` if there was none.
            info: whom it is from.

        Raises:
            UnknownChannel: no such channel was declared.
            PositionConflict: the log is not where it was *expected* to be; nothing was published.
            EngineError: it could not be put into the log.
            TypeError: JSON has nothing for the data.
        """
        rule = self._rule(channel)
        payload = encode(data)
        await self.ready()
        if rule.check is not None:
            rule.check(payload)
        publication = Publication(data=payload, info=info, tags=dict(tags) if tags else {})
        return await self.append(
            channel,
            rule,
            publication,
            skip_history=skip_history,
            idempotency_key=idempotency_key,
            idempotency_ttl=idempotency_ttl,
            version=version,
            version_epoch=version_epoch,
            expected=expected,
            delta=delta or rule.options.delta_publish,
        )

    async def broadcast(
        self, channels: Sequence[str], data: Any, **options: Any
    ) -> list[Position | EverwireError]:
        """Publish the same into several channels; for each its position there, or why it is not."""
        payload: Raw = encode(data)

        async def one(channel: str) -> Position | EverwireError:
            try:
                return await self.publish(channel, payload, **options)
            except EverwireError as error:
                return error

        return [await one(channel) for channel in channels]

    def publish_threadsafe(
        self, channel: str, data: Any, **options: Any
    ) -> concurrent.futures.Future[Position]:
        """Publish from another thread than the event loop's: a future of the position."""
        return asyncio.run_coroutine_threadsafe(self.publish(channel, encode(data), **options), self.loop)

    @property
    def sync(self) -> Blocking:
        """The hub for other threads than the event loop's: ``hub.sync.publish(...)`` waits for the answer."""
        return Blocking(self)

    def subscribe(self, channel: str, *, since: Position | None = None) -> Following:
        """Follow a channel in this process: ``async for publication in hub.subscribe("news")``.

        With *since*, from after that position on.

        Raises:
            UnknownChannel: no such channel was declared.
        """
        return Following(self, self.hold(channel, self._rule(channel)), since)

    def _rule(self, channel: str) -> Rule:
        if not channel:
            raise BadRequest("the name of a channel is not empty")
        rule = self.rules.find(channel)
        if rule is None:
            raise UnknownChannel(
                f"no channel {channel!r} was declared: use @hub.channel(pattern) or hub.namespace(name)"
            )
        return rule

    # Reading

    async def presence(self, channel: str) -> dict[str, ClientInfo]:
        """Who is in a channel, by client.

        Raises:
            CommandError: the channel has no presence (108), or there is no such channel (102).
        """
        self._needs_presence(channel)
        await self.ready()
        return dict(await self.engine.presence(channel))

    async def presence_stats(self, channel: str) -> PresenceStats:
        """How many are in a channel.

        Raises:
            CommandError: the channel has no presence (108), or there is no such channel (102).
        """
        self._needs_presence(channel)
        await self.ready()
        return await self.engine.presence_stats(channel)

    def _needs_presence(self, channel: str) -> None:
        if not self._rule(channel).options.presence:
            raise _not_available(f"the channel {channel!r} has no presence: declare it with presence=True")

    def _needs_log(self, channel: str) -> Rule:
        rule = self._rule(channel)
        if not rule.log.size:
            raise _not_available(f"the channel {channel!r} has no log: declare it with history=100, say")
        return rule

    async def history(
        self, channel: str, *, limit: int = 0, since: Position | None = None, reverse: bool = False
    ) -> HistoryPage:
        """Read the log of a channel: after *since*, at most *limit* publications (below 0: all; 0: the
        position).

        Raises:
            CommandError: the channel has no log (108), or there is no such channel (102).
        """
        rule = self._needs_log(channel)
        await self.ready()
        self.counts.engine_reads += 1
        return await self.engine.history(channel, log=rule.log, since=since, limit=limit, reverse=reverse)

    async def remove_history(self, channel: str) -> None:
        """Empty the log of a channel.

        Raises:
            CommandError: the channel has no log (108), or there is no such channel (102).
        """
        rule = self._needs_log(channel)
        await self.ready()
        await self.engine.remove_history(channel, log=rule.log)

    def nodes(self) -> list[NodeInfo]:
        """What each node has of which is known that it is there: this one first."""
        return [self.info(), *self.cluster.members.values()]


def _not_available(message: str) -> CommandError:
    return CommandError(ErrorCode.NOT_AVAILABLE, message)
