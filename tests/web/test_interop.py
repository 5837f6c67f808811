"""WebSocket and WebSocketStream with the servers of other libraries."""

from __future__ import annotations

from typing import Any

import pytest
import websockets
import websockets.asyncio.server
from conftest import Run

import everwire
from web.record import recorded

OPTIONS: dict[str, Any] = {"proxy": None, "close_timeout": 3.0}

compressions = pytest.mark.parametrize("compression", [None, "deflate"])


async def echo(ws: websockets.asyncio.server.ServerConnection) -> None:
    """Send back what comes; "close" ends it."""
    async for message in ws:
        if message == "close":
            await ws.close(4000, "as you wish")
            return
        await ws.send(message)


def serve(compression: str | None) -> Any:
    """An echo server of websockets, which speaks two subprotocols."""
    return websockets.serve(
        echo, "127.0.0.1", 0, subprotocols=["xmpp", "soap"], compression=compression, max_size=None
    )


def url(server: Any) -> str:
    """Where it is."""
    return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@compressions
def test_websocket_with_websockets(run: Run, compression: str | None) -> None:
    async def main() -> None:
        async with serve(compression) as server:
            socket = everwire.WebSocket(url(server), ["soap", "xmpp"], **OPTIONS)
            async with recorded(socket) as record:
                await record.next("open")
                assert socket.protocol == "xmpp"
                assert socket.extensions.startswith("permessage-deflate") == (compression is not None)
                for text in ("", "Grüße " * 1000, "\N{ELECTRIC PLUG}"):
                    socket.send(text)
                    assert (await record.next("message")).data == text
                for size in (0, 125, 126, 65536, 1_000_000):
                    socket.send(bytes(size))
                    assert bytes((await record.next("message")).data) == bytes(size)
                socket.send("close")
                event = await record.next("close")
                assert (event.code, event.reason, event.wasClean) == (4000, "as you wish", True)
                assert socket.bufferedAmount == 0

    run(main)


def test_codes_reach_websockets(run: Run) -> None:
    async def main() -> None:
        closed: list[tuple[int | None, str | None]] = []

        async def wait(ws: websockets.asyncio.server.ServerConnection) -> None:
            await ws.wait_closed()
            closed.append((ws.close_code, ws.close_reason))

        async with websockets.serve(wait, "127.0.0.1", 0) as server:
            for arguments in ((), (1000,), (3000, "bye")):
                async with recorded(everwire.WebSocket(url(server), **OPTIONS)) as record:
                    await record.next("open")
                    record.socket.close(*arguments)
                    assert (await record.next("close")).wasClean
        assert closed == [(1005, ""), (1000, ""), (3000, "bye")]

    run(main)


@compressions
def test_a_stream_with_websockets(run: Run, compression: str | None) -> None:
    async def main() -> None:
        async with serve(compression) as server:
            stream = everwire.WebSocketStream(url(server), protocols=["soap"], **OPTIONS)
            readable, writable, protocol, _ = await stream.opened
            assert protocol == "soap"
            writer = writable.getWriter()
            for message in ("text", b"\0\1", "x" * 1_000_000):
                await writer.write(message)
                assert await anext(readable) == message
            await writer.write("close")
            assert [message async for message in readable] == []
            assert await stream.closed == (4000, "as you wish")

    run(main)
