"""Peers that are broken, hostile or gone: each gets its answer, and the others never notice."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import socket
import sys
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from commands import Program
from live import (
    HOST,
    Recorder,
    both_styles,
    connect,
    reset,
    resident,
    serve_echo,
    take_errors,
    turns,
    until,
)
from raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    Peer,
    close_payload,
    dial,
    frame,
)

import everwire
from everwire import ConnectionClosedError

DEFLATE = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
MIB = 1 << 20


def deflate(data: bytes, level: int = 9) -> bytes:
    """A message compressed (RFC 7692, section 7.2.1)."""
    stream = zlib.compressobj(level, wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


@contextlib.asynccontextmanager
async def alive(style: str, **options: Any) -> AsyncIterator[everwire.Server]:
    """An echo server with a client of good manners, who is served before, during and after what happens."""
    async with serve_echo(style, **{"close_timeout": 0.5, **options}) as server, connect(server) as ws:
        stop = False

        async def talk() -> None:
            while True:
                async with asyncio.timeout(5):
                    await ws.send("alive")
                    assert await ws.recv() == "alive"
                if stop:
                    return
                await asyncio.sleep(0.005)

        talking = asyncio.create_task(talk())
        try:
            yield server
        finally:
            stop = True
            await talking
        await ws.close()
        await until(lambda: not server.settings.connections)


# Requests that are no opening handshakes


@pytest.mark.parametrize(
    ("request_", "status", "headers"),
    [
        (b"\r\n\r\n", 400, {}),
        (b"hello\r\n\r\n", 400, {}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, {}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03, which goes on, and does not end", 400, {}),
        (b"GET / HTTP/1.1\r\n\r\n", 400, {}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n", 400, {}),
        (b"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n", 400, {}),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426, {"upgrade": "websocket", "sec-websocket-version": "13"}),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405, {"allow": "GET"}),
        (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", 505, {}),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505, {}),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, {}),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, {}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 33_000 + b"\r\n\r\n", 431, {}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 200_000, 431, {}),
    ],
    ids=lambda value: value[:40].decode("latin-1").split("\r\n")[0] if isinstance(value, bytes) else None,
)
def test_a_bad_request_is_answered(
    run: Any, caplog: pytest.LogCaptureFixture, request_: bytes, status: int, headers: dict[str, str]
) -> None:
    async def main() -> None:
        async with alive("listener") as server, dial(server.port) as peer:
            peer.writer.write(request_)
            answer = await asyncio.wait_for(peer.read_head(), 5)
            assert answer.status == status
            assert "close" in answer.tokens("connection")
            for name, value in headers.items():
                assert answer.headers[name].lower() == value.lower()
            body = await peer.reader.readexactly(int(answer.headers["content-length"]))
            body.decode()
            await peer.read_eof()
        assert take_errors(caplog) == []

    run(main)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"sec_websocket_version": "8"}, 426),
        ({"without": "Sec-WebSocket-Version"}, 400),
        ({"without": "Sec-WebSocket-Key"}, 400),
        ({"sec_websocket_key": "short"}, 400),
        ({"without": "Upgrade"}, 426),
        ({"without": "Connection"}, 426),
        ({"upgrade": "h2c"}, 426),
        ({"content_length": "5"}, 400),
    ],
    ids=str,
)
def test_a_bad_handshake_is_answered(run: Any, change: dict[str, str], status: int) -> None:
    async def main() -> None:
        async with alive("coroutine") as server, dial(server.port) as peer:
            answer = await peer.request(**change)
            assert answer.status == status
            if status == 426:
                assert answer.headers["sec-websocket-version"] == "13"
                assert answer.headers["upgrade"] == "websocket"

    run(main)


# Messages that are too big


@both_styles
@pytest.mark.parametrize("kind", ["frame", "announced", "fragments", "compressed", "compressed fragments"])
def test_a_message_over_max_size(run: Any, style: str, kind: str) -> None:
    limit = 10_000

    async def main() -> None:
        async with alive(style, max_size=limit) as server, dial(server.port) as peer:
            await peer.open(sec_websocket_extensions=DEFLATE)
            small = deflate(bytes(limit + 1))
            match kind:
                case "frame":
                    await peer.send_frame(BINARY, bytes(limit + 1))
                case "announced":
                    await peer.send(peer.frame(BINARY, b"", length=1 << 62))
                case "fragments":
                    await peer.send_frame(BINARY, bytes(limit), fin=False)
                    await peer.send_frame(CONTINUATION, b"x", fin=False)
                case "compressed":
                    await peer.send_frame(BINARY, small, rsv=RSV1)
                case "compressed fragments":
                    await peer.send_frame(BINARY, small[:5], rsv=RSV1, fin=False)
                    await peer.send_frame(CONTINUATION, small[5:])
            close = await peer.read_close()
            assert close.code == 1009
            assert str(limit) in close.reason
            await peer.send_frame(CLOSE, close_payload(1009))
            peer.writer.write_eof()
            await peer.read_eof()

    run(main)


@both_styles
@pytest.mark.parametrize("extensions", ["", DEFLATE])
def test_a_message_of_max_size(run: Any, style: str, extensions: str) -> None:
    limit = 10_000

    async def main() -> None:
        async with alive(style, max_size=limit) as server, dial(server.port) as peer:
            await peer.open(**({"sec_websocket_extensions": extensions} if extensions else {}))
            await peer.send_frame(BINARY, bytes(limit))
            assert (await peer.read_message()).opcode == BINARY
            await peer.send_frame(BINARY, bytes(limit - 1), fin=False)
            await peer.send_frame(CONTINUATION, b"\x00")
            assert (await peer.read_message()).opcode == BINARY

    run(main)


def test_the_largest_message_may_be_one_that_does_not_compress(run: Any) -> None:
    async def main() -> None:
        for size in (1000, 100_000, MIB):
            message = random.Random(size).randbytes(size)
            async with alive("coroutine", max_size=size) as server, connect(server, max_size=size) as ws:
                assert "deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
                sending = asyncio.create_task(ws.send(message))
                assert await ws.recv() == message
                await sending

    run(main)


@functools.cache
def made_bomb() -> bytes:
    """A message of 300 MiB, compressed."""
    stream = zlib.compressobj(1, wbits=-15)
    return b"".join([stream.compress(bytes(MIB)) for _ in range(300)]) + stream.flush(zlib.Z_SYNC_FLUSH)


@both_styles
def test_a_decompression_bomb(run: Any, style: str) -> None:
    """Two megabytes at most that would inflate to hundreds of them."""
    bomb = made_bomb()
    assert len(bomb) < 2 * MIB

    async def main() -> None:
        async with alive(style, max_size=4 * MIB) as server, dial(server.port) as peer:
            await peer.open(sec_websocket_extensions=DEFLATE)
            # Masked with zeros, so as they are.
            data = frame(BINARY, rsv=RSV1, key=bytes(4), length=len(bomb) - 4) + bomb[:-4]
            before = resident()
            await peer.send(data)
            assert (await peer.read_close()).code == 1009
            assert resident() - before < 40 * MIB

    run(main)


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", deflate(b"x" * 100)[:-3] + b"\xff", b"\x06\x10"])
def test_what_does_not_inflate(run: Any, payload: bytes) -> None:
    async def main() -> None:
        async with alive("listener") as server, dial(server.port) as peer:
            await peer.open(sec_websocket_extensions=DEFLATE)
            await peer.send_frame(BINARY, payload, rsv=RSV1)
            assert (await peer.read_close()).code == 1007

    run(main)


# Text that is not UTF-8


@both_styles
@pytest.mark.parametrize("kind", ["frame", "fragments", "compressed", "large", "close"])
def test_invalid_utf8(run: Any, style: str, kind: str) -> None:
    async def main() -> None:
        async with alive(style) as server, dial(server.port) as peer:
            await peer.open(sec_websocket_extensions=DEFLATE)
            match kind:
                case "frame":
                    await peer.send_frame(TEXT, b"abc\xff")
                case "fragments":
                    await peer.send_frame(TEXT, b"abc\xe2\x82", fin=False)
                    await peer.send_frame(CONTINUATION, b"\x20", fin=False)
                case "compressed":
                    await peer.send_frame(TEXT, deflate(b"abc\xff" * 50), rsv=RSV1)
                case "large":
                    await peer.send_frame(TEXT, b"a" * 200_000 + b"\xed\xa0\x80" + b"a" * 200_000)
                case "close":
                    await peer.send_frame(CLOSE, close_payload(1000, b"\xff"))
            assert (await peer.read_close()).code == 1007

    run(main)


# Floods


@both_styles
@pytest.mark.parametrize("kind", ["pings", "pongs", "empty fragments", "empty messages", "tiny frames"])
def test_a_flood(run: Any, style: str, kind: str) -> None:
    """Memory stays where it is, and others are served."""

    async def main() -> None:
        async with alive(style, ping_interval=None) as server, dial(server.port) as peer:
            await peer.open()
            key = bytes(4)
            unit = {
                "pings": frame(PING, b"x" * 125, key=key),
                "pongs": frame(PONG, b"x" * 125, key=key),
                "empty fragments": frame(CONTINUATION, fin=False, key=key),
                "empty messages": frame(BINARY, key=key),
                "tiny frames": frame(CONTINUATION, b"x", fin=False, key=key),
            }[kind]
            if kind in ("empty fragments", "tiny frames"):
                await peer.send_frame(BINARY, fin=False)
            before = resident()
            data = unit * (65536 // len(unit))
            transport = peer.writer.transport
            total = 0
            # A transport that keeps bytes shows that the server does not read any more: it is enough then.
            while total < 4 * MIB and transport.get_write_buffer_size() < 4 * MIB:
                if transport.is_closing():
                    break
                peer.writer.write(data)
                total += len(data)
                await turns(3)
            assert resident() - before < 30 * MIB
            peer.abort()

    run(main)


# Peers that vanish


STATES = [
    "connected",
    "half a request",
    "open",
    "half a frame head",
    "half a frame",
    "half a message",
    "closing",
]


async def into(state: str, peer: Peer) -> None:
    """Bring a connection into a state."""
    if state == "connected":
        return
    if state == "half a request":
        await peer.send(b"GET / HTTP/1.1\r\nHo")
        return
    await peer.open()
    match state:
        case "half a frame head":
            await peer.send(peer.frame(BINARY, bytes(70_000))[:5])
        case "half a frame":
            await peer.send(peer.frame(BINARY, bytes(70_000))[:50_000])
        case "half a message":
            await peer.send_frame(TEXT, b"abc", fin=False)
        case "closing":
            await peer.send_frame(CLOSE)


@both_styles
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_peer_vanishes(
    run: Any, caplog: pytest.LogCaptureFixture, style: str, state: str, how: str
) -> None:
    async def main() -> None:
        async with alive(style) as server:
            for _ in range(3):
                async with dial(server.port) as peer:
                    await into(state, peer)
                    await turns(5)
                    if how == "reset":
                        sock = peer.writer.get_extra_info("socket")
                        with contextlib.suppress(OSError):
                            sock.setsockopt(
                                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
                            )
                        peer.abort()
            await until(lambda: server.settings.connections == 1)
        assert take_errors(caplog) == []

    run(main)


def test_a_peer_vanishes_before_it_is_accepted(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with alive("listener") as server:
            for _ in range(50):
                sock = socket.create_connection((HOST, server.port))
                sock.send(b"GET / HTTP/1.1\r\n")
                reset(sock)
            await until(lambda: server.settings.connections == 1)
        assert take_errors(caplog) == []

    run(main)


def test_a_peer_that_ends_its_side_has_lost_the_connection(run: Any) -> None:
    """An end of stream without a close frame is no close (RFC 6455, section 7.1.5)."""

    async def main() -> None:
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            await peer.send_frame(TEXT, b"last words")
            peer.writer.write_eof()
            assert await recorder.messages.get() == "last words"
            assert await recorder.closed == (1006, "")
            await peer.read_eof()

    run(main)


def test_sending_to_a_peer_that_is_gone(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            try:
                while True:
                    await ws.send(bytes(10_000))
                    await asyncio.sleep(0)
            except everwire.ConnectionClosed as exc:
                ended.set_result(exc)

        async with everwire.serve(handler, HOST, 0) as server:
            async with dial(server.port) as peer:
                await peer.open()
                await peer.reader.readexactly(10_000)
                peer.abort()
            error = await ended
            assert isinstance(error, ConnectionClosedError)
            assert error.code == 1006
        assert take_errors(caplog) == []

    run(main)


def test_bytes_after_a_violation_are_not_looked_at(run: Any) -> None:
    async def main() -> None:
        async with alive("listener") as server, dial(server.port) as peer:
            await peer.open()
            await peer.send(peer.frame(TEXT, b"x", rsv=0x70) + b"\xff" * 100_000)
            assert (await peer.read_close()).code == 1002
            with contextlib.suppress(ConnectionError):
                for _ in range(20):
                    await peer.send(b"\xff" * 100_000)
                    await turns(3)

    run(main)


# Many strangers


def test_many_connections_that_say_nothing(run: Any) -> None:
    async def main() -> None:
        async with alive("coroutine", open_timeout=0.5) as server:
            socks = [socket.create_connection((HOST, server.port)) for _ in range(200)]
            await until(lambda: server.settings.connections >= 150)
            # They are dropped while others are served.
            await until(lambda: server.settings.connections == 1)
            for sock in socks:
                sock.close()

    run(main)


# No descriptors left

LIMITED = """
import asyncio, logging, resource
import everwire

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")

