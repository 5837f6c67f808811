"""Logs in NATS JetStream, for any number of nodes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from everwire.channels.engine import (
    EngineEvents,
    EngineHealth,
    HistoryPage,
    LogOptions,
    Position,
    PresenceStats,
    PublishOutcome,
)
from everwire.engines.local import check_expected, has_log
from everwire.engines.nats.frames import Kind, encode_event, encode_publication
from everwire.engines.nats.link import Link
from everwire.engines.nats.names import Names, from_token, token
from everwire.engines.nats.options import NatsOptions
from everwire.engines.nats.parts import Parts
from everwire.engines.nats.publishing import Wish
from everwire.engines.nats.requests import NoResponders, Unanswered
from everwire.engines.nats.tail import NO_EPOCH, Tail
from everwire.errors import ConfigError, EngineError
from everwire.wire.messages import ClientInfo, Publication

__all__ = ["NatsEngine"]

_logger = logging.getLogger("everwire.engines")

OLDEST = (2, 12)
"""The version of the server that has all that is needed: batches that are stored together or not at all."""

LEADER = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."
"""Where a cluster tells that a stream has another leader."""

AGAIN = 0.5
"""Seconds until it is looked again whether JetStream is there."""


class NatsEngine:
    """Keeps logs, idempotency keys and presence in NATS JetStream, and joins nodes by NATS.

    Parameters:
        url: ``nats://host:4222``, ``tls://...``, several servers with commas between; user and password, or
            a token, may be in it.
        options: those of :class:`everwire.engines.nats.options.NatsOptions`.

    Raises:
        ConfigError: the URL or an option does not make sense.
        ImportError: ``nats-py`` is not installed.
    """

    name = "nats"

    def __init__(self, url: str = "nats://127.0.0.1:4222", **options: Any) -> None:
        self._options = NatsOptions.from_url(url, options)
        self._names = Names(self._options.prefix)
        self._parts: Parts | None = None
        self._events: EngineEvents | None = None
        self._node = ""
        self._tails: dict[str, Tail] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._available = False

    @property
    def _started(self) -> Parts:
        if self._parts is None:
            raise EngineError("the nats engine is not started, or is closed")
        return self._parts

    async def start(self, events: EngineEvents, *, node: str) -> None:
        """Connect, and make what is missing in JetStream.

        Raises:
            ConfigError: the servers let nobody in with these credentials, have no JetStream, or are too old.
            EngineError: no server is reachable.
        """
        if self._events is not None:
            raise EngineError("the nats engine is started already: each hub needs one of its own")
        self._events, self._node = events, node
        options = self._options
        link = Link(self._on_up, self._on_down)
        parts = Parts(link, self._names, options)
        try:
            await link.open(options.servers, timeout=options.timeout, **options.connecting())
            if link.version < OLDEST:
                major, minor = link.version
                raise ConfigError(
                    f"the NATS server at {link.where} is {major}.{minor}: update it, 2.12 is the oldest "
                    "that will do"
                )
            parts.requests.start()
            link.subscribe_to(self._names.control("", ""), self._on_control)
            link.subscribe_to(self._names.control(node, ""), self._on_control)
            link.subscribe_to(LEADER + "*", self._on_leader)
            await parts.streams.ensure_others()
            await link.synced(options.timeout)
        except BaseException:
            self._events = None
            await parts.close()
            raise
        self._parts = parts
        self._available = True

    async def close(self) -> None:
        """End. What is under way fails."""
        parts, self._parts, self._events = self._parts, None, None
        self._tails.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if parts is not None:
            await parts.close()

    # Following

    async def subscribe(self, channel: str) -> None:
        """Follow a channel: a plain subscription, without anything in JetStream."""
        parts = self._started
        assert self._events is not None
        if channel not in self._tails:
            await parts.requests.ready(parts.deadline())
            tail = self._tails[channel] = Tail(channel, self._events)
            tail.number = parts.link.subscribe_to(self._names.live(channel) + "*", tail.on_message)
        try:
            await parts.link.synced(self._options.timeout)
        except EngineError:
            await self.unsubscribe(channel)
            raise

    async def unsubscribe(self, channel: str) -> None:
        """Follow it no longer."""
        tail = self._tails.pop(channel, None)
        if tail is not None and self._parts is not None:
            self._parts.link.unsubscribe(tail.number)

    # The log

    async def publish(
        self,
        channel: str,
        publication: Publication,
        *,
        log: LogOptions,
        idempotency_key: str = "",
        idempotency_ttl: float = 300.0,
        version: int = 0,
        version_epoch: str = "",
        expected: Position | None = None,
        delta: bool = False,
    ) -> PublishOutcome:
        """Append a publication to the channel's log, and tell the nodes that follow it.

        Raises:
            PositionConflict: another position than *expected* is at the top; nothing was appended.
            EngineError: it is not known to be in the log.
        """
        parts = self._started
        data = encode_publication(publication, delta=delta)
        if not has_log(log):
            return await self._tell(channel, data, idempotency_key, idempotency_ttl, expected)
        if not idempotency_key and version <= 0 and expected is None:
            stream, number = await parts.publishing.append(channel, data, log)
            outcome = PublishOutcome(Position(number, stream.epoch))
        else:
            wish = Wish(idempotency_key, idempotency_ttl, version, version_epoch, expected)
            stream, outcome = await parts.conditions.append(channel, data, log, wish)
        if not outcome.duplicate and not outcome.stale:
            parts.trimmer.published(stream, channel, outcome.position.offset)
        return outcome

    async def _tell(
        self, channel: str, data: bytes, key: str, key_ttl: float, expected: Position | None
    ) -> PublishOutcome:
        """Publish into a channel without a log."""
        parts = self._started
        nowhere = Position(0, "")
        if key and not await parts.publishing.claim(channel, key, key_ttl):
            return PublishOutcome(nowhere, duplicate=True)
        check_expected(channel, expected, nowhere)
        await self._send(channel, data)
        return PublishOutcome(nowhere)

    async def _send(self, channel: str, data: bytes) -> None:
        parts = self._started
        if not parts.link.up:
            await parts.requests.ready(parts.deadline())
        parts.link.send(self._names.live(channel) + NO_EPOCH, data)

    async def history(
        self,
        channel: str,
        *,
        log: LogOptions,
        since: Position | None = None,
        limit: int = -1,
        reverse: bool = False,
    ) -> HistoryPage:
        """Read the log of a channel."""
        parts = self._started
        if not has_log(log):
            return HistoryPage([], Position(0, ""))
        now = time.time()
        page, stream, top = await parts.reader.history(channel, log, since, limit, reverse, now)
        if top is not None:
            if top.frame.kind == Kind.MARK:
                if (tail := self._tails.get(channel)) is not None:
                    tail.marked(top.sequence, top.offset)
            elif top.born <= now - log.ttl:
                parts.trimmer.expired(stream, channel, top)
        return page

    async def remove_history(self, channel: str, *, log: LogOptions) -> None:
        """Empty the log; its epoch and top offset stay."""
        parts = self._started
        if has_log(log):
            await parts.publishing.remove(channel, log)

    # Presence, joins and leaves

    async def publish_join(self, channel: str, info: ClientInfo) -> None:
        """Tell the nodes that follow the channel that somebody has come."""
        await self._send(channel, encode_event(Kind.JOIN, info))

    async def publish_leave(self, channel: str, info: ClientInfo) -> None:
        """Tell them that somebody has left."""
        await self._send(channel, encode_event(Kind.LEAVE, info))

    async def add_presence(self, channel: str, info: ClientInfo, *, ttl: float) -> None:
        """Say that a client is in a channel, for *ttl* seconds (rounded up) unless said again."""
        await self._started.presence.add(channel, info, ttl)

    async def remove_presence(self, channel: str, client: str) -> None:
        """Say that it has left."""
        await self._started.presence.remove(channel, client)

    async def presence(self, channel: str) -> Mapping[str, ClientInfo]:
        """Who is in a channel, by client."""
        return await self._started.presence.clients(channel)

    async def presence_stats(self, channel: str) -> PresenceStats:
        """How many are in a channel."""
        return await self._started.presence.stats(channel)

    async def channels(self) -> Sequence[str]:
        """The channels that have a log, that somebody is in, or that this node follows."""
        parts = self._started
        found = set(self._tails) | await parts.presence.channels()
        for name, prefix in await parts.streams.all_logs():
            subjects = await parts.streams.subjects(name, prefix + "*")
            found.update(from_token(each[len(prefix) :]) for each in subjects)
        return sorted(found)

    # Other nodes

    async def control(self, data: bytes, *, node: str = "") -> None:
        """Send something to another node, or to all others."""
        parts = self._started
        if not parts.link.up:
            await parts.requests.ready(parts.deadline())
        parts.link.send(self._names.control(node, self._node), data)

    def _on_control(self, subject: bytes, headers: bytes, data: bytes) -> None:
        sender = subject[subject.rindex(b".") + 1 :].decode()
        if self._events is not None and sender != token(self._node):
            self._events.on_control(data)

    # How it is

    async def health(self) -> EngineHealth:
        """Ask whether the streams in use have a leader."""
        try:
            parts = self._started
            if not parts.link.up:
                return EngineHealth(False, f"NATS is not reachable ({parts.link.problem or 'no connection'})")
            async with asyncio.timeout(min(self._options.timeout, 3.0)):
                await parts.streams.check()
            return EngineHealth(True, f"NATS at {parts.link.where}")
        except (EngineError, ConfigError) as error:
            return EngineHealth(False, str(error))
        except TimeoutError:
            return EngineHealth(False, "JetStream does not answer")

    def _on_down(self) -> None:
        if self._parts is not None:
            self._parts.requests.lost("the connection to NATS was lost before the answer came")
        self._tell_available(False)

    def _on_up(self) -> None:
        if self._parts is not None:
            self._parts.requests.is_up()
            self._spawn_check()

    def _on_leader(self, subject: bytes, headers: bytes, data: bytes) -> None:
        # What the old leader had stored it may not have told any more.
        name = subject[len(LEADER) :].decode()
        if self._parts is not None and self._parts.streams.uses(name):
            self._spawn_check()

    def _spawn_check(self) -> None:
        task = asyncio.get_running_loop().create_task(self._check())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _check(self) -> None:
        """Wait until JetStream answers; then positions can be checked."""
        while self._parts is not None and self._parts.link.up:
            try:
                await self._parts.streams.look_again()
                await self._parts.streams.ensure_others()
            except (NoResponders, Unanswered, EngineError) as error:
                _logger.debug("JetStream is not back yet: %s", error)
                await asyncio.sleep(AGAIN)
            except ConfigError:
                _logger.exception("NATS has changed")
                return
            else:
                self._tell_available(True)
                return

    def _tell_available(self, available: bool) -> None:
        if self._events is not None and (available or self._available):
            self._available = available
            self._events.on_available(available)
