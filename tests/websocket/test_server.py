"""``serve``: where it listens, what its hooks decide, what it refuses."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import stat
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live import HOST, Echo, both_styles, connect, echo, idle, serve_echo, take_errors, turns, until, uri
from raw import TEXT, dial

import everwire
from everwire import (
    ConnectionClosedError,
    HandshakeError,
    Headers,
    InvalidStatus,
    NegotiationError,
    Request,
    Response,
)

# Serving


@both_styles
def test_an_echo(run: Any, style: str) -> None:
    async def main() -> None:
        async with serve_echo(style) as server, connect(server) as ws:
            assert server.is_serving()
            for message in ("text", b"data", "", b"", "x" * 100_000):
                await ws.send(message)
                assert await ws.recv() == message
            assert len(server.connections) == 1
        assert not server.is_serving()
        assert server.connections == []

    run(main)


@both_styles
def test_many_at_once(run: Any, style: str) -> None:
    async def main() -> None:
        async with serve_echo(style) as server:

            async def talk(i: int) -> None:
                async with connect(server) as ws:
                    for n in range(5):
                        await ws.send(f"{i}/{n}")
                        assert await ws.recv() == f"{i}/{n}"

            await asyncio.gather(*(talk(i) for i in range(100)))
            await until(lambda: not server.settings.connections)
            assert server.connections == []

    run(main)


def test_serve_may_be_awaited(run: Any) -> None:
    async def main() -> None:
        server = await everwire.serve(echo, HOST, 0)
        async with connect(server) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
        server.close()
        await server.wait_closed()

    run(main)


def test_serve_forever_ends_with_close(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            serving = asyncio.create_task(server.serve_forever())
            await turns()
            server.close()
            await serving

    run(main)


def test_a_handler_that_ends_closes_with_1000(run: Any) -> None:
    async def main() -> None:
        async def handler(ws: everwire.Connection) -> None:
            await ws.send("bye")

        async with everwire.serve(handler, HOST, 0) as server, connect(server) as ws:
            assert [message async for message in ws] == ["bye"]
            assert ws.close_code == 1000

    run(main)


class Callable_:
    """An object that is a handler."""

    async def __call__(self, ws: everwire.Connection) -> None:
        await ws.send("called")


class Holder:
    async def method(self, ws: everwire.Connection) -> None:
        await ws.send("called")


@pytest.mark.parametrize("handler", [Callable_(), Holder().method], ids=["object", "method"])
def test_handlers_of_other_kinds(run: Any, handler: Any) -> None:
    async def main() -> None:
        async with everwire.serve(handler, HOST, 0) as server, connect(server) as ws:
            assert await ws.recv() == "called"

    run(main)


@pytest.mark.parametrize("handler", [None, 5, "echo"])
def test_what_is_no_handler_is_refused(handler: Any) -> None:
    with pytest.raises(TypeError, match="handler"):
        everwire.serve(handler, HOST, 0)


def test_a_plain_function_as_handler_does_not_go_unnoticed(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """At the latest, the first connection tells."""

    async def main() -> None:
        def handler(ws: everwire.Connection) -> None:
            return None

        try:
            serving = everwire.serve(handler, HOST, 0)  # type: ignore[arg-type]
        except TypeError as exc:
            assert "coroutine" in str(exc)
            return
        async with serving as server, connect(server) as ws:
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.code == 1011
            assert [kind for _, kind in take_errors(caplog)] == [TypeError]

    run(main)


@pytest.mark.parametrize("sent_before", [False, True])
def test_a_handler_that_raises(run: Any, caplog: pytest.LogCaptureFixture, sent_before: bool) -> None:
    async def main() -> None:
        async def handler(ws: everwire.Connection) -> None:
            if ws.request.path == "/good":
                await echo(ws)
                return
            if sent_before:
                await ws.send("before")
            raise KeyError("on purpose")

        async with everwire.serve(handler, HOST, 0) as server:
            async with connect(server) as ws:
                if sent_before:
                    assert await ws.recv() == "before"
                with pytest.raises(ConnectionClosedError) as caught:
                    await ws.recv()
                assert caught.value.received == (1011, "internal error")
            await until(lambda: not server.settings.connections)
            assert take_errors(caplog) == [("connection handler failed", KeyError)]
            async with connect(server, "/good") as ws:
                await ws.send("alive")
                assert await ws.recv() == "alive"

    run(main)


def test_a_handler_that_raises_after_the_end_is_logged(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def handler(ws: everwire.Connection) -> None:
            await ws.wait_closed()
            raise KeyError("cleaning up failed")

        async with everwire.serve(handler, HOST, 0) as server:
            async with connect(server):
                pass
            await until(lambda: not server.settings.tasks)
            assert take_errors(caplog) == [("connection handler failed", KeyError)]

    run(main)


@pytest.mark.parametrize("how", ["close", "abort", "server"])
def test_a_handler_need_not_catch_the_end(run: Any, caplog: pytest.LogCaptureFixture, how: str) -> None:
    """A connection that ends is no error of the handler's: nothing is logged."""

    async def main() -> None:
        async def receives(ws: everwire.Connection) -> None:
            while True:
                await ws.recv()

        async def sends(ws: everwire.Connection) -> None:
            while True:
                await ws.send("tick")
                await asyncio.sleep(0.001)

        async def pings(ws: everwire.Connection) -> None:
            while True:
                await ws.ping()

        for handler in (receives, sends, pings):
            async with everwire.serve(handler, HOST, 0) as server:
                ws = await connect(server, max_queue=None)
                await ws.ping()
                if how == "close":
                    await ws.close()
                elif how == "abort":
                    ws.abort()
                else:
                    server.close()
                    await ws.wait_closed()
                await until(lambda server=server: not server.settings.tasks)
            assert take_errors(caplog) == []

    run(main)


