"""A peer with ``picows``, which gives frames: putting them together is done here. It cannot compress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import picows
from picows import WSFrame, WSMsgType, WSTransport

from interop.peers.control import Accept, Library, Options, WebSocket, main
from interop.peers.messages import Message

MAX_FRAME = 1 << 27


class Socket(picows.WSListener, WebSocket):  # type: ignore[misc]
    """A connection."""

    def __init__(self, accept: Accept | None = None, subprotocol: str | None = None) -> None:
        self.accept = accept
        self.subprotocol = subprotocol
        self.messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self.pongs: asyncio.Queue[bytes] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.kind = WSMsgType.TEXT
        self.parts: list[bytes] = []
        self.code, self.reason = 1006, ""

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        if self.accept is not None:
            self.task = asyncio.ensure_future(self.accept(self))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            # The library's enumeration knows only some codes: take the number from the frame.
            payload = frame.get_payload_as_bytes()
            self.code = int.from_bytes(payload[:2], "big") if payload else 1005
            self.reason = payload[2:].decode()
            if not transport.is_close_frame_sent:
                transport.send(WSMsgType.CLOSE, payload[:2])
            transport.disconnect()
        elif kind == WSMsgType.PONG:
            self.pongs.put_nowait(frame.get_payload_as_bytes())
        else:
            if kind != WSMsgType.CONTINUATION:
                self.kind = kind
            self.parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                whole, self.parts = b"".join(self.parts), []
                self.messages.put_nowait(whole.decode() if self.kind == WSMsgType.TEXT else whole)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.messages.put_nowait(None)
        self.writable.set()
        self.gone.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    async def send(self, message: Message) -> None:
        await self.send_fragments([message])

    async def send_fragments(self, parts: list[Message]) -> None:
        for i, part in enumerate(parts):
            first = WSMsgType.TEXT if isinstance(part, str) else WSMsgType.BINARY
            kind = WSMsgType.CONTINUATION if i else first
            data = part.encode() if isinstance(part, str) else part
            self.transport.send(kind, data, fin=i == len(parts) - 1)
            await self.writable.wait()

    async def receive(self) -> Message:
        message = await self.messages.get()
        if message is None:
            raise EOFError(f"the connection is closed: {self.code}")
        return message

    async def ping(self, data: bytes) -> None:
        self.transport.send_ping(data)
        while await self.pongs.get() != data:
            pass

    async def close(self, code: int, reason: str) -> None:
        self.transport.send(WSMsgType.CLOSE, code.to_bytes(2, "big") + reason.encode())
        await self.gone.wait()

    async def ended(self) -> tuple[int, str | None]:
        await self.gone.wait()
        return self.code, self.reason


class Picows(Library):
    """The library."""

    @asynccontextmanager
    async def connect(self, uri: str, options: Options) -> AsyncIterator[WebSocket]:
        headers = {}
        if options.get("subprotocols"):
            headers["Sec-WebSocket-Protocol"] = ", ".join(options["subprotocols"])
        if options.get("origin"):
            headers["Origin"] = options["origin"]
        _, socket = await picows.ws_connect(
            lambda: Socket(),  # a class would be called with what its signature seems to ask for
            uri,
            ssl_context=self.context(options),
            extra_headers=headers,
            max_frame_size=MAX_FRAME,
        )
        assert isinstance(socket, Socket)
        socket.subprotocol = socket.transport.response.headers.get("Sec-WebSocket-Protocol")
        socket.extensions = socket.transport.response.headers.get("Sec-WebSocket-Extensions", "")
        try:
            yield socket
        finally:
            socket.transport.disconnect()
            await socket.gone.wait()

    @asynccontextmanager
    async def serve(self, accept: Accept, options: Options) -> AsyncIterator[int]:
        sockets: list[Socket] = []

        def listener(request: Any) -> Any:
            offered = request.headers.get("Sec-WebSocket-Protocol", "").replace(" ", "").split(",")
            chosen = next((each for each in options.get("subprotocols") or () if each in offered), None)
            sockets.append(Socket(accept, chosen))
            response = picows.WSUpgradeResponse.create_101_response(
                {"Sec-WebSocket-Protocol": chosen} if chosen else None
            )
            return picows.WSUpgradeResponseWithListener(response, sockets[-1])

        server = await picows.ws_create_server(
            listener, "127.0.0.1", 0, ssl=self.server_context(options), max_frame_size=MAX_FRAME
        )
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for socket in sockets:
                socket.transport.disconnect()
                await socket.gone.wait()


if __name__ == "__main__":
    main(Picows())
