"""A WebSocket peer that does just what a test tells it: bytes and frames by hand, right or wrong.

It knows frames (RFC 6455, section 5.2) and enough of the opening handshake, checks nothing, and never answers
by itself. :func:`dial` makes one that speaks to a server, :class:`Listener` those that a client has connected
to.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10

KEY = "AQIDBAUGBwgJCgsMDQ4PEA=="
"""A Sec-WebSocket-Key that stands for 16 bytes."""

REQUEST = {
    "Host": "127.0.0.1",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
"""The headers of a request that a server has to accept."""

Lines = Iterable[tuple[str, str]]


class Frame(NamedTuple):
    """A frame as it came."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv: int = 0
    """The reserved bits where they are in the first byte: RSV1, RSV2, RSV3."""
    key: bytes | None = None
    """The masking key; None if the frame is not masked. The payload is unmasked."""
    size: int = 0
    """How many bytes its length was written with: 0 for 7 bits, 2 or 8."""

    @property
    def code(self) -> int:
        """The code of a close frame: 1005 if it has none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005

    @property
    def reason(self) -> str:
        """The reason of a close frame."""
        return self.payload[2:].decode()


def mask(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask a payload (RFC 6455, section 5.3)."""
    return bytes(byte ^ key[i & 3] for i, byte in enumerate(payload))


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = None,
    size: int | None = None,
    length: int | None = None,
) -> bytes:
    """The bytes of a frame.

    Args:
        opcode: which kind of frame, one of 0 to 15.
        payload: the payload, not yet masked.
        fin: whether the bit FIN is set.
        rsv: reserved bits to set: RSV1, RSV2, RSV3.
        key: four bytes to mask the payload with; None for a frame that is not masked.
        size: how many bytes to write the length with (0, 2 or 8), when it is not to be the fewest.
        length: the length to claim, when it is not to be that of the payload.
    """
    n = len(payload) if length is None else length
    if size is None:
        size = 0 if n < 126 else 2 if n < 65536 else 8
    masked = 0x80 if key is not None else 0
    head = bytes([(FIN if fin else 0) | rsv | opcode, masked | {0: n, 2: 126, 8: 127}[size]])
    if size:
        head += n.to_bytes(size, "big")
    return head + (payload if key is None else key + mask(payload, key))


def close_payload(code: int, reason: str | bytes = b"") -> bytes:
    """The payload of a close frame."""
    return code.to_bytes(2, "big") + (reason.encode() if isinstance(reason, str) else reason)


