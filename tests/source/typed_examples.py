"""Code as users write it, for type checkers only: test_typing.py has mypy and pyright look at it."""
# pyright: strict

from __future__ import annotations

import asyncio
import re
import ssl
from typing import assert_type

import everwire


async def echo(ws: everwire.Connection) -> None:
    """A handler that answers each message with itself."""
    async for message in ws:
        assert_type(message, str | bytes)
        await ws.send(message)


async def a_server() -> None:
    """A server with a handler."""
    async with everwire.serve(echo, "127.0.0.1", 0) as server:
        assert_type(server, everwire.Server)
        print(server.sockets[0].getsockname())
        await server.serve_forever()


async def a_server_with_options(context: ssl.SSLContext) -> None:
    """A server with the options that most people set."""
    async with everwire.serve(
        echo,
        "127.0.0.1",
        8443,
        ssl=context,
        origins=["https://example.com", re.compile(r"https://[a-z]+\.example\.com"), None],
        subprotocols=["chat"],
        compression=everwire.Deflate(context_takeover=True),
        max_size=2**20,
        ping_interval=None,
        idle_timeout=60,
    ) as server:
        server.close(code=1012, reason="restart")
        await server.wait_closed()


async def a_client() -> None:
    """A client that reads and writes."""
    async with everwire.connect("wss://example.com/chat", subprotocols=["chat"], compression=None) as ws:
        assert_type(ws, everwire.Connection)
        await ws.send("text")
        await ws.send(b"bytes")
        await ws.send(b"bytes that are UTF-8", text=True)
        assert_type(await ws.recv(), str | bytes)
        assert_type(await ws.recv(decode=True), str)
        assert_type(await ws.recv(decode=False), bytes)
        assert_type(ws.send_nowait("text"), everwire.SendStatus)
        assert_type(ws.subprotocol, str | None)
        assert_type(ws.request, everwire.Request)
        assert_type(ws.buffered_amount, int)
        assert_type(await ws.ping(), float)
        await ws.close(code=1000, reason="done")


async def closing(ws: everwire.Connection) -> None:
    """The closing handshake begins when close is called; who wants to know its end waits."""
    ws.close()
    await asyncio.wait_for(ws.close(), timeout=1)
    assert_type(asyncio.create_task(ws.close()), asyncio.Task[None])


class Chat(everwire.Listener):
    """A listener, the methods of which are called as things happen."""

    def __init__(self) -> None:
        self.room = everwire.Topic(max_backlog=2**20, overflow="drop")

    def on_open(self, ws: everwire.Connection) -> None:
        """Somebody came."""
        self.room.add(ws)

    def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
        """Somebody said something: tell everybody."""
        self.room.publish(message)

    def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
        """Somebody left."""
        self.room.discard(ws)


async def a_server_with_a_listener() -> None:
    """A server with one listener for all connections."""
    async with everwire.serve(Chat(), "127.0.0.1", 0) as server:
        await server.serve_forever()


async def errors(ws: everwire.Connection) -> None:
    """What there is to catch."""
    try:
        await ws.recv()
    except everwire.ConnectionClosedOK as closed:
        assert_type(closed.code, int)
    except everwire.ConnectionClosed as closed:
        assert_type(closed.reason, str)
    except everwire.EverwireError as error:
        print(error)


async def the_browser_api() -> None:
    """A WebSocket and a WebSocketStream as in browsers."""
    socket = everwire.WebSocket("ws://localhost:8080", ["soap", "xmpp"], ping_interval=None)
    socket.onopen = lambda event: print("Connection established.", socket.protocol)
    socket.onmessage = lambda event: print(f"Data received: {event.data}")
    socket.onerror = lambda error: print(f"Error: {error}", error.error)

    async def closed(event: everwire.CloseEvent) -> None:
        assert_type(event.code, int)

    socket.onclose = closed
    socket.addEventListener("close", closed, once=True)
    socket.binaryType = "arraybuffer"
    socket.send(everwire.Blob(["text", b"bytes"]))
    socket.send(bytearray(5))
    socket.close(3000, "bye")
    controller = everwire.AbortController()
    stream = everwire.WebSocketStream("ws://localhost:8080", protocols=["soap"], signal=controller.signal)
    readable, writable, protocol, extensions = await stream.opened
    assert_type(protocol, str)
    assert_type(extensions, str)
    async for message in readable:
        assert_type(message, str | bytes)
        await writable.getWriter().write(message)
    code, reason = await stream.closed
    assert_type(code, int)
    assert_type(reason, str)
