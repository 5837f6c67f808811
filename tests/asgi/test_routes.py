"""What a hosted application gives to listeners: streams in place of responses, and WebSockets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from conftest import Certificates, Run
from core.test_streaming import Members, read_body
from live import HOST, Message, connect, turns, until
from raw import Peer, dial
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import everwire
from asgi.test_host import read_response, take_log
from everwire import Deflate, HandshakeError
from everwire.asgi import serve
from everwire.errors import InvalidState

pytestmark = pytest.mark.transports

EVENTS = [(b"content-type", b"text/event-stream")]


class Streaming:
    """An application that answers each request with a stream of events, or as a test says."""

    def __init__(self, act: Callable[..., Any] | None = None) -> None:
        self.hub = Members()
        self.act = act
        self.errors: list[Exception] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        open_stream = scope["extensions"]["everwire"]["stream"]
        if self.act is not None:
            await self.act(self, scope, receive, send, open_stream)
        else:
            open_stream(200, EVENTS, "events", listener=self.hub, data=scope["path"])


@contextlib.asynccontextmanager
async def hosted(app: Any, **options: Any) -> AsyncIterator[Any]:
    """The application on a port of its own."""
    async with serve(app, HOST, 0, **{"close_timeout": 3.0, "lifespan": "off", **options}) as server:
        yield server


async def ask(
    peer: Peer, path: str = "/", *, method: str = "GET", version: str = "1.1", more: str = ""
) -> None:
    await peer.send(f"{method} {path} HTTP/{version}\r\nHost: x\r\n{more}\r\n".encode())


# Streams


@pytest.mark.parametrize("layer", ["plain", "tls"])
def test_an_independent_client(run: Run, certificates: Certificates, layer: str) -> None:
    tls = layer == "tls"

    async def main() -> None:
        app = Streaming()
        options: dict[str, Any] = {"verify": certificates.client} if tls else {}
        async with (
            hosted(app, ssl=certificates.server if tls else None) as server,
            httpx.AsyncClient(
                base_url=f"{'https' if tls else 'http'}://{HOST}:{server.port}", **options
            ) as client,
            client.stream("GET", "/here") as response,
        ):
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/event-stream"
            assert response.headers["connection"] == "close"
            assert "date" in response.headers
            lines = response.aiter_lines()
            for number in range(3):
                app.hub.topic.publish(f"message {number}")
                assert [await anext(lines), await anext(lines)] == [f"data: message {number}", ""]
            (stream,) = app.hub.members
            assert stream.data == "/here"
            assert stream.request.path == "/here"
            stream.close()
            assert [line async for line in lines] == []

    run(main)


def test_nothing_of_the_http_server_stays(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """No task, no protocol, no transport; the access log has its line, and nobody complains."""
    protocols: list[weakref.ref[Any]] = []
    caplog.set_level(logging.INFO)

    async def act(app: Streaming, scope: Any, receive: Any, send: Any, open_stream: Any) -> None:
        open_stream(200, EVENTS, "events", listener=app.hub)
        assert await receive() == {"type": "http.disconnect"}
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"goes nowhere"})
        with pytest.raises(InvalidState):
            open_stream(200, EVENTS, "events", listener=app.hub)

    async def main() -> None:
        app = Streaming(act)
        async with hosted(app) as server, dial(server.port) as peer:
            protocol_class = server._http._protocol_class
            server._http._protocol_class = lambda **given: remembered(protocol_class(**given))
            before = asyncio.all_tasks()
            await ask(peer, "/a?b=c")
            head = await peer.read_head()
            assert head.headers["transfer-encoding"] == "chunked"
            await until(lambda: app.hub.members)
            gc.disable()
            try:
                await until(lambda: protocols[0]() is None)
            finally:
                gc.enable()
            assert asyncio.all_tasks() == before
            assert server._http.tasks == set()
            assert server._http._shared.connections == set()
            app.hub.topic.publish("x")
            assert await peer.reader.readexactly(14) == b"9\r\ndata: x\n\n\r\n"

    def remembered(protocol: Any) -> Any:
        protocols.append(weakref.ref(protocol))
        return protocol

    run(main)
    text = take_log(caplog)
    assert text.count('"GET /a?b=c HTTP/1.1" 200') == 1
    assert "ERROR" not in text
    assert "WARNING" not in text


def test_after_other_requests_and_bodies(run: Run) -> None:
    """On a connection that was kept, after a request with a body that was read."""

    async def act(app: Streaming, scope: Any, receive: Any, send: Any, open_stream: Any) -> None:
        event = await receive()
        if scope["path"] == "/plain":
            await PlainTextResponse(event["body"])(scope, receive, send)
        else:
            stream = open_stream(201, [], "lines", listener=app.hub)
            stream.send_nowait(event["body"])

    async def main() -> None:
        app = Streaming(act)
        async with hosted(app) as server, dial(server.port) as peer:
            for _ in range(2):
                await ask(peer, "/plain", method="POST", more="Content-Length: 3\r\n")
                await peer.send(b"abc")
                assert await read_response(peer) == (200, b"abc")
            await ask(peer, "/stream", method="POST", more="Content-Length: 5\r\n")
            await peer.send(b"hello")
            assert (await peer.read_head()).status == 201
            await until(lambda: app.hub.members)
            app.hub.members[0].close()
            assert await read_body(peer, "/lines") == b"hello\n"

    run(main)


def test_the_end_of_the_connection_ends_the_body_for_http_1_0(run: Run) -> None:
    async def main() -> None:
        app = Streaming()
        async with hosted(app) as server, dial(server.port) as peer:
            await ask(peer, version="1.0")
            assert "transfer-encoding" not in (await peer.read_head()).headers
            await until(lambda: app.hub.members)
            app.hub.members[0].send_nowait("x")
            app.hub.members[0].close()
            assert await peer.reader.read() == b"data: x\n\n"

    run(main)


def test_the_head_can_go_through_middleware(run: Run) -> None:
    """With status None the application has sent ``http.response.start`` itself."""
    hub: list[Members] = []

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        open_stream = scope["extensions"]["everwire"]["stream"]
        with pytest.raises(InvalidState, match="has not begun"):
            open_stream(None, [], "events", listener=hub[0])
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        with pytest.raises(InvalidState, match="has begun"):
            open_stream(200, EVENTS, "events", listener=hub[0])
        open_stream(None, [], "events", listener=hub[0])

    class Endpoint(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await stream(scope, receive, send)

    async def endpoint(request: Request) -> Response:
        return Endpoint()

    async def main() -> None:
        hub.append(Members())
        middleware = [Middleware(CORSMiddleware, allow_origins=["https://page.example"])]
        app = Starlette(routes=[Route("/", endpoint)], middleware=middleware)
        async with hosted(app) as server, dial(server.port) as peer:
            await ask(peer, more="Origin: https://page.example\r\n")
            head = await peer.read_head()
            assert head.headers["access-control-allow-origin"] == "https://page.example"
            await until(lambda: hub[0].members)
            hub[0].topic.publish("x")
            hub[0].members[0].close()
            assert await read_body(peer, "/events") == b"data: x\n\n"
        hub.clear()

    run(main)


@pytest.mark.parametrize(
    ("headers", "framing", "words"),
    [
        ([(b"Content-Length", b"5")], "events", "no Content-Length"),
        ([(b"transfer-encoding", b"gzip")], "events", "Transfer-Encoding"),
        ([], "frames", "'frames'"),
    ],
)
def test_what_makes_no_stream(run: Run, headers: Any, framing: Any, words: str) -> None:
    """The request can still be answered otherwise."""

    async def act(app: Streaming, scope: Any, receive: Any, send: Any, open_stream: Any) -> None:
        with pytest.raises(ValueError, match=words):
            open_stream(200, headers, framing, listener=app.hub)
        with pytest.raises(TypeError, match="goes to a Listener, not to type"):
            open_stream(200, [], "events", listener=Members)
        await PlainTextResponse("fine")(scope, receive, send)

    async def main() -> None:
        async with hosted(Streaming(act)) as server, dial(server.port) as peer:
            await ask(peer)
            assert await read_response(peer) == (200, b"fine")

    run(main)


def test_where_a_stream_cannot_be_the_answer(run: Run) -> None:
    """To HEAD; with a request behind it; when the client is gone."""
    refused: list[str] = []
    asked: list[str] = []

    async def act(app: Streaming, scope: Any, receive: Any, send: Any, open_stream: Any) -> None:
        if scope["path"] == "/gone":
            asked.append(scope["path"])
            while (await receive())["type"] != "http.disconnect":
                pass
        try:
            open_stream(200, EVENTS, "events", listener=app.hub)
        except InvalidState as exc:
            refused.append(str(exc))
            await PlainTextResponse("otherwise")(scope, receive, send)

    async def main() -> None:
        app = Streaming(act)
        async with hosted(app) as server:
            async with dial(server.port) as peer:
                await ask(peer, method="HEAD")
                assert (await peer.read_head()).status == 200
            async with dial(server.port) as peer:
                await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await read_response(peer) == (200, b"otherwise")
                assert (await peer.read_head()).status == 200
                await until(lambda: app.hub.members)
                app.hub.members[0].close()
                assert await read_body(peer, "/events") == b""
            async with dial(server.port) as peer:
                await ask(peer, "/gone")
                await until(lambda: asked)
            await until(lambda: len(refused) == 3)
        assert len(app.hub.members) == 1
        assert "HEAD" in refused[0]
        assert "wait behind" in refused[1]
        assert "gone" in refused[2]

    run(main)


def test_the_end_of_the_server_ends_streams(run: Run) -> None:
    async def main() -> None:
        app = Streaming()
        async with hosted(app) as server, dial(server.port) as peer:
            await ask(peer)
            await peer.read_head()
            await until(lambda: app.hub.members)
            server.close()
            assert await read_body(peer, "/events") == b""
            await peer.close()
            await server.wait_closed()
            assert app.hub.codes == [(1012, "")]

    run(main)


def test_listeners_that_are_made_anew_are_not_kept_for_ever(run: Run) -> None:
    async def main() -> None:
        listeners: weakref.WeakSet[Any] = weakref.WeakSet()

        async def act(app: Streaming, scope: Any, receive: Any, send: Any, open_stream: Any) -> None:
            listener = everwire.Listener()
            listeners.add(listener)
            open_stream(200, [], "raw", listener=listener).close()

        async with hosted(Streaming(act), access_log=False) as server:
            for _ in range(100):
                async with dial(server.port) as peer:
                    await ask(peer)
                    await peer.read_head()
                    await read_body(peer, "/raw")
            await until(lambda: not server.settings.connections)
            gc.collect()
            assert len(listeners) <= 64

    run(main)


# WebSockets


class Echo(everwire.Listener):
    """Sends back what comes, with what the connection's data is."""

    limits = {"max_size": 1000, "ping_interval": None}

    def on_message(self, ws: everwire.Connection, message: Message) -> None:
        ws.send_nowait(f"{ws.data}: {message!r}")


