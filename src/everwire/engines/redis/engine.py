"""The Redis engine: logs, presence and what nodes tell each other, in Redis or Valkey."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from everwire.channels.engine import (
    EngineEvents,
    EngineHealth,
    HistoryPage,
    LogOptions,
    Position,
    PresenceStats,
    PublishOutcome,
)
from everwire.engines import extra
from everwire.engines.local import check_expected, has_log, new_epoch
from everwire.engines.redis import scripts, settings
from everwire.engines.redis.cluster import Cluster
from everwire.engines.redis.keys import ChannelKeys, Keys
from everwire.engines.redis.link import Link, pack, unicode
from everwire.engines.redis.servers import OneServer, Servers
from everwire.errors import ConfigError, EngineError, PositionConflict
from everwire.wire.messages import ClientInfo, Publication

__all__ = ["RedisEngine"]

UNUSED = 86400.0
"""Seconds that the epoch of a log is kept that was read, but to which nothing was ever published."""

logger = logging.getLogger("everwire.engines.redis")


def encode(publication: Publication) -> bytes:
    """A publication without its offset: time, length of what is seldom there, that, and the payload."""
    more = unicode(extra.encode, publication)
    stamp = publication.time or int(time.time() * 1000)
    if more is None:
        return b"%d 0 %b" % (stamp, publication.data)
    return b"%d %d %b%b" % (stamp, len(more), more, publication.data)


def decode(offset: int, stamp: bytes, length: bytes, rest: bytes) -> Publication:
    """A publication from its parts."""
    size = int(length)
    if not size:
        return Publication(data=msgspec.Raw(rest), offset=offset, time=int(stamp))
    return extra.decode(offset, int(stamp), rest[size:], rest[:size])


def milliseconds(seconds: float) -> int:
    """As Redis wants it; at least one, at most three centuries."""
    return max(1, math.ceil(min(seconds, 1e10) * 1000))


class RedisEngine:
    """Keeps logs, idempotency keys and presence in Redis 6.2 and newer, or Valkey, for any number of nodes.

    A node has two connections to each server: one for commands, on which those of all its clients go out
    together, and one for the channels that it follows; with ``wait_replicas`` a third for publications.

    Args:
        url: ``redis://HOST:PORT/DB``, ``rediss://`` with TLS, ``unix:///PATH``,
            ``redis+sentinel://HOST:PORT,HOST:PORT/MASTER``, ``redis+cluster://HOST:PORT,HOST:PORT``; with
            ``USER:PASSWORD@`` before the host.
        prefix: of all keys and pub/sub channels.
        username, password, db: if they are not in the URL.
        sentinel_username, sentinel_password: if the sentinels want them.
        ssl: how to encrypt, with ``rediss``; None: as by default.
        ssl_ca_certs: a file of the certificates to trust, instead of the system's.
        timeout: seconds to wait for a connection, and for an answer; then
            :class:`~everwire.errors.EngineError`.
        heartbeat: seconds between two looks at a server: whether it is there, and still the master.
        max_waiting: commands that wait for an answer at once; more raise it, too.
        wait_replicas: replicas that must have a publication before it is acknowledged (``WAIT``).

    Raises:
        ConfigError: an option has no such value.
    """

    name = "redis"

    def __init__(
        self,
        url: str = "redis://localhost:6379",
        *,
        prefix: str = "everwire",
        username: str | None = None,
        password: str | None = None,
        db: int | None = None,
        sentinel_username: str = "",
        sentinel_password: str = "",
        ssl: ssl.SSLContext | None = None,
        ssl_ca_certs: str = "",
        timeout: float = 5.0,
        heartbeat: float = 2.0,
        max_waiting: int = 100_000,
        wait_replicas: int = 0,
    ) -> None:
        if not prefix or "{" in prefix or "}" in prefix:
            raise ConfigError(f"prefix is a text without braces, not {prefix!r}")
        self._settings = settings.parse(
            url,
            ssl_context=ssl,
            ssl_ca_certs=ssl_ca_certs,
            username=username,
            password=password,
            db=db,
            sentinel_username=sentinel_username,
            sentinel_password=sentinel_password,
            timeout=timeout,
            heartbeat=heartbeat,
            max_waiting=max_waiting,
            wait_replicas=wait_replicas,
        )
        self._keys = Keys(prefix)
        self._events: EngineEvents | None = None
        self._servers: Servers | None = None
        self._node = ""
        self._followed: set[str] = set()
        self._next_epoch = new_epoch()

    # Begin and end

    async def start(self, events: EngineEvents, *, node: str) -> None:
        """Connect, and tell *events* from now on.

        Raises:
            EngineError: the servers cannot be reached, or are too old.
        """
        if self._events is not None:
            raise EngineError("the redis engine is started already: each hub needs one of its own")
        self._events, self._node = events, node
        kind = Cluster if self._settings.kind == "cluster" else OneServer
        servers = kind(self._settings, node, on_message=self._on_message, on_available=self._on_available)
        try:
            await servers.start()
            for each in (node, ""):
                await servers.follow(*self._keys.control(each), "")
        except BaseException:
            self._events = None
            await servers.close()
            raise
        self._servers = servers

    async def close(self) -> None:
        """Close the connections; all that is in Redis stays there."""
        self._events = None
        self._followed.clear()
        servers, self._servers = self._servers, None
        if servers is not None:
            await servers.close()

    @property
    def _started(self) -> Servers:
        if self._servers is None:
            raise EngineError("the redis engine is not started, or is closed")
        return self._servers

    async def subscribe(self, channel: str) -> None:
        """Follow a channel."""
        keys = self._keys.of(channel)
        await self._started.follow(keys.tail, keys.slot, channel)
        self._followed.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        """Follow it no longer."""
        self._followed.discard(channel)
        keys = self._keys.of(channel)
        await self._started.leave(keys.tail, keys.slot)

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
        """Append a publication to the channel's log, if it has one, and tell the nodes that follow it."""
        _ = self._started
        keys = self._keys.of(channel)
        body = encode(publication)
        flag = b"d" if delta else b"-"
        kept = has_log(log)
        if not kept:
            check_expected(channel, expected, Position(0, ""))
            if not idempotency_key:
                await self._tell(keys.tail, keys.slot, b"p%b 0 0  %b" % (flag, body))
                return PublishOutcome(Position(0, ""))
        more: list[bytes | str | int] = []
        names = [keys.meta, keys.log, keys.tail]
        if idempotency_key:
            names.append(self._keys.once(channel, idempotency_key))
        if idempotency_key or version > 0 or expected is not None:
            more += [milliseconds(idempotency_ttl), max(0, version), version_epoch]
            if expected is not None and kept:
                more += [expected.offset, expected.epoch]
        size, ttl = (log.size, milliseconds(log.ttl)) if kept else (0, 0)
        meta_ttl = milliseconds(log.meta_ttl) if log.meta_ttl else 0
        status, offset, epoch = await self._call(
            scripts.PUBLISH,
            keys.slot,
            names,
            lambda link: (
                *(body, size, ttl, meta_ttl, self._next_epoch, link.generation, flag, link.tell),
                *more,
            ),
            again=bool(idempotency_key),
            replicate=True,
        )
        position = self._position(offset, epoch)
        if status == 3:
            raise PositionConflict(channel, offset=position.offset, epoch=position.epoch)
        return PublishOutcome(position, duplicate=status == 1, stale=status == 2)

    async def history(
        self,
        channel: str,
        *,
        log: LogOptions,
        since: Position | None = None,
        limit: int = -1,
        reverse: bool = False,
    ) -> HistoryPage:
        """Read the log of a channel; give it one if it has none."""
        keys = self._keys.of(channel)
        meta_ttl = milliseconds(log.meta_ttl) if log.meta_ttl else 0
        unused = milliseconds(min(UNUSED, log.meta_ttl or UNUSED))
        options = (meta_ttl, unused, max(-1, limit), int(reverse), *(since or ()))
        epoch, top, complete, entries = await self._call(
            scripts.HISTORY,
            keys.slot,
            [keys.meta, keys.log],
            lambda link: (self._next_epoch, link.generation, *options),
        )
        found: list[Publication] = []
        for entry, fields in entries:
            body = fields[fields.index(b"d") + 1]
            found.append(decode(int(entry.partition(b"-")[0]), *body.split(b" ", 2)))
        return HistoryPage(found, self._position(top, epoch), bool(complete))

    def _position(self, offset: int, epoch: bytes) -> Position:
        position = Position(offset, epoch.decode())
        if position.epoch == self._next_epoch:
            # A log was made with it: the next one gets another. To make one each time is slow.
            self._next_epoch = new_epoch()
        return position

    async def remove_history(self, channel: str, *, log: LogOptions) -> None:
        """Empty the log; its epoch and top offset stay."""
        keys = self._keys.of(channel)
        await self._call(scripts.REMOVE_HISTORY, keys.slot, [keys.meta, keys.log])

    # Who is there

    async def publish_join(self, channel: str, info: ClientInfo) -> None:
        """Tell the nodes that follow the channel that somebody has come."""
        keys = self._keys.of(channel)
        await self._tell(keys.tail, keys.slot, b"j" + unicode(extra.encode_info, info))

    async def publish_leave(self, channel: str, info: ClientInfo) -> None:
        """Tell them that somebody has left."""
        keys = self._keys.of(channel)
        await self._tell(keys.tail, keys.slot, b"l" + unicode(extra.encode_info, info))

    async def add_presence(self, channel: str, info: ClientInfo, *, ttl: float) -> None:
        """Say that a client is in a channel, for *ttl* seconds unless said again."""
        keys, user = self._keys.of(channel), unicode(str.encode, info.user)
        value = struct.pack(">I", len(user)) + user + unicode(extra.encode_info, info)
        await self._presence(scripts.ADD_PRESENCE, keys, info.client, user, value, milliseconds(ttl))

    async def remove_presence(self, channel: str, client: str) -> None:
        """Say that it has left."""
        await self._presence(scripts.REMOVE_PRESENCE, self._keys.of(channel), client)

    async def presence(self, channel: str) -> Mapping[str, ClientInfo]:
        """Who is in a channel, by client."""
        found: dict[str, ClientInfo] = {}
        for value in await self._presence(scripts.PRESENCE, self._keys.of(channel)):
            info = extra.decode_info(value[4 + int.from_bytes(value[:4], "big") :])
            found[info.client] = info
        return found

    async def presence_stats(self, channel: str) -> PresenceStats:
        """How many are in a channel."""
        return PresenceStats(*await self._presence(scripts.PRESENCE_STATS, self._keys.of(channel)))

    async def _presence(
        self, script: scripts.Script, keys: ChannelKeys, *arguments: bytes | str | int
    ) -> Any:
        names = [keys.clients, keys.leases, keys.users]
        return await self._call(script, keys.slot, names, lambda link: arguments)

    # Nodes

    async def channels(self) -> Sequence[str]:
        """The channels that have a log, a follower on any node, or presence.

        It looks at all keys of the servers: something for people, and now and then.

        Raises:
            EngineError: there are too many to look at within ten times the ``timeout``.
        """
        limit = self._settings.timeout * 10
        try:
            async with asyncio.timeout(limit):
                return sorted(await self._list_channels())
        except TimeoutError as error:
            raise EngineError(f"Redis has more keys than can be looked at in {limit:g} seconds") from error

    async def _list_channels(self) -> set[str]:
        found: set[str] = set(self._followed)
        for server in self._started.all:
            deadline = asyncio.get_running_loop().time() + self._settings.timeout
            link = await server.commands.ready(deadline)
            for kind in (b"meta", b"clients"):
                cursor = b"0"
                while True:
                    pattern = self._keys.pattern(kind)
                    command = pack("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
                    cursor, names = await server.ask(link, command)
                    found.update(self._keys.channel(kind, each) for each in names)
                    if cursor == b"0":
                        break
            what = "SHARDCHANNELS" if server.sharded else "CHANNELS"
            names = await server.ask(link, pack("PUBSUB", what, self._keys.pattern(b"tail")))
            found.update(self._keys.channel(b"tail", each) for each in names)
        return found

    async def control(self, data: bytes, *, node: str = "") -> None:
        """Send something to another node, or to all others. Who is not there does not get it."""
        name, slot = self._keys.control(node)
        await self._tell(name, slot, b"c%b %b" % (self._node.encode(), data))

    async def health(self) -> EngineHealth:
        """Ask all servers whether they are there."""
        if self._servers is None:
            return EngineHealth(False, "the redis engine is not started, or is closed")
        problems = self._servers.problems
        if problems:
            return EngineHealth(False, "; ".join(dict.fromkeys(problems)))
        try:
            async with asyncio.timeout(min(self._settings.timeout, 3.0)):
                for server in self._servers.all:
                    await server.ask(await server.commands.ready(math.inf), pack("PING"))
        except (EngineError, TimeoutError) as error:
            return EngineHealth(False, str(error) or "Redis does not answer")
        return EngineHealth(True, str(self._settings))

    # How the servers are asked

    async def _call(
        self,
        script: scripts.Script,
        slot: int,
        names: list[bytes],
        arguments: Callable[[Link], tuple[bytes | str | int, ...]] = lambda link: (),
        *,
        again: bool = True,
        replicate: bool = False,
    ) -> Any:
        """Run a script, with arguments that may depend on the connection."""

        def make(link: Link) -> bytes:
            return pack(b"EVALSHA", script.sha, len(names), *names, *arguments(link))

        return await self._started.ask(slot, make, again=again, replicate=replicate)

    async def _tell(self, name: bytes, slot: int, message: bytes) -> None:
        """Tell the nodes that follow something."""
        await self._started.ask(slot, lambda link: pack(link.tell, name, message), again=False)

    # What comes

    def _on_available(self, available: bool) -> None:
        # Logs may be gone that were made with this one, and of which no answer has told.
        self._next_epoch = new_epoch()
        if self._events is not None:
            self._events.on_available(available)

    def _on_message(self, channel: str, payload: bytes) -> None:
        events = self._events
        if events is None:
            return
        try:
            kind = payload[:1]
            if kind == b"p":
                head, offset, previous, epoch, stamp, length, rest = payload.split(b" ", 6)
                position = Position(int(offset), epoch.decode())
                publication = decode(position.offset, stamp, length, rest)
                events.on_publication(channel, publication, position, int(previous), head == b"pd")
            elif kind == b"j":
                events.on_join(channel, extra.decode_info(payload[1:]))
            elif kind == b"l":
                events.on_leave(channel, extra.decode_info(payload[1:]))
            elif kind == b"c":
                sender, _, data = payload[1:].partition(b" ")
                if sender.decode() != self._node:
                    events.on_control(data)
            else:
                raise ValueError("it is of no kind that is known")
        except (ValueError, msgspec.MsgspecError) as error:
            logger.warning("somebody has published in %r what is not ours: %s", channel, error)
        except Exception:
            # It must not end the connection, on which the others are, too.
            logger.exception("what came in %r could not be told", channel)
