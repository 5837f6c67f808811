"""everwire.connect through real forward proxies, from options and from the environment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import Certificates, Run
from live import HOST, echo, idle

import everwire
from interop import ways
from interop.programs import free_port

NOISE = random.Random(9).randbytes(1 << 20)

VARIABLES = ("ws_proxy", "wss_proxy", "socks_proxy", "http_proxy", "https_proxy", "all_proxy", "no_proxy")

both_schemes = pytest.mark.parametrize("scheme", ["ws", "wss"])

UriOf = Callable[[str], str]


@pytest.fixture(scope="session")
def uri_of(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[UriOf]:
    """The URIs of proxies by their names in ways.py; each program is started when it is first asked for."""
    with ExitStack() as stack:
        known: dict[str, str] = {}

        def get(name: str) -> str:
            if name not in known:
                program = ways.PROGRAMS[name]
                known.update(stack.enter_context(program(tmp_path_factory.mktemp(name), certificates)))
            return known[name]

        yield get


@pytest.fixture
def proxy(request: pytest.FixtureRequest, uri_of: UriOf) -> str:
    """The URI of a proxy; started before the test looks for what it leaves behind."""
    return uri_of(request.param)


def through(*names: str) -> pytest.MarkDecorator:
    """Run a test with each of these proxies."""
    return pytest.mark.parametrize("proxy", names, indirect=True)


HTTP = ("squid", "squid-auth", "squid-tls", "tinyproxy", "tinyproxy-auth")
SOCKS = (
    "microsocks-socks5",
    "microsocks-socks5h",
    "microsocks-auth",
    "dante-socks4",
    "dante-socks5",
    "dante-socks5h",
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing about proxies, to begin with."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def serve(certificates: Certificates, scheme: str, handler: Any = echo) -> everwire.serve:
    """The server that is connected to."""
    context = certificates.server if scheme == "wss" else None
    return everwire.serve(handler, HOST, 0, ssl=context, max_size=None)


def connect(
    certificates: Certificates, scheme: str, port: int, *, host: str = HOST, **options: Any
) -> everwire.connect:
    """A connection, to be made through a proxy."""
    context = certificates.client if scheme == "wss" else None
    options = {"max_size": None, "proxy_ssl": certificates.client, "server_hostname": "localhost", **options}
    return everwire.connect(f"{scheme}://{host}:{port}/", ssl=context, **options)


def came_through(server: everwire.Server) -> bool:
    """Whether the server's only connection was made by a proxy, as its address tells."""
    [theirs] = server.connections
    return bool(theirs.remote_address[0] == ways.OUTGOING)


async def check_echo(ws: everwire.Connection) -> None:
    """Messages of many sizes, a ping, an orderly end."""
    messages = ["", b"", "Grüße, 你好 👋🏽", b"x" * 126, NOISE[:65_536], NOISE]
    sending = asyncio.gather(*(ws.send(message) for message in messages))
    assert [await ws.recv() for _ in messages] == messages
    await sending
    assert 0 < await ws.ping() < 10
    await ws.close(4000, "done")
    assert ws.close_code == 4000


@both_schemes
@through(*HTTP, *SOCKS)
def test_by_option(
    run: Run, request: pytest.FixtureRequest, certificates: Certificates, proxy: str, scheme: str
) -> None:
    async def main() -> None:
        async with (
            serve(certificates, scheme) as server,
            connect(certificates, scheme, server.port, proxy=proxy) as ws,
        ):
            # Dante connects only from addresses that an interface has.
            assert came_through(server) or "dante" in request.node.callspec.id
            await check_echo(ws)

    run(main)


@both_schemes
@through("squid", "squid-auth", "squid-tls")
def test_a_name_that_only_the_proxy_knows(
    run: Run, certificates: Certificates, proxy: str, scheme: str
) -> None:
    async def main() -> None:
        async with (
            serve(certificates, scheme) as server,
            connect(certificates, scheme, server.port, host=ways.NAME, proxy=proxy) as ws,
        ):
            assert came_through(server)
            assert ws.request.headers["Host"] == f"{ways.NAME}:{server.port}"
            await check_echo(ws)

    run(main)


@through("microsocks-socks5h", "dante-socks5h")
def test_a_name_that_a_socks_proxy_resolves(run: Run, certificates: Certificates, proxy: str) -> None:
    async def main() -> None:
        async with (
            serve(certificates, "wss") as server,
            connect(certificates, "wss", server.port, host="localhost", proxy=proxy) as ws,
        ):
            await check_echo(ws)

    run(main)


@through("squid", "squid-tls", "microsocks-socks5h")
def test_a_message_of_32_mib(run: Run, certificates: Certificates, proxy: str) -> None:
    large = NOISE * 32

    async def main() -> None:
        async with (
            serve(certificates, "wss") as server,
            connect(certificates, "wss", server.port, proxy=proxy, compression=None) as ws,
        ):
            sending = asyncio.create_task(ws.send(large))
            assert await ws.recv() == large
            await sending

    run(main)


