"""A peer with ``aiohttp``. It cannot send fragments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, ClientTimeout, WSMsgType, web

from interop.peers.control import Accept, Library, Options, WebSocket, main
from interop.peers.messages import Message


class Socket(WebSocket):
    """A connection, with the task that receives for it."""

    def __init__(self, ws: Any, headers: Any = None) -> None:
        self.ws = ws
        self.reason: str | None = None
        self.messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self.pongs: asyncio.Queue[bytes] = asyncio.Queue()
        if headers is not None:
            self.subprotocol = ws.protocol
            self.extensions = headers.get("Sec-WebSocket-Extensions", "")
        else:
            self.subprotocol = ws.ws_protocol
        self.task = asyncio.create_task(self.read())

    async def read(self) -> None:
        """Take what comes."""
        while True:
            message = await self.ws.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self.messages.put_nowait(message.data)
            elif message.type == WSMsgType.PING:
                await self.ws.pong(message.data)
            elif message.type == WSMsgType.PONG:
                self.pongs.put_nowait(bytes(message.data))
            else:
                if message.type == WSMsgType.CLOSE:
                    self.reason = message.extra
                break
        self.messages.put_nowait(None)

    async def send(self, message: Message) -> None:
        await (self.ws.send_str if isinstance(message, str) else self.ws.send_bytes)(message)

    async def receive(self) -> Message:
        message = await self.messages.get()
        if message is None:
            raise EOFError(f"the connection is closed: {self.ws.close_code}")
        return message

    async def ping(self, data: bytes) -> None:
        await self.ws.ping(data)
        while await self.pongs.get() != data:
            pass

    async def close(self, code: int, reason: str) -> None:
        await self.ws.close(code=code, message=reason.encode())

    async def ended(self) -> tuple[int, str | None]:
        await self.task
        return self.ws.close_code, self.reason


class AIOHTTP(Library):
    """The library."""

    @asynccontextmanager
    async def connect(self, uri: str, options: Options) -> AsyncIterator[WebSocket]:
        async with ClientSession(timeout=ClientTimeout(20)) as session:
            compression = options.get("compression")
            ws = await session.ws_connect(
                uri,
                protocols=options.get("subprotocols") or (),
                compress=0 if compression is None else compression.get("client_max_window_bits", 15),
                max_msg_size=0,
                autoping=False,
                ssl=self.context(options) or True,
                origin=options.get("origin"),
            )
            socket = Socket(ws, ws._response.headers)
            try:
                yield socket
            finally:
                await ws.close()
                await socket.task

    @asynccontextmanager
    async def serve(self, accept: Accept, options: Options) -> AsyncIterator[int]:
        async def handler(request: web.Request) -> web.WebSocketResponse:
            ws = web.WebSocketResponse(
                protocols=options.get("subprotocols") or (),
                compress=options.get("compression") is not None,
                max_msg_size=0,
                autoping=False,
            )
            await ws.prepare(request)
            socket = Socket(ws)
            await accept(socket)
            await ws.close()
            await socket.task
            return ws

        app = web.Application()
        app.router.add_get("/", handler)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.server_context(options))
        await site.start()
        try:
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    main(AIOHTTP())
