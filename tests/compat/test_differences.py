"""Where the compatible interface differs from ``websockets``, it says so; what it adds is there."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
import websockets
import websockets.exceptions
from conftest import Certificates, Run

import everwire
import everwire.compat.websockets as compat
from compat.programs import HOST, echo, uri
from everwire.compat.websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from everwire.compat.websockets.options import UNSUPPORTED

MISSING = {"ClientProtocol", "Frame", "Protocol", "Router", "ServerProtocol", "route", "unix_route"}
"""Names of ``websockets`` that docs/reference/compat-websockets.md lists as missing."""


def test_every_name_is_there() -> None:
    assert set(websockets.__all__) - set(compat.__all__) <= MISSING
    assert set(websockets.exceptions.__all__) - set(compat.exceptions.__all__) == set()


@pytest.mark.parametrize("name", websockets.exceptions.__all__)
def test_the_tree_of_exceptions(name: str) -> None:
    theirs, ours = getattr(websockets.exceptions, name), getattr(compat.exceptions, name)
    for base in theirs.__mro__[1:]:
        if base.__module__ == "websockets.exceptions":
            assert issubclass(ours, getattr(compat.exceptions, base.__name__)), base.__name__
    assert issubclass(ours, everwire.EverwireError)


@pytest.mark.parametrize("option", UNSUPPORTED)
def test_options_that_are_not_supported(option: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"no option {option}: {UNSUPPORTED[option]}")):
        compat.connect("ws://localhost", **{option: 1})
    with pytest.raises(TypeError, match=option):
        compat.serve(echo, HOST, 0, **{option: 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nonsense": 1}, "unexpected keyword argument 'nonsense'"),
        ({"extensions": [object()]}, "is not supported: everwire speaks permessage-deflate alone"),
        ({"compression": "brotli"}, "compression is 'deflate' or None"),
        ({"max_size": (None, 1000)}, "everwire limits messages, not fragments alone"),
        ({"create_connection": dict}, "must be a subclass of everwire.compat.websockets"),
        ({"subprotocols": "chat"}, "subprotocols is a list"),
        ({"unix": True}, "a Unix socket needs a path"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        compat.connect("ws://localhost", **options)
    with pytest.raises((TypeError, ValueError), match=message):
        compat.serve(echo, HOST, 0, **options)


def test_a_proxy_that_is_none() -> None:
    with pytest.raises(compat.InvalidProxy, match="other://localhost") as caught:
        compat.connect("ws://localhost", proxy="other://localhost")
    assert caught.value.proxy == "other://localhost"


def test_a_proxy_that_is_away(run: Run, unused_tcp_port: int) -> None:
    async def main() -> None:
        with pytest.raises(compat.ProxyError) as caught:
            await compat.connect("ws://example.com", proxy=f"http://{HOST}:{unused_tcp_port}")
        assert isinstance(caught.value, compat.InvalidHandshake)

    run(main)


def test_limits_in_pairs(run: Run) -> None:
    async def main() -> None:
        pairs: dict[str, Any] = {"max_size": (1000, 500), "max_queue": (8, 2), "write_limit": (4096, None)}
        async with (
            compat.serve(echo, HOST, 0, **pairs) as server,
            compat.connect(uri(server), proxy=None, **{**pairs, "write_limit": (4096, 1024)}) as ws,
        ):
            (theirs,) = server.connections
            for end in (ws, theirs):
                assert (end.settings.max_size, end.settings.max_queue, end.settings.high) == (1000, 8, 4096)
            assert ws.settings.low == 1024
        async with (
            compat.serve(echo, HOST, 0, max_queue=None, max_size=None) as server,
            compat.connect(uri(server), proxy=None, max_size=(None, None)) as ws,
        ):
            await ws.send("x" * (2 << 20))
            assert len(await ws.recv()) == 2 << 20

    run(main)


def test_parameters_of_compression(run: Run) -> None:
    async def main() -> None:
        ours = ServerPerMessageDeflateFactory(
            server_max_window_bits=11,
            client_max_window_bits=10,
            compress_settings={"memLevel": 4, "level": 9},
        )
        async with compat.serve(echo, HOST, 0, extensions=[ours]) as server:
            theirs = ClientPerMessageDeflateFactory(client_no_context_takeover=True)
            async with compat.connect(uri(server), proxy=None, extensions=[theirs]) as ws:
                assert ws.response is not None
                agreed = ws.response.headers["Sec-WebSocket-Extensions"]
                assert "server_max_window_bits=11" in agreed
                assert "client_no_context_takeover" in agreed
                await ws.send("compressed " * 100)
                assert await ws.recv() == "compressed " * 100
        with pytest.raises(ValueError, match="not wbits"):
            ServerPerMessageDeflateFactory(compress_settings={"wbits": 9}).deflate()

    run(main)


def test_what_a_transport_tells(run: Run, certificates: Certificates) -> None:
    async def main() -> None:
        async with compat.serve(echo, "localhost", 0, ssl=certificates.server) as server:
            port = server.sockets[0].getsockname()[1]
            async with compat.connect(f"wss://localhost:{port}", ssl=certificates.client, proxy=None) as ws:
                info = ws.transport.get_extra_info
                assert info("ssl_object").version().startswith("TLS")
                assert info("peercert")["subjectAltName"]
                assert info("cipher") == info("ssl_object").cipher()
                assert info("peername") == ws.remote_address
                assert info("sockname") == ws.local_address
                assert info("unknown", "default") == "default"
                assert ws.transport.get_write_buffer_size() == 0
                assert not ws.transport.is_closing()
                ws.transport.abort()
                with pytest.raises(compat.ConnectionClosedError):
                    await ws.recv()
                assert ws.transport.is_closing()

    run(main)


def test_a_handshake_while_the_server_shuts_down(run: Run) -> None:
    async def main() -> None:
        asked = asyncio.Event()

        async def process_request(connection: Any, request: Any) -> None:
            asked.set()
            while connection.server.is_serving():
                await asyncio.sleep(0)

        async with compat.serve(echo, HOST, 0, process_request=process_request) as server:
            connecting = asyncio.create_task(_refused(uri(server)))
            await asked.wait()
            server.close()
            assert await connecting in (503, None)

    run(main)


async def _refused(where: str) -> int | None:
    """The status with which a server refuses; None if it hangs up."""
    try:
        await compat.connect(where, proxy=None)
    except compat.InvalidStatus as exc:
        return exc.response.status_code
    except compat.InvalidMessage:
        return None
    raise AssertionError("it was let in")


def test_a_server_that_is_not_started(run: Run) -> None:
    async def main() -> None:
        server = compat.serve(echo, HOST, 0)
        assert not server.is_serving()
        with pytest.raises(RuntimeError, match="not started: await it"):
            server.close()
        server = await compat.serve(echo, HOST, 0, start_serving=False)
        server.close()
        await server.wait_closed()
        assert server.sockets == ()

    run(main)


def test_a_response_101_by_hand(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        def process_request(connection: Any, request: Any) -> Any:
            return connection.respond(101, "")

        async with compat.serve(echo, HOST, 0, process_request=process_request) as server:
            with pytest.raises(compat.InvalidStatus) as caught:
                await compat.connect(uri(server), proxy=None)
            assert caught.value.response.status_code == 500
        (record,) = [each for each in caplog.records if each.exc_info]
        assert record.exc_info is not None
        assert "a response 101 cannot be made by hand" in str(record.exc_info[1])
        record.exc_info = None  # its traceback would keep the connection

    run(main)


def test_everwires_own_ways_are_there(run: Run) -> None:
    async def main() -> None:
        topic = everwire.Topic()

        async def handler(ws: compat.ServerConnection) -> None:
            topic.add(ws)
            topic.publish("to all")
            await ws.wait_closed()

        async with (
            compat.serve(handler, HOST, 0) as server,
            compat.connect(uri(server), proxy=None) as ws,
        ):
            assert await ws.recv() == "to all"
            assert ws.send_nowait("no waiting") is everwire.SendStatus.SENT
            await ws.close(3000)
            with pytest.raises(everwire.ConnectionClosedError):
                await ws.send("late")

    run(main)