@pytest.mark.parametrize(
    ("variable", "scheme"),
    [
        ("ws_proxy", "ws"),
        ("wss_proxy", "wss"),
        ("https_proxy", "wss"),
        ("https_proxy", "ws"),
        ("http_proxy", "ws"),
        ("all_proxy", "ws"),
        ("all_proxy", "wss"),
        ("HTTPS_PROXY", "wss"),
        ("ALL_PROXY", "ws"),
    ],
)
@through("squid-auth", "tinyproxy", "microsocks-socks5")
def test_by_environment(
    run: Run,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    proxy: str,
    variable: str,
    scheme: str,
) -> None:
    monkeypatch.setenv(variable, proxy)
    monkeypatch.setenv("NO_PROXY", "elsewhere.test, .other.test,10.0.0.0/8")

    async def main() -> None:
        async with (
            serve(certificates, scheme) as server,
            # The name is not resolved; were it the loopback address, no proxy would be used.
            everwire.connect(
                f"{scheme}://{ways.NAME}:{server.port}/",
                host=HOST,
                ssl=certificates.client if scheme == "wss" else None,
                server_hostname="localhost",
                max_size=None,
            ) as ws,
        ):
            assert came_through(server)
            await check_echo(ws)

    run(main)


@through("microsocks-socks5h", "microsocks-auth")
@pytest.mark.parametrize("written", ["uri", "authority"])
def test_socks_by_environment(
    run: Run, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, proxy: str, written: str
) -> None:
    monkeypatch.setenv("SOCKS_PROXY", proxy if written == "uri" else proxy.partition("://")[2])
    # SOCKS is preferred to HTTP (RFC 6455, section 4.1).
    monkeypatch.setenv("https_proxy", f"http://{HOST}:{free_port()}")

    async def main() -> None:
        async with (
            serve(certificates, "ws") as server,
            everwire.connect(f"ws://{ways.NAME}:{server.port}/", host=HOST, max_size=None) as ws,
        ):
            assert came_through(server)
            await check_echo(ws)

    run(main)


@pytest.mark.parametrize("exempt", [ways.NAME, ".test", "*", "elsewhere.test, EVERWIRE.test"])
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_exempt_by_environment(
    run: Run, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, variable: str, exempt: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://{HOST}:{free_port()}")
    monkeypatch.setenv(variable, exempt)

    async def main() -> None:
        async with serve(certificates, "ws") as server:
            uri = f"ws://{ways.NAME}:{server.port}/"
            async with everwire.connect(uri, host=HOST, max_size=None) as ws:
                [theirs] = server.connections
                assert theirs.remote_address[0] == HOST
                await check_echo(ws)
            # Without the exemption there is no way: nothing listens where the proxy should be.
            monkeypatch.delenv(variable)
            with pytest.raises(everwire.ProxyError, match="cannot connect to the proxy"):
                await everwire.connect(uri, host=HOST)

    run(main)


@pytest.mark.parametrize("credentials", ["", "name:wrong@", "name:@", "n%C3%A4me:wrong@"])
@through("squid-auth", "tinyproxy-auth", "microsocks-auth")
def test_without_the_password(run: Run, certificates: Certificates, proxy: str, credentials: str) -> None:
    scheme, _, rest = proxy.partition("://")
    uri = f"{scheme}://{credentials}{rest.rpartition('@')[2]}"

    async def main() -> None:
        async with serve(certificates, "ws", idle) as server:
            with pytest.raises(everwire.ProxyError) as caught:
                await connect(certificates, "ws", server.port, proxy=uri)
            if scheme == "http":
                cause = caught.value.__cause__
                assert isinstance(cause, everwire.InvalidStatus)
                assert cause.response.status in (401, 407)
            assert "wrong" not in str(caught.value)
            assert server.connections == []

    run(main)


@through("squid", "squid-tls")
def test_a_host_that_the_proxy_forbids(run: Run, certificates: Certificates, proxy: str) -> None:
    async def main() -> None:
        with pytest.raises(everwire.ProxyError, match="403"):
            await connect(certificates, "ws", 80, host=ways.FORBIDDEN, proxy=proxy)

    run(main)


@through("squid", "squid-tls", "tinyproxy", "microsocks-socks5", "dante-socks4", "dante-socks5")
def test_no_server_behind_the_proxy(run: Run, certificates: Certificates, proxy: str) -> None:
    nobody = free_port()

    async def main() -> None:
        with pytest.raises(everwire.ProxyError) as caught:
            await connect(certificates, "ws", nobody, proxy=proxy)
        if proxy.startswith("socks5"):
            assert isinstance(caught.value.__cause__, ConnectionRefusedError)

    run(main)


def test_a_proxy_that_is_not_trusted(run: Run, certificates: Certificates, uri_of: UriOf) -> None:
    proxy = uri_of("squid-tls")

    async def main() -> None:
        with pytest.raises(everwire.ProxyError, match="no TLS connection to the proxy"):
            await everwire.connect("ws://127.0.0.1:9/", proxy=proxy)

    run(main)


def test_one_connection_dropped_with_its_proxy(run: Run, certificates: Certificates, tmp_path: Path) -> None:
    async def main() -> None:
        with ExitStack() as stack:
            uris = stack.enter_context(ways.microsocks(tmp_path, certificates))
            async with serve(certificates, "ws", idle) as server:
                ws = await connect(certificates, "ws", server.port, proxy=uris["microsocks-socks5"])
                stack.close()
                await ws.wait_closed()
                assert ws.close_code == 1006

    run(main)
