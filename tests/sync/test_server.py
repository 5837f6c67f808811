"""``everwire.sync.serve``: handlers in threads, who is let in, the end."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from blocking import HOST, PATIENCE, blocking_echo, connect, in_thread, serve, until
from conftest import Certificates
from websockets.sync.client import connect as websockets_connect

import everwire
from everwire import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatus,
    Request,
    Response,
)
from everwire.sync import Connection

MESSAGES: list[str | bytes] = ["", "text", "ünïcødé ☃", b"", b"\0\xff", "x" * 70_000, b"y" * 1_000_000]


def test_an_echo() -> None:
    with serve() as server, connect(server) as ws:
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv(timeout=PATIENCE) == message
        assert [each.request.path for each in server.connections] == ["/"]
        assert server.is_serving()
        assert server.addresses == [f"{HOST}:{server.port}"]
    assert not server.is_serving()


@pytest.mark.parametrize("compression", ["deflate", None])
def test_with_the_client_of_websockets(compression: Any) -> None:
    with (
        serve(compression=compression) as server,
        websockets_connect(f"ws://{HOST}:{server.port}", proxy=None, compression=compression) as ws,
    ):
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv(timeout=PATIENCE) == message
        assert ws.ping().wait(PATIENCE)


def test_with_the_asyncio_client() -> None:
    async def main(port: int) -> list[str | bytes]:
        async with everwire.connect(f"ws://{HOST}:{port}", proxy=None) as ws:
            for message in MESSAGES:
                await ws.send(message)
            return [await ws.recv() for _ in MESSAGES]

    with serve() as server:
        assert asyncio.run(main(server.port)) == MESSAGES


def test_tls_and_unix_sockets(certificates: Certificates, tmp_path: Path) -> None:
    with serve(ssl=certificates.server) as server, connect(server, ssl=certificates.client) as ws:
        ws.send("hello")
        assert ws.recv() == "hello"
        with pytest.raises(OSError, match=r"reset|closed|open_timeout"):
            connect(server, open_timeout=1).open()  # no TLS
    path = tmp_path / "socket"
    with serve(unix=path) as server, everwire.sync.connect("ws://localhost", unix=path) as ws:
        ws.send("hello")
        assert ws.recv() == "hello"
        assert server.addresses == [str(path)]
    assert not path.exists()


def test_where_to_listen() -> None:
    with pytest.raises(TypeError, match="name where to listen"):
        everwire.sync.serve(blocking_echo)
    with pytest.raises(TypeError, match="plain function"):
        everwire.sync.serve(asyncio.sleep, HOST, 0)
    with pytest.raises(TypeError, match="the handler is a function"):
        everwire.sync.serve("handler", HOST, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="open_timeout"):
        serve(open_timeout=0)
    with socket.create_server((HOST, 0)) as taken, pytest.raises(OSError, match="is in use"):
        everwire.sync.serve(blocking_echo, HOST, taken.getsockname()[1], reuse_address=False)


def test_how_a_handler_ends(caplog: pytest.LogCaptureFixture) -> None:
    def handler(ws: Connection) -> None:
        match ws.request.path:
            case "/returns":
                return
            case "/raises":
                raise ValueError("by the handler")
            case "/closed":
                ws.recv()  # raises when the peer closes

    with caplog.at_level(logging.ERROR, "everwire"), serve(handler) as server:
        with connect(server, "/returns") as ws, pytest.raises(ConnectionClosedOK) as caught:
            ws.recv(timeout=PATIENCE)
        assert caught.value.code == 1000
        with connect(server, "/closed") as ws:
            ws.close(4000)
        assert caplog.records == []
        with connect(server, "/raises") as ws, pytest.raises(ConnectionClosedError) as error:
            ws.recv(timeout=PATIENCE)
        assert (error.value.code, error.value.reason) == (1011, "internal error")
    assert [record.message for record in caplog.records] == ["connection handler failed"]
    assert "by the handler" in caplog.text


def test_a_handler_that_exits(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_type))

    def handler(ws: Connection) -> None:
        raise SystemExit(1)

    with serve(handler) as server, connect(server) as ws:
        with pytest.raises(ConnectionClosedError) as caught:
            ws.recv(timeout=PATIENCE)
        assert (caught.value.code, caught.value.reason) == (1011, "internal error")
    until(lambda: raised == [SystemExit])


def test_who_is_let_in(caplog: pytest.LogCaptureFixture) -> None:
    def look(ws: Connection, request: Request) -> Response | None:
        if request.pathname == "/fails":
            raise RuntimeError("by the hook")
        return Response.of(404, "nothing here\n") if request.pathname == "/nothing" else None

    def change(ws: Connection, request: Request, response: Response) -> Response | None:
        response.headers["X-Mine"] = "1"
        return Response.of(403) if request.pathname == "/late" else None

    auth = everwire.basic_auth(credentials=("user", "secret"))
    with serve(process_request=look, process_response=change, basic_auth=auth) as server:
        uri = f"ws://user:secret@{HOST}:{server.port}"
        for path, status in (("/nothing", 404), ("/late", 403), ("/fails", 500)):
            with pytest.raises(InvalidStatus) as caught:
                everwire.sync.connect(uri + path, proxy=None).open()
            assert caught.value.response.status == status
        assert "by the hook" in caplog.text
        with pytest.raises(InvalidStatus, match="401"):
            connect(server).open()
        with pytest.raises(InvalidStatus, match="403"):
            everwire.sync.connect(uri, proxy=None, origin="https://evil.example").open()
        with everwire.sync.connect(uri, proxy=None) as ws:
            assert ws.response.headers["X-Mine"] == "1"
            assert ws.response.headers["Server"] == "everwire"
            until(lambda: server.connections)
            assert server.connections[0].request.username == "user"


def test_a_hook_that_is_a_coroutine(caplog: pytest.LogCaptureFixture) -> None:
    async def look(ws: Connection, request: Request) -> None: ...

    with serve(process_request=look) as server, pytest.raises(InvalidStatus, match="500"):
        connect(server).open()
    assert "process_request is to be a plain function" in caplog.text


def test_subprotocols_and_headers() -> None:
    def choose(request: Request, offered: list[str]) -> str | None:
        return offered[-1] if offered else None

    options: dict[str, Any] = {"additional_headers": {"X-Mine": "2"}, "server_header": None}
    with (
        serve(select_subprotocol=choose, **options) as server,
        connect(server, subprotocols=["a", "b"]) as ws,
    ):
        assert ws.subprotocol == "b"
        until(lambda: server.connections)
        assert server.connections[0].subprotocol == "b"
        assert ws.response.headers["X-Mine"] == "2"
        assert "Server" not in ws.response.headers


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"", 408),
        (b"GET / HTTP/1.1\r\nHost", 408),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 426),
        (b"GET /" + b"x" * 40_000, 414),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_requests_of_something_else(request_bytes: bytes, status: int) -> None:
    with serve(open_timeout=0.2) as server, socket.create_connection((HOST, server.port)) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(request_bytes)
        answer = b""
        while data := sock.recv(65536):
            answer += data
        assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_max_size() -> None:
    with serve(max_size=100) as server, connect(server) as ws:
        ws.send("x" * 101)
        with pytest.raises(ConnectionClosedError, match="1009"):
            ws.recv(timeout=PATIENCE)


# The end


def test_shutdown_closes_connections() -> None:
    with serve() as server, connect(server) as ws:
        until(lambda: server.connections)
        serving = in_thread(server.serve_forever)
        waiting = in_thread(lambda: ws.recv())
        server.shutdown(1012, "restart")
        server.shutdown()
        with pytest.raises(ConnectionClosedError) as caught:
            waiting()
        assert (caught.value.code, caught.value.reason) == (1012, "restart")
        serving()
        with pytest.raises(OSError, match="refused"):
            connect(server_port(ws)).open()


def server_port(ws: Connection) -> int:
    """The port that a connection was made to."""
    return int(ws.remote_address[1])


def test_shutdown_waits_for_handlers() -> None:
    done = threading.Event()

    def handler(ws: Connection) -> None:
        try:
            ws.recv()
        except ConnectionClosed:
            time.sleep(0.1)  # it takes its time to clean up
            done.set()

    with serve(handler) as server:
        with connect(server) as ws:
            until(lambda: server.connections)
            server.shutdown()
            with pytest.raises(ConnectionClosed):
                ws.recv(timeout=PATIENCE)
        assert server.wait_closed(PATIENCE)
        assert done.is_set()


def test_shutdown_has_a_deadline(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def handler(ws: Connection) -> None:
        release.wait(PATIENCE)

    with serve(handler) as server:
        with connect(server, close_timeout=0.1):
            until(lambda: server.connections)
            server.shutdown(timeout=0.1)
            assert server.wait_closed(PATIENCE)
        assert "1 handlers do not end" in caplog.text
        release.set()


def test_shutdown_does_not_wait_for_who_has_asked_for_nothing() -> None:
    accepted = threading.Event()

    def look(ws: Connection, request: Request) -> None:
        accepted.set()

    with serve(process_request=look, open_timeout=60, close_timeout=60) as server:
        with socket.create_connection((HOST, server.port)) as silent, connect(server):
            assert accepted.wait(PATIENCE)  # connections are accepted in order: so the silent one is, too
            silent.settimeout(PATIENCE)
            server.shutdown()
            assert silent.recv(1) == b""
        assert server.wait_closed(PATIENCE)


def test_shutdown_during_an_opening_handshake() -> None:
    asked, go = threading.Event(), threading.Event()

    def look(ws: Connection, request: Request) -> None:
        asked.set()
        go.wait(PATIENCE)

    with serve(process_request=look) as server:
        opening = in_thread(connect(server).open)
        assert asked.wait(PATIENCE)
        server.shutdown(1012, "restart")
        until(lambda: server.sockets[0].fileno() < 0)
        go.set()
        with opening() as ws, pytest.raises(ConnectionClosedError) as caught:
            ws.recv(timeout=PATIENCE)
        assert (caught.value.code, caught.value.reason) == (1012, "restart")


def test_shutdown_is_checked() -> None:
    with serve() as server:
        with pytest.raises(ValueError, match="1005"):
            server.shutdown(1005)
        assert server.is_serving()
        assert not server.wait_closed(timeout=0)


def test_many_clients() -> None:
    with serve() as server:

        def talk(name: int) -> bool:
            with connect(server) as ws:
                for i in range(20):
                    ws.send(f"{name} {i}")
                    assert ws.recv(timeout=PATIENCE) == f"{name} {i}"
            return True

        assert all(done() for done in [in_thread(talk, name) for name in range(30)])