class Direct:
    """An application that gives some WebSockets to a listener."""

    def __init__(self) -> None:
        self.echo = Echo()

    def everwire_listener(self, request: everwire.Request) -> Any:
        match request.pathname:
            case "/no":
                raise HandshakeError("not you", 403)
            case "/broken":
                raise RuntimeError("broken")
            case "/class":
                return Echo, None, None
            case "/app":
                return None
        subprotocol = request.headers.get("X-Choose")
        return self.echo, request.path, subprotocol

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "the application"})
        await receive()


@pytest.mark.parametrize("compression", [None, Deflate(threshold=0)])
def test_a_listener_gets_the_messages(
    run: Run, caplog: pytest.LogCaptureFixture, compression: Deflate | None
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with hosted(Direct()) as server:
            async with connect(server, "/x?y", compression=compression) as ws:
                await ws.send("hello")
                assert await ws.recv() == "/x?y: 'hello'"
                assert ws.subprotocol is None
                assert ws.response is not None
                assert ws.response.headers["Server"] == "everwire"
                assert ("Sec-WebSocket-Extensions" in ws.response.headers) == (compression is not None)
                (theirs,) = server.connections
                assert theirs.settings.max_size == 1000
                assert theirs.settings.root is server.settings
                assert server._gate.tasks == set()
                assert theirs.task is None
            async with connect(server, "/x", max_size=None) as ws:
                await ws.send("x" * 1001)
                with pytest.raises(everwire.ConnectionClosed) as caught:
                    await ws.recv()
                assert caught.value.code == 1009
            async with connect(server, "/app") as ws:
                assert await ws.recv() == "the application"

    run(main)
    assert '"WebSocket /x?y" [accepted]' in take_log(caplog)


def test_the_subprotocol_is_the_applications_choice(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with hosted(Direct()) as server:
            choose = {"X-Choose": "b"}
            async with connect(server, subprotocols=["a", "b"], additional_headers=choose) as ws:
                assert ws.subprotocol == "b"
                (theirs,) = server.connections
                assert theirs.subprotocol == "b"
            with pytest.raises(everwire.InvalidStatus) as caught:
                await connect(server, subprotocols=["a"], additional_headers=choose)
            assert caught.value.status == 500
            assert "does not offer the subprotocol 'b'" in str(caplog.records[-1].exc_info)
            take_log(caplog)

    run(main)


def test_what_is_refused(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with hosted(Direct()) as server:
            for path, status in (("/no", 403), ("/broken", 500), ("/class", 500)):
                with pytest.raises(everwire.InvalidStatus) as caught:
                    await connect(server, path)
                assert caught.value.status == status
            with pytest.raises(everwire.InvalidStatus) as caught:
                await connect(server, origin="https://evil.example")
            assert caught.value.status == 403
            await turns()
            assert server.settings.connections == 0
            take_log(caplog)

    run(main)


def test_the_end_of_the_server_closes_them(run: Run) -> None:
    async def main() -> None:
        async with hosted(Direct()) as server, connect(server) as ws:
            server.close()
            with pytest.raises(everwire.ConnectionClosed) as caught:
                await ws.recv()
            assert caught.value.code == 1012

    run(main)


@pytest.mark.parametrize(
    ("trusted", "forwarded", "seen"),
    [
        (HOST, "192.0.2.7", ("192.0.2.7", 0)),
        (HOST, "203.0.113.1, 2001:db8::1", ("2001:db8::1", 0, 0, 0)),
        (HOST, "unknown", None),
        ("192.0.2.1", "192.0.2.7", None),
    ],
)
def test_who_is_behind_a_proxy(run: Run, trusted: str, forwarded: str, seen: Any) -> None:
    """A trusted one is believed, for WebSockets and streams."""

    class Both(Direct, Streaming):
        def __init__(self) -> None:
            Streaming.__init__(self)
            self.echo = Echo()

        __call__ = Streaming.__call__

    async def main() -> None:
        app = Both()
        async with hosted(app, forwarded_allow_ips=trusted) as server, dial(server.port) as peer:
            async with connect(server, additional_headers={"X-Forwarded-For": forwarded}) as ws:
                await ws.send("x")
                await ws.recv()
                (theirs,) = server.connections
                assert theirs.remote_address == (seen or ws.local_address)
            await ask(peer, more=f"X-Forwarded-For: {forwarded}\r\n")
            await peer.read_head()
            await until(lambda: app.hub.members)
            here = peer.writer.get_extra_info("sockname")
            assert app.hub.members[0].remote_address == (seen or here)

    run(main)
