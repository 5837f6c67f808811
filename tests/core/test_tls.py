"""Records of TLS: by OpenSSL's own functions, or by the ssl module's where they are not found."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest
from live import HOST, Recorder, connect, serve_echo, take_errors

import everwire
from everwire._core.tls import Tls

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

pytestmark = pytest.mark.reactor("on asyncio's transports, asyncio does the encryption")


@pytest.fixture(params=["direct", "ssl"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What encrypts: OpenSSL called directly, or Python's ssl module."""
    if request.param == "ssl":
        monkeypatch.setenv("EVERWIRE_OPENSSL", "off")
    return str(request.param)


class Client:
    """A client with a TLS layer of Python's own, which can garble what it sends."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.loop = asyncio.get_running_loop()
        self.sock = socket.create_connection((HOST, port))
        self.sock.setblocking(False)
        self.arrived, self.leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.layer = context.wrap_bio(self.arrived, self.leaving, server_hostname=HOST)

    async def flush(self) -> None:
        await self.loop.sock_sendall(self.sock, self.leaving.read())

    async def read(self) -> bytes:
        while True:
            try:
                return self.layer.read(65536)
            except ssl.SSLWantReadError:
                self.arrived.write(await self.loop.sock_recv(self.sock, 65536))

    async def open(self) -> None:
        while True:
            try:
                self.layer.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self.flush()
                self.arrived.write(await self.loop.sock_recv(self.sock, 65536))
        self.layer.write(REQUEST)
        await self.flush()
        assert (await self.read()).startswith(b"HTTP/1.1 101 ")

    async def rest(self) -> bytes:
        """What comes until the socket ends, as it is."""
        data = b""
        while some := await self.loop.sock_recv(self.sock, 65536):
            data += some
        return data


def test_openssl_is_found(engine: str) -> None:
    context = ssl.create_default_context()
    assert Tls(context, True, "localhost").direct == (engine == "direct")


def test_a_layer_of_another_make_is_left_to_its_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(ssl.SSLObject):
        """What a library may put in the place of Python's own."""

        _sslobj: Any

    context = ssl.create_default_context()
    monkeypatch.setattr(context, "sslobject_class", Other, raising=False)
    assert Tls(context, True, "localhost").direct

    layer = object()
    monkeypatch.setattr(context, "wrap_bio", lambda *_, **__: layer, raising=False)
    assert not Tls(context, True, "localhost").direct


def test_messages_of_all_sizes(run: Any, certificates: Any, engine: str) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"max_size": 8 << 20, "compression": None}
        async with (
            serve_echo("listener", ssl=certificates.server, **options) as server,
            connect(server, ssl=certificates.client, **options) as ws,
        ):
            for size in (0, 1, 4096, 4097, 16_383, 16_384, 16_385, 65_536, 1 << 20, 5 << 20):
                message = (b"0123456789abcdef" * (size // 16 + 1))[:size]
                sending = asyncio.create_task(ws.send(message))
                assert await ws.recv() == message
                await sending

    run(main)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("where", ["type", "length", "body", "tag"])
def test_a_garbled_record_ends_the_connection(
    run: Any,
    certificates: Any,
    caplog: pytest.LogCaptureFixture,
    engine: str,
    version: ssl.TLSVersion,
    where: str,
) -> None:
    async def main() -> None:
        recorder = Recorder()
        context = certificates.new_client()
        context.minimum_version = context.maximum_version = version
        async with everwire.serve(recorder, HOST, 0, ssl=certificates.server, close_timeout=0.5) as server:
            client = Client(server.port, context)
            await client.open()
            await recorder.opened
            client.layer.write(b"\x82\x83\x00\x00\x00\x00abc")
            await client.flush()
            assert await recorder.messages.get() == b"abc"
            client.layer.write(b"\x82\x83\x00\x00\x00\x00def")
            record = bytearray(client.leaving.read())
            record[{"type": 0, "length": 3, "body": 8, "tag": -1}[where]] ^= 0x55
            await client.loop.sock_sendall(client.sock, record)
            if where == "length":  # a record that is too long to be one, or one that never ends
                client.sock.shutdown(socket.SHUT_WR)
            code, _ = await asyncio.wait_for(recorder.closed, 5)
            assert code == 1006
            assert recorder.messages.empty()
            client.sock.close()
            assert server.is_serving()
        assert take_errors(caplog) == []

    run(main)


def test_close_notify_behind_a_message(run: Any, certificates: Any, engine: str) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0, ssl=certificates.server, close_timeout=0.5) as server:
            client = Client(server.port, certificates.client)
            await client.open()
            await recorder.opened
            client.layer.write(b"\x82\x83\x00\x00\x00\x00abc")
            with pytest.raises(ssl.SSLWantReadError):
                client.layer.unwrap()
            await client.flush()
            code, _ = await asyncio.wait_for(recorder.closed, 5)
            assert code == 1006
            assert await recorder.messages.get() == b"abc"
            client.arrived.write(await client.rest())
            client.layer.unwrap()  # it has said so, too
            client.sock.close()

    run(main)
