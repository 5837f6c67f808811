"""Who is in which channel: a bucket of keys and values with leases."""

from __future__ import annotations

from everwire.channels.engine import PresenceStats
from everwire.engines.nats.fetching import Fetcher, Stale
from everwire.engines.nats.frames import encode_info, read
from everwire.engines.nats.link import header_block
from everwire.engines.nats.names import Names, from_token
from everwire.engines.nats.publishing import TTL, seconds
from everwire.engines.nats.requests import NoResponders, Requests
from everwire.engines.nats.streams import Streams
from everwire.errors import EngineError
from everwire.wire.messages import ClientInfo

__all__ = ["Presence"]

GONE = header_block({"KV-Operation": "DEL", TTL: "1s"})
"""Headers of what takes the place of a lease that was given back, for a second."""

TRIES = 3
"""How often a reading is begun anew of which something got lost."""


class Presence:
    """The leases of all nodes."""

    def __init__(self, requests: Requests, streams: Streams, fetcher: Fetcher, names: Names) -> None:
        self._requests = requests
        self._streams = streams
        self._fetcher = fetcher
        self._names = names

    async def add(self, channel: str, info: ClientInfo, ttl: float) -> None:
        """Say that a client is in a channel for a while."""
        headers = header_block({TTL: seconds(ttl)})
        await self._put(self._names.present(channel, info.client), encode_info(info), headers)

    async def remove(self, channel: str, client: str) -> None:
        """Say that it has left."""
        await self._put(self._names.present(channel, client), b"", GONE)

    async def clients(self, channel: str) -> dict[str, ClientInfo]:
        """Who is there."""
        return {info.client: info for _, info in await self._read(self._names.present(channel, "*"))}

    async def stats(self, channel: str) -> PresenceStats:
        """How many are there."""
        clients = await self.clients(channel)
        return PresenceStats(len(clients), len({info.user for info in clients.values()}))

    async def channels(self) -> set[str]:
        """The channels in which somebody is."""
        return {channel for channel, _ in await self._read(self._names.presence_subjects + ">")}

    async def _put(self, subject: str, data: bytes, headers: bytes) -> None:
        try:
            answer = await self._requests.ask(subject, data, headers)
        except NoResponders:
            await self._streams.ensure_others()
            answer = await self._requests.ask(subject, data, headers)
        self._requests.check(answer, "presence")

    async def _read(self, pattern: str) -> list[tuple[str, ClientInfo]]:
        for _ in range(TRIES):
            try:
                return await self._read_once(pattern)
            except Stale:
                continue
            except NoResponders:
                await self._streams.ensure_others()
        raise EngineError("NATS loses messages on the way")

    async def _read_once(self, pattern: str) -> list[tuple[str, ClientInfo]]:
        found: list[tuple[str, ClientInfo]] = []
        skip = len(self._names.presence_subjects)
        async for message in self._fetcher.all(self._names.presence, pattern):
            info = read(message.data).info if message.data else None
            if info is not None:
                found.append((from_token(message.subject[skip:].partition(".")[0]), info))
        return found
