"""everwire's end of a connection, in all its forms, with one way to use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from conftest import Certificates
from live import HOST, Recorder

import everwire
from interop.peers.messages import Message
from interop.peers.remote import Ended, Peer, Theirs

SIDES = ("server-coroutine", "server-listener", "client-coroutine", "client-listener")

GENEROUS: dict[str, Any] = {
    "max_size": None,
    "max_backlog": None,
    "ping_interval": None,
    "close_timeout": 5.0,
}
"""Options of both ends: no limits, nothing that happens by itself."""


class Ours:
    """everwire's end: with a coroutine, or with callbacks if there is a recorder."""

    def __init__(self, ws: everwire.Connection, recorder: Recorder | None) -> None:
        self.ws = ws
        self._recorder = recorder

    async def send(self, *messages: Message) -> None:
        """Send messages."""
        for message in messages:
            if self._recorder is None:
                await self.ws.send(message)
            else:
                assert self.ws.send_nowait(message) is not everwire.SendStatus.DROPPED

    async def receive(self, count: int = 1) -> list[Message]:
        """Receive so many messages."""
        receive = self.ws.recv if self._recorder is None else self._recorder.messages.get
        return [await receive() for _ in range(count)]

    async def echo(self, count: int = 1) -> None:
        """Send back so many messages, each as it comes."""
        for _ in range(count):
            await self.send(*await self.receive())

    async def ended(self) -> Ended:
        """Wait until it is closed."""
        if self._recorder is not None:
            return Ended(*await self._recorder.closed)
        await self.ws.wait_closed()
        assert self.ws.close_code is not None
        return Ended(self.ws.close_code, self.ws.close_reason)


class Pair(NamedTuple):
    """The two ends of a connection."""

    ours: Ours
    theirs: Theirs


@asynccontextmanager
async def connected(
    side: str,
    peer: Peer,
    *,
    theirs: dict[str, Any] | None = None,
    certificates: Certificates | None = None,
    **options: Any,
) -> AsyncIterator[Pair]:
    """A connection between everwire and a peer, with TLS if there are certificates.

    Options are everwire's, those in ``theirs`` the peer's.
    """
    role, style = side.split("-")
    recorder = Recorder() if style == "listener" else None
    options = {**GENEROUS, "compression": None, **options}
    theirs = theirs or {}
    scheme, context = "ws", None
    if certificates is not None:
        scheme, context = "wss", certificates.client if role == "client" else certificates.server
        files = {"ca": certificates.ca_file, "cert": certificates.cert_file, "key": certificates.key_file}
        theirs = {**theirs, **{name: str(file) for name, file in files.items()}}
    if role == "client":
        port = await peer.listen(**theirs)
        uri = f"{scheme}://{HOST}:{port}/"
        async with everwire.connect(uri, ssl=context, proxy=None, listener=recorder, **options) as ws:
            yield Pair(Ours(ws, recorder), await peer.accept())
        return
    opened: asyncio.Future[everwire.Connection] = asyncio.get_running_loop().create_future()

    async def handler(ws: everwire.Connection) -> None:
        opened.set_result(ws)
        await ws.wait_closed()

    async with everwire.serve(recorder or handler, HOST, 0, ssl=context, **options) as server:
        far = await peer.connect(f"{scheme}://{HOST}:{server.port}/", **theirs)
        yield Pair(Ours(await (recorder.opened if recorder else opened), recorder), far)
