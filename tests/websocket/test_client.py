"""``connect``: handshakes, ways to the server, redirects, refusals, deadlines, reconnecting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from proxies import HTTPProxy, LoopbackServer, SocksProxy
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed as ServerConnectionClosed

import everwire
from everwire import Connection
from everwire.errors import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    HandshakeError,
    InvalidHeader,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    ProxyError,
    RedirectError,
)
from everwire.websocket.backoff import Backoff
from everwire.websocket.client import USER_AGENT, connect
from everwire.websocket.extensions import Deflate
from everwire.websocket.handshake import accept_key
from everwire.websocket.messages import Headers, Request

SECRET = "s3cret"
PROXY_VARIABLES = (
    "ws_proxy",
    "wss_proxy",
    "socks_proxy",
    "https_proxy",
    "http_proxy",
    "all_proxy",
    "no_proxy",
)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the proxies of whoever runs the tests out of them."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def echo(ws: ServerConnection) -> None:
    with contextlib.suppress(ServerConnectionClosed):
        async for message in ws:
            await ws.send(message)


@contextlib.asynccontextmanager
async def server(handler: Any = echo, **options: Any) -> AsyncIterator[int]:
    """A server of another library on an ephemeral port: its port."""
    async with serve(handler, "127.0.0.1", 0, **options) as running:
        yield running.sockets[0].getsockname()[1]


class Scripted(LoopbackServer):
    """Answers each request with what the next step makes of it."""

    def __init__(self, *steps: Callable[[Request], bytes] | bytes, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self._steps = iter(steps)
        self.requests: list[Request] = []

    @property
    def uri(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request := Request.parse(await reader.readuntil(b"\r\n\r\n")))
        step = next(self._steps)
        writer.write(step if isinstance(step, bytes) else step(request))
        await writer.drain()
        if step is not SILENCE:
            writer.write_eof() if writer.can_write_eof() else writer.close()
        await reader.read()


SILENCE = b""


def accepting(*headers: str, rest: bytes = b"\x88\x02\x03\xe8") -> Callable[[Request], bytes]:
    """The step that accepts, with more headers, and bytes behind the head: a close frame."""

    def step(request: Request) -> bytes:
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept_key(request.headers['Sec-WebSocket-Key'])}",
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode() + rest

    return step


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 100\r\n\r\n".encode()


class Pauses:
    """A policy's sleep that only keeps a record, and lets others run."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)

    def backoff(self, **options: Any) -> Backoff:
        return Backoff(**{"jitter": 0.0, "sleep": self, "clock": lambda: 0.0, "reset_after": 10, **options})


# One connection


def test_context(run: Any) -> None:
    async def main() -> None:
        async with server() as port:
            async with connect(f"ws://127.0.0.1:{port}/") as ws:
                assert ws.is_open
                await ws.send("hello")
                assert await ws.recv() == "hello"
                await ws.send(b"\0\1")
                assert await ws.recv() == b"\0\1"
            assert ws.closed
            assert ws.close_code == 1000

    run(main)


def test_await(run: Any) -> None:
    async def main() -> None:
        async with server() as port:
            ws = await connect(f"http://localhost:{port}")
            await ws.send("hello")
            assert await ws.recv() == "hello"
            await ws.close()

    run(main)


def test_one_connect_makes_many_connections(run: Any) -> None:
    async def main() -> None:
        async with server() as port:
            opener = connect(f"ws://127.0.0.1:{port}")
            for text in ("a", "b"):
                async with opener as ws:
                    await ws.send(text)
                    assert await ws.recv() == text

    run(main)


@pytest.mark.parametrize(
    ("error", "code"), [(ValueError, 1011), (asyncio.CancelledError, 1001), (None, 1000)]
)
def test_the_server_is_told_how_the_context_ended(
    run: Any, error: type[BaseException] | None, code: int
) -> None:
    async def main() -> None:
        codes: asyncio.Queue[int | None] = asyncio.Queue()

        async def handler(ws: ServerConnection) -> None:
            await ws.wait_closed()
            codes.put_nowait(ws.close_code)

        async with server(handler) as port:
            with pytest.raises(error) if error else contextlib.nullcontext():
                async with connect(f"ws://127.0.0.1:{port}"):
                    if error is not None:
                        raise error
            assert await codes.get() == code

    run(main)


