"""Our protocol on uvicorn's transports: with its HTTP protocols, its options, its log, its end."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from conftest import Certificates, Run
from live import HOST, deaf_socket, reset, turns, until
from raw import REQUEST, dial, head

import everwire
from asgi.places import Site, uvicorn_place
from everwire.asgi import UvicornProtocol, connection


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def place(app: Any = echo, **options: Any) -> Any:
    return uvicorn_place(app, ws="everwire.asgi:UvicornProtocol", **options)


def connect(site: Site, path: str = "/", **options: Any) -> everwire.connect:
    scheme = "wss" if options.get("ssl") else "ws"
    return everwire.connect(f"{scheme}://{HOST}:{site.port}{path}", proxy=None, **options)


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_messages(run: Run, http: str) -> None:
    async def main() -> None:
        async with place(http=http) as site, connect(site) as ws:
            for message in ("", "text", b"bytes", "x" * 200_000, b"y" * (1 << 20)):
                await ws.send(message)
                assert await ws.recv() == message

    run(main)


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_many_messages_at_once(run: Run, http: str) -> None:
    async def main() -> None:
        async with place(http=http) as site, connect(site, compression=None) as ws:
            for i in range(1000):
                await ws.send(f"{i}")
            assert [await ws.recv() for _ in range(1000)] == [f"{i}" for i in range(1000)]

    run(main)


def test_tls(run: Run, certificates: Certificates) -> None:
    async def main() -> None:
        files = {"ssl_certfile": certificates.cert_file, "ssl_keyfile": certificates.key_file}
        schemes: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            schemes.append(scope["scheme"])
            await echo(scope, receive, send)

        async with place(app, **files) as site, connect(site, ssl=certificates.client) as ws:
            await ws.send("x" * 100_000)
            assert await ws.recv() == "x" * 100_000
        assert schemes == ["wss"]

    run(main)


def test_an_upgrade_of_a_connection_that_was_kept(run: Run) -> None:
    async def main() -> None:
        async with place() as site, dial(site.port) as peer:
            await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await peer.read_head()).status == 204
            await peer.open()
            await peer.send_frame(1, b"hello")
            assert (await peer.read_frame()).payload == b"hello"

    run(main)


def test_options_are_honoured(run: Run) -> None:
    async def main() -> None:
        options = {
            "ws_max_size": 1000,
            "ws_max_queue": 5,
            "ws_ping_interval": 0.0,
            "ws_ping_timeout": None,
            "ws_per_message_deflate": False,
            "headers": [("x-default", "yes")],
        }
        got: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            got.append(connection(scope).settings)
            await echo(scope, receive, send)

        async with place(app, **options) as site, connect(site) as ws:
            assert ws.response is not None
            assert ws.response.headers["X-Default"] == "yes"
            assert ws.response.headers["Server"] == "uvicorn"
            assert "Date" in ws.response.headers
            assert "Sec-WebSocket-Extensions" not in ws.response.headers
            assert (got[0].max_size, got[0].max_queue) == (1000, 5)
            await ws.send(b"x" * 1001)
            with pytest.raises(everwire.ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.code == 1009

    run(main)


def test_log_lines(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/no":
            await send({"type": "websocket.close"})
        elif scope["path"] == "/denied":
            await send({"type": "websocket.http.response.start", "status": 402})
            await send({"type": "websocket.http.response.body"})
        else:
            await send({"type": "websocket.accept"})

    async def main() -> None:
        caplog.set_level(logging.INFO, "uvicorn.error")
        async with place(app) as site:
            async with connect(site, "/a%20b?c=d"):
                pass
            for path in ("/no", "/denied"):
                with pytest.raises(everwire.InvalidStatus):
                    await connect(site, path)
        lines = [line.partition(" - ")[2] for line in caplog.messages if "WebSocket" in line]
        assert lines == [
            '"WebSocket /a%20b?c=d" [accepted]',
            '"WebSocket /no" 403',
            '"WebSocket /denied" 402',
        ]

    run(main)


def test_a_client_that_does_not_answer_pings(run: Run) -> None:
    async def main() -> None:
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            told.set_result(await receive())

        async with place(app, ws_ping_interval=0.1, ws_ping_timeout=0.1) as site, dial(site.port) as peer:
            await peer.open()
            assert (await peer.read_frame()).opcode == 9
            assert (await peer.read_close()).code == 1011
            event = await told
        assert event == {"type": "websocket.disconnect", "code": 1011, "reason": "keepalive ping timeout"}

    run(main)


def test_a_client_that_does_not_answer_the_shutdown(run: Run) -> None:
    async def main() -> None:
        async with place() as site, dial(site.port) as peer:
            await peer.open()
            stopped = site.stop()
            assert (await peer.read_close()).code == 1012
            await peer.read_eof()
            await stopped

    run(main)


def test_sending_waits_for_a_client_that_does_not_read(run: Run) -> None:
    async def main() -> None:
        sent = 0
        ended = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal sent
            await receive()
            await send({"type": "websocket.accept"})
            try:
                while True:
                    await send({"type": "websocket.send", "bytes": bytes(100_000)})
                    sent += 1
            except OSError:
                ended.set()

        async with place(app) as site:
            sock = deaf_socket(site)
            await asyncio.get_running_loop().sock_sendall(sock, head("GET / HTTP/1.1", REQUEST.items()))
            await until(lambda: sent)
            before = 0
            while sent != before:
                before = sent
                await turns(200)
            assert sent < 1000
            reset(sock)
            await ended.wait()

    run(main)


def test_a_subclass_refuses_other_origins(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    class SameOrigin(UvicornProtocol):
        origins = "same"

    async def main() -> None:
        async with uvicorn_place(echo, ws=SameOrigin) as site:
            with pytest.raises(everwire.InvalidStatus) as caught:
                await connect(site, origin="https://evil.example")
            assert caught.value.status == 403
            async with connect(site, origin=f"http://{HOST}:{site.port}"):
                pass
        async with place() as site, connect(site, origin="https://any.example"):
            pass

    run(main)
    assert "allow it with the option origins" in caplog.text


@pytest.mark.loops("asyncio")
def test_a_unix_socket(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        scopes: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scopes.append(scope)
            await echo(scope, receive, send)

        path = str(tmp_path / "socket")
        config = uvicorn.Config(
            app, interface="asgi3", uds=path, ws=UvicornProtocol, lifespan="off", log_config=None
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup()
        async with everwire.connect("ws://localhost/", unix=path) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
        await server.shutdown()
        assert (scopes[0]["client"], scopes[0]["server"]) == (None, (path, None))

    run(main)
