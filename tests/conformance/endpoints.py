"""What is under test: everwire as a server, in both styles, and as a client; each sends back what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from raw import CLOSE, Listener, Peer, dial

import everwire

SIDES = ("coroutine", "listener", "client")
"""A server with a coroutine per connection, a server with callbacks, a client."""

STYLES = SIDES[:2]


class Endpoint:
    """One end of one connection: what it received, and how that ended."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.opened: asyncio.Future[everwire.Connection] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def echo(self, ws: everwire.Connection) -> None:
        """The coroutine of a connection."""
        self.opened.set_result(ws)
        try:
            while True:
                message = await ws.recv()
                self.messages.append(message)
                # what came before the end is delivered, though it cannot be answered any more
                with suppress(everwire.ConnectionClosed):
                    await ws.send(message)
        except everwire.ConnectionClosed:
            pass
        finally:
            await ws.wait_closed()
            self.ended.set_result(ws.close_error)

    def listener(self) -> everwire.Listener:
        """The callbacks of a connection."""
        endpoint = self

        class Echo(everwire.Listener):
            def on_open(self, ws: everwire.Connection) -> None:
                endpoint.opened.set_result(ws)

            def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
                endpoint.messages.append(message)
                ws.send_nowait(message)

            def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
                endpoint.ended.set_result(ws.close_error)

        return Echo()

    async def closed(self) -> everwire.ConnectionClosed:
        """Wait for the end of the connection: how it ended."""
        error = await self.ended
        assert isinstance(error, everwire.ConnectionClosed)
        return error


def port_of(server: Any) -> int:
    """The port that a server listens on."""
    return int(next(iter(server.sockets)).getsockname()[1])


@asynccontextmanager
async def serving(style: str, **options: Any) -> AsyncIterator[tuple[Endpoint, int]]:
    """A server for one connection, and its port."""
    endpoint = Endpoint()
    handler = endpoint.echo if style == "coroutine" else endpoint.listener()
    async with everwire.serve(handler, "127.0.0.1", 0, **options) as server:
        yield endpoint, port_of(server)


@asynccontextmanager
async def connected(
    side: str, *, extensions: str = "", **options: Any
) -> AsyncIterator[tuple[Endpoint, Peer]]:
    """An open connection: the end that is under test, and the peer that tests it.

    Without ``extensions``, the peer's Sec-WebSocket-Extensions, no message is compressed.
    """
    headers: dict[str, Any] = {"sec_websocket_extensions": extensions} if extensions else {}
    if side != "client":
        async with serving(side, **options) as (endpoint, port), dial(port) as peer:
            await peer.open(**headers)
            yield endpoint, peer
        return
    endpoint = Endpoint()
    async with Listener() as listener:

        async def client() -> None:
            async with everwire.connect(listener.uri, proxy=None, **options) as ws:
                await endpoint.echo(ws)

        task = asyncio.create_task(client())
        peer = await listener.accept()
        await peer.answer(**headers)
        yield endpoint, peer
        await peer.close()
        await task


async def expect_failure(peer: Peer, code: int) -> None:
    """The other end fails the connection with this code, and closes it."""
    close = await peer.read_close()
    assert close.code == code, f"{close.code} {close.reason}"
    if not peer.client:
        # it is the server that closes first (RFC 6455, section 7.1.1)
        await peer.send_frame(CLOSE, close.payload[:2])
        peer.writer.write_eof()
    await peer.read_eof()
    await peer.close()


async def expect_refusal(side: str, data: bytes, code: int = 1002, **options: Any) -> None:
    """These bytes, unmasked or masked as they should be, make the other end fail the connection."""
    async with connected(side, **options) as (endpoint, peer):
        await peer.send(data)
        await expect_failure(peer, code)
        error = await endpoint.closed()
        assert error.sent is not None
        assert error.sent.code == code
        assert endpoint.messages == []


def key_for(side: str) -> bytes | None:
    """The masking key for what is sent to this side."""
    return None if side == "client" else b"\x12\x34\x56\x78"
