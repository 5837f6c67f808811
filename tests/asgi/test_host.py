"""everwire.asgi.serve: HTTP and WebSockets of ASGI applications on one port, from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from conftest import Certificates, Run
from live import HOST, connect, turns, until
from raw import REQUEST, Peer, dial
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import everwire
from everwire.asgi import ApplicationError, Host, LifespanError, serve
from everwire.asgi import connection as connection_of
from everwire.errors import ConnectionClosed

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


async def text(request: Request) -> Response:
    return PlainTextResponse(request.query_params.get("say", "hello"))


async def same(request: Request) -> Response:
    return Response(await request.body())


async def count(request: Request) -> Response:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
    return JSONResponse(total)


async def stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for i in range(3):
            yield b"%d" % i * 50_000

    return StreamingResponse(pieces())


async def scope(request: Request) -> Response:
    shown = ("client", "http_version", "path", "root_path", "scheme", "type")
    return JSONResponse({name: request.scope[name] for name in shown} | {"state": dict(request.state._state)})


async def talk(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws.iter_text():
        await ws.send_text(message)


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": "open"}


def new_app(*routes: Route | WebSocketRoute) -> Starlette:
    """An application with these routes, and those that many tests use."""
    usual = [
        Route("/", text),
        Route("/same", same, methods=["POST"]),
        Route("/count", count, methods=["POST"]),
        Route("/stream", stream),
        Route("/scope", scope),
        WebSocketRoute("/ws", talk),
    ]
    return Starlette(routes=[*routes, *usual], lifespan=lifespan)


def hosted(app: Any = None, **options: Any) -> serve:
    """The application on a port of its own."""
    return serve(new_app() if app is None else app, HOST, 0, **{"close_timeout": 3.0, **options})


def take_log(caplog: pytest.LogCaptureFixture) -> str:
    """What was logged; what it refers to is let go of: tracebacks would keep the event loop alive."""
    for record in caplog.records:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
    return caplog.text


async def read_response(peer: Peer) -> tuple[int, bytes]:
    """The status of a response, and its body of Content-Length."""
    head = await peer.read_head()
    return head.status, await peer.reader.readexactly(int(head.headers["content-length"]))


# HTTP


@pytest.mark.parametrize("layer", ["plain", "tls"])
def test_an_independent_client(run: Run, certificates: Certificates, layer: str) -> None:
    """Several requests on one connection, bodies of both sides, whole and in chunks."""
    tls = layer == "tls"

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 10_000

    async def main() -> None:
        options: dict[str, Any] = {"ssl": certificates.client} if tls else {}
        async with (
            hosted(ssl=certificates.server if tls else None) as server,
            aiohttp.ClientSession(f"{'https' if tls else 'http'}://{HOST}:{server.port}") as session,
        ):
            for i in range(3):
                async with session.get(f"/?say={i}", **options) as response:
                    assert await response.text() == str(i)
                    assert response.headers["server"] == "everwire"
                    assert "date" in response.headers
            body = bytes(range(256)) * 8_000
            async with session.post("/same", data=io.BytesIO(body), **options) as response:
                assert await response.read() == body
            async with session.post("/count", data=chunks(), **options) as response:
                assert await response.json() == 300_000
            async with session.get("/stream", **options) as response:
                assert response.headers["transfer-encoding"] == "chunked"
                assert await response.read() == b"0" * 50_000 + b"1" * 50_000 + b"2" * 50_000
            async with session.head("/", **options) as response:
                assert response.headers["content-length"] == "5"
                assert await response.read() == b""
            async with session.get("/nowhere", **options) as response:
                assert response.status == 404
            async with connect(server, "/ws", ssl=certificates.client if tls else None) as ws:
                await ws.send("and WebSocket")
                assert await ws.recv() == "and WebSocket"

    run(main)


def test_pipelined_requests_are_answered_in_order(run: Run) -> None:
    async def main() -> None:
        async with hosted() as server, dial(server.port) as peer:
            await peer.send(b"".join(GET % (b"/?say=%d" % i) for i in range(20)))
            assert [await read_response(peer) for _ in range(20)] == [(200, b"%d" % i) for i in range(20)]

    run(main)


def test_http_1_0(run: Run) -> None:
    async def main() -> None:
        async with hosted() as server, dial(server.port) as peer:
            await peer.send(b"GET /?say=old HTTP/1.0\r\n\r\n")
            assert await read_response(peer) == (200, b"old")
            await peer.read_eof()

    run(main)


def test_a_client_that_wants_to_be_told_to_continue(run: Run) -> None:
    async def main() -> None:
        async with hosted() as server, dial(server.port) as peer:
            await peer.send(
                b"POST /same HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
            )
            assert (await peer.read_head()).status == 100
            await peer.send(b"body")
            assert await read_response(peer) == (200, b"body")

    run(main)


def test_a_request_that_comes_byte_by_byte(run: Run) -> None:
    async def main() -> None:
        async with hosted() as server, dial(server.port) as peer:
            for _ in range(2):
                await peer.trickle(b"POST /same HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
                assert await read_response(peer) == (200, b"body")

    run(main)


def test_a_slow_application_holds_an_upload_back(run: Run) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def slow(request: Request) -> Response:
            body = request.stream()
            size = len(await anext(body))
            await go_on.wait()
            async for chunk in body:
                size += len(chunk)
            return JSONResponse(size)

        size = 30_000_000
        async with (
            hosted(new_app(Route("/slow", slow, methods=["POST"]))) as server,
            dial(server.port) as peer,
        ):
            await peer.send(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            peer.writer.write(bytes(size))
            sending = asyncio.create_task(peer.writer.drain())
            await asyncio.wait((sending,), timeout=0.2)
            left = peer.writer.transport.get_write_buffer_size()
            assert left > size // 2, "the server takes what nobody reads"
            go_on.set()
            assert await read_response(peer) == (200, b"%d" % size)
            await sending

    run(main)


def test_a_slow_client_holds_a_response_back(run: Run) -> None:
    async def main() -> None:
        sent = 0
        blocked = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal sent
            assert scope["type"] == "http"
            await send({"type": "http.response.start", "status": 200})
            for _ in range(600):
                sending = asyncio.ensure_future(
                    send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
                )
                done, _ = await asyncio.wait((sending,), timeout=0.2)
                if not done:
                    blocked.set()
                await sending
                sent += 1
            await send({"type": "http.response.body"})

        async with hosted(app, lifespan="off") as server, dial(server.port) as peer:
            await peer.send(GET % b"/")
            await asyncio.wait_for(blocked.wait(), 10)
            assert sent < 600
            await peer.read_head()
            got = 0
            while got < 60_000_000:
                got += len(await peer.reader.read(1 << 20))

    run(main)


def test_events_arrive_as_they_are_sent_and_the_end_is_seen(run: Run) -> None:
    async def main() -> None:
        gone = asyncio.Event()
        more: asyncio.Queue[str] = asyncio.Queue()

        async def events(request: Request) -> Response:
            async def source() -> AsyncIterator[str]:
                try:
                    while True:
                        yield f"data: {await more.get()}\n\n"
                finally:
                    gone.set()

            return StreamingResponse(source(), media_type="text/event-stream")

        async with hosted(new_app(Route("/events", events))) as server, dial(server.port) as peer:
            await peer.send(GET % b"/events")
            await peer.read_head()
            for word in ("one", "two"):
                more.put_nowait(word)
                assert await peer.reader.readuntil(b"\n\n\r\n") == b"b\r\ndata: %b\n\n\r\n" % word.encode()
            peer.abort()
            await asyncio.wait_for(gone.wait(), 5)

    run(main)


def test_an_application_that_fails(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("on purpose")

    async def main() -> None:
        async with hosted(app, lifespan="off") as server, dial(server.port) as peer:
            await peer.send(GET % b"/")
            assert await read_response(peer) == (500, b"Internal Server Error")
        assert "Exception in ASGI application" in take_log(caplog)

    run(main)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: x\r\n\r\n",
        b"\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(run: Run, head: bytes) -> None:
    async def main() -> None:
        async with hosted() as server:
            async with dial(server.port) as peer:
                await peer.send(head)
                assert (await peer.read_head()).status in (400, 505)
            async with dial(server.port) as peer:
                await peer.send(GET % b"/")
                assert await read_response(peer) == (200, b"hello")

    run(main)


def test_an_idle_connection_is_closed(run: Run) -> None:
    async def main() -> None:
        async with hosted(timeout_keep_alive=0.1) as server, dial(server.port) as peer:
            await peer.send(GET % b"/")
            assert await read_response(peer) == (200, b"hello")
            await asyncio.wait_for(peer.read_eof(), 5)

    run(main)


def test_who_has_just_connected_is_answered_though_the_server_closes(run: Run) -> None:
    async def main() -> None:
        async with hosted() as server:
            async with dial(server.port) as peer, dial(server.port) as silent:
                await turns()
                server.close()
                await turns()
                await peer.send(GET % b"/")
                assert await read_response(peer) == (200, b"hello")
                for each in (peer, silent):
                    await asyncio.wait_for(each.read_eof(), 5)
            await asyncio.wait_for(server.wait_closed(), 5)

    run(main)


def test_later_heads_take_at_most_open_timeout(run: Run) -> None:
    """On a connection that was kept: part of a head comes, and no more; others get all the time they need."""

    async def main() -> None:
        options: dict[str, Any] = {"timeout_keep_alive": 30, "open_timeout": 0.3}
        async with hosted(**options) as server, dial(server.port) as peer, dial(server.port) as other:
            for each in (peer, other):
                await each.send(GET % b"/")
                assert await read_response(each) == (200, b"hello")
            await other.send(b"GET / HT")
            await peer.send(b"GET / HT")
            await turns()
            await other.send(b"TP/1.1\r\nHost: x\r\n\r\n")
            assert await read_response(other) == (200, b"hello")
            assert (await peer.read_head()).status == 408
            await peer.read_eof()
            await other.send(GET % b"/")
            assert await read_response(other) == (200, b"hello")

    run(main)


# What an application is told


def test_scopes(run: Run) -> None:
    async def main() -> None:
        async with hosted(root_path="/api") as server, dial(server.port) as peer:
            assert server.state == {"pool": "open"}
            await peer.send(GET % b"/scope")
            _, body = await read_response(peer)
            assert json.loads(body) == {
                "client": list(peer.writer.get_extra_info("sockname")),
                "http_version": "1.1",
                "path": "/api/scope",
                "root_path": "/api",
                "scheme": "http",
                "state": {"pool": "open"},
                "type": "http",
            }

    run(main)


def test_headers_of_a_proxy(run: Run) -> None:
    async def main() -> None:
        forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
        for options, client in (
            ({}, "192.0.2.7"),
            ({"forwarded_allow_ips": "192.0.2.0/24"}, HOST),
            ({"forwarded_allow_ips": ["192.0.2.1", HOST]}, "192.0.2.7"),
            ({"proxy_headers": False}, HOST),
        ):
            seen: asyncio.Queue[Any] = asyncio.Queue()

            async def note(ws: WebSocket, seen: asyncio.Queue[Any] = seen) -> None:
                seen.put_nowait(ws.scope)
                await ws.close()

            app = new_app(WebSocketRoute("/note", note))
            async with (
                hosted(app, **options) as server,
                aiohttp.ClientSession(f"http://{HOST}:{server.port}", headers=forwarded) as session,
            ):
                scheme = "http" if client == HOST else "https"
                async with session.get("/scope") as response:
                    found = await response.json()
                    assert (found["client"][0], found["scheme"]) == (client, scheme)
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await session.ws_connect("/note")
                websocket = await seen.get()
                assert websocket["client"][0] == client
                assert websocket["scheme"] == scheme.replace("http", "ws")

    run(main)


@pytest.mark.parametrize("access_log", [True, False])
def test_requests_are_logged(run: Run, caplog: pytest.LogCaptureFixture, access_log: bool) -> None:
    async def main() -> None:
        async with hosted(access_log=access_log) as server, dial(server.port) as peer:
            await peer.send(GET % b"/?say=hi")
            await read_response(peer)
            client = "{}:{}".format(*peer.writer.get_extra_info("sockname"))
            async with connect(server, "/ws"):
                pass
        log = take_log(caplog)
        assert (f'{client} - "GET /?say=hi HTTP/1.1" 200' in log) == access_log
        assert ('"WebSocket /ws" [accepted]' in log) == access_log

    caplog.set_level(logging.INFO)
    run(main)


# WebSockets on connections of HTTP


def handshake(path: str, **headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**REQUEST, **headers}.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_websocket_on_a_connection_that_was_used_for_http(run: Run) -> None:
    """As nginx does it, which keeps connections to its upstreams."""

    async def main() -> None:
        async with hosted() as server, dial(server.port) as peer:
            for _ in range(2):
                await peer.send(GET % b"/")
                assert await read_response(peer) == (200, b"hello")
            await peer.send(handshake("/ws"))
            assert (await peer.read_head()).status == 101
            await peer.send_frame(1, b"upgraded")
            assert (await peer.read_frame()).payload == b"upgraded"
            assert len(server.connections) == 1
            server.close()
            assert (await peer.read_close()).code == 1012
            await peer.send_frame(8, (1012).to_bytes(2, "big"))
            await peer.read_eof()

    run(main)


@pytest.mark.parametrize("used", [False, True])
def test_pages_of_other_origins_are_refused(run: Run, caplog: pytest.LogCaptureFixture, used: bool) -> None:
    async def main() -> None:
        async with hosted() as server:
            for origin, status in (("http://evil.example", 403), ("http://127.0.0.1", 101)):
                async with dial(server.port) as peer:
                    if used:
                        await peer.send(GET % b"/")
                        await read_response(peer)
                    await peer.send(handshake("/ws", Origin=origin))
                    assert (await peer.read_head()).status == status
        log = take_log(caplog)
        assert "http://evil.example" in log
        assert "origins" in log, "the log names the remedy"

    run(main)


# Start and end


def test_requests_are_answered_and_websockets_told(run: Run) -> None:
    async def main() -> None:
        asked, answer = asyncio.Event(), asyncio.Event()
        events: list[str] = []

        async def late(request: Request) -> Response:
            asked.set()
            await answer.wait()
            events.append("answered")
            return PlainTextResponse("late")

        @contextlib.asynccontextmanager
        async def life(app: Any) -> AsyncIterator[None]:
            yield
            events.append("cleaned up")

        app = Starlette(routes=[Route("/late", late), WebSocketRoute("/ws", talk)], lifespan=life)
        async with hosted(app) as server, dial(server.port) as idle, dial(server.port) as busy:
            ws = await connect(server, "/ws")
            await idle.send(GET % b"/")
            await read_response(idle)
            await busy.send(GET % b"/late")
            await asked.wait()
            server.close()
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 1012
            await idle.read_eof()
            await idle.close()
            with pytest.raises(OSError):
                await asyncio.open_connection(HOST, server.port or 1)
            answer.set()
            assert await read_response(busy) == (200, b"late")
            await busy.read_eof()
            await busy.close()
            await server.wait_closed()
        assert events == ["answered", "cleaned up"]

    run(main)


def test_the_end_has_a_deadline(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asked = asyncio.Event()
        cancelled: list[bool] = []

        async def never(scope: Any, receive: Any, send: Any) -> None:
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        async with (
            hosted(never, lifespan="off", timeout_graceful_shutdown=0.1) as server,
            dial(server.port) as peer,
        ):
            await peer.send(GET % b"/")
            await asked.wait()
            server.close()
            await asyncio.wait_for(server.wait_closed(), 5)
            assert cancelled
            with contextlib.suppress(ConnectionError):
                await peer.reader.read()
        take_log(caplog)

    run(main)


def test_an_application_that_cannot_start(run: Run) -> None:
    async def main() -> None:
        @contextlib.asynccontextmanager
        async def life(app: Any) -> AsyncIterator[None]:
            raise RuntimeError("no database")
            yield

        with socket.create_server((HOST, 0)) as probe:
            port = int(probe.getsockname()[1])
        with pytest.raises(LifespanError, match="startup failed: RuntimeError: no database"):
            await serve(Starlette(lifespan=life), HOST, port)
        with socket.create_server((HOST, port)):
            pass  # the port is free again

    run(main)


def test_an_application_that_fails_to_clean_up(run: Run) -> None:
    async def main() -> None:
        @contextlib.asynccontextmanager
        async def life(app: Any) -> AsyncIterator[None]:
            yield
            raise RuntimeError("disk full")

        server: Host = await hosted(Starlette(lifespan=life))
        server.close()
        with pytest.raises(LifespanError, match="shutdown failed: RuntimeError: disk full"):
            await server.wait_closed()

    run(main)


def test_a_unix_socket(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "app.sock"
        async with (
            serve(new_app(), unix=path),
            aiohttp.ClientSession("http://x", connector=aiohttp.UnixConnector(str(path))) as session,
        ):
            async with session.get("/") as response:
                assert await response.text() == "hello"
            async with session.get("/scope") as response:
                assert (await response.json())["client"] is None
        assert not path.exists()

    run(main)


def test_the_transports_of_the_loop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no poller: HTTP, and a WebSocket on the connection that HTTP had."""
    monkeypatch.setenv("EVERWIRE_REACTOR", "off")

    async def main() -> None:
        async with hosted() as server, dial(server.port) as peer:
            await peer.send(GET % b"/")
            assert await read_response(peer) == (200, b"hello")
            await peer.send(handshake("/ws"))
            assert (await peer.read_head()).status == 101
            await peer.send_frame(1, b"upgraded")
            assert (await peer.read_frame()).payload == b"upgraded"

    run(main)


def test_wrong_options() -> None:
    with pytest.raises(TypeError, match="ASGI callable or its name, not int"):
        serve(5, HOST, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name where to listen"):
        serve(new_app())
    with pytest.raises(ApplicationError, match="there is no module 'nowhere'"):
        serve("nowhere:app", HOST, 0)


def test_native_connections_are_in_the_scope(run: Run) -> None:
    async def main() -> None:
        topic = everwire.Topic()

        async def subscribe(ws: WebSocket) -> None:
            await ws.accept()
            topic.add(connection_of(ws))
            await ws.receive()

        async with (
            hosted(new_app(WebSocketRoute("/topic", subscribe))) as server,
            connect(server, "/topic") as one,
            connect(server, "/topic") as two,
        ):
            await until(lambda: len(topic) == 2)
            topic.publish("to all")
            assert await one.recv() == await two.recv() == "to all"

    run(main)
