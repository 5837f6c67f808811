"""What a node has of its hub: sessions, channels, and what the engine tells of them."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable, Coroutine
from importlib import metadata
from typing import Any
from uuid import uuid4

from everwire.channels.carrier import Carrier, Origin
from everwire.channels.channel import Channel
from everwire.channels.cluster import Cluster, NodeInfo
from everwire.channels.context import Context
from everwire.channels.counts import Counts
from everwire.channels.engine import Engine, LogOptions, Position
from everwire.channels.health import Health
from everwire.channels.hooks import Hooks
from everwire.channels.options import HubOptions
from everwire.channels.positions import Positions
from everwire.channels.reading import Reader
from everwire.channels.rules import Namespaces, Rule, call
from everwire.channels.seldom import Seldom
from everwire.channels.session import Session
from everwire.channels.subscription import Subscription
from everwire.channels.wheel import Wheel
from everwire.errors import EngineError, EverwireError, PositionConflict
from everwire.wire.codes import DisconnectCode, UnsubscribeCode
from everwire.wire.messages import ClientInfo, Publication

__all__ = ["Node"]


class Node:
    """The inner half of a hub: what sessions and transports use.

    Attributes:
        node: identifies this node among those that share the engine.
        version: what clients are told of the server.
        engine: where the logs are.
        options: the hub's options.
        rules: which options and hooks a channel has.
        hooks: the application's.
        verifier: checks tokens; None: there is no key to check them with.
        logger: where failures go.
        clock: the time, in seconds since 1970.
        health: whether it is ready for clients.
        counts: what has happened so far, for metrics.
        reader: reads logs for sessions.
        draining: whether clients are sent elsewhere, and no new ones are taken.
        name: for people.
        cluster: the other nodes.
        positions: looks whether publications were lost on their way here.
    """

    def __init__(self, engine: Engine, options: HubOptions, logger: logging.Logger) -> None:
        self.node = str(uuid4())
        self.version = f"everwire {metadata.version('everwire')}"
        self.engine = engine
        self.options = options
        self.rules = Namespaces()
        self.hooks = Hooks()
        self.verifier: Any = None
        self.logger = logger
        self._seldom = Seldom(logger)
        self.clock: Callable[[], float] = time.time
        self.health = Health()
        self.counts = Counts()
        self.name = ""
        self.cluster = Cluster(self)
        self.positions = Positions(self)
        self._sessions: dict[str, Session] = {}
        self._open: set[Session] = set()
        self._users: dict[str, set[Session]] = {}
        self._secrets: dict[str, Session] = {}
        self._channels: dict[str, Channel] = {}
        self._numbers = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pending: dict[tuple[str, str], asyncio.Task[Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wheel: Wheel | None = None
        self._closing = False
        self.draining = False
        self.reader = Reader(engine, self.counts, self.spawn)

    @property
    def wheel(self) -> Wheel:
        """The timers of the sessions."""
        if self._wheel is None:
            self._wheel = Wheel(self.loop, self._tick_failed)
        return self._wheel

    def _tick_failed(self, error: Exception) -> None:
        self.logger.error("a timer of a session failed", exc_info=error)

    @property
    def channel_count(self) -> int:
        """Channels that somebody follows on this node."""
        return len(self._channels)

    @property
    def user_count(self) -> int:
        """Different users of its sessions."""
        return len(self._users)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop in which it was started.

        Raises:
            RuntimeError: it was not started.
        """
        if self._loop is None:
            raise RuntimeError("the hub was not started: use `async with hub:`, or serve it")
        return self._loop

    async def ready(self) -> None:
        """Begin, if that was not done yet."""

    async def start_engine(self) -> None:
        """Begin with the engine and the nodes that share it; wait for it as long as the options say.

        Raises:
            EngineError: it could not be reached until then.
        """
        deadline = self.loop.time() + self.options.engine_start_timeout
        pause = 0.25
        while True:
            try:
                await self.engine.start(self, node=self.node)
                break
            except EngineError as error:
                if self.loop.time() + pause > deadline:
                    raise
                self.logger.warning("the engine %s is not reachable yet: %s", self.engine.name, error)
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, 5.0)
        shared = getattr(self.engine, "shared", True)
        self.positions.start(watch=shared)
        if shared:
            self.cluster.start()

    def info(self) -> NodeInfo:
        """What this node has."""
        return NodeInfo(
            node=self.node,
            clients=len(self._sessions),
            users=len(self._users),
            channels=sum(1 for channel in self._channels.values() if channel.subscribers),
            subscriptions=sum(len(channel.subscribers) for channel in self._channels.values()),
            name=self.name,
            version=self.version,
            uptime=self.cluster.uptime,
        )

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something that the hub waits for when it closes; what it raises is logged."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned)
        return task

    def _spawned(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.logger.error("something in the hub failed", exc_info=error)

    # Sessions

    def open(self, carrier: Carrier, origin: Origin) -> Session:
        """Begin a session for a connection that a transport has.

        Call ``receive`` of what this returns for each frame that comes, and ``closed`` when the connection is
        gone.
        """
        session = Session(self, carrier, origin)
        self.counts.opened += 1
        leaving = self._closing or self.draining
        if leaving or (self.options.connection_limit and len(self._open) >= self.options.connection_limit):
            code = DisconnectCode.SHUTDOWN if leaving else DisconnectCode.CONNECTION_LIMIT
            self.counts.refused += 1
            self.loop.call_soon(session.disconnect, code)
            return session
        self._open.add(session)
        if carrier.emulated or carrier.unidirectional:
            session.secret = secrets.token_urlsafe(24)
            self._secrets[session.secret] = session
        session.opened()
        return session

    @property
    def open_sessions(self) -> int:
        """How many sessions there are, those of nobody known yet among them."""
        return len(self._open)

    def find_session(self, session_id: str) -> Session | None:
        """The session that a connect result has named so; None: it is gone, or was never here."""
        return self._secrets.get(session_id)

    def register(self, session: Session) -> None:
        """It is known who a session is of."""
        self._sessions[session.client] = session
        self._users.setdefault(session.user, set()).add(session)

    def unregister(self, session: Session) -> None:
        """Take back what a session has: it could not begin, or it is over."""
        self._sessions.pop(session.client, None)
        mine = self._users.get(session.user)
        if mine is not None:
            mine.discard(session)
            if not mine:
                del self._users[session.user]
        for channel in list(session.subscriptions):
            self.leave(session, channel, UnsubscribeCode.DISCONNECT, UnsubscribeCode.DISCONNECT.reason)

    def forget(self, session: Session, code: int, reason: str, *, was_connected: bool) -> None:
        """A session is over."""
        self.counts.disconnects[code] += 1
        self._open.discard(session)
        self._secrets.pop(session.secret, None)
        self.unregister(session)
        if was_connected and self.hooks.disconnect is not None:
            self.spawn(self._told("on_disconnect", self.hooks.disconnect, Context(session), code, reason))

    def sessions_of(self, user: str, *, client: str = "", session: str = "") -> list[Session]:
        """The sessions of a user on this node; of one client, or by the session's id, if that is given."""
        if session:
            found = self._secrets.get(session)
            return [found] if found is not None and (not user or found.user == user) else []
        if client:
            found = self._sessions.get(client)
            return [found] if found is not None and (not user or found.user == user) else []
        return list(self._users.get(user, ()))

    # Channels

    def hold(self, name: str, rule: Rule) -> Channel:
        """A channel that somebody is to follow; each call needs one of :meth:`release` (or :meth:`leave`)."""
        channel = self._channels.get(name)
        if channel is None:
            self._numbers += 1
            channel = self._channels[name] = Channel(name, rule, self._numbers, self.counts)
        channel.holds += 1
        return channel

    async def follow(self, channel: Channel) -> None:
        """Have the engine tell of a channel."""
        if channel.followed:
            return
        async with channel.lock:
            if not channel.followed:
                channel.forget_position()
                await self.engine.subscribe(channel.name)
                channel.followed = True

    def release(self, channel: Channel) -> None:
        """Somebody follows it no longer."""
        channel.holds -= 1
        if not channel.holds:
            if channel.followed:
                self.spawn(self._unfollow(channel))
            else:
                self._forget_channel(channel)

    async def _unfollow(self, channel: Channel) -> None:
        async with channel.lock:
            if channel.holds or not channel.followed:
                return
            # Who comes from now on waits, and has it followed anew.
            channel.followed = False
            try:
                await self.engine.unsubscribe(channel.name)
            except EngineError as error:
                self._seldom.warning("the engine could not leave %r: %s", channel.name, error)
            self._forget_channel(channel)

    def _forget_channel(self, channel: Channel) -> None:
        if not channel.holds and self._channels.get(channel.name) is channel:
            del self._channels[channel.name]

    def joined(self, subscription: Subscription) -> None:
        """A subscription is live."""
        channel = subscription.channel
        subscription.live = True
        channel.live += 1
        if channel.live == 1:
            self._tell_occupation(channel, "on_occupied", channel.rule.occupied_hook)
        if subscription.join_leave:
            key = (subscription.session.client, channel.name)
            self._after(key, self._announce(channel.name, join=subscription.client_info))

    def leave(self, session: Session, name: str, code: int, reason: str) -> bool:
        """End a subscription of a session; whether there was one."""
        subscription = session.subscriptions.pop(name, None)
        if subscription is None:
            return False
        channel = subscription.channel
        live, subscription.live = subscription.live, False
        subscription.buffer = None
        if subscription.expiry is not None:
            subscription.expiry.cancel()
            subscription.expiry = None
        channel.detach(subscription)
        # One that waits to be live may have been seen in presence; of one that is being made its maker tells.
        seen = live or (subscription.presence and not subscription.joining)
        tell = seen and subscription.join_leave
        if subscription.presence or tell:
            self._after((session.client, name), self._absent(subscription, tell=tell))
        if live:
            self._left(subscription)
        self.release(channel)
        return True

    def remove_traces(self, subscription: Subscription) -> None:
        """A subscription that ended before it was live may be in presence, and others have seen it there."""
        if subscription.presence:
            key = (subscription.session.client, subscription.channel.name)
            self._after(key, self._absent(subscription, tell=subscription.join_leave))

    def _left(self, subscription: Subscription) -> None:
        channel = subscription.channel
        rule, name = channel.rule, channel.name
        if rule.unsubscribe_hook is not None:
            ctx = Context(subscription.session, channel=name)
            self.spawn(self._told("on_unsubscribe", rule.unsubscribe_hook, ctx, **rule.fields(name)))
        channel.live -= 1
        if not channel.live:
            self._tell_occupation(channel, "on_vacated", rule.vacated_hook)

    def _tell_occupation(self, channel: Channel, what: str, hook: Callable[..., Any] | None) -> None:
        """Tell of a first or a last subscriber, after what was told of the channel before."""
        if hook is not None:
            fields = channel.rule.fields(channel.name)
            self._after(("", channel.name), self._told(what, hook, channel.name, **fields))

    def _after(self, key: tuple[str, str], work: Coroutine[Any, Any, None]) -> None:
        """Run something after what was to be run with the same key before: a client in a channel, say."""
        before = self._pending.get(key)

        async def run() -> None:
            if before is not None:
                await asyncio.wait([before])
            await work

        task = self._pending[key] = self.spawn(run())

        def done(task: asyncio.Task[Any]) -> None:
            if self._pending.get(key) is task:
                del self._pending[key]

        task.add_done_callback(done)

    async def left_before(self, session: Session, channel: str) -> None:
        """Wait until an earlier subscription of this client to this channel is gone without a trace."""
        before = self._pending.get((session.client, channel))
        if before is not None:
            await asyncio.wait([before])

    async def _absent(self, subscription: Subscription, *, tell: bool) -> None:
        name, info = subscription.channel.name, subscription.client_info
        try:
            if subscription.presence:
                await self.engine.remove_presence(name, info.client)
            if tell:
                await self.engine.publish_leave(name, info)
        except EngineError as error:
            self._seldom.warning("the engine could not take %s out of %r: %s", info.client, name, error)

    async def _announce(self, name: str, *, join: ClientInfo) -> None:
        try:
            await self.engine.publish_join(name, join)
        except EngineError as error:
            self._seldom.warning("the engine could not tell of %s in %r: %s", join.client, name, error)

    async def _told(self, what: str, hook: Callable[..., Any], *args: Any, **fields: Any) -> None:
        try:
            await call(hook, *args, **fields)
        except EverwireError as error:
            self.logger.warning("the %s hook raised %r; there is nobody to refuse it to", what, error)
        except Exception:
            self.logger.exception("the %s hook failed", what)

    def refresh_presence(self, session: Session) -> None:
        """Say again that a session is in its channels, before that is forgotten."""
        present = [each for each in session.subscriptions.values() if each.presence and each.buffer is None]
        if present:
            self.spawn(self._present(present))

    async def _present(self, present: list[Subscription]) -> None:
        for each in present:
            if each.session.subscriptions.get(each.channel.name) is each:
                try:
                    ttl = self.options.presence_ttl
                    await self.engine.add_presence(each.channel.name, each.client_info, ttl=ttl)
                except EngineError as error:
                    self._seldom.warning("presence in %r was not refreshed: %s", each.channel.name, error)

    # The log

    async def append(
        self,
        name: str,
        rule: Rule,
        publication: Publication,
        *,
        skip_history: bool = False,
        **options: Any,
    ) -> Position:
        """Publish into a channel; return where it is in the log.

        Raises:
            EngineError: it is not in the log.
        """
        log = LogOptions() if skip_history else rule.log
        try:
            outcome = await self.engine.publish(name, publication, log=log, **options)
        except PositionConflict:
            raise
        except EngineError:
            self.counts.publish_errors += 1
            raise
        self.counts.published += 1
        return outcome.position

    # What the engine tells

    def on_publication(
        self, channel: str, publication: Publication, position: Position, previous: int, delta: bool
    ) -> None:
        """A publication of a channel that is followed here."""
        found = self._channels.get(channel)
        if found is not None:
            found.deliver(publication, position, previous, delta)

    def on_join(self, channel: str, info: ClientInfo) -> None:
        """Somebody has come into it."""
        found = self._channels.get(channel)
        if found is not None:
            found.tell(join=info)

    def on_leave(self, channel: str, info: ClientInfo) -> None:
        """Somebody has left it."""
        found = self._channels.get(channel)
        if found is not None:
            found.tell(leave=info)

    def on_control(self, data: bytes) -> None:
        """Another node has sent something."""
        self.cluster.receive(data)

    def on_available(self, available: bool) -> None:
        """The engine is reachable again, or no longer."""
        self.counts.engine_available = available
        self.cluster.available(available)
        self.positions.available(available)
        if available:
            self.health.clear("engine")
        else:
            self.health.set("engine", f"the engine {self.engine.name} is not reachable")
            self.logger.error("the engine %s is not reachable", self.engine.name)

    def positioned_channels(self) -> list[Channel]:
        """The channels of which somebody here counts on having all that is published."""
        return [
            channel
            for channel in self._channels.values()
            if channel.position is not None and channel.positioned
        ]
