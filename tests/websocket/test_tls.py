"""TLS: large messages, certificates, handshakes that fail or never end, peers that leave without a word."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from typing import Any

import pytest
from live import (
    HOST,
    Recorder,
    both_styles,
    connect,
    idle,
    reset,
    serve_echo,
    take_errors,
    turns,
    until,
)
from raw import BINARY, CLOSE, TEXT, close_payload, dial

import everwire
from everwire import ConnectionClosedError, ConnectionClosedOK


@both_styles
def test_messages_of_all_sizes(run: Any, certificates: Any, style: str) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"max_size": 8 << 20, "compression": None}
        async with (
            serve_echo(style, ssl=certificates.server, **options) as server,
            connect(server, ssl=certificates.client, **options) as ws,
        ):
            for size in (0, 1, 100, 16_383, 16_384, 16_385, 65_536, 300_000, 4 << 20):
                message = bytes(i & 255 for i in range(min(size, 1000))) * (size // 1000 + 1)
                message = message[:size]
                sending = asyncio.create_task(ws.send(message))
                assert await ws.recv() == message
                await sending

    run(main)


@both_styles
def test_many_messages_at_once(run: Any, certificates: Any, style: str) -> None:
    async def main() -> None:
        async with (
            serve_echo(style, ssl=certificates.server) as server,
            connect(server, ssl=certificates.client) as ws,
        ):
            messages = [f"{i} ".ljust(i * 37 % 5000) for i in range(500)]

            async def send() -> None:
                for message in messages:
                    await ws.send(message)

            sending = asyncio.create_task(send())
            assert [await ws.recv() for _ in messages] == messages
            await sending

    run(main)


def test_tls_is_what_is_told(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with (
            everwire.serve(idle, HOST, 0, ssl=certificates.server) as server,
            connect(server, ssl=certificates.client) as ws,
        ):
            await until(lambda: server.connections)
            ours = server.connections[0]
            assert ws.ssl_object.version() == ours.ssl_object.version()
            assert ws.peercert is not None
            assert ("IP Address", HOST) in ws.peercert["subjectAltName"]
            assert ours.peercert is None
            assert ours.remote_address == ws.local_address

    run(main)


def test_no_tls_no_certificate(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0) as server, connect(server) as ws:
            assert ws.ssl_object is None
            assert ws.peercert is None

    run(main)


def test_mutual_tls(run: Any, certificates: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        context = certificates.new_server()
        context.verify_mode = ssl.CERT_REQUIRED
        certificates.authority.configure_trust(context)
        known = certificates.new_client()
        certificates.authority.issue_cert("user@example.org", common_name="user").configure_cert(known)
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            opened.set_result(ws.peercert)
            await ws.wait_closed()

        async with everwire.serve(handler, HOST, 0, ssl=context) as server:
            async with connect(server, ssl=known):
                cert = await opened
                assert ("email", "user@example.org") in cert["subjectAltName"]
            # A client without a certificate learns of it in the handshake or, with TLS 1.3, right behind it.
            with pytest.raises((OSError, everwire.EverwireError)):
                ws = await connect(server, ssl=certificates.client)
                await ws.recv()
            await until(lambda: not server.settings.connections)
        assert take_errors(caplog) == []

    run(main)


def test_a_certificate_of_another_authority(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0, ssl=certificates.server) as server:
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(server, ssl=ssl.create_default_context())
            async with connect(server, ssl=certificates.client) as ws:
                assert ws.is_open
            await until(lambda: not server.settings.connections)

    run(main)


def test_a_certificate_for_another_name(run: Any, certificates: Any) -> None:
    async def main() -> None:
        context = certificates.new_server("other.example")
        async with everwire.serve(idle, HOST, 0, ssl=context) as server:
            with pytest.raises(ssl.SSLCertVerificationError):
                await connect(server, ssl=certificates.client)
            async with connect(server, ssl=certificates.client, server_hostname="other.example") as ws:
                assert ws.is_open

    run(main)


def test_an_old_version_is_refused(run: Any, certificates: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        context = certificates.new_server()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        old = certificates.new_client()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with everwire.serve(idle, HOST, 0, ssl=context) as server:
            with pytest.raises(OSError):
                await connect(server, ssl=old)
            await until(lambda: not server.settings.connections)
        assert take_errors(caplog) == []

    run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_versions(run: Any, certificates: Any, version: ssl.TLSVersion) -> None:
    async def main() -> None:
        context = certificates.new_client()
        context.minimum_version = context.maximum_version = version
        async with (
            serve_echo("coroutine", ssl=certificates.server) as server,
            connect(server, ssl=context) as ws,
        ):
            for message in ("text", b"x" * 200_000):
                await ws.send(message)
                assert await ws.recv() == message

    run(main)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x80\x2e\x01\x03\x01",
        bytes(20_000),
    ],
    ids=["http", "newlines", "handshake", "sslv2", "zeros"],
)
def test_no_tls_at_a_port_for_tls(
    run: Any, certificates: Any, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0, ssl=certificates.server, open_timeout=1) as server:
            async with dial(server.port) as peer:
                peer.writer.write(data)
                with contextlib.suppress(ConnectionError):
                    answer = await asyncio.wait_for(peer.reader.read(), 5)
                    # At most a TLS alert.
                    assert len(answer) < 20
            await until(lambda: not server.settings.connections)
            async with connect(server, ssl=certificates.client) as ws:
                assert ws.is_open
        assert take_errors(caplog) == []

    run(main)


def test_a_plain_client_at_a_port_for_tls(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0, ssl=certificates.server) as server:
            with pytest.raises((OSError, everwire.HandshakeError)):
                await connect(server)

    run(main)


def test_a_tls_client_at_a_plain_port_learns_of_it_at_once(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0, open_timeout=None) as server:
            with pytest.raises(OSError):
                await connect(server, ssl=certificates.client, open_timeout=None)

    run(main)


@pytest.mark.parametrize("part", [0, 5, 100])
def test_a_handshake_that_is_never_finished(
    run: Any, certificates: Any, caplog: pytest.LogCaptureFixture, part: int
) -> None:
    async def main() -> None:
        outgoing = ssl.MemoryBIO()
        client = certificates.client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST)
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        async with everwire.serve(idle, HOST, 0, ssl=certificates.server, open_timeout=0.4) as server:
            async with dial(server.port) as peer:
                begin = time.monotonic()
                await peer.send(hello[:part])
                with contextlib.suppress(ConnectionError):
                    await asyncio.wait_for(peer.reader.read(), 5)
                assert 0.2 < time.monotonic() - begin < 4
            await until(lambda: not server.settings.connections)
        assert take_errors(caplog) == []

    run(main)


def test_a_shutdown_during_a_handshake(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with (
            everwire.serve(idle, HOST, 0, ssl=certificates.server, close_timeout=1) as server,
            dial(server.port) as silent,
        ):
            await turns(20)
            begin = time.monotonic()
            server.close()
            await server.wait_closed()
            assert time.monotonic() - begin < 3
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(silent.reader.read(), 5) == b""

    run(main)


@pytest.mark.parametrize("moment", ["handshake", "open", "frame", "closing"])
@pytest.mark.parametrize("how", ["end", "reset"])
def test_a_peer_that_leaves_without_close_notify(
    run: Any, certificates: Any, caplog: pytest.LogCaptureFixture, moment: str, how: str
) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0, ssl=certificates.server, close_timeout=0.5) as server:
            loop = asyncio.get_running_loop()
            sock = socket.create_connection((HOST, server.port))
            sock.setblocking(False)
            arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
            layer = certificates.client.wrap_bio(arrived, leaving, server_hostname=HOST)

            async def flush() -> None:
                await loop.sock_sendall(sock, leaving.read())

            while True:
                try:
                    layer.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await flush()
                    if moment == "handshake":
                        break
                    arrived.write(await loop.sock_recv(sock, 65536))
            if moment != "handshake":
                layer.write(
                    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                )
                await flush()
                await recorder.opened
                if moment == "frame":
                    layer.write(b"\x82\xfe\x40\x00\x00\x00\x00\x00" + bytes(100))
                elif moment == "closing":
                    layer.write(b"\x88\x80\x00\x00\x00\x00")
                await flush()
                await turns(10)
            if how == "reset":
                reset(sock)
            else:
                sock.close()
            if moment != "handshake":
                code, _ = await asyncio.wait_for(recorder.closed, 5)
                assert code == (1005 if moment == "closing" else 1006)
            await until(lambda: not server.settings.connections)
        assert take_errors(caplog) == []

    run(main)


@both_styles
def test_a_close_over_tls(run: Any, certificates: Any, style: str) -> None:
    async def main() -> None:
        async with serve_echo(style, ssl=certificates.server) as server:
            async with dial(server.port, context=certificates.client) as peer:
                await peer.open()
                await peer.send_frame(TEXT, b"a")
                assert (await peer.read_frame()).payload == b"a"
                await peer.send_frame(CLOSE, close_payload(1000))
                assert (await peer.read_close()).code == 1000
                await peer.read_eof()
            await until(lambda: not server.settings.connections)
            ws = await connect(server, ssl=certificates.client)
            await ws.close(1001, "bye")
            assert isinstance(ws.close_error, ConnectionClosedOK)

    run(main)


def test_a_large_message_before_a_close(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async def handler(ws: everwire.Connection) -> None:
            await ws.send(bytes(3 << 20))

        async with (
            everwire.serve(handler, HOST, 0, ssl=certificates.server, compression=None) as server,
            connect(server, ssl=certificates.client, max_size=None) as ws,
        ):
            assert len(await ws.recv()) == 3 << 20
            with pytest.raises(ConnectionClosedOK):
                await ws.recv()

    run(main)


def test_a_slow_handler_over_tls_loses_nothing(run: Any, certificates: Any) -> None:
    async def main() -> None:
        go = asyncio.Event()
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            await go.wait()
            done.set_result([message async for message in ws])

        async with (
            everwire.serve(handler, HOST, 0, ssl=certificates.server, max_queue=3) as server,
            connect(server, ssl=certificates.client, compression=None, write_limit=1 << 22) as ws,
        ):
            messages = [b"%d" % i * (i * 97 % 9000) for i in range(200)]
            for message in messages:
                ws.send_nowait(message)
            ws.send_nowait("last")
            await turns(50)
            assert not server.connections[0].reading_wanted
            go.set()
            ws.close()
            assert await done == [*messages, "last"]

    run(main)


def test_a_peer_that_does_not_read_over_tls(run: Any, certificates: Any) -> None:
    async def main() -> None:
        sent = 0

        async def handler(ws: everwire.Connection) -> None:
            nonlocal sent
            while True:
                await ws.send(bytes(100_000))
                sent += 1

        options: dict[str, Any] = {"ssl": certificates.server, "compression": None, "close_timeout": 0.5}
        async with (
            everwire.serve(handler, HOST, 0, **options) as server,
            connect(server, ssl=certificates.client, max_queue=1, close_timeout=0.5) as ws,
        ):
            last = -1
            while sent != last:
                last = sent
                await asyncio.sleep(0.2)
            assert 0 < sent < 300
            assert server.connections[0].buffered_amount < 1_000_000
            for _ in range(sent + 20):
                assert len(await ws.recv()) == 100_000
            ws.abort()

    run(main)


def test_failures_over_tls_are_told(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with serve_echo("listener", ssl=certificates.server, close_timeout=0.5) as server:
            async with dial(server.port, context=certificates.client) as peer:
                await peer.open()
                await peer.send_frame(BINARY, b"x", rsv=0x20)
                assert (await peer.read_close()).code == 1002
            async with dial(server.port, context=certificates.client) as peer:
                assert (await peer.request(without="Upgrade")).status == 426
            ws = await connect(server, ssl=certificates.client, max_size=100, compression=None)
            await ws.send("x" * 200)
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.sent is not None
            assert caught.value.sent.code == 1009

    run(main)
