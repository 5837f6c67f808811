"""Small proxies for the tests: HTTP CONNECT, also inside TLS, and SOCKS 4, 4a and 5."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from base64 import b64encode
from types import TracebackType
from typing import Self

from everwire.websocket.messages import Request

Address = tuple[str, int]


class LoopbackServer:
    """A server on an ephemeral port of 127.0.0.1 for the length of an ``async with``."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self.serve(reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            # The streams of asyncio log a handler that was cancelled.
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class Proxy(LoopbackServer):
    """What the proxies have in common.

    Args:
        routes: where hosts that do not exist are to be found, by ``(host, port)``.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, routes: dict[Address, Address] | None = None
    ) -> None:
        super().__init__(tls=tls)
        self._routes = routes or {}
        self.asked: list[Address] = []

    async def relay(
        self, target: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry bytes both ways until both sides are done."""
        there_reader, there_writer = await asyncio.open_connection(*self._routes.get(target, target))
        try:
            await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        finally:
            there_writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError):
            if sink.can_write_eof():
                sink.write_eof()
            else:
                sink.close()


class HTTPProxy(Proxy):
    """CONNECT. With ``answer``, that is sent instead of a tunnel, and the connection closed."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        routes: dict[Address, Address] | None = None,
        auth: str | None = None,
        answer: bytes | None = None,
    ) -> None:
        super().__init__(tls=tls, routes=routes)
        self._auth = None if auth is None else "Basic " + b64encode(auth.encode()).decode()
        self._answer = answer
        self.requests: list[Request] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = Request.parse(await reader.readuntil(b"\r\n\r\n"))
        self.requests.append(request)
        host, _, port = request.path.rpartition(":")
        target = host.strip("[]"), int(port)
        self.asked.append(target)
        if self._answer is not None:
            writer.write(self._answer)
            await writer.drain()
            writer.close()
            return
        if self._auth is not None and request.headers.get("Proxy-Authorization") != self._auth:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self.relay(target, reader, writer)


class SocksProxy(Proxy):
    """SOCKS of all versions. ``reply`` other than 0 refuses, with the code of version 5."""

    def __init__(
        self,
        *,
        routes: dict[Address, Address] | None = None,
        auth: tuple[str, str] | None = None,
        reply: int = 0,
    ) -> None:
        super().__init__(routes=routes)
        self._auth = auth
        self._reply = reply
        self.versions: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version = (await reader.readexactly(1))[0]
        self.versions.append(version)
        target = await (self._socks5(reader, writer) if version == 5 else self._socks4(reader, writer))
        if target is not None:
            await self.relay(target, reader, writer)

    async def _socks4(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Address | None:
        command, *_ = await reader.readexactly(1)
        port = int.from_bytes(await reader.readexactly(2), "big")
        address = await reader.readexactly(4)
        await reader.readuntil(b"\0")
        host = socket.inet_ntoa(address)
        if address[:3] == b"\0\0\0" and address[3]:
            host = (await reader.readuntil(b"\0"))[:-1].decode()
        self.asked.append((host, port))
        refused = command != 1 or self._reply
        writer.write(bytes([0, 91 if refused else 90]) + bytes(6))
        return None if refused else (host, port)

    async def _socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Address | None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        wanted = 2 if self._auth else 0
        writer.write(bytes([5, wanted if wanted in methods else 255]))
        if wanted not in methods:
            return None
        if self._auth:
            await reader.readexactly(1)
            given = tuple(
                [(await reader.readexactly((await reader.readexactly(1))[0])).decode() for _ in "up"]
            )
            writer.write(bytes([1, given != self._auth]))
            if given != self._auth:
                return None
        _, command, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        target = host, int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(target)
        reply = self._reply or (0 if command == 1 else 7)
        writer.write(bytes([5, reply, 0, 1]) + bytes(6))
        return None if reply else target


class Echo(LoopbackServer):
    """Sends back what it receives."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
