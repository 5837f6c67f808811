"""A client of a hub in this process, over a transport that is two lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from everwire.channels.carrier import Feed, Origin, plain_feed
from everwire.channels.hub import Hub
from everwire.channels.session import Session
from everwire.engines.memory import MemoryEngine
from everwire.wire.codec import Codec
from everwire.wire.formats import codec

Message = dict[str, Any]


def a_hub(clock: Callable[[], float] | None = None, **options: Any) -> Hub:
    """A hub in memory, with its log on the same clock."""
    hub = Hub(MemoryEngine(clock=clock) if clock is not None else MemoryEngine(), **options)
    if clock is not None:
        hub.clock = clock
    return hub


class Peer:
    """A carrier and the client at its other end.

    Attributes:
        got: the messages that were not taken yet, decoded.
        ended: the code and reason of the end; None: it goes on.
    """

    transport = "test"

    def __init__(
        self, hub: Hub, *, unidirectional: bool = False, emulated: bool = False, **origin: Any
    ) -> None:
        self.codec: Codec = codec("json")
        self.unidirectional = unidirectional
        self.emulated = emulated
        self.pings = True
        self.got: list[Message] = []
        self.frames: list[bytes] = []
        self.ended: tuple[int, str] | None = None
        self._id = 0
        self._news = asyncio.Event()
        self.session: Session = hub.open(self, Origin(**origin))

    def feeds(self, codec: Codec) -> Feed:
        return plain_feed(codec)

    def send(self, frame: bytes) -> None:
        assert self.ended is None, "nothing is sent after the end"
        self.frames.append(frame)
        self.got.extend(json.loads(line) for line in frame.splitlines())
        self._news.set()

    def close(self, code: int, reason: str) -> None:
        assert self.ended is None, "it ends once"
        self.ended = code, reason
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something has come that makes it true."""
        async with asyncio.timeout(5):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def ask(self, command: str, **fields: Any) -> Message:
        """Send a command and return its reply; a refusal raises :class:`Refused`."""
        self._id += 1
        mine = self._id
        self.session.receive(json.dumps({"id": mine, command: fields}))
        await self.until(lambda: self.ended is not None or any(m.get("id") == mine for m in self.got))
        for message in self.got:
            if message.get("id") == mine:
                self.got.remove(message)
                if "error" in message:
                    raise Refused(message["error"]["code"], message["error"]["message"])
                reply: Message = message[command]
                return reply
        assert self.ended is not None
        raise Ended(*self.ended)

    async def pushes(self, count: int) -> list[Message]:
        """Wait for so many pushes, and take them."""
        await self.until(lambda: self.ended is not None or len(self.got) >= count)
        taken, self.got = self.got[:count], self.got[count:]
        return [each["push"] for each in taken]

    async def publications(self, count: int) -> list[Any]:
        """Wait for so many publications, and take their data."""
        return [push["pub"]["data"] for push in await self.pushes(count)]

    async def end(self) -> tuple[int, str]:
        """Wait for the end."""
        await self.until(lambda: self.ended is not None)
        assert self.ended is not None
        return self.ended


class Refused(Exception):
    """The hub has answered with an error."""


class Ended(Exception):
    """The hub has ended the session."""


async def settled() -> None:
    """Let everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)