def test_request(run: Any) -> None:
    async def main() -> None:
        async with (
            Scripted(accepting("Sec-WebSocket-Protocol: b", "X-Answer: 1")) as peer,
            connect(
                f"{peer.uri}/a b?c=ü",
                origin="https://page.example",
                subprotocols=["a", "b"],
                additional_headers=[("Cookie", "a=1"), ("X-Mine", "x")],
                user_agent_header="mine",
            ) as ws,
        ):
            assert ws.subprotocol == "b"
            assert ws.response.headers["X-Answer"] == "1"
            assert ws.request == peer.requests[0]
        request = peer.requests[0]
        assert (request.method, request.path) == ("GET", "/a%20b?c=%C3%BC")
        headers = request.headers
        assert headers["Host"] == f"127.0.0.1:{peer.port}"
        assert headers["Origin"] == "https://page.example"
        assert headers["User-Agent"] == "mine"
        assert headers["Cookie"] == "a=1"
        assert headers["X-Mine"] == "x"
        assert headers["Sec-WebSocket-Protocol"] == "a, b"
        assert headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
        assert "Authorization" not in headers

    run(main)


def test_request_with_little(run: Any) -> None:
    async def main() -> None:
        async with Scripted(accepting(), accepting()) as peer:
            async with connect(peer.uri, user_agent_header=None, compression=None) as ws:
                assert ws.subprotocol is None
            async with connect(peer.uri):
                pass
        first, second = (request.headers for request in peer.requests)
        assert {name.lower() for name in first} == {
            "host",
            "upgrade",
            "connection",
            "sec-websocket-key",
            "sec-websocket-version",
        }
        assert second["User-Agent"] == USER_AGENT
        assert first["Sec-WebSocket-Key"] != second["Sec-WebSocket-Key"]
        assert len(b64decode(first["Sec-WebSocket-Key"])) == 16

    run(main)


@pytest.mark.parametrize(
    ("additional", "expected"),
    [(None, "Basic dXNlcjpwYTpzcw=="), ({"Authorization": "Bearer x"}, "Bearer x")],
)
def test_basic_auth(run: Any, additional: Any, expected: str) -> None:
    async def main() -> None:
        async with Scripted(accepting()) as peer:
            uri = peer.uri.replace("://", "://user:pa:ss@")
            async with connect(uri, additional_headers=additional) as ws:
                assert ws.request.headers["Authorization"] == expected
        assert peer.requests[0].headers.get_all("Authorization") == [expected]

    run(main)


@pytest.mark.parametrize("compression", ["deflate", Deflate(context_takeover=True, level=6), None])
def test_compression(run: Any, compression: Any) -> None:
    async def main() -> None:
        async with server() as port, connect(f"ws://127.0.0.1:{port}", compression=compression) as ws:
            assert ("Sec-WebSocket-Extensions" in ws.response.headers) is (compression is not None)
            for text in ("hello " * 1000, "x", "hello " * 1000):
                await ws.send(text)
                assert await ws.recv() == text

    run(main)


def test_bytes_behind_the_head(run: Any) -> None:
    async def main() -> None:
        step = accepting(rest=b"\x81\x05hello\x81\x05world\x88\x02\x03\xe8")
        async with Scripted(step) as peer, connect(peer.uri) as ws:
            assert [message async for message in ws] == ["hello", "world"]

    run(main)


def test_limits_are_passed_on(run: Any) -> None:
    async def main() -> None:
        async with server() as port:
            async with connect(f"ws://127.0.0.1:{port}", max_size=10, compression=None) as ws:
                assert ws.settings.max_size == 10
                await ws.send("a" * 11)
                with pytest.raises(ConnectionClosedError) as info:
                    await ws.recv()
                assert info.value.sent is not None
                assert info.value.sent.code == 1009
            options = {"max_queue": 3, "write_limit": (20, 5), "max_backlog": 100, "overflow": "drop"}
            async with connect(f"ws://127.0.0.1:{port}", **options) as ws:
                settings = ws.settings
                assert (settings.max_queue, settings.high, settings.low) == (3, 20, 5)
                assert (settings.max_backlog, settings.overflow_closes) == (100, False)

    run(main)


