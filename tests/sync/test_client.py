"""``everwire.sync.connect``: opening, what the connection tells, the way there, connecting again."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from blocking import HOST, asyncio_server, closing, connect, echo, elsewhere, in_thread, silent_server
from conftest import Certificates
from proxies import HTTPProxy, SocksProxy
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websockets_serve

import everwire
from everwire import (
    Backoff,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidMessage,
    InvalidStatus,
    MessageTooBig,
    NegotiationError,
    ProxyError,
    RedirectError,
    Request,
    Response,
)

MESSAGES: list[str | bytes] = ["", "text", "ünïcødé ☃", b"", b"\0\xff", "x" * 70_000, b"y" * 1_000_000]


def test_messages_go_and_come() -> None:
    with asyncio_server() as server, connect(server) as ws:
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv(timeout=10) == message
    assert ws.closed
    assert (ws.close_code, ws.close_reason) == (1000, "")


@pytest.mark.parametrize("compression", ["deflate", None])
def test_with_the_server_of_websockets(compression: Any) -> None:
    async def handler(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    with (
        elsewhere(lambda: websockets_serve(handler, HOST, 0, compression=compression)) as server,
        connect(next(iter(server.sockets)).getsockname()[1]) as ws,
    ):
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv(timeout=10) == message
        assert ws.ping().result(timeout=10) > 0
        assert ("Sec-WebSocket-Extensions" in ws.response.headers) is (compression is not None)


def test_what_is_bytes_like_and_what_is_text() -> None:
    with asyncio_server() as server, connect(server) as ws:
        for data in (bytearray(b"ab"), memoryview(b"ab")):
            ws.send(data)
            assert ws.recv() == b"ab"
        ws.send(b"ab", text=True)
        assert ws.recv() == "ab"
        ws.send("ab", text=False)
        assert ws.recv() == b"ab"
        ws.send("ab")
        assert ws.recv(decode=False) == b"ab"
        ws.send(b"ab", compress=False)
        assert ws.recv(decode=True) == "ab"
        for wrong in (1, None, {"a": 1}):
            with pytest.raises(TypeError, match="a message is str, bytes-like or an iterable"):
                ws.send(wrong)  # type: ignore[arg-type]


def test_fragments() -> None:
    with asyncio_server() as server, connect(server) as ws:
        ws.send(["one ", "two ", "three"])
        assert ws.recv() == "one two three"
        ws.send(bytes([i]) for i in range(3))
        assert ws.recv() == b"\0\1\2"
        with pytest.raises(ValueError, match="empty"):
            ws.send([])
        ws.send("still there")
        assert ws.recv() == "still there"
        with pytest.raises(TypeError, match="all str, or all bytes-like"):
            ws.send(["a", b"b"])  # type: ignore[list-item]
        with pytest.raises(ConnectionClosedError):
            ws.recv()
        assert ws.close_error is not None
        assert ws.close_error.sent == (1011, "a fragmented message was not completed")


def test_what_a_connection_knows() -> None:
    with asyncio_server(subprotocols=["b"]) as server:
        with connect(
            server, "/chat?x=1", subprotocols=["a", "b"], origin=f"http://{HOST}:{server.port}"
        ) as ws:
            assert ws.subprotocol == "b"
            assert (ws.request.path, ws.response.status) == ("/chat?x=1", 101)
            assert ws.request.headers["User-Agent"].startswith("everwire/")
            assert ws.remote_address == (HOST, server.port)
            assert ws.local_address[0] == HOST
            assert (ws.is_open, ws.closed, ws.client, ws.state) == (True, False, True, 1)
            assert (ws.close_code, ws.close_reason, ws.close_error) == (None, None, None)
            assert (ws.ssl_object, ws.peercert, ws.data, ws.latency) == (None, None, None, 0)
            assert ws.id in repr(ws)
        assert (ws.is_open, ws.closed, ws.state) == (False, True, 3)


def test_a_timeout_loses_nothing() -> None:
    go = threading.Event()

    async def handler(ws: everwire.Connection) -> None:
        assert await ws.recv() == "go"
        await ws.send("late")

    with asyncio_server(handler) as server, connect(server) as ws:
        for timeout in (0, 0.05):
            with pytest.raises(TimeoutError, match=f"no message within {timeout:g} seconds"):
                ws.recv(timeout=timeout)
        ws.send("go")
        assert ws.recv(timeout=10) == "late"
        go.set()


def test_the_end_of_the_messages() -> None:
    async def handler(ws: everwire.Connection) -> None:
        await ws.send("one")
        await ws.send("two")
        code = int(ws.request.path[1:])
        if code:
            await ws.close(code, "why")
        else:
            ws.abort()

    with asyncio_server(handler) as server:
        ws = connect(server, "/1000").open()
        assert list(ws) == ["one", "two"]
        with pytest.raises(ConnectionClosedOK):
            ws.recv()
        with pytest.raises(ConnectionClosedOK, match=r"received 1000 \(normal closure\) why"):
            ws.send("too late")
        ws.close()
        ws = connect(server, "/4000").open()
        assert [ws.recv(), ws.recv()] == ["one", "two"]
        with pytest.raises(ConnectionClosedError) as caught:
            next(ws)
        assert (caught.value.code, caught.value.reason, ws.close_code) == (4000, "why", 4000)
        ws.close()
        ws = connect(server, "/0").open()
        with pytest.raises(ConnectionClosedError) as caught:
            list(ws)
        assert (caught.value.code, ws.close_code) == (1006, 1006)
        ws.close()


def test_how_a_context_closes() -> None:
    codes: list[int | None] = []
    closed = threading.Semaphore(0)

    async def handler(ws: everwire.Connection) -> None:
        await ws.wait_closed()
        codes.append(ws.close_code)
        closed.release()

    with asyncio_server(handler) as server:
        with connect(server):
            pass
        for error in (ValueError, KeyboardInterrupt):
            with pytest.raises(error), connect(server):
                raise error
        with connect(server) as ws:
            ws.close(4001, "mine")
            ws.close()
        for _ in range(4):
            assert closed.acquire(timeout=10)
    assert codes == [1000, 1011, 1001, 4001]


def test_close_codes_are_checked() -> None:
    with asyncio_server() as server, connect(server) as ws:
        with pytest.raises(ValueError, match="1005"):
            ws.close(1005)
        with pytest.raises(ValueError, match="123 bytes"):
            ws.close(1000, "x" * 124)
        with pytest.raises(ValueError, match="125 bytes"):
            ws.ping(b"x" * 126)
        with pytest.raises(ValueError, match="125 bytes"):
            ws.pong(b"x" * 126)
        assert ws.is_open


def test_a_message_that_is_too_big() -> None:
    with asyncio_server() as server, connect(server, max_size=1000) as ws:
        ws.send("x" * 1000)
        assert len(ws.recv()) == 1000
        ws.send("x" * 1001)
        with pytest.raises(ConnectionClosedError) as caught:
            ws.recv(timeout=10)
        assert isinstance(caught.value.__cause__, MessageTooBig)
        assert caught.value.sent is not None
        assert caught.value.sent.code == 1009


# Opening


def test_an_option_that_does_not_make_sense() -> None:
    for options in (
        {"max_queue": 0},
        {"max_size": -1},
        {"ping_interval": 0},
        {"open_timeout": 0},
        {"close_timeout": -1},
        {"ssl": True},
    ):
        name = next(iter(options))
        with pytest.raises(ValueError, match=name):
            everwire.sync.connect("ws://localhost", **options)  # type: ignore[arg-type]
    with pytest.raises(everwire.InvalidURI):
        everwire.sync.connect("ftp://localhost")


def test_who_forgets_to_open_is_told() -> None:
    with pytest.raises(AttributeError, match=r"not open yet, so there is no send: write `with connect"):
        everwire.sync.connect("ws://localhost").send("hello")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        everwire.sync.connect("ws://localhost").nonsense()


def refuse(connection: everwire.Connection, request: Request) -> Response | None:
    """Answer by the path."""
    match request.pathname:
        case "/busy":
            return Response.of(503, "come back", {"Retry-After": "0"})
        case "/chunked":
            return Response(
                200, "OK", everwire.Headers({"Transfer-Encoding": "chunked"}), b"3\r\nabc\r\n0\r\n\r\n"
            )
        case "/to":
            return Response.of(302, "", {"Location": "/chat"})
        case "/round":
            return Response.of(302, "", {"Location": "/round"})
    return None


def test_a_refusal_and_redirects() -> None:
    with asyncio_server(process_request=refuse) as server:
        with pytest.raises(InvalidStatus) as caught:
            connect(server, "/busy").open()
        assert (caught.value.response.status, caught.value.response.body) == (503, b"come back")
        with pytest.raises(InvalidStatus) as caught:
            connect(server, "/chunked").open()
        assert caught.value.response.body == b"abc"
        with connect(server, "/to") as ws:
            assert ws.request.path == "/chat"
        with pytest.raises(RedirectError, match="more than 10 redirects"):
            connect(server, "/round").open()
        with pytest.raises(InvalidStatus, match="302"):
            connect(server, "/to", max_redirects=0).open()


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (b"", ConnectionResetError, "closed the connection before it answered"),
        (b"SSH-2.0-x\r\n\r\n", InvalidMessage, "HTTP"),
        (b"HTTP/1.1 200 " + b"x" * 40_000, InvalidMessage, "line"),
        (b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", everwire.InvalidHeader, "Connection"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nshort", InvalidStatus, "404"),
    ],
    ids=["nothing", "not HTTP", "endless", "incomplete", "cut off"],
)
def test_answers_of_something_else(answer: bytes, error: type[Exception], message: str) -> None:
    with socket.create_server((HOST, 0)) as listening:

        def serve_once() -> None:
            sock, _ = listening.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(answer)

        done = in_thread(serve_once)
        with pytest.raises(error, match=message):
            connect(listening.getsockname()[1]).open()
        done()


def test_informational_responses_are_skipped() -> None:
    with silent_server() as (ws, _):
        assert ws.is_open
    with socket.create_server((HOST, 0)) as listening, asyncio_server() as server:

        def relay_once() -> None:
            sock, _ = listening.accept()
            with sock, socket.create_connection((HOST, server.port)) as there:
                there.sendall(sock.recv(65536))
                sock.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" + there.recv(65536))
                there.sendall(sock.recv(65536))
                sock.sendall(there.recv(65536))

        done = in_thread(relay_once)
        with connect(listening.getsockname()[1]) as ws:
            pass
        done()
    assert ws.close_code == 1000


def test_open_timeout() -> None:
    with (
        socket.create_server((HOST, 0)) as listening,
        pytest.raises(TimeoutError, match=r"no connection to ws://.* within 0.1 seconds \(open_timeout\)"),
    ):
        connect(listening.getsockname()[1], open_timeout=0.1).open()


def test_nobody_there(unused_tcp_port: int) -> None:
    with pytest.raises(ConnectionRefusedError, match=str(unused_tcp_port)):
        connect(unused_tcp_port).open()
    with pytest.raises(OSError, match=r"not known|resolution|getaddrinfo"):
        everwire.sync.connect("ws://does-not-exist.invalid", proxy=None).open()


def test_basic_authentication_and_headers() -> None:
    auth = everwire.basic_auth(credentials=("user", "secret"))
    with asyncio_server(basic_auth=auth) as server:
        with pytest.raises(InvalidStatus, match="401"):
            connect(server).open()
        uri = f"ws://user:secret@{HOST}:{server.port}"
        with everwire.sync.connect(uri, proxy=None, additional_headers={"X-Mine": "1"}) as ws:
            assert ws.request.headers["X-Mine"] == "1"


def test_a_subprotocol_that_was_not_offered() -> None:
    def choose(ws: Any, request: Request, response: Response) -> None:
        response.headers["Sec-WebSocket-Protocol"] = "other"

    with asyncio_server(process_response=choose) as server, pytest.raises(NegotiationError):
        connect(server, subprotocols=["mine"]).open()


# The way


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with asyncio_server(unix=path), everwire.sync.connect("ws://localhost/", unix=path) as ws:
        ws.send("hello")
        assert ws.recv() == "hello"
        assert ws.remote_address == ""


def test_a_socket_of_ones_own() -> None:
    with asyncio_server() as server, closing(socket.create_connection((HOST, server.port))) as sock:
        with connect(server, sock=sock) as ws:
            ws.send("hello")
            assert ws.recv() == "hello"
        assert sock.fileno() == -1
        with pytest.raises(ValueError, match="one connection only"):
            next(iter(connect(server, sock=sock)))


def test_tls(certificates: Certificates) -> None:
    with asyncio_server(ssl=certificates.server) as server:
        with connect(server, ssl=certificates.client) as ws:
            for message in MESSAGES:
                ws.send(message)
                assert ws.recv(timeout=10) == message
            assert ws.ssl_object is not None
            assert ws.peercert is not None
            assert ws.ping().result(timeout=10) > 0
        assert ws.close_code == 1000
        with pytest.raises(OSError, match="certificate verify failed"):
            everwire.sync.connect(f"wss://{HOST}:{server.port}", proxy=None).open()
        with pytest.raises(OSError, match=r"not valid for 'other\.example'"):
            connect(server, ssl=certificates.client, server_hostname="other.example").open()


def test_tls_to_what_speaks_none(certificates: Certificates) -> None:
    with socket.create_server((HOST, 0)) as listening:

        def speak() -> None:
            sock, _ = listening.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        done = in_thread(speak)
        with pytest.raises(OSError, match="SSL"):
            connect(listening.getsockname()[1], ssl=certificates.client).open()
        done()


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h", "socks4a"])
def test_proxies(scheme: str, secure: bool, certificates: Certificates) -> None:
    pytest.importorskip("python_socks", reason="the extra socks is among those of the tests")
    with asyncio_server(ssl=certificates.server if secure else None) as server:
        routes = {("localhost", server.port): (HOST, server.port)}

        def make() -> HTTPProxy | SocksProxy:
            if scheme.startswith("http"):
                return HTTPProxy(routes=routes, tls=certificates.server if scheme == "https" else None)
            return SocksProxy(routes=routes)

        with elsewhere(make) as proxy:
            options: dict[str, Any] = {"ssl": certificates.client} if secure else {}
            if scheme == "https":
                options["proxy_ssl"] = certificates.client
            uri = f"{'wss' if secure else 'ws'}://localhost:{server.port}"
            with everwire.sync.connect(uri, proxy=f"{scheme}://localhost:{proxy.port}", **options) as ws:
                for message in MESSAGES:
                    ws.send(message)
                    assert ws.recv(timeout=10) == message
            assert proxy.asked == [("localhost", server.port)]
            assert ws.close_code == 1000


def test_a_proxy_that_refuses() -> None:
    with (
        elsewhere(lambda: HTTPProxy(answer=b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy,
        pytest.raises(ProxyError, match="403"),
    ):
        everwire.sync.connect("ws://example.invalid", proxy=f"http://{HOST}:{proxy.port}").open()


# Again and again


def test_connecting_again() -> None:
    count = 0

    async def handler(ws: everwire.Connection) -> None:
        nonlocal count
        count += 1
        await ws.send(str(count))
        if count == 1:
            await ws.close(1011)
        elif count == 2:
            await ws.close(1012)
        else:
            await echo(ws)

    heard: list[str | bytes] = []
    quick = Backoff(initial=0.001)
    with asyncio_server(handler) as server:
        for ws in connect(server, backoff=quick):
            try:
                heard.extend(ws)
            except everwire.ConnectionClosed:
                pass
            else:
                continue
            if len(heard) == 2:
                break
        for ws in connect(server, backoff=quick):
            assert ws.recv() == "3"
            break
    assert heard == ["1", "2"]
    assert ws.closed


def test_when_connecting_again_ends(unused_tcp_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        list(connect(unused_tcp_port, backoff=Backoff(initial=0.001, max_attempts=3)))
    with (
        asyncio_server(process_request=lambda ws, request: Response.of(404)) as server,
        pytest.raises(InvalidStatus),
    ):
        list(connect(server, backoff=Backoff(initial=0.001)))
    with pytest.raises(InvalidStatus), asyncio_server(process_request=refuse) as server:
        list(connect(server, "/busy", backoff=Backoff(initial=0.001, max_attempts=3)))
