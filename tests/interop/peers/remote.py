"""The test's end of a peer: commands to a process that runs another library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from interop.peers.messages import Digest, Message, Repeated, pack, read_report

LIMIT = 1 << 26
"""Bytes of the longest line."""


class PeerError(Exception):
    """What a peer was told to do did not work; its message says why."""


class Ended(NamedTuple):
    """How a connection ended; the reason is None where the library does not tell."""

    code: int
    reason: str | None


class Theirs:
    """A connection of the other library."""

    def __init__(self, peer: Peer, name: int, subprotocol: str | None, extensions: str) -> None:
        self._peer = peer
        self._name = name
        self.subprotocol = subprotocol
        self.extensions = extensions

    async def send(self, *messages: Message | Repeated) -> None:
        """Send messages."""
        await self._do("send", messages=[pack(message) for message in messages])

    async def send_fragments(self, parts: Sequence[Message]) -> None:
        """Send one message in so many frames."""
        await self._do("send_fragments", parts=[pack(part) for part in parts])

    async def receive(self, count: int = 1) -> list[Message | Digest]:
        """Receive so many messages; large ones come as digests."""
        answer = await self._do("receive", count=count)
        return [read_report(message) for message in answer["messages"]]

    async def ping(self, data: str) -> None:
        """Send a ping and wait for its pong."""
        await self._do("ping", data=data)

    async def close(self, code: int, reason: str) -> None:
        """Close, and wait until it is closed."""
        await self._do("close", code=code, reason=reason)

    async def ended(self) -> Ended:
        """Wait until it is closed."""
        answer = await self._do("ended")
        return Ended(answer["code"], answer["reason"])

    async def _do(self, what: str, **arguments: Any) -> dict[str, Any]:
        return await self._peer.do(what, name=self._name, **arguments)


class Peer:
    """What one test has a process do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last = 0

    async def do(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._last += 1
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[self._last] = answered
        self._writer.write(json.dumps({"id": self._last, "do": what, **arguments}).encode() + b"\n")
        await self._writer.drain()
        answer = await answered
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    async def read(self) -> None:
        """Hand out the answers."""
        while line := await self._reader.readline():
            answer = json.loads(line)
            waiting = self._answers.pop(answer.pop("id"))
            if not waiting.done():
                waiting.set_result(answer)
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_result({"error": "the peer has gone"})

    async def connect(self, uri: str, **options: Any) -> Theirs:
        """Connect to a server."""
        answer = await self.do("connect", uri=uri, **options)
        return Theirs(self, answer["name"], answer["subprotocol"], answer["extensions"])

    async def listen(self, **options: Any) -> int:
        """Start a server; its port."""
        return int((await self.do("listen", **options))["port"])

    async def accept(self) -> Theirs:
        """Wait for the next connection to the server."""
        answer = await self.do("accept")
        return Theirs(self, answer["name"], answer["subprotocol"], answer["extensions"])


@asynccontextmanager
async def controlling(port: int) -> AsyncIterator[Peer]:
    """Control the peer that listens there; at the end all that it opened for this is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)
    peer = Peer(reader, writer)
    reading = asyncio.create_task(peer.read())
    try:
        yield peer
    finally:
        with suppress(OSError):
            writer.write_eof()
        await reading
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
