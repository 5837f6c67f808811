"""Links: what carries frames between a client and its server. The one over WebSocket is here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from everwire._core.connection import Connection
from everwire.errors import ConnectionClosed
from everwire.websocket.client import connect
from everwire.wire.codec import Codec

__all__ = ["Link", "LinkClosed", "LinkOptions", "WebSocketLink"]

SUBPROTOCOLS = {"protobuf": "centrifuge-protobuf"}
"""What is offered for a format; JSON needs none."""


class LinkClosed(Exception):
    """A link has ended.

    Attributes:
        code: the close code of the server, from 3000 on; 1009 if it sent a frame over ``max_size``; else 0.
        reason: what the server said.
    """

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(code, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """How links are made.

    Attributes:
        codec: the format of frames.
        connect: the options of :class:`everwire.connect` that apply to links of every kind: ``ssl``,
            ``proxy``, ``additional_headers``, ``user_agent_header``, ``max_size``, ``open_timeout``.
        websocket: further options, for WebSockets only.
        emulation: the URI for the commands of links that only receive.
    """

    codec: Codec
    connect: Mapping[str, Any]
    websocket: Mapping[str, Any] = field(default_factory=dict[str, Any])
    emulation: str = ""


class Link(Protocol):
    """Carries frames.

    Attributes:
        name: the transport's name.
        emulated: whether it is opened with its first frame, and sends by other requests.
    """

    name: str
    emulated: bool

    async def recv(self) -> bytes:
        """Wait for the next frame.

        Raises:
            LinkClosed: the link has ended.
        """
        ...

    def send(self, frame: bytes) -> None:
        """Send a frame, after those before it; never waits. Nothing happens on a link that has ended."""
        ...

    async def drain(self) -> None:
        """Wait until what was sent is on its way, as far as that needs waiting."""
        ...

    def established(self, session: str, node: str) -> None:
        """Learn the names of the session and its node, which other requests need."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


class WebSocketLink:
    """Carries frames over a WebSocket."""

    name = "websocket"
    emulated = False

    def __init__(self, ws: Connection, codec: Codec) -> None:
        self._ws = ws
        self._text = not codec.binary

    @classmethod
    async def open(cls, uri: str, options: LinkOptions) -> WebSocketLink:
        """Connect to a server.

        Raises:
            Exception: what :class:`everwire.connect` raises.
        """
        offered = SUBPROTOCOLS.get(options.codec.name)
        settings: dict[str, Any] = {
            "subprotocols": [offered] if offered else None,
            # The server's pings of the protocol, mostly every 25 seconds, leave nothing to do for this one.
            "ping_interval": 40,
            "close_timeout": 2,
            **options.connect,
            **options.websocket,
        }
        return cls(await connect(uri, **settings), options.codec)

    async def recv(self) -> bytes:
        """Wait for the next frame."""
        try:
            return await self._ws.recv(decode=False)
        except ConnectionClosed as exc:
            code, reason = exc.code, exc.reason
            if exc.sent is not None and exc.sent.code == 1009:
                code, reason = exc.sent
            raise LinkClosed(code if code >= 3000 or code == 1009 else 0, reason) from exc

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        if self._ws.is_open:
            self._ws.send_nowait(frame, text=self._text)

    async def drain(self) -> None:
        """Wait until little is unsent."""
        await self._ws.drain()

    def established(self, session: str, node: str) -> None:
        """Nothing needs the names here."""

    async def close(self) -> None:
        """Close it, with a closing handshake."""
        await asyncio.shield(self._ws.close())
