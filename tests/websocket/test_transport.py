"""The transport facade: other protocols than WebSocket on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import io
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from live import HOST, connect, echo, take_errors, turns, until
from raw import dial

import everwire
from everwire import Response

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


class Bytes(asyncio.Protocol):
    """A protocol that notes what it is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.told: list[str] = []
        self.data = bytearray()
        self.keep_open = False
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        self.data += data
        if self.told[-1] != "data":
            self.told.append("data")

    def eof_received(self) -> bool:
        self.told.append("eof")
        self.ended.set()
        return self.keep_open

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost.set_result(exc)


async def lost(protocol: Any) -> Exception | None:
    """Wait for a protocol's ``connection_lost``: it comes when all is sent, whatever the peer does."""
    return await asyncio.wait_for(protocol.lost, 5)


class Made:
    """Makes protocols, and gives them to the test."""

    def __init__(self, kind: Any = Bytes) -> None:
        self.kind = kind
        self.protocols: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self) -> asyncio.Protocol:
        protocol = self.kind()
        self.protocols.put_nowait(protocol)
        return protocol


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, certificates: Any) -> tuple[Any, Any]:
    """The contexts of server and client, None without TLS."""
    return (certificates.server, certificates.client) if request.param == "tls" else (None, None)


def test_a_protocol_gets_the_whole_request(run: Any, tls: Any) -> None:
    async def main() -> None:
        made = Made()
        async with (
            everwire.serve(echo, HOST, 0, http=made, ssl=tls[0]) as server,
            dial(server.port, context=tls[1]) as peer,
        ):
            request = b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
            await peer.trickle(request, 7)
            await peer.send(b"x" * 200_000)
            protocol = await made.protocols.get()
            await until(lambda: len(protocol.data) == len(request) + 200_000)
            assert protocol.data == request + b"x" * 200_000
            protocol.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert await peer.reader.readexactly(27) == b"HTTP/1.1 204 No Content\r\n\r\n"
            protocol.transport.close()
            await peer.read_eof()
            assert await lost(protocol) is None
            assert protocol.told == ["made", "data", "lost"]
            # Those who ask for a WebSocket get one.
            async with connect(server, ssl=tls[1]) as ws:
                await ws.send("x")
                assert await ws.recv() == "x"

    run(main)


def test_what_the_transport_knows(run: Any, tls: Any) -> None:
    async def main() -> None:
        made = Made()
        async with (
            everwire.serve(echo, HOST, 0, http=made, ssl=tls[0]) as server,
            dial(server.port, context=tls[1]) as peer,
        ):
            await peer.send(GET)
            protocol = await made.protocols.get()
            transport = protocol.transport
            assert isinstance(transport, asyncio.Transport)
            assert transport.get_extra_info("peername") == peer.writer.get_extra_info("sockname")
            assert transport.get_extra_info("sockname") == peer.writer.get_extra_info("peername")
            assert transport.get_extra_info("unheard of") is None
            assert transport.get_extra_info("unheard of", 5) == 5
            assert (transport.get_extra_info("sslcontext") is not None) == (tls[0] is not None)
            assert (transport.get_extra_info("cipher") is not None) == (tls[0] is not None)
            assert (transport.get_extra_info("ssl_object") is not None) == (tls[0] is not None)
            assert transport.can_write_eof() == (tls[0] is None)
            assert transport.get_protocol() is protocol
            assert transport.is_reading()
            assert not transport.is_closing()
            assert transport.get_write_buffer_size() == 0
            assert transport.get_write_buffer_limits() == (16384, 65536)
            transport.set_write_buffer_limits(high=1000)
            assert transport.get_write_buffer_limits() == (250, 1000)
            transport.set_write_buffer_limits(low=1000)
            assert transport.get_write_buffer_limits() == (1000, 4000)
            with pytest.raises(ValueError, match="low"):
                transport.set_write_buffer_limits(high=1, low=2)
            transport.close()
            assert transport.is_closing()
            assert not transport.is_reading()
            transport.close()
            await lost(protocol)

    run(main)


