"""Proxies: their URIs, the environment, and tunnels through real ones."""

from __future__ import annotations

import asyncio
import builtins
import socket
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxies import Echo, HTTPProxy, LoopbackServer, SocksProxy

from everwire.errors import InvalidStatus, ProxyError
from everwire.websocket.backoff import Backoff
from everwire.websocket.messages import Request
from everwire.websocket.proxy import (
    ConnectAnswer,
    Proxy,
    connect_request,
    connect_socks,
    connect_tunnel,
    connect_tunnel_tls,
    environment_proxy,
    is_exempt,
    parse_proxy,
)
from everwire.websocket.uri import parse_uri

SECRET = "s3cret"

pytestmark = pytest.mark.reactor("these tests end before there is a connection")

# URIs


@pytest.mark.parametrize(
    ("uri", "scheme", "host", "port"),
    [
        ("http://proxy", "http", "proxy", 80),
        ("https://proxy/", "https", "proxy", 443),
        ("HTTP://Proxy:3128", "http", "proxy", 3128),
        ("socks5://127.0.0.1", "socks5", "127.0.0.1", 1080),
        ("socks5h://[::1]:9050", "socks5h", "::1", 9050),
        ("socks4://proxy", "socks4", "proxy", 1080),
        ("socks4a://proxy", "socks4a", "proxy", 1080),
    ],
)
def test_parse(uri: str, scheme: str, host: str, port: int) -> None:
    proxy = parse_proxy(uri)
    assert proxy == Proxy(scheme=scheme, host=host, port=port)
    assert proxy.is_socks == scheme.startswith("socks")


def test_parse_userinfo() -> None:
    proxy = parse_proxy(f"http://us%40er:{SECRET}@proxy:3128")
    assert (proxy.username, proxy.password) == ("us@er", SECRET)
    assert str(proxy) == "http://proxy:3128"
    assert SECRET not in repr(proxy)
    assert "us" not in repr(proxy).replace("username", "")


@pytest.mark.parametrize(
    "uri",
    [
        "proxy:3128",
        f"user:{SECRET}@proxy:3128",
        f"ftp://user:{SECRET}@proxy",
        "http://",
        f"http://user:{SECRET}@",
        f"http://user:{SECRET}@proxy:0",
        f"http://user:{SECRET}@proxy/path",
        f"http://user:{SECRET}@proxy?query",
        f"http://user:{SECRET}@proxy#fragment",
        f"http://user:{SECRET}/{SECRET}@proxy",
    ],
)
def test_parse_refuses(uri: str) -> None:
    with pytest.raises(ProxyError, match="not the URI of a proxy") as info:
        parse_proxy(uri)
    assert SECRET not in str(info.value)


# The environment


