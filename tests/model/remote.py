"""The world over real connections: clients of each transport, to a hub that is served."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
from transports.clients import Ended, client
from transports.sites import Site, site
from transports.test_unidirectional import Listening

import everwire
from everwire.channels.hub import Hub
from everwire.errors import WireError
from everwire.wire.formats import codec
from everwire.wire.messages import ConnectRequest
from model.client import Client, Lost
from model.world import World

KINDS = (
    "websocket-json delta",
    "websocket-protobuf",
    "sse-json",
    "http_stream-protobuf delta",
    "long_poll-json filter",
    "long_poll-protobuf",
    "websocket-json served",
    "http_stream-protobuf served filter",
    "uni_sse-json listens",
    "uni_websocket-json listens filter",
)


class RemoteLink:
    """A client of the tests of transports, as a link."""

    def __init__(self, kind: str, place: Site, owner: Client) -> None:
        self.codec = codec(kind.partition("-")[2])
        self._owner = owner
        self._remote: Any = client(kind, place)
        self._reader: asyncio.Task[None] | None = None
        self._opening = False
        self._ready = asyncio.Event()
        self.over = False
        self.error: Exception | None = None

    async def send_commands(self, frame: bytes) -> None:
        first, self._opening = not self._opening, True
        if not first:
            await self._ready.wait()
        if self.over:
            raise Lost
        try:
            if first:
                await self._remote.__aenter__()
                await self._remote.open(*self.codec.decode_commands(frame))
                self._reader = asyncio.get_running_loop().create_task(self._read())
                if self.over:  # it was cut while it was being opened
                    await self.cut()
                    raise Lost
            else:
                await self._remote.send_frame(frame)
        except (Ended, AssertionError, everwire.EverwireError, httpx.HTTPError):
            # It has ended meanwhile: requests of streams and tunnels are answered with 404 then.
            if self._reader is not None:
                await asyncio.wait([self._reader])
            self._end(0)
            self._ready.set()
            raise Lost from None

    async def _read(self) -> None:
        try:
            while True:
                frame = await self._remote.frame()
                if self._owner.link is not self:
                    break
                for reply in self.codec.decode_replies(frame):
                    if reply.connect is not None:
                        self._remote.session, self._remote.node = reply.connect.session, reply.connect.node
                self._owner.on_frame(frame)
                self._ready.set()
        except Ended as ended:
            self._end(ended.code)
        except (AssertionError, WireError) as error:
            self.error = error
        finally:
            self.over = True
            self._ready.set()

    def _end(self, code: int) -> None:
        if self._owner.link is self:
            self._owner.on_end(code)

    async def cut(self) -> None:
        self.over = True
        self._ready.set()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            with contextlib.suppress(AssertionError):
                await self._remote.cut()
            await self._remote.__aexit__(None, None, None)

    async def close(self) -> None:
        """Free what it has."""
        if not self.over:
            await self.cut()
        elif self._reader is not None:
            await asyncio.wait([self._reader])
            await self._remote.__aexit__(None, None, None)

    @property
    def is_idle(self) -> bool:
        return True


class ListeningLink:
    """A client of the tests of unidirectional transports, as a link."""

    def __init__(self, kind: str, place: Site, owner: Client) -> None:
        self.codec = codec("json")
        self._kind = kind.partition("-")[0]
        self._place = place
        self._owner = owner
        self._remote: Listening | None = None
        self._reader: asyncio.Task[None] | None = None
        self.over = False
        self.error: Exception | None = None

    async def start(self, request: ConnectRequest) -> None:
        """Open it with this request."""
        remote = Listening(self._kind, self._place, msgspec.json.encode(request).decode())
        await remote.__aenter__()
        self._remote = remote
        self._reader = asyncio.get_running_loop().create_task(self._read(remote))
        if self.over:  # it was cut while it was being opened
            await self.cut()
            raise Lost

    async def _read(self, remote: Listening) -> None:
        try:
            while self._owner.link is self:
                self._owner.on_frame(msgspec.json.encode(await remote.push()))
        except everwire.ConnectionClosed as closed:
            self._end(closed.code)
        except (StopAsyncIteration, httpx.HTTPError):
            self._end(0)
        except AssertionError as error:
            self.error = error

    def _end(self, code: int) -> None:
        if self._owner.link is self:
            self._owner.on_end(code)

    async def cut(self) -> None:
        self.over = True
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.__aexit__(None, None, None)

    async def close(self) -> None:
        """Free what it has."""
        await self.cut()

    @property
    def is_idle(self) -> bool:
        return True


class RemoteWorld(World):
    """Clients over real connections. What is under way is not seen: what has to be true comes true soon."""

    kinds = KINDS

    def make_hub(self, **options: Any) -> Hub:
        return everwire.Hub(self.engine, origins=None, **options)

    def opener(self, kind: str) -> Callable[[Client], Awaitable[Any]]:
        async def open_link(owner: Client) -> RemoteLink | ListeningLink:
            of_kind = ListeningLink if "listens" in owner.wishes else RemoteLink
            link = of_kind(kind, self._site, owner)
            self.links.append(link)
            return link

        return open_link

    async def start(self) -> None:
        self._stack = contextlib.AsyncExitStack()
        hub = self.hub
        assert isinstance(hub, everwire.Hub)
        self._site = await self._stack.enter_async_context(site("everwire", hub))

    async def close(self) -> None:
        for link in self.links:
            await link.close()
        await self._stack.aclose()

    async def settle(self) -> None:
        ends = asyncio.get_running_loop().time() + 5
        while True:
            try:
                await super().settle()
                return
            except (AssertionError, Lost):
                if asyncio.get_running_loop().time() > ends:
                    raise
                await asyncio.sleep(0.01)
