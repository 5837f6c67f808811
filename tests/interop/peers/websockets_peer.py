"""A peer with the API of ``websockets``: that library, or ``picows.websockets`` if it is named."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from interop.peers.control import Accept, Library, Options, WebSocket, main
from interop.peers.messages import Message


class Socket(WebSocket):
    """A connection."""

    def __init__(self, ws: Any) -> None:
        self.ws = ws
        self.subprotocol = ws.subprotocol
        self.extensions = ws.response.headers.get("Sec-WebSocket-Extensions", "")

    async def send(self, message: Message) -> None:
        await self.ws.send(message)

    async def send_fragments(self, parts: list[Message]) -> None:
        await self.ws.send(parts)

    async def receive(self) -> Message:
        message: Message = await self.ws.recv()
        return message

    async def ping(self, data: bytes) -> None:
        await (await self.ws.ping(data))

    async def close(self, code: int, reason: str) -> None:
        await self.ws.close(code, reason)

    async def ended(self) -> tuple[int, str | None]:
        await self.ws.wait_closed()
        # picows.websockets has None where websockets says that nothing came
        return self.ws.close_code or 1006, self.ws.close_reason or ""


class API(Library):
    """The library, by the name of its package."""

    def __init__(self, name: str) -> None:
        self.package = importlib.import_module(name)

    def options(self, options: Options, kind: str) -> dict[str, Any]:
        """What connections and servers have in common."""
        common: dict[str, Any] = {
            "subprotocols": options.get("subprotocols"),
            "compression": None,
            "max_size": None,
            "ping_interval": None,
            "close_timeout": 5,
        }
        compression = options.get("compression")
        if compression == {}:
            common["compression"] = "deflate"
        elif compression is not None:
            deflate = importlib.import_module("websockets.extensions.permessage_deflate")
            factory = getattr(deflate, f"{kind}PerMessageDeflateFactory")
            common["extensions"] = [factory(**compression)]
        return common

    @asynccontextmanager
    async def connect(self, uri: str, options: Options) -> AsyncIterator[WebSocket]:
        ws = await self.package.connect(
            uri,
            proxy=None,
            ssl=self.context(options),
            origin=options.get("origin"),
            **self.options(options, "Client"),
        )
        try:
            yield Socket(ws)
        finally:
            await ws.close()

    @asynccontextmanager
    async def serve(self, accept: Accept, options: Options) -> AsyncIterator[int]:
        async def handler(ws: Any) -> None:
            await accept(Socket(ws))

        async with self.package.serve(
            handler,
            "127.0.0.1",
            0,
            ssl=self.server_context(options),
            **self.options(options, "Server"),
        ) as server:
            yield server.sockets[0].getsockname()[1]
            server.close()


if __name__ == "__main__":
    main(API(sys.argv[1]))