@pytest.mark.parametrize(
    ("uri", "environ", "expected"),
    [
        ("ws://a.example/", {}, None),
        ("ws://a.example/", {"http_proxy": "http://p"}, "http://p:80"),
        ("wss://a.example/", {"http_proxy": "http://p"}, None),
        ("wss://a.example/", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("ws://a.example/", {"https_proxy": "http://p", "http_proxy": "http://q"}, "http://p:80"),
        ("ws://a.example/", {"socks_proxy": "socks5://p", "https_proxy": "http://q"}, "socks5://p:1080"),
        ("ws://a.example/", {"all_proxy": "socks5h://p"}, "socks5h://p:1080"),
        ("wss://a.example/", {"all_proxy": "socks5h://p", "https_proxy": "http://q"}, "http://q:80"),
        ("wss://a.example/", {"wss_proxy": "http://p", "socks_proxy": "socks5://q"}, "http://p:80"),
        ("ws://a.example/", {"wss_proxy": "http://p"}, None),
        ("ws://a.example/", {"ws_proxy": "http://p"}, "http://p:80"),
        ("wss://a.example/", {"HTTPS_PROXY": "http://p"}, "http://p:80"),
        ("wss://a.example/", {"HTTPS_PROXY": "http://p", "https_proxy": "http://q"}, "http://q:80"),
        ("wss://a.example/", {"HTTPS_PROXY": "http://p", "https_proxy": ""}, None),
        ("wss://a.example/", {"https_proxy": "p:3128"}, "http://p:3128"),
        ("wss://a.example/", {"socks_proxy": "p:9050"}, "socks5h://p:9050"),
        ("wss://a.example/", {"https_proxy": " http://p/ "}, "http://p:80"),
        ("ws://a.example/", {"HTTP_PROXY": "http://p"}, "http://p:80"),
        ("ws://a.example/", {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, None),
        ("ws://a.example/", {"http_proxy": "http://p", "REQUEST_METHOD": "GET"}, "http://p:80"),
        ("ws://a.example/", {"http_proxy": "http://p", "no_proxy": "a.example"}, None),
        ("ws://a.example/", {"http_proxy": "http://p", "NO_PROXY": "a.example"}, None),
        ("ws://a.example/", {"http_proxy": "http://p", "no_proxy": "", "NO_PROXY": "*"}, "http://p:80"),
        ("ws://localhost:1/", {"http_proxy": "http://p"}, None),
        ("ws://app.localhost:1/", {"http_proxy": "http://p"}, None),
        ("ws://127.1.2.3:1/", {"http_proxy": "http://p"}, None),
        ("ws://[::1]:1/", {"http_proxy": "http://p"}, None),
        ("ws://192.0.2.1/", {"http_proxy": "http://p"}, "http://p:80"),
    ],
)
def test_environment(uri: str, environ: dict[str, str], expected: str | None) -> None:
    found = environment_proxy(parse_uri(uri), environ)
    assert (None if found is None else str(found)) == expected


def test_environment_reads_the_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("wss_proxy", "socks_proxy", "all_proxy", "no_proxy", "NO_PROXY", "WSS_PROXY", "SOCKS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://p")
    assert str(environment_proxy(parse_uri("wss://a.example/"))) == "http://p:80"


def test_environment_names_the_variable_that_is_wrong() -> None:
    with pytest.raises(ProxyError, match="the environment variable https_proxy") as info:
        environment_proxy(parse_uri("wss://a.example/"), {"https_proxy": f"ftp://u:{SECRET}@p"})
    assert SECRET not in str(info.value)


@pytest.mark.parametrize(
    ("host", "no_proxy", "expected"),
    [
        ("a.example", "", False),
        ("a.example", "*", True),
        ("a.example", "b.example,*", True),
        ("a.example", "a.example", True),
        ("a.example", "A.Example", True),
        ("a.example", "a.example.", True),
        ("a.example.", "a.example", True),
        ("a.example", "example", True),
        ("a.example", ".example", True),
        ("a.example", "*.example", True),
        ("example", ".example", True),
        ("b.a.example", "a.example", True),
        ("ba.example", "a.example", False),
        ("a.example", "b.a.example", False),
        ("a.example", "b.example, a.example", True),
        ("a.example", "b.example a.example", True),
        ("a.example", " ,, a.example ,", True),
        ("a.example", ".", False),
        ("a.example", "*.", False),
        ("a.example", "a.example:80", True),
        ("a.example", "a.example:81", False),
        ("a.example", "a.example:80:80", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:80", True),
        ("10.1.2.3", "10.1.2.3:81", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.9.9.9/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.0.0.0/99", False),
        ("10.1.2.3", ".2.3", False),
        ("10.1.2.3", "fd00::/8", False),
        ("a.example", "10.0.0.0/8", False),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "[fd00::]/8", True),
        ("fd00::1", "fd00:0::1", True),
        ("fd00::1", "[fd00::1]", True),
        ("fd00::1", "[fd00::1]:80", True),
        ("fd00::1", "[fd00::1]:81", False),
        ("fd00::1", "fd00::2", False),
        ("fe80::1%eth0", "fe80::/10", True),
    ],
)
def test_no_proxy(host: str, no_proxy: str, expected: bool) -> None:
    assert is_exempt(host, 80, no_proxy) is expected


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_network_exempts_its_addresses(address: Any, bits: int) -> None:
    bits = min(bits, address.max_prefixlen)
    assert is_exempt(str(address), 80, f"{address}/{bits}")
    assert is_exempt(str(address), 80, str(address))


@given(st.text(max_size=30))
def test_any_no_proxy_can_be_read(no_proxy: str) -> None:
    for host in ("a.example", "10.1.2.3", "fd00::1"):
        assert is_exempt(host, 80, no_proxy) in (True, False)
        assert is_exempt(host, 80, no_proxy + ",*")


# CONNECT, without I/O

PROXY = parse_proxy("http://proxy:3128")


@pytest.mark.parametrize(
    ("host", "target"), [("a.example", "a.example:443"), ("10.1.2.3", "10.1.2.3:443"), ("::1", "[::1]:443")]
)
def test_connect_request(host: str, target: str) -> None:
    request = Request.parse(connect_request(PROXY, host, 443, None))
    assert (request.method, request.path) == ("CONNECT", target)
    assert list(request.headers.raw_items()) == [("Host", target)]


def test_connect_request_with_everything() -> None:
    request = Request.parse(connect_request(parse_proxy("http://ä:%3A@proxy"), "a.example", 443, "agent"))
    assert request.headers["User-Agent"] == "agent"
    assert request.headers["Proxy-Authorization"] == "Basic w6Q6Og=="


def test_answer_in_pieces() -> None:
    answer = ConnectAnswer(PROXY)
    head = b"HTTP/1.1 200 OK\r\nVia: proxy\r\n\r\n"
    assert [answer.feed(head[i : i + 1]) for i in range(len(head))] == [False] * (len(head) - 1) + [True]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "without an answer"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", "302"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101", "before the server"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 33000, "head of more than"),
    ],
)
def test_answer_refused(data: bytes, why: str) -> None:
    with pytest.raises(ProxyError, match=why):
        ConnectAnswer(PROXY).feed(data)