def test_writing_much_pauses_the_protocol(run: Any, tls: Any) -> None:
    async def main() -> None:
        made = Made()
        total = 20_000_000
        async with (
            everwire.serve(echo, HOST, 0, http=made, ssl=tls[0]) as server,
            dial(server.port, context=tls[1]) as peer,
        ):
            await peer.send(GET)
            protocol = await made.protocols.get()
            transport = protocol.transport
            transport.write(bytes(total // 2))
            transport.writelines([bytearray(total // 4), memoryview(bytes(total // 4))])
            assert protocol.told[-1] == "pause"
            assert transport.get_write_buffer_size() > 65536
            # Closing sends what is left.
            transport.close()
            transport.write(b"not any more")
            assert len(await peer.reader.read(-1)) == total
            assert await lost(protocol) is None

    run(main)


def test_the_protocol_is_resumed(run: Any) -> None:
    async def main() -> None:
        made = Made()
        async with everwire.serve(echo, HOST, 0, http=made) as server, dial(server.port) as peer:
            await peer.send(GET)
            protocol = await made.protocols.get()
            for _ in range(3):
                protocol.transport.write(bytes(20_000_000))
                assert protocol.told[-1] == "pause"
                await peer.reader.readexactly(20_000_000)
                await until(lambda: protocol.told[-1] == "resume")
                assert protocol.transport.get_write_buffer_size() <= 16384

    run(main)


def test_reading_can_be_paused(run: Any, tls: Any) -> None:
    async def main() -> None:
        made = Made()
        total = 30_000_000
        async with (
            everwire.serve(echo, HOST, 0, http=made, ssl=tls[0]) as server,
            dial(server.port, context=tls[1]) as peer,
        ):
            await peer.send(GET)
            protocol = await made.protocols.get()
            protocol.transport.pause_reading()
            assert not protocol.transport.is_reading()
            before = len(protocol.data)
            peer.writer.write(bytes(total))
            await asyncio.sleep(0.05)
            assert len(protocol.data) == before
            for _ in range(3):
                seen = len(protocol.data)
                protocol.transport.resume_reading()
                protocol.transport.resume_reading()
                await until(lambda seen=seen: len(protocol.data) > seen)
                protocol.transport.pause_reading()
            protocol.transport.resume_reading()
            await until(lambda: len(protocol.data) == before + total)
            protocol.transport.close()
            await peer.read_eof()

    run(main)


def test_an_end_of_stream_closes(run: Any) -> None:
    async def main() -> None:
        made = Made()
        async with everwire.serve(echo, HOST, 0, http=made) as server, dial(server.port) as peer:
            await peer.send(GET)
            protocol = await made.protocols.get()
            peer.writer.write_eof()
            assert await lost(protocol) is None
            assert protocol.told == ["made", "data", "eof", "lost"]
            await peer.read_eof()

    run(main)


def test_an_end_of_stream_may_leave_it_open(run: Any) -> None:
    async def main() -> None:
        made = Made()
        async with everwire.serve(echo, HOST, 0, http=made) as server, dial(server.port) as peer:
            await peer.send(GET)
            protocol = await made.protocols.get()
            protocol.keep_open = True
            peer.writer.write_eof()
            await protocol.ended.wait()
            await turns()
            protocol.transport.write(b"late answer")
            assert await peer.reader.readexactly(11) == b"late answer"
            protocol.transport.close()
            await peer.read_eof()
            await lost(protocol)
            assert protocol.told == ["made", "data", "eof", "lost"]

    run(main)


def test_write_eof(run: Any) -> None:
    async def main() -> None:
        made = Made()
        async with everwire.serve(echo, HOST, 0, http=made) as server, dial(server.port) as peer:
            await peer.send(GET)
            protocol = await made.protocols.get()
            protocol.transport.write(bytes(5_000_000))
            protocol.transport.write_eof()
            assert len(await peer.reader.read(-1)) == 5_000_000
            # It still listens.
            seen = len(protocol.data)
            await peer.send(b"more")
            await until(lambda: len(protocol.data) == seen + 4)
            protocol.transport.close()
            await lost(protocol)

    run(main)


@pytest.mark.parametrize("how", ["abort", "reset"])
def test_an_abrupt_end(run: Any, how: str) -> None:
    async def main() -> None:
        made = Made()
        async with everwire.serve(echo, HOST, 0, http=made) as server, dial(server.port) as peer:
            await peer.send(GET)
            protocol = await made.protocols.get()
            protocol.transport.write(bytes(30_000_000))
            if how == "abort":
                protocol.transport.abort()
            else:
                peer.abort()
            await lost(protocol)
            assert protocol.told.count("lost") == 1
            assert protocol.transport.is_closing()
            protocol.transport.write(b"into the void")
            protocol.transport.close()

    run(main)


def test_nothing_is_received_after_close(run: Any) -> None:
    async def main() -> None:
        made = Made()
        async with everwire.serve(echo, HOST, 0, http=made) as server, dial(server.port) as peer:
            await peer.send(GET)
            protocol = await made.protocols.get()
            protocol.transport.write(bytes(30_000_000))
            protocol.transport.close()
            seen = len(protocol.data)
            await peer.send(b"too late")
            await turns(20)
            assert len(protocol.data) == seen
            assert len(await peer.reader.read(-1)) == 30_000_000
            await lost(protocol)

    run(main)


def test_the_protocol_may_be_changed(run: Any) -> None:
    async def main() -> None:
        made = Made()
        async with everwire.serve(echo, HOST, 0, http=made) as server, dial(server.port) as peer:
            await peer.send(GET)
            first = await made.protocols.get()
            second = Bytes()
            second.told.append("made")
            first.transport.set_protocol(second)
            assert first.transport.get_protocol() is second
            await peer.send(b"for the second")
            await until(lambda: second.data)
            assert second.data == b"for the second"
            first.transport.close()
            await lost(second)
            assert "lost" not in first.told

    run(main)


def test_a_protocol_that_raises(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """It loses its connection, it is logged, and the server lives."""

    class Raises(Bytes):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if b"bomb" in data:
                raise KeyError("on purpose")

    async def main() -> None:
        made = Made(Raises)
        async with everwire.serve(echo, HOST, 0, http=made) as server:
            async with dial(server.port) as peer:
                await peer.send(GET)
                protocol = await made.protocols.get()
                await peer.send(b"bomb")
                assert isinstance(await lost(protocol), KeyError)
                with contextlib.suppress(ConnectionError):
                    await peer.reader.read()
            protocol.lost = None
            async with connect(server) as ws:
                await ws.send("x")
                assert await ws.recv() == "x"
        assert [kind for _, kind in take_errors(caplog)] == [KeyError]

    run(main)


def test_a_factory_that_raises(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def make() -> asyncio.Protocol:
            raise KeyError("on purpose")

        async with everwire.serve(echo, HOST, 0, http=make) as server, dial(server.port) as peer:
            await peer.send(GET)
            assert (await peer.read_head()).status == 500
        assert take_errors(caplog) == [("opening handshake failed", KeyError)]

    run(main)


def test_hooks_come_before_the_protocol(run: Any) -> None:
    async def main() -> None:
        async def hook(ws: everwire.Connection, request: everwire.Request) -> Response | None:
            await asyncio.sleep(0)
            return Response.of(403, "no\n") if request.path == "/private" else None

        made = Made()
        async with everwire.serve(echo, HOST, 0, http=made, process_request=hook) as server:
            async with dial(server.port) as peer:
                await peer.send(b"GET /private HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await peer.read_head()).status == 403
            async with dial(server.port) as peer:
                await peer.send(GET + b"behind it")
                protocol = await made.protocols.get()
                await until(lambda: protocol.data == GET + b"behind it")
            await lost(protocol)

    run(main)


def test_an_open_http_connection_has_no_open_timeout(run: Any) -> None:
    async def main() -> None:
        made = Made()
        async with (
            everwire.serve(echo, HOST, 0, http=made, open_timeout=0.2) as server,
            dial(server.port) as peer,
        ):
            await peer.send(GET)
            protocol = await made.protocols.get()
            await asyncio.sleep(0.5)
            protocol.transport.write(b"answer")
            assert await peer.reader.readexactly(6) == b"answer"

    run(main)


def test_shutting_down_ends_http_connections(run: Any) -> None:
    async def main() -> None:
        made = Made()
        async with (
            everwire.serve(echo, HOST, 0, http=made, close_timeout=1) as server,
            dial(server.port) as peer,
        ):
            await peer.send(GET)
            protocol = await made.protocols.get()
            server.close()
            await asyncio.wait_for(server.wait_closed(), 5)
            await lost(protocol)
            with contextlib.suppress(ConnectionError):
                await peer.reader.read()

    run(main)


# A real HTTP server


async def pages(port: int, context: Any) -> None:
    """Requests of an independent client: several on one connection, bodies of both sides."""

    scheme = "https" if context else "http"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4)) as session:
        base = f"{scheme}://{HOST}:{port}"
        options: dict[str, Any] = {"ssl": context} if context else {}
        for i in range(10):
            async with session.get(f"{base}/hello?n={i}", **options) as response:
                assert response.status == 200
                assert await response.text() == f"hello {i}"
        body = bytes(range(256)) * 40_000
        async with session.post(f"{base}/echo", data=io.BytesIO(body), **options) as response:
            assert await response.read() == body
        async with session.get(f"{base}/stream", **options) as response:
            assert len(await response.read()) == 20_000_000
        async with session.get(f"{base}/none", **options) as response:
            assert response.status == 404


def test_aiohttp_on_the_same_port(run: Any, tls: Any) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.query['n']}")

    async def same(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(bytes(100_000))
        return response

    async def main() -> None:
        app = web.Application(client_max_size=1 << 30)
        app.add_routes([web.get("/hello", hello), web.post("/echo", same), web.get("/stream", stream)])
        runner = web.AppRunner(app)
        await runner.setup()
        assert runner.server is not None
        try:
            async with everwire.serve(echo, HOST, 0, http=runner.server, ssl=tls[0]) as server:
                await pages(server.port, tls[1])
                async with connect(server, "/ws", ssl=tls[1]) as ws:
                    await ws.send("and WebSocket")
                    assert await ws.recv() == "and WebSocket"
                await turns(20)
        finally:
            await runner.cleanup()

    run(main)
