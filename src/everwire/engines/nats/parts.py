"""What the engine is made of, while it runs."""

from __future__ import annotations

import asyncio

from everwire.engines.nats.conditions import Conditions
from everwire.engines.nats.link import Link
from everwire.engines.nats.names import Names
from everwire.engines.nats.options import NatsOptions
from everwire.engines.nats.presence import Presence
from everwire.engines.nats.publishing import Publishing
from everwire.engines.nats.reading import Reader
from everwire.engines.nats.requests import Requests
from everwire.engines.nats.streams import Storage, Streams
from everwire.engines.nats.trimming import Trimmer

__all__ = ["Parts"]


class Parts:
    """The parts of an engine, which share a connection."""

    def __init__(self, link: Link, names: Names, options: NatsOptions) -> None:
        storage = Storage(replicas=options.replicas, kind=options.storage, max_size=options.max_size)
        self.link = link
        self.requests = Requests(link, timeout=options.timeout, max_waiting=options.max_waiting)
        self.streams = Streams(self.requests, names, storage)
        self.reader = Reader(self.requests, self.streams)
        self.publishing = Publishing(link, self.requests, self.streams, self.reader, names)
        self.conditions = Conditions(self.requests, self.publishing)
        self.trimmer = Trimmer(self.requests, self.publishing)
        self.presence = Presence(self.requests, self.streams, self.reader.fetcher, names)
        self._loop = asyncio.get_running_loop()

    def deadline(self) -> float:
        """When what begins now has to be done, by the loop's clock."""
        return self._loop.time() + self.requests.timeout

    async def close(self) -> None:
        """End all of it."""
        await self.trimmer.close()
        self.link.up = False
        self.requests.close()
        await self.link.end()