def test_refusal_carries_the_answer() -> None:
    with pytest.raises(ProxyError) as info:
        ConnectAnswer(PROXY).feed(b"HTTP/1.1 407 Nope\r\nProxy-Authenticate: Basic\r\n\r\n")
    cause = info.value.__cause__
    assert isinstance(cause, InvalidStatus)
    assert cause.response.headers["Proxy-Authenticate"] == "Basic"


# Tunnels


async def echoed(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    with sock:
        assert sock.gettimeout() == 0
        await loop.sock_sendall(sock, b"hello")
        return await loop.sock_recv(sock, 100)


def test_tunnel(run: Any) -> None:
    async def main() -> None:
        async with Echo() as echo, HTTPProxy(auth=f"user:{SECRET}") as server:
            proxy = parse_proxy(f"http://user:{SECRET}@127.0.0.1:{server.port}")
            assert (
                await echoed(await connect_tunnel(proxy, "127.0.0.1", echo.port, user_agent="x")) == b"hello"
            )
            assert server.asked == [("127.0.0.1", echo.port)]
            assert server.requests[0].headers["User-Agent"] == "x"

    run(main)


@pytest.mark.parametrize(
    ("answer", "transient"),
    [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", False),
        (b"HTTP/1.1 503 Busy\r\n\r\n", True),
        (b"", False),
        (b"HTTP/1.1 200 OK\r\n", False),
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_tunnel_refused(run: Any, certificates: Any, answer: bytes, transient: bool, secure: bool) -> None:
    async def main() -> None:
        async with HTTPProxy(answer=answer, tls=certificates.server if secure else None) as server:
            proxy = parse_proxy(f"http{'s' * secure}://user:{SECRET}@127.0.0.1:{server.port}")
            with pytest.raises(ProxyError) as info:
                if secure:
                    await connect_tunnel_tls(proxy, "a.example", 80, context=certificates.client)
                else:
                    await connect_tunnel(proxy, "a.example", 80)
            assert SECRET not in str(info.value)
            assert f"127.0.0.1:{server.port}" in str(info.value)
            assert Backoff.is_transient(info.value) is transient

    run(main)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks4"])
def test_proxy_not_there(run: Any, certificates: Any, scheme: str, unused_tcp_port: int) -> None:
    async def main() -> None:
        proxy = parse_proxy(f"{scheme}://127.0.0.1:{unused_tcp_port}")
        with pytest.raises(ProxyError, match=str(unused_tcp_port)) as info:
            if proxy.is_socks:
                await connect_socks(proxy, "127.0.0.1", 80)
            elif scheme == "https":
                await connect_tunnel_tls(proxy, "127.0.0.1", 80, context=certificates.client)
            else:
                await connect_tunnel(proxy, "127.0.0.1", 80)
        assert Backoff.is_transient(info.value)

    run(main)


class Collector(asyncio.Protocol):
    """What comes from a transport."""

    def __init__(self) -> None:
        self.data: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


def test_tunnel_tls(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with Echo() as echo, HTTPProxy(tls=certificates.server) as server:
            proxy = parse_proxy(f"https://localhost:{server.port}")
            transport = await connect_tunnel_tls(proxy, "127.0.0.1", echo.port, context=certificates.client)
            protocol = Collector()
            transport.set_protocol(protocol)
            transport.write(b"hello")
            assert await protocol.data == b"hello"
            transport.close()
            await protocol.lost

    run(main)


def test_tunnel_tls_checks_the_certificate(run: Any, certificates: Any) -> None:
    async def main() -> None:
        async with HTTPProxy(tls=certificates.new_server("other.example")) as server:
            proxy = parse_proxy(f"https://localhost:{server.port}")
            with pytest.raises(ProxyError, match="TLS") as info:
                await connect_tunnel_tls(proxy, "127.0.0.1", 80, context=certificates.client)
            assert isinstance(info.value.__cause__, ssl.SSLCertVerificationError)
            assert not Backoff.is_transient(info.value)

    run(main)


class Silent(LoopbackServer):
    """Accepts, and says nothing."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls=tls)
        self.asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        self.asked.set()
        await reader.read()


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_cancelled(run: Any, certificates: Any, scheme: str) -> None:
    async def main() -> None:
        async with Silent(tls=certificates.server if scheme == "https" else None) as server:
            proxy = parse_proxy(f"{scheme}://127.0.0.1:{server.port}")
            if proxy.is_socks:
                task = asyncio.ensure_future(connect_socks(proxy, "127.0.0.1", 80))
            elif scheme == "http":
                task = asyncio.ensure_future(connect_tunnel(proxy, "127.0.0.1", 80))
            else:
                task = asyncio.ensure_future(
                    connect_tunnel_tls(proxy, "127.0.0.1", 80, context=certificates.client)  # type: ignore[arg-type]
                )
            await server.asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # What it had opened is closed, or the fixture finds it.
            await asyncio.sleep(0)

    run(main)


# SOCKS


@pytest.mark.parametrize(
    ("scheme", "host", "asked", "version"),
    [
        ("socks5", "127.0.0.1", "127.0.0.1", 5),
        ("socks5h", "a.example", "a.example", 5),
        ("socks5h", "127.0.0.1", "127.0.0.1", 5),
        ("socks5", "localhost", "127.0.0.1", 5),
        ("socks4", "127.0.0.1", "127.0.0.1", 4),
        ("socks4a", "a.example", "a.example", 4),
    ],
)
def test_socks(run: Any, scheme: str, host: str, asked: str, version: int) -> None:
    async def main() -> None:
        async with Echo() as echo:
            routes = {(name, echo.port): ("127.0.0.1", echo.port) for name in ("a.example", "::1")}
            async with SocksProxy(routes=routes) as server:
                proxy = parse_proxy(f"{scheme}://127.0.0.1:{server.port}")
                assert await echoed(await connect_socks(proxy, host, echo.port)) == b"hello"
                assert server.versions == [version]
                assert server.asked[0][1] == echo.port
                assert server.asked[0][0] in ({"127.0.0.1", "::1"} if host == "localhost" else {asked})

    run(main)


def test_socks_auth(run: Any) -> None:
    async def main() -> None:
        async with Echo() as echo, SocksProxy(auth=("user", SECRET)) as server:
            proxy = parse_proxy(f"socks5://user:{SECRET}@127.0.0.1:{server.port}")
            assert await echoed(await connect_socks(proxy, "127.0.0.1", echo.port)) == b"hello"
            for wrong in ("", "user:no@"):
                proxy = parse_proxy(f"socks5://{wrong}127.0.0.1:{server.port}")
                with pytest.raises(ProxyError) as info:
                    await connect_socks(proxy, "127.0.0.1", echo.port)
                assert not Backoff.is_transient(info.value)

    run(main)


@pytest.mark.parametrize(
    ("reply", "transient"), [(1, False), (2, False), (3, True), (4, True), (5, True), (6, True)]
)
def test_socks_refused(run: Any, reply: int, transient: bool) -> None:
    async def main() -> None:
        async with SocksProxy(reply=reply) as server:
            proxy = parse_proxy(f"socks5://user:{SECRET}@127.0.0.1:{server.port}")
            with pytest.raises(ProxyError, match="refused") as info:
                await connect_socks(proxy, "127.0.0.1", 80)
            assert Backoff.is_transient(info.value) is transient
            assert SECRET not in str(info.value)

    run(main)


def test_socks4_refused(run: Any) -> None:
    async def main() -> None:
        async with SocksProxy(reply=1) as server:
            with pytest.raises(ProxyError, match="refused"):
                await connect_socks(parse_proxy(f"socks4://127.0.0.1:{server.port}"), "127.0.0.1", 80)

    run(main)


def test_socks_names_the_extra_that_is_missing(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("python_socks"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    async def main() -> None:
        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ProxyError, match=r"everwire\[socks\]"):
            await connect_socks(parse_proxy("socks5://127.0.0.1"), "127.0.0.1", 80)

    run(main)