async def echo(ws):
    async for message in ws:
        await ws.send(message)

async def main():
    async with everwire.serve(echo, "127.0.0.1", 0, backlog=256) as server:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        print("port", server.port, flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


@pytest.mark.parametrize("reactor", ["on", "off"])
def test_no_descriptors_left(tmp_path: Path, reactor: str) -> None:
    """Accepting pauses, with one line in the log, and goes on when there are some again."""
    script = tmp_path / "program.py"
    script.write_text(LIMITED)
    env = {"EVERWIRE_REACTOR": "off"} if reactor == "off" else {}
    with Program([sys.executable, script], env=env) as program:
        port = int(program.wait_for(r"port (\d+)\n")[1])

        async def main() -> None:
            uri = f"ws://{HOST}:{port}"
            socks = [socket.create_connection((HOST, port)) for _ in range(60)]
            try:
                await asyncio.sleep(2.5)  # several attempts to go on fail meanwhile
            finally:
                for sock in socks[:50]:
                    sock.close()
            for _ in range(5):
                async with everwire.connect(uri, proxy=None, open_timeout=10) as ws:
                    await ws.send("alive")
                    assert await ws.recv() == "alive"
            for sock in socks:
                sock.close()

        asyncio.run(main())
        program.stop()
        if reactor == "on":
            lines = [line for line in program.output.splitlines() if line.startswith(("ERROR", "WARNING"))]
            assert len(lines) == 1, program.output
            assert "descriptors" in lines[0]
