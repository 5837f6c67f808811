"""Small clients of the transports: they send commands and take replies, and do nothing by themselves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import raw
from live import HOST
from transports import tunnels
from transports.sites import Site

import everwire
from everwire.errors import ConnectionClosed
from everwire.transports.tunnel.records import BINARY, CLOSE, TEXT, Record
from everwire.wire.codec import Codec
from everwire.wire.formats import codec
from everwire.wire.messages import (
    Command,
    ConnectRequest,
    Disconnect,
    EmulationRequest,
    Publication,
    Reply,
    SubscribeRequest,
)

KINDS = (
    "websocket-json",
    "websocket-protobuf",
    "sse-json",
    "http_stream-json",
    "http_stream-protobuf",
    "long_poll-json",
    "long_poll-protobuf",
)


class Ended(Exception):
    """The server has ended the connection: with a code, or 0."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Client:
    """A session: ``async with client("sse-json", site) as one: ...``.

    Attributes:
        codec: its format.
    """

    def __init__(self, name: str, site: Site) -> None:
        self.codec: Codec = codec(name)
        self.site = site
        self._id = 0
        self._replies: asyncio.Queue[Reply] = asyncio.Queue()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Any:
        await self._stack.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._stack.aclose()

    async def open(self, *commands: Command) -> None:
        """Connect; these are the first commands."""
        raise NotImplementedError

    async def send(self, *commands: Command) -> None:
        """Send commands."""
        raise NotImplementedError

    async def send_frame(self, frame: bytes) -> None:
        """Send anything."""
        raise NotImplementedError

    async def frame(self) -> bytes | str:
        """Wait for a frame."""
        raise NotImplementedError

    async def reply(self) -> Reply:
        """Wait for a reply or a push.

        Raises:
            Ended: the connection is over.
        """
        while self._replies.empty():
            for reply in self.codec.decode_replies(await self.frame()):
                if reply.push is not None and reply.push.disconnect is not None:
                    end: Disconnect = reply.push.disconnect
                    raise Ended(end.code, end.reason)
                self._replies.put_nowait(reply)
        return self._replies.get_nowait()

    async def ask(self, **command: Any) -> Reply:
        """Send a command and wait for its reply, which comes next."""
        self._id += 1
        await self.send(Command(id=self._id, **command))
        reply = await self.reply()
        assert reply.id == self._id
        return reply

    async def start(self, *channels: str, **subscribe: Any) -> list[Reply]:
        """Connect and subscribe, all in one frame."""
        commands = [Command(id=1, connect=ConnectRequest())]
        for number, channel in enumerate(channels, 2):
            commands.append(Command(id=number, subscribe=SubscribeRequest(channel=channel, **subscribe)))
        self._id = len(commands)
        await self.open(*commands)
        return [await self.reply() for _ in commands]

    async def publication(self) -> Publication:
        """Wait for a publication."""
        push = (await self.reply()).push
        assert push is not None and push.pub is not None
        return push.pub

    async def end(self) -> Ended:
        """Wait for the end; nothing else may come."""
        try:
            reply = await self.reply()
        except Ended as ended:
            return ended
        raise AssertionError(f"there is no end, but {reply}")


class WebSocketClient(Client):
    """Over a WebSocket."""

    path = "/websocket"

    async def open(self, *commands: Command) -> None:
        protocols = ["centrifuge-protobuf"] if self.codec.binary else None
        self.ws: everwire.Connection = await self._stack.enter_async_context(
            everwire.connect(self.site.url(self.path, "ws"), subprotocols=protocols, proxy=None)
        )
        await self.send(*commands)

    async def send(self, *commands: Command) -> None:
        await self.send_frame(self.codec.encode_commands(commands))

    async def send_frame(self, frame: bytes) -> None:
        await self.ws.send(frame, text=not self.codec.binary)

    async def frame(self) -> bytes | str:
        try:
            return await self.ws.recv()
        except ConnectionClosed as closed:
            raise Ended(closed.code, closed.reason) from None

    async def cut(self) -> None:
        """Be gone at once."""
        self.ws.abort()
        await self.ws.wait_closed()