def test_listener(run: Any) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.events: list[Any] = []
            self.over = asyncio.Event()

        def on_open(self, ws: Any) -> None:
            self.events.append("open")
            assert ws.request is not None
            assert ws.response.status == 101
            ws.send_nowait("hello")

        def on_message(self, ws: Any, message: Any) -> None:
            self.events.append(message)
            ws.close(1000)

        def on_close(self, ws: Any, code: int, reason: str) -> None:
            self.events.append(code)
            self.over.set()

        def on_drain(self, ws: Any) -> None:
            self.events.append("drain")

    async def main() -> None:
        async with server() as port:
            recorder = Recorder()
            await connect(f"ws://127.0.0.1:{port}", listener=recorder)  # type: ignore[arg-type]
            await recorder.over.wait()
            assert recorder.events == ["open", "hello", 1000]

    run(main)


# Ways to the server


def test_tls(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with server(ssl=certificates.server) as port:
            for host in ("127.0.0.1", "localhost"):
                async with connect(f"wss://{host}:{port}", ssl=certificates.client) as ws:
                    await ws.send("hello")
                    assert await ws.recv() == "hello"
                    assert ws.peercert is not None

    run(main)


def test_tls_does_not_trust_anyone(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with server(ssl=certificates.server) as port:
            for trust in (None, True):
                with pytest.raises(ssl.SSLCertVerificationError):
                    await connect(f"wss://localhost:{port}", ssl=trust)

    run(main)


def test_tls_name(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with server(ssl=certificates.new_server("a.example")) as port:
            uri = f"wss://localhost:{port}"
            with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
                await connect(uri, ssl=certificates.client)
            async with connect(uri, ssl=certificates.client, server_hostname="a.example"):
                pass
            # The override of the address does not change who must be there.
            async with connect(f"wss://a.example.:{port}", ssl=certificates.client, host="127.0.0.1") as ws:
                assert ws.request.headers["Host"] == f"a.example.:{port}"

    run(main)


def test_tls_to_something_else(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with Scripted() as peer:
            with pytest.raises(OSError):
                async with asyncio.timeout(5):
                    # It waits for a line that never ends; so it is ended.
                    task = asyncio.ensure_future(
                        _connect(peer.uri.replace("ws:", "wss:"), certificates.client)
                    )
                    while not peer._connections:
                        await asyncio.sleep(0)
                    for connection in list(peer._connections):
                        connection.cancel()
                    await task

    run(main)


async def _connect(uri: str, context: ssl.SSLContext) -> None:
    await connect(uri, ssl=context)


def test_host_and_port(run: Any) -> None:
    async def main() -> None:
        async with server() as port:
            async with connect("ws://a.example/", host="127.0.0.1", port=port) as ws:
                assert ws.request.headers["Host"] == "a.example"
            async with connect(f"ws://a.example:{port}/", host="localhost"):
                pass
            async with connect("ws://127.0.0.1/", port=port):
                pass

    run(main)


def test_ipv6(run: Any) -> None:
    async def main() -> None:
        async with serve(echo, "::1", 0) as running:
            port = running.sockets[0].getsockname()[1]
            async with connect(f"ws://[::1]:{port}") as ws:
                assert ws.request.headers["Host"] == f"[::1]:{port}"

    run(main)


def test_unix(run: Any, tmp_path: Path) -> None:
    from websockets.asyncio.server import unix_serve

    async def main() -> None:
        path = tmp_path / "socket"
        async with unix_serve(echo, str(path)), connect("ws://a.example/", unix=path) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"
            assert ws.request.headers["Host"] == "a.example"

    run(main)


def test_sock(run: Any) -> None:
    async def main() -> None:
        async with server() as port:
            sock = socket.create_connection(("127.0.0.1", port))
            async with connect("ws://a.example/", sock=sock) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"

    run(main)


def test_local_addr(run: Any) -> None:
    async def main() -> None:
        async with server() as port:
            opening = connect(f"ws://127.0.0.1:{port}", local_addr=("127.0.0.1", 0))
            async with opening as ws:
                assert ws.local_address[0] == "127.0.0.1"

    run(main)


def test_nobody_there(run: Any, unused_tcp_port: int, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://127.0.0.1:{unused_tcp_port}")
        with pytest.raises(FileNotFoundError):
            await connect("ws://localhost", unix=tmp_path / "none")
        with pytest.raises(socket.gaierror):
            await connect("ws://host.invalid")

    run(main)


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_our_own_server(run: Any, certificates: Any, secure: bool) -> None:
    async def main() -> None:
        async def handler(ws: Connection) -> None:
            async for message in ws:
                await ws.send(message)

        context = certificates.server if secure else None
        async with everwire.serve(handler, "127.0.0.1", 0, ssl=context) as ours:
            port = ours.sockets[0].getsockname()[1]
            uri = f"ws{'s' * secure}://127.0.0.1:{port}/chat"
            for _ in range(3):
                async with connect(uri, ssl=certificates.client if secure else None) as ws:
                    for message in ("hello", b"hello" * 20000):
                        await ws.send(message)
                        assert await ws.recv() == message
                assert ws.close_code == 1000

    run(main)


# Proxies


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h", "socks4"])
def test_proxy(run: Any, certificates: Any, scheme: str, secure: bool) -> None:
    async def main() -> None:
        proxy: HTTPProxy | SocksProxy
        if scheme.startswith("socks"):
            proxy = SocksProxy(auth=("user", SECRET) if "5" in scheme else None)
        else:
            proxy = HTTPProxy(tls=certificates.server if scheme == "https" else None, auth=f"user:{SECRET}")
        async with server(ssl=certificates.server if secure else None) as port, proxy:
            async with connect(
                f"ws{'s' * secure}://127.0.0.1:{port}",
                ssl=certificates.client if secure else None,
                proxy=f"{scheme}://user:{SECRET}@localhost:{proxy.port}",
                proxy_ssl=certificates.client,
            ) as ws:
                for message in ("hello", "hello" * 50000):
                    await ws.send(message)
                    assert await ws.recv() == message
                assert "Proxy-Authorization" not in ws.request.headers
            assert proxy.asked == [("127.0.0.1", port)]
            if isinstance(proxy, HTTPProxy):
                assert proxy.requests[0].headers["User-Agent"] == USER_AGENT

    run(main)


def test_proxy_from_the_environment(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with server() as port, HTTPProxy(routes={("a.example", port): ("127.0.0.1", port)}) as proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            async with connect(f"ws://a.example:{port}"):
                assert proxy.asked == [("a.example", port)]
            # This machine is not asked for by way of a proxy, nor is what NO_PROXY names.
            async with connect(f"ws://127.0.0.1:{port}"):
                pass
            monkeypatch.setenv("no_proxy", "example")
            async with connect(f"ws://a.example:{port}", host="127.0.0.1"):
                pass
            monkeypatch.delenv("no_proxy")
            async with connect(f"ws://a.example:{port}", host="127.0.0.1", proxy=None):
                pass
            assert len(proxy.asked) == 1

    run(main)


def test_proxy_refuses(run: Any) -> None:
    async def main() -> None:
        async with HTTPProxy(auth=f"user:{SECRET}") as proxy:
            with pytest.raises(ProxyError, match="407") as info:
                await connect("ws://a.example", proxy=f"http://user:no{SECRET}@127.0.0.1:{proxy.port}")
            assert SECRET not in str(info.value)

    run(main)


# Refusals


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nno way.", 403, b"no way."),
        (
            b"HTTP/1.1 401 Who\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno \r\n3\r\nway\r\n0\r\n\r\n",
            401,
            b"no way",
        ),
        (b"HTTP/1.1 500 Oops\r\n\r\nuntil the end", 500, b"until the end"),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\ncut off", 500, b"cut off"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 204 None\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Same\r\n\r\n", 304, b""),
        (b"HTTP/1.1 300 Many\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 300, b""),
        (b"HTTP/1.0 503 Busy\r\n\r\n" + b"a" * 100000, 503, b"a" * 65536),
    ],
)
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_refused(run: Any, certificates: Any, answer: bytes, status: int, body: bytes, secure: bool) -> None:
    async def main() -> None:
        async with Scripted(answer, tls=certificates.server if secure else None) as peer:
            with pytest.raises(InvalidStatus) as info:
                await connect(peer.uri, ssl=certificates.client if secure else None)
            response = info.value.response
            assert (response.status, response.body) == (status, body)

    run(main)


def test_refused_by_a_server(run: Any) -> None:
    async def main() -> None:
        async with server(process_request=lambda ws, request: ws.respond(418, "teapot")) as port:
            with pytest.raises(InvalidStatus, match="418") as info:
                await connect(f"ws://127.0.0.1:{port}")
            assert info.value.response.body == b"teapot"

    run(main)


@pytest.mark.parametrize(
    ("step", "error", "why"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", InvalidMessage, None),
        (b"HTTP/1.1 101 OK\r\nX: " + b"a" * 40000, InvalidMessage, None),
        (b"\r\n\r\n", InvalidMessage, None),
        (b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\n\r\n", InvalidHeader, "Connection"),
        (b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\n\r\n", InvalidHeader, "Upgrade"),
        (
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x"
            b"\r\n\r\n",
            InvalidHeader,
            "Accept",
        ),
        (accepting("Sec-WebSocket-Protocol: z"), NegotiationError, "z"),
        (accepting("Sec-WebSocket-Extensions: x-unknown"), NegotiationError, "x-unknown"),
        (b"HTTP/1.1 101", ConnectionResetError, "closed the connection"),
    ],
)
def test_answers_that_are_wrong(run: Any, step: Any, error: type[Exception], why: str) -> None:
    async def main() -> None:
        async with Scripted(step) as peer:
            with pytest.raises(error, match=why):
                await connect(peer.uri)

    run(main)


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(run: Any, status: int) -> None:
    async def main() -> None:
        async with Scripted(redirect("/there?x", status), accepting()) as peer:
            uri = peer.uri.replace("://", "://user:pass@") + "/here"
            async with connect(uri, additional_headers={"Cookie": "a=1"}, subprotocols=["s"]) as ws:
                assert ws.request.path == "/there?x"
        first, second = peer.requests
        assert (first.path, second.path) == ("/here", "/there?x")
        for name in ("Host", "Cookie", "Authorization", "Sec-WebSocket-Protocol", "User-Agent"):
            assert second.headers[name] == first.headers[name]

    run(main)


def test_redirect_to_another_origin(run: Any) -> None:
    async def main() -> None:
        async with (
            Scripted(accepting()) as last,
            Scripted(redirect(f"http://127.0.0.1:{last.port}/c")) as second,
            Scripted(redirect(f"{second.uri.replace('://', '://evil:evil@')}/b")) as first,
        ):
            uri = first.uri.replace("://", "://user:pass@") + "/a"
            headers = [
                ("Cookie", "a=1"),
                ("authorization", "Bearer x"),
                ("X-Mine", "x"),
                ("Host", "a.example"),
            ]
            async with connect(uri, additional_headers=headers, origin="http://page.example"):
                pass
        assert first.requests[0].headers["Authorization"] == "Bearer x"
        assert first.requests[0].headers["Host"] == "a.example"
        for peer in (second, last):
            sent = peer.requests[0].headers
            assert "Cookie" not in sent
            assert "Authorization" not in sent
            assert sent["Host"] == f"127.0.0.1:{peer.port}"
            assert (sent["X-Mine"], sent["Origin"]) == ("x", "http://page.example")

    run(main)


def test_redirect_back_brings_no_secrets(run: Any) -> None:
    async def main() -> None:
        async with (
            Scripted(lambda _: redirect(second.uri), accepting()) as first,
            Scripted(redirect(f"{first.uri}/back")) as second,
        ):
            uri = first.uri.replace("://", "://user:pass@")
            async with connect(uri, additional_headers={"Cookie": "a=1"}):
                pass
        assert "Cookie" in first.requests[0].headers
        assert "Cookie" not in first.requests[1].headers
        assert "Authorization" not in first.requests[1].headers

    run(main)


def test_redirect_to_tls(run: Any, certificates: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr("everwire.websocket.way.default_context", lambda: certificates.client)
        async with (
            Scripted(accepting(), tls=certificates.server) as secure,
            Scripted(redirect(secure.uri)) as plain,
            connect(plain.uri) as ws,
        ):
            assert ws.peercert is not None

    run(main)


def test_redirect_from_tls_is_refused(run: Any, certificates: Any) -> None:
    async def main() -> None:
        for location in ("ws://127.0.0.1:1/x?token", "http://127.0.0.1:1/x?token"):
            async with Scripted(redirect(location), tls=certificates.server) as peer:
                with pytest.raises(RedirectError, match="in the clear") as info:
                    await connect(peer.uri, ssl=certificates.client)
                assert "token" not in str(info.value)

    run(main)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "Location"),
        (b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\n\r\n", "Location"),
        (redirect("ftp://127.0.0.1/"), "must begin with"),
        (redirect(f"ws://user:{SECRET}@127.0.0.1:x/"), "port"),
    ],
)
def test_redirect_to_nowhere(run: Any, answer: bytes, why: str) -> None:
    async def main() -> None:
        async with Scripted(answer) as peer:
            with pytest.raises(RedirectError, match=why) as info:
                await connect(peer.uri)
            assert SECRET not in str(info.value)

    run(main)


@pytest.mark.parametrize(("limit", "requests"), [(1, 2), (3, 4)])
def test_too_many_redirects(run: Any, limit: int, requests: int) -> None:
    async def main() -> None:
        async with Scripted(*[redirect("/again")] * 10) as peer:
            with pytest.raises(RedirectError, match=f"more than {limit}"):
                await connect(peer.uri, max_redirects=limit)
            assert len(peer.requests) == requests

    run(main)


def test_no_redirects(run: Any) -> None:
    async def main() -> None:
        answer = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 4\r\n\r\nhere"
        async with Scripted(answer) as peer:
            with pytest.raises(InvalidStatus) as info:
                await connect(peer.uri, max_redirects=0)
            assert info.value.response.body == b"here"

    run(main)


def test_redirects_do_not_overrule_options(run: Any) -> None:
    async def main() -> None:
        async with Scripted(*[redirect("/x")] * 2, accepting(), *[redirect("ws://b.example/")] * 2) as peer:
            sock = socket.create_connection(("127.0.0.1", peer.port))
            with pytest.raises(RedirectError, match="option sock"):
                await connect("ws://a.example/", sock=sock)
            async with connect("ws://a.example/", host="127.0.0.1", port=peer.port) as ws:
                assert ws.request.path == "/x"
            with pytest.raises(RedirectError, match="option host"):
                await connect(f"ws://a.example:{peer.port}/", host="127.0.0.1")
            with pytest.raises(RedirectError, match="option port"):
                await connect("ws://127.0.0.1/", port=peer.port)

    run(main)


# Time


@pytest.mark.parametrize("phase", ["name", "tls", "answer", "proxy", "redirect"])
def test_open_timeout(run: Any, certificates: Any, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async def never(*args: Any, **kwargs: Any) -> Any:
            await asyncio.get_running_loop().create_future()

        if phase == "name":
            monkeypatch.setattr("everwire.websocket.dial._resolve", never)
        steps = [redirect("/silence"), SILENCE] if phase == "redirect" else [SILENCE]
        async with Scripted(*steps) as peer:
            host = "localhost" if phase == "name" else "127.0.0.1"
            opening = connect(
                f"ws{'s' * (phase == 'tls')}://user:{SECRET}@{host}:{peer.port}/?token",
                ssl=certificates.client if phase == "tls" else None,
                proxy=f"http://127.0.0.1:{peer.port}" if phase == "proxy" else None,
                open_timeout=0.05,
            )
            with pytest.raises(TimeoutError, match=rf"no connection to wss?://{host}.*0\.05 seconds") as info:
                await opening
            assert SECRET not in str(info.value)
            assert "token" not in str(info.value)

    run(main)


def test_a_body_that_does_not_end_is_no_reason_to_forget_the_status(run: Any) -> None:
    class Slow(Scripted):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nwait")
            await reader.read()

    async def main() -> None:
        async with Slow() as peer:
            with pytest.raises(InvalidStatus) as info:
                await connect(peer.uri, open_timeout=0.1)
            assert info.value.response.body == b"wait"

    run(main)


def test_a_timeout_of_the_system_is_told_as_it_is(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async def unreachable(*args: Any, **kwargs: Any) -> Any:
            raise TimeoutError(110, "Connection timed out")

        monkeypatch.setattr("everwire.websocket.way.connect_tcp", unreachable)
        with pytest.raises(TimeoutError, match="Connection timed out"):
            await connect("ws://127.0.0.1")

    run(main)


@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_cancelled(run: Any, certificates: Any, secure: bool) -> None:
    async def main() -> None:
        async with Scripted(SILENCE, tls=certificates.server if secure else None) as peer:
            task = asyncio.ensure_future(
                _connect(peer.uri, certificates.client) if secure else _connect_plain(peer.uri)
            )
            while not peer.requests:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)


async def _connect_plain(uri: str) -> None:
    await connect(uri)


# Again and again


def test_reconnects(run: Any) -> None:
    async def main() -> None:
        async def once(ws: ServerConnection) -> None:
            await ws.send("hello")
            await ws.close(next(codes))

        codes = iter([1000, 1011, 1012])
        pauses = Pauses()
        seen: list[int | None] = []
        async with server(once) as port:
            async for ws in connect(f"ws://127.0.0.1:{port}", backoff=pauses.backoff()):
                with contextlib.suppress(ConnectionClosed):
                    async for message in ws:
                        assert message == "hello"
                seen.append(ws.close_code)
                if len(seen) == 3:
                    break
        assert seen == [1000, 1011, 1012]
        assert pauses.seconds == [1, 2]

    run(main)


def test_a_connection_that_lasted_resets_the_backoff(run: Any) -> None:
    async def main() -> None:
        now = [0.0]
        pauses = Pauses()
        count = 0
        async with Scripted(*[accepting()] * 5) as peer:
            async for ws in connect(peer.uri, backoff=pauses.backoff(clock=lambda: now[0])):
                await ws.wait_closed()
                count += 1
                if count >= 3:
                    now[0] += 100
                if count == 5:
                    break
        assert pauses.seconds == [1, 2, 1, 1]

    run(main)


def test_the_body_may_want_another_connection(run: Any) -> None:
    async def main() -> None:
        pauses = Pauses()
        connections = []
        async with server() as port:
            async for ws in connect(f"ws://127.0.0.1:{port}", backoff=pauses.backoff()):
                await ws.send("hello")
                assert await ws.recv() == "hello"
                connections.append(ws)
                if len(connections) == 3:
                    break
            assert all(ws.closed for ws in connections[:2])
            # The loop was left: its last connection is closed soon, too.
            await connections[2].wait_closed()
        assert pauses.seconds == []
        assert {ws.close_code for ws in connections} == {1000}

    run(main)


def test_retries_what_may_heal(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        pauses = Pauses()
        busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"
        async with Scripted(busy, b"HTTP/1.1 1", b"HTTP/1.1 500 Oops\r\n\r\n", accepting()) as peer:
            uri = peer.uri.replace("://", f"://user:{SECRET}@") + "/?token=1"
            async for ws in connect(uri, backoff=pauses.backoff()):
                assert ws.response.status == 101
                break
            await ws.wait_closed()
        assert pauses.seconds == [31, 2, 4]

    with caplog.at_level(logging.DEBUG):
        run(main)
    assert "connecting again in 31.0 seconds" in caplog.text
    assert SECRET not in caplog.text
    assert "token" not in caplog.text


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"], InvalidStatus),
        ([redirect("ftp://x/")], RedirectError),
        ([b"rubbish\r\n\r\n"], InvalidMessage),
    ],
)
def test_does_not_retry_what_will_not(run: Any, steps: list[bytes], error: type[Exception]) -> None:
    async def main() -> None:
        pauses = Pauses()
        async with Scripted(*steps) as peer:
            with pytest.raises(error):
                async for _ in connect(peer.uri, backoff=pauses.backoff()):
                    pytest.fail("there is no connection")
        assert pauses.seconds == []

    run(main)


def test_gives_up(run: Any, unused_tcp_port: int) -> None:
    async def main() -> None:
        pauses = Pauses()
        with pytest.raises(ConnectionRefusedError):
            async for _ in connect(
                f"ws://127.0.0.1:{unused_tcp_port}", backoff=pauses.backoff(max_attempts=4)
            ):
                pytest.fail("there is no connection")
        assert pauses.seconds == [1, 2, 4]

    run(main)


def test_gives_up_on_connections_that_do_not_last(run: Any) -> None:
    async def main() -> None:
        pauses = Pauses()
        async with Scripted(*[accepting()] * 5) as peer:
            with pytest.raises(ConnectionClosedOK):
                async for ws in connect(peer.uri, backoff=pauses.backoff(max_attempts=3)):
                    await ws.wait_closed()
            assert len(peer.requests) == 3

    run(main)


def test_errors_of_the_body_are_raised(run: Any) -> None:
    async def main() -> None:
        async with server() as port:
            with pytest.raises(ZeroDivisionError):
                async for ws in connect(f"ws://127.0.0.1:{port}"):
                    assert ws.is_open
                    raise ZeroDivisionError
            await ws.wait_closed()

    run(main)


# Options


@pytest.mark.parametrize(
    ("uri", "options", "error", "why"),
    [
        ("ws://a.example/#x", {}, InvalidURI, "fragment"),
        ("ws://a.example", {"ssl": True}, ValueError, "wss"),
        ("wss://a.example", {"ssl": False}, TypeError, "SSLContext"),
        ("ws://a.example", {"unix": "x", "host": "y"}, ValueError, "exclude"),
        ("ws://a.example", {"open_timeout": 0}, ValueError, "open_timeout"),
        ("ws://a.example", {"max_redirects": -1}, ValueError, "max_redirects"),
        ("ws://a.example", {"compression": "gzip"}, ValueError, "compression"),
        ("ws://a.example", {"proxy": "ftp://x"}, ProxyError, "proxy"),
        ("ws://a.example", {"subprotocols": "chat"}, TypeError, "list"),
        ("ws://a.example", {"subprotocols": ["a b"]}, ValueError, "subprotocol"),
        ("ws://a.example", {"additional_headers": {"Upgrade": "x"}}, ValueError, "additional_headers"),
        ("ws://a.example", {"additional_headers": {"X": "a\r\nb"}}, ValueError, "line breaks"),
        ("ws://a:b%3Ac@a.example", {"origin": "a\r\nb"}, ValueError, "line breaks"),
        ("ws://a%3Ab:c@a.example", {}, ValueError, "colon"),
        ("ws://a.example", {"max_size": -1}, ValueError, "max_size"),
        ("ws://a.example", {"ping_interval": 0}, ValueError, "ping_interval"),
        ("ws://a.example", {"overflow": "?"}, ValueError, "overflow"),
    ],
)
def test_options(uri: str, options: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        connect(uri, **options)


def test_a_socket_is_for_one_connection(run: Any) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(ValueError, match="sock"):
            async for _ in connect("ws://a.example", sock=ours):
                pytest.fail("there is no connection")

    run(main)


def test_the_default_context_is_made_once() -> None:
    from everwire.websocket.opening import default_context

    assert default_context() is default_context()
    assert default_context().verify_mode == ssl.CERT_REQUIRED
    assert default_context().check_hostname


def test_headers_may_be_of_any_shape(run: Any) -> None:
    async def main() -> None:
        shapes: list[Any] = [{"X": "1"}, [("X", "1")], Headers(X="1")]
        async with Scripted(*[accepting()] * 3) as peer:
            for shape in shapes:
                async with connect(peer.uri, additional_headers=shape) as ws:
                    assert ws.request.headers["X"] == "1"

    run(main)


def test_all_refusals_are_handshake_errors() -> None:
    assert issubclass(InvalidStatus, HandshakeError)
    assert issubclass(RedirectError, HandshakeError)