def test_a_handler_that_closes_and_goes_on_sending_is_no_error(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async def handler(ws: everwire.Connection) -> None:
            ws.close(4000)
            await ws.send("too late")

        async with everwire.serve(handler, HOST, 0) as server, connect(server) as ws:
            await ws.wait_closed()
            assert ws.close_code == 4000
            await until(lambda: not server.settings.tasks)
            assert take_errors(caplog) == []

    run(main)


def test_the_log_goes_where_it_is_told(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def handler(ws: everwire.Connection) -> None:
            raise KeyError

        logger = logging.getLogger("everwire.test.own")
        async with everwire.serve(handler, HOST, 0, logger=logger) as server:
            async with connect(server) as ws:
                await ws.wait_closed()
            await until(lambda: not server.settings.tasks)
        names = {record.name for record in caplog.records if record.levelno >= logging.ERROR}
        assert names == {"everwire.test.own"}
        take_errors(caplog)

    run(main)


# Where it listens


def test_several_hosts(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, ["127.0.0.1", "::1"], 0) as server:
            assert {sock.family for sock in server.sockets} == {socket.AF_INET, socket.AF_INET6}
            assert len(server.addresses) == 2
            for name in server.addresses:
                assert re.fullmatch(r"(127\.0\.0\.1|\[::1\]):\d+", name)
                async with everwire.connect(f"ws://{name}/", proxy=None) as ws:
                    await ws.send("x")
                    assert await ws.recv() == "x"

    run(main)


def test_no_host_means_all_interfaces(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, None, 0) as server:
            bound = {sock.getsockname()[0] for sock in server.sockets}
            assert bound <= {"0.0.0.0", "::"}
            assert "0.0.0.0" in bound

    run(main)


def test_a_name_is_looked_up(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, "localhost", 0) as server:
            assert {sock.getsockname()[0] for sock in server.sockets} <= {"127.0.0.1", "::1"}

    run(main)


def test_a_port_in_use_is_named(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            with pytest.raises(OSError, match=f"127.0.0.1:{server.port} is in use"):
                await everwire.serve(echo, HOST, server.port)
            with pytest.raises(OSError, match="is in use"):
                await everwire.serve(echo, ["127.0.0.1", "::1", "127.0.0.1"], server.port)

    run(main)


def test_an_address_of_another_machine_is_named(run: Any) -> None:
    async def main() -> None:
        with pytest.raises(OSError, match=r"192\.0\.2\.1:\d+ cannot be listened on"):
            await everwire.serve(echo, "192.0.2.1", 0)

    run(main)


def test_a_port_is_free_again_after_the_end(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            port = server.port
            async with connect(server) as ws:
                await ws.send("x")
                await ws.recv()
        async with everwire.serve(echo, HOST, port) as server, connect(server) as ws:
            await ws.send("again")
            assert await ws.recv() == "again"

    run(main)


def test_two_servers_on_one_port(run: Any) -> None:
    async def main() -> None:
        async with (
            everwire.serve(idle, HOST, 0, reuse_port=True) as one,
            everwire.serve(idle, HOST, one.port, reuse_port=True) as two,
        ):
            assert one.port == two.port
            connections = await asyncio.gather(*(connect(one) for _ in range(32)))
            await until(lambda: len(one.connections) + len(two.connections) == 32)
            # The system deals them out by a hash of the addresses.
            assert one.connections
            assert two.connections
            await asyncio.gather(*(ws.close() for ws in connections))

    run(main)


@pytest.mark.parametrize("several", [False, True])
def test_given_sockets(run: Any, several: bool) -> None:
    async def main() -> None:
        socks = [socket.create_server((HOST, 0)) for _ in range(2 if several else 1)]
        ports = [sock.getsockname()[1] for sock in socks]
        async with everwire.serve(echo, sock=socks if several else socks[0]) as server:
            assert [sock.getsockname()[1] for sock in server.sockets] == ports
            for port in ports:
                async with everwire.connect(f"ws://{HOST}:{port}", proxy=None) as ws:
                    await ws.send("x")
                    assert await ws.recv() == "x"
        for sock in socks:
            assert sock.fileno() == -1

    run(main)


def test_a_socket_that_does_not_listen_yet(run: Any) -> None:
    async def main() -> None:
        sock = socket.socket()
        sock.bind((HOST, 0))
        async with everwire.serve(echo, sock=sock) as server, connect(server) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"

    run(main)


def test_one_place_to_listen() -> None:
    with socket.socket() as sock:
        for options in ({"port": 0, "unix": "/x"}, {"port": 0, "sock": sock}, {"unix": "/x", "sock": sock}):
            with pytest.raises(TypeError, match="one place"):
                everwire.serve(echo, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_unix_socket(run: Any, tmp_path: Path, kind: Any) -> None:
    path = kind(tmp_path / "socket")

    async def main() -> None:
        async with (
            everwire.serve(echo, unix=path) as server,
            everwire.connect("ws://localhost/", unix=path) as ws,
        ):
            assert server.addresses == [str(path)]
            assert server.port == 0
            await ws.send("x")
            assert await ws.recv() == "x"
        assert not os.path.exists(path)

    run(main)


def test_a_unix_socket_left_behind_is_replaced(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        left.listen()

    async def main() -> None:
        async with everwire.serve(echo, unix=path), everwire.connect("ws://localhost/", unix=path) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"

    run(main)


def test_a_unix_socket_in_use_is_refused(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        async with everwire.serve(echo, unix=path):
            with pytest.raises(OSError, match="another process listens there"):
                await everwire.serve(echo, unix=path)
            async with everwire.connect("ws://localhost/", unix=path) as ws:
                await ws.send("x")
                assert await ws.recv() == "x"

    run(main)


def test_a_unix_socket_whose_backlog_is_full_is_in_use(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
            busy.bind(str(path))
            busy.listen(0)
            first.connect(str(path))
            with pytest.raises(OSError, match="listens there"):
                await everwire.serve(echo, unix=path)
            assert stat.S_ISSOCK(path.stat().st_mode)

    run(main)


def test_a_file_that_is_no_socket_is_kept(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")

    async def main() -> None:
        with pytest.raises(OSError, match="not a socket"):
            await everwire.serve(echo, unix=path)
        assert path.read_text() == "precious"

    run(main)


def test_a_unix_socket_in_a_folder_that_does_not_exist(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "none" / "socket"

    async def main() -> None:
        with pytest.raises(OSError, match=re.escape(str(path))):
            await everwire.serve(echo, unix=path)

    run(main)


def test_the_path_of_a_given_socket_is_kept(run: Any, tmp_path: Path) -> None:
    """It belongs to who made the socket, who may hand it to the next process."""
    path = tmp_path / "socket"

    async def main() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        async with everwire.serve(echo, sock=sock), everwire.connect("ws://localhost/", unix=path) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
        assert path.exists()

    run(main)


# Hooks


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_process_request_may_answer(run: Any, kind: str) -> None:
    async def main() -> None:
        def plain(ws: everwire.Connection, request: Request) -> Response | None:
            assert ws.request is request
            if request.path == "/health":
                return Response.of(200, "fine\n", [("X-Made-By", "a hook")])
            return None

        async def coroutine(ws: everwire.Connection, request: Request) -> Response | None:
            await asyncio.sleep(0.001)
            return plain(ws, request)

        hook = plain if kind == "plain" else coroutine
        async with everwire.serve(echo, HOST, 0, process_request=hook) as server:
            async with dial(server.port) as peer:
                await peer.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = await peer.read_head()
                assert answer.status == 200
                assert answer.headers["x-made-by"] == "a hook"
                assert answer.headers["content-length"] == "5"
                assert answer.headers["connection"] == "close"
                assert await peer.reader.read() == b"fine\n"
            async with dial(server.port) as peer:
                await peer.send(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await peer.read_head()).headers["content-length"] == "5"
                assert await peer.reader.read() == b""
            with pytest.raises(InvalidStatus) as caught:
                await connect(server, "/health")
            assert caught.value.response.body == b"fine\n"
            async with connect(server) as ws:
                await ws.send("x")
                assert await ws.recv() == "x"

    run(main)


@pytest.mark.parametrize(
    ("hook", "kind"),
    [
        ("process_request", "plain"),
        ("process_request", "coroutine"),
        ("process_response", "plain"),
        ("process_response", "coroutine"),
        ("select_subprotocol", "plain"),
    ],
)
@pytest.mark.parametrize("refuses", [True, False])
def test_a_hook_that_raises(
    run: Any, caplog: pytest.LogCaptureFixture, kind: str, hook: str, refuses: bool
) -> None:
    async def main() -> None:
        broken = True

        def plain(*args: Any) -> None:
            if broken:
                raise HandshakeError("members only", 403) if refuses else KeyError("on purpose")

        async def coroutine(*args: Any) -> None:
            await asyncio.sleep(0)
            plain()

        options: dict[str, Any] = {hook: plain if kind == "plain" else coroutine}
        async with everwire.serve(echo, HOST, 0, **options) as server:
            with pytest.raises(InvalidStatus) as caught:
                await connect(server)
            response = caught.value.response
            if refuses:
                assert response.status == 403
                assert response.body == b"members only\n"
                assert take_errors(caplog) == []
            else:
                assert response.status == 500
                assert b"on purpose" not in response.body
                assert take_errors(caplog) == [("opening handshake failed", KeyError)]
            broken = False
            async with connect(server) as ws:
                await ws.send("alive")
                assert await ws.recv() == "alive"

    run(main)


def test_a_client_that_leaves_while_a_hook_decides(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asked, go, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def hook(ws: everwire.Connection, request: Request) -> None:
            asked.set()
            try:
                await go.wait()
            finally:
                done.set()

        async with everwire.serve(echo, HOST, 0, process_request=hook) as server:
            for abrupt in (False, True):
                async with dial(server.port) as peer:
                    await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
                    await asked.wait()
                    if abrupt:
                        peer.abort()
                go.set()
                await done.wait()
                await until(lambda: not server.settings.connections)
                for event in (asked, go, done):
                    event.clear()
        assert take_errors(caplog) == []

    run(main)


def test_messages_that_come_while_a_hook_decides_are_kept(run: Any) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def hook(ws: everwire.Connection, request: Request) -> None:
            await go.wait()

        async with everwire.serve(echo, HOST, 0, process_request=hook) as server, dial(server.port) as peer:
            request = (
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await peer.send(request + peer.frame(TEXT, b"1"))
            await turns()
            await peer.send(peer.frame(TEXT, b"2"))
            await turns()
            go.set()
            assert (await peer.read_head()).status == 101
            assert [(await peer.read_frame()).payload for _ in range(2)] == [b"1", b"2"]

    run(main)


@pytest.mark.parametrize("kind", ["plain", "coroutine"])
def test_process_response_may_change_the_response(run: Any, kind: str) -> None:
    async def main() -> None:
        def plain(ws: everwire.Connection, request: Request, response: Response) -> Response | None:
            if request.path == "/refused":
                return Response.of(409, "taken\n")
            response.headers["X-Path"] = request.path
            del response.headers["Server"]
            return None

        async def coroutine(ws: everwire.Connection, request: Request, response: Response) -> Response | None:
            await asyncio.sleep(0)
            return plain(ws, request, response)

        hook = plain if kind == "plain" else coroutine
        async with everwire.serve(echo, HOST, 0, process_response=hook) as server:
            async with connect(server, "/somewhere") as ws:
                assert ws.response.headers["X-Path"] == "/somewhere"
                assert "Server" not in ws.response.headers
                await ws.send("x")
                assert await ws.recv() == "x"
            with pytest.raises(InvalidStatus) as caught:
                await connect(server, "/refused")
            assert caught.value.response.status == 409

    run(main)


def test_select_subprotocol(run: Any) -> None:
    async def main() -> None:
        def select(request: Request, offered: list[str]) -> str | None:
            if "none" in request.path:
                return None
            return offered[-1] if offered else None

        async with everwire.serve(echo, HOST, 0, select_subprotocol=select) as server:
            async with connect(server, subprotocols=["a", "b"]) as ws:
                assert ws.subprotocol == "b"
                assert server.connections[-1].subprotocol == "b"
            async with connect(server) as ws:
                assert ws.subprotocol is None
            async with connect(server, "/none", subprotocols=["a"]) as ws:
                assert ws.subprotocol is None

    run(main)


def test_subprotocols_by_preference_of_the_server(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, subprotocols=["b", "a"]) as server:
            for offered, chosen in ((["a", "b"], "b"), (["a"], "a"), (["c"], None)):
                async with connect(server, subprotocols=offered) as ws:
                    assert ws.subprotocol == chosen

    run(main)


@pytest.mark.parametrize(
    ("origins", "allowed", "refused"),
    [
        ("same", [None, "http://127.0.0.1:{port}"], ["http://127.0.0.1", "http://evil.example", "null"]),
        (["https://a.example"], ["https://a.example"], [None, "http://a.example", "https://b.example"]),
        (["https://a.example", None], ["https://a.example", None], ["null"]),
        ([re.compile(r"https://\w+\.example")], ["https://x.example"], ["https://x.example.org", None]),
        (None, [None, "null", "http://anything"], []),
    ],
    ids=["same", "list", "none", "pattern", "any"],
)
def test_origins(run: Any, origins: Any, allowed: list[str | None], refused: list[str | None]) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, origins=origins) as server:
            for origin in allowed:
                origin = origin and origin.format(port=server.port)
                async with connect(server, origin=origin) as ws:
                    assert ws.is_open
            for origin in refused:
                with pytest.raises(InvalidStatus) as caught:
                    await connect(server, origin=origin)
                assert caught.value.response.status == 403

    run(main)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{name}:{password}".encode()).decode()}


async def check_later(name: str, password: str) -> bool:
    await asyncio.sleep(0)
    return (name, password) == ("user", "secret")


@pytest.mark.parametrize(
    "options",
    [{"credentials": ("user", "secret")}, {"check_credentials": check_later}],
    ids=["credentials", "coroutine"],
)
def test_basic_auth(run: Any, options: Any) -> None:
    async def main() -> None:
        names = []

        async def handler(ws: everwire.Connection) -> None:
            names.append(ws.request.username)
            await echo(ws)

        auth = everwire.basic_auth(realm="here", **options)
        async with everwire.serve(handler, HOST, 0, basic_auth=auth) as server:
            for headers in ({}, basic("user", "wrong"), basic("other", "secret")):
                with pytest.raises(InvalidStatus) as caught:
                    await connect(server, additional_headers=headers)
                response = caught.value.response
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == 'Basic realm="here", charset="UTF-8"'
            async with connect(server, additional_headers=basic("user", "secret")) as ws:
                await ws.send("x")
                assert await ws.recv() == "x"
            target = uri(server).replace("ws://", "ws://user:secret@")
            async with everwire.connect(target, proxy=None) as ws:
                await ws.send("x")
                assert await ws.recv() == "x"
            assert names == ["user", "user"]

    run(main)


def test_basic_auth_comes_before_process_request(run: Any) -> None:
    async def main() -> None:
        asked = []

        async def hook(ws: everwire.Connection, request: Request) -> Response | None:
            asked.append(request.username)
            return None if request.path == "/in" else Response.of(404, "no\n")

        auth = everwire.basic_auth(realm="here", check_credentials=check_later)
        async with everwire.serve(echo, HOST, 0, basic_auth=auth, process_request=hook) as server:
            with pytest.raises(InvalidStatus) as caught:
                await connect(server, "/in")
            assert caught.value.response.status == 401
            assert asked == []
            with pytest.raises(InvalidStatus) as caught:
                await connect(server, "/out", additional_headers=basic("user", "secret"))
            assert caught.value.response.status == 404
            async with connect(server, "/in", additional_headers=basic("user", "secret")) as ws:
                assert ws.is_open
            assert asked == ["user", "user"]

    run(main)


def test_additional_headers(run: Any) -> None:
    async def main() -> None:
        extra = Headers([("X-One", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        async with (
            everwire.serve(echo, HOST, 0, additional_headers=extra, server_header="mine/1.0") as server,
            connect(server) as ws,
        ):
            assert ws.response.headers["X-One"] == "1"
            assert ws.response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
            assert ws.response.headers["Server"] == "mine/1.0"
        async with everwire.serve(echo, HOST, 0, server_header=None) as server, connect(server) as ws:
            assert "Server" not in ws.response.headers

    run(main)


def test_a_server_header_is_on_refusals_as_well(run: Any) -> None:
    async def main() -> None:
        async with (
            everwire.serve(echo, HOST, 0, server_header="mine/1.0") as server,
            dial(server.port) as peer,
        ):
            answer = await peer.request(without="Upgrade")
            assert answer.status == 426
            assert answer.headers["server"] == "mine/1.0"

    run(main)


def test_compression_is_agreed_on(run: Any) -> None:
    async def main() -> None:
        for option, agreed in (
            ("deflate", True),
            (everwire.Deflate(context_takeover=True), True),
            (None, False),
        ):
            async with serve_echo("coroutine", compression=option) as server, connect(server) as ws:
                header = ws.response.headers.get("Sec-WebSocket-Extensions", "")
                assert ("permessage-deflate" in header) == agreed
                for message in ("a" * 10_000, b"b" * 10_000, "short"):
                    await ws.send(message)
                    assert await ws.recv() == message

    run(main)


@pytest.mark.parametrize(
    "options",
    [
        {"max_size": -1},
        {"max_size": "big"},
        {"max_queue": 0},
        {"write_limit": (1, 2)},
        {"write_limit": -1},
        {"max_backlog": -1},
        {"overflow": "wait"},
        {"ping_interval": 0},
        {"ping_timeout": -1},
        {"idle_timeout": 0},
        {"open_timeout": 0},
        {"close_timeout": 0},
        {"compression": "gzip"},
        {"subprotocols": ["a", "a"]},
        {"additional_headers": {"Upgrade": "x"}},
    ],
    ids=str,
)
def test_a_bad_option_is_named(run: Any, options: Any) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            await everwire.serve(echo, HOST, 0, **options)

    run(main)


def test_a_subprotocol_that_was_not_offered_is_not_chosen(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        select: Callable[..., str] = lambda request, offered: "mine"  # noqa: E731
        async with everwire.serve(echo, HOST, 0, select_subprotocol=select) as server:
            with pytest.raises((InvalidStatus, NegotiationError)):
                await connect(server, subprotocols=["a"])
            assert take_errors(caplog) == [("opening handshake failed", ValueError)]

    run(main)


def test_servers_side_by_side(run: Any) -> None:
    async def main() -> None:
        async with (
            everwire.serve(echo, HOST, 0) as one,
            everwire.serve(Echo(), HOST, 0) as two,
            connect(one) as a,
            connect(two) as b,
        ):
            await a.send("one")
            await b.send("two")
            assert await a.recv() == "one"
            assert await b.recv() == "two"
            assert len(one.connections) == len(two.connections) == 1
            one.close()
            await one.wait_closed()
            await b.send("still there")
            assert await b.recv() == "still there"

    run(main)