class StreamClient(Client):
    """Over a response that does not end."""

    path = ""
    session = ""
    node = ""

    async def open(self, *commands: Command) -> None:
        # One client a session: its connection is that of the stream.
        self.http = await self._stack.enter_async_context(
            httpx.AsyncClient(timeout=10, trust_env=False, limits=self.site.limits)
        )
        frame = self.codec.encode_commands(commands)
        self.response = await self._stack.enter_async_context(self.request(frame))
        if self.response.status_code != 200:
            await self.response.aread()
            raise Ended(self.response.status_code, self.response.text)
        self.parts = self.split(self.response.aiter_bytes())

    def request(self, frame: bytes) -> Any:
        """The request for the stream."""
        return self.http.stream(
            "POST", self.site.url(self.path), content=frame, headers={"content-type": self.media}
        )

    @property
    def media(self) -> str:
        """The type of the bodies of requests."""
        return "application/octet-stream" if self.codec.binary else "application/json"

    async def send(self, *commands: Command) -> None:
        await self.send_frame(self.codec.encode_commands(commands))

    async def send_frame(self, frame: bytes) -> None:
        response = await self.post(self.session, frame)
        assert response.status_code == 204, response.text

    async def post(self, session: str, frame: bytes, node: str | None = None) -> httpx.Response:
        """Send commands for a session."""
        node = self.node if node is None else node
        content: Any
        if self.codec.binary:
            content = emulation(EmulationRequest(node=node, session=session), frame)
            return await self.http.post(
                self.site.url("/emulation"), content=content, headers={"content-type": self.media}
            )
        content = {"node": node, "session": session, "data": frame.decode("utf-8", "surrogateescape")}
        return await self.http.post(self.site.url("/emulation"), json=content)

    async def reply(self) -> Reply:
        reply = await super().reply()
        if reply.connect is not None:
            self.session, self.node = reply.connect.session, reply.connect.node
        return reply

    async def frame(self) -> bytes | str:
        try:
            return await anext(self.parts)
        except StopAsyncIteration:
            raise Ended(0) from None

    async def split(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The frames in a body."""
        rest = b""
        async for chunk in chunks:
            rest += chunk
            while (end := rest.find(b"\n") + 1) > 0:
                yield rest[:end]
                rest = rest[end:]

    async def cut(self) -> None:
        """Be gone at once."""
        await self.response.aclose()


class HTTPStreamClient(StreamClient):
    """Over an HTTP stream."""

    path = "/http_stream"

    async def split(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if not self.codec.binary:
            async for line in super().split(chunks):
                yield line
            return
        rest = b""
        async for chunk in chunks:
            rest += chunk
            while (size := whole(rest)) > 0:
                yield rest[:size]
                rest = rest[size:]


class SSEClient(StreamClient):
    """Over server-sent events."""

    path = "/sse"

    def request(self, frame: bytes) -> Any:
        return self.http.stream("GET", self.site.url(self.path), params={"cf_connect": frame.decode()})

    async def split(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for event in events(chunks):
            yield event["data"].encode()


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, str]]:
    """The events of a stream (WHATWG HTML, section 9.2.6), those without data left out."""
    rest = b""
    event: dict[str, str] = {}
    async for chunk in chunks:
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            line, rest = rest[:end].rstrip(b"\r").decode(), rest[end + 1 :]
            name, _, value = line.partition(":")
            if line and name:
                value = value.removeprefix(" ")
                event[name] = f"{event[name]}\n{value}" if name == "data" and name in event else value
            elif not line:
                if "data" in event:
                    yield event
                event = {name: event[name] for name in ("id",) if name in event}


async def deaf(kind: str, site: Site, *commands: Command) -> socket.socket:
    """A client that sends the first commands, and takes nothing of what comes then."""
    loop = asyncio.get_running_loop()
    transport, _, name = kind.partition("-")
    frame = codec(name).encode_commands(commands)
    path = f"{site.prefix}/{transport}"
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await loop.sock_connect(sock, (HOST, site.port))
    if transport == "websocket":
        query = "?format=protobuf" if codec(name).binary else ""
        await loop.sock_sendall(sock, raw.head(f"GET {path}{query} HTTP/1.1", raw.REQUEST.items()))
        assert b" 101 " in await loop.sock_recv(sock, 1024)
        await loop.sock_sendall(sock, raw.frame(raw.BINARY if query else raw.TEXT, frame, key=b"abcd"))
    else:
        media = "application/octet-stream" if codec(name).binary else "application/json"
        fields = {"Host": "127.0.0.1", "Content-Type": media, "Content-Length": str(len(frame))}
        await loop.sock_sendall(sock, raw.head(f"POST {path} HTTP/1.1", fields.items()) + frame)
    return sock


def whole(data: bytes) -> int:
    """The size of the first message, its length before it included; 0: it is not whole."""
    size = shift = 0
    for place, byte in enumerate(data):
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            end = place + 1 + size
            return end if end <= len(data) else 0
    return 0


def emulation(request: EmulationRequest, frame: bytes) -> bytes:
    """The request in Protobuf."""

    def field(number: int, value: bytes) -> bytes:
        length = len(value)
        varint = b""
        while length > 127:
            varint += bytes([length & 127 | 128])
            length >>= 7
        return bytes([number << 3 | 2]) + varint + bytes([length]) + value

    return field(1, request.node.encode()) + field(2, request.session.encode()) + field(3, frame)


class LongPollClient(Client):
    """Over a tunnel that is polled."""

    async def open(self, *commands: Command) -> None:
        self.http = await self._stack.enter_async_context(
            httpx.AsyncClient(timeout=10, trust_env=False, limits=self.site.limits)
        )
        self.tunnel = tunnels.Client(self.http, self.site.url("/websocket"))
        protocol = f"centrifuge-{self.codec.name}"
        opened = await self.tunnel.open(protocol)
        assert opened["protocol"] == protocol
        self.tunnel.node = opened["node"]
        self.sent = self.received = 0
        self.records: list[Record] = []
        await self.send(*commands)

    async def send(self, *commands: Command) -> None:
        await self.send_frame(self.codec.encode_commands(commands))

    async def send_frame(self, frame: bytes) -> None:
        self.sent += 1
        self.tunnel.go_to(self.site.url("/websocket"))
        await self.tunnel.send(self.sent, Record(BINARY if self.codec.binary else TEXT, frame))

    async def frame(self) -> bytes | str:
        while not self.records:
            self.tunnel.go_to(self.site.url("/websocket"))
            self.records = await self.tunnel.poll(self.received)
            self.received += len(self.records)
        record = self.records.pop(0)
        if record.kind == CLOSE:
            raise Ended(int.from_bytes(record.payload[:2], "big"), record.payload[2:].decode())
        return record.payload

    async def cut(self) -> None:
        """Be gone: all that says so is an end."""
        self.sent += 1
        await self.tunnel.send(self.sent, Record(CLOSE, b""))


def client(kind: str, site: Site) -> Any:
    """A client of one transport and format."""
    transport, _, name = kind.partition("-")
    kinds = {
        "websocket": WebSocketClient,
        "sse": SSEClient,
        "http_stream": HTTPStreamClient,
        "long_poll": LongPollClient,
    }
    return kinds[transport](name, site)