def accept_value(key: str) -> str:
    """The value of Sec-WebSocket-Accept (RFC 6455, section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()


def head(start: str, lines: Lines) -> bytes:
    """An HTTP head: its first line and its headers."""
    return "".join([start, "\r\n", *(f"{name}: {value}\r\n" for name, value in lines), "\r\n"]).encode(
        "latin-1"
    )


def given(name: str, value: str | None) -> dict[str, Any]:
    """The argument that has :meth:`Peer.request` or :meth:`Peer.answer` send this header, or leave it out."""
    return {"without": name} if value is None else {name: value}


class Head(NamedTuple):
    """An HTTP head as it came."""

    start: str
    headers: dict[str, str]
    """By name in lower case; the values of repeated ones are joined by commas."""

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.start.split()[1])

    def tokens(self, name: str) -> list[str]:
        """The elements of a header that is a list, in lower case."""
        return [token.strip().lower() for token in self.headers.get(name, "").split(",") if token.strip()]


class Peer:
    """One end of a connection, ``client`` or server; clients mask what they send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool) -> None:
        self.reader = reader
        self.writer = writer
        self.client = client

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def trickle(self, data: bytes, size: int = 1) -> None:
        """Send bytes a few at a time, so that the other end, in the same event loop, reads them so."""
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            for _ in range(4):
                await asyncio.sleep(0)

    def frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv: int = 0,
        size: int | None = None,
        length: int | None = None,
    ) -> bytes:
        """The bytes of a frame, masked if this end has to; see :func:`frame`."""
        key = os.urandom(4) if self.client else None
        return frame(opcode, payload, fin=fin, rsv=rsv, key=key, size=size, length=length)

    async def send_frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> None:
        """Send a frame, masked if this end has to."""
        await self.send(self.frame(opcode, payload, fin=fin, rsv=rsv))

    async def read_frame(self) -> Frame:
        """Read one frame; :exc:`asyncio.IncompleteReadError` if the connection ends before it does."""
        first, second = await self.reader.readexactly(2)
        size = {126: 2, 127: 8}.get(second & 0x7F, 0)
        length = int.from_bytes(await self.reader.readexactly(size), "big") if size else second & 0x7F
        key = await self.reader.readexactly(4) if second & 0x80 else None
        payload = await self.reader.readexactly(length)
        if key is not None:
            payload = mask(payload, key)
        return Frame(first & 15, payload, bool(first & FIN), first & 0x70, key, size)

    async def read_message(self) -> Frame:
        """Read the frames of one message, or one control frame; the payload is put together."""
        message = await self.read_frame()
        while not message.fin:
            more = await self.read_frame()
            assert more.opcode == CONTINUATION
            message = message._replace(payload=message.payload + more.payload, fin=more.fin)
        return message

    async def read_close(self) -> Frame:
        """Read the next frame, which is to be a close frame."""
        close = await self.read_frame()
        assert close.opcode == CLOSE, f"expected a close frame: {close}"
        return close

    async def read_eof(self) -> None:
        """Wait until the other end has closed; nothing more may come before."""
        rest = await self.reader.read()
        assert rest == b"", f"expected the end of the connection: {rest!r}"

    async def read_head(self) -> Head:
        """Read an HTTP head."""
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Head(first, headers)

    async def request(
        self, *, start: str = "GET / HTTP/1.1", without: str = "", extra: Lines = (), **headers: str
    ) -> Head:
        """Send the request of an opening handshake and read the head of the response.

        Args:
            start: the request line.
            without: a header to leave out.
            extra: further header lines.
            headers: values of headers to use instead; their names may have underscores for dashes.
        """
        fields = {name.lower(): (name, value) for name, value in REQUEST.items()}
        for name, value in headers.items():
            name = name.replace("_", "-")
            fields[name.lower()] = (name, value)
        lines = [line for name, line in fields.items() if name != without.lower()]
        await self.send(head(start, [*lines, *extra]))
        return await self.read_head()

    async def open(self, **request: Any) -> Head:
        """Do the opening handshake as a client; see :meth:`request`."""
        answer = await self.request(**request)
        assert answer.status == 101, answer
        return answer

    async def answer(
        self, *, status: str = "101 Switching Protocols", without: str = "", extra: Lines = (), **headers: str
    ) -> Head:
        """Read the request of an opening handshake, answer it as :meth:`request` says, and return it."""
        request = await self.read_head()
        fields = {
            "upgrade": ("Upgrade", "websocket"),
            "connection": ("Connection", "Upgrade"),
            "sec-websocket-accept": (
                "Sec-WebSocket-Accept",
                accept_value(request.headers["sec-websocket-key"]),
            ),
        }
        for name, value in headers.items():
            name = name.replace("_", "-")
            fields[name.lower()] = (name, value)
        lines = [line for name, line in fields.items() if name != without.lower()]
        await self.send(head(f"HTTP/1.1 {status}", [*lines, *extra]))
        return request

    async def close(self) -> None:
        """Close the connection, without a closing handshake."""
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    def abort(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()


@asynccontextmanager
async def dial(
    port: int, host: str = "127.0.0.1", *, context: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    """Connect to a server; nothing is sent."""
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=1 << 20)
    peer = Peer(reader, writer, client=True)
    try:
        yield peer
    finally:
        await peer.close()


class Listener:
    """A server that accepts connections and does nothing else: ``async with Listener() as listener``."""

    def __init__(self, *, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self.connected: asyncio.Queue[Peer] = asyncio.Queue()
        self.peers: list[Peer] = []

    async def __aenter__(self) -> Listener:
        self.server = await asyncio.start_server(
            self.accepted, "127.0.0.1", 0, ssl=self.context, limit=1 << 20
        )
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.server.close()
        for peer in self.peers:
            await peer.close()
        await self.server.wait_closed()

    def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a new connection."""
        peer = Peer(reader, writer, client=False)
        self.peers.append(peer)
        self.connected.put_nowait(peer)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server.sockets[0].getsockname()[1])

    @property
    def uri(self) -> str:
        """The URI to connect to."""
        return f"{'wss' if self.context else 'ws'}://127.0.0.1:{self.port}/"

    async def accept(self) -> Peer:
        """Wait for the next connection."""
        return await self.connected.get()
