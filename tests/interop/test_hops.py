"""everwire behind nginx and Caddy, with itself and with other clients in front, in the clear and with TLS."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Certificates, Run
from live import Recorder, both_styles, echo

import everwire
from interop.hops import Hop, hop
from interop.peers.messages import Digest, Message, Repeated
from interop.peers.remote import PeerError, controlling

NOISE = random.Random(5).randbytes(1 << 20)

both_schemes = pytest.mark.parametrize("scheme", ["ws", "wss"])


@pytest.fixture(scope="session", params=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[Hop]:
    """A proxy, in front of the places where the tests' servers listen."""
    with hop(request.param, tmp_path_factory.mktemp(request.param), certificates) as running:
        yield running


def serve(proxy: Hop, handler: Any = echo, **options: Any) -> everwire.serve:
    """A server behind the proxy."""
    return everwire.serve(handler, sock=proxy.behind.tcp.dup(), **{"max_size": None, **options})


def connect(
    proxy: Hop, certificates: Certificates, scheme: str = "ws", path: str = "/", **options: Any
) -> everwire.connect:
    """A connection to the proxy."""
    context: ssl.SSLContext | None = certificates.client if scheme == "wss" else None
    return everwire.connect(proxy.uri(scheme, path), ssl=context, proxy=None, max_size=None, **options)


async def check_echo(ws: everwire.Connection) -> None:
    """Messages of many sizes and kinds, some of them on their way at once."""
    messages: list[Message] = [
        "",
        b"",
        "Grüße, 你好 👋🏽",
        b"x" * 125,
        b"x" * 126,
        NOISE[:65_536],
        NOISE,
        "y" * 100_000,
    ]

    async def send() -> None:
        for message in messages:
            await ws.send(message)
        await ws.send(["in ", "", "fragments"])

    sending = asyncio.create_task(send())
    assert [await ws.recv() for _ in messages] == messages
    assert await ws.recv() == "in fragments"
    await sending


@both_schemes
@both_styles
@pytest.mark.parametrize(
    "compression", [None, everwire.Deflate(context_takeover=True)], ids=["plain", "deflate"]
)
def test_messages(
    run: Run,
    proxy: Hop,
    certificates: Certificates,
    scheme: str,
    style: str,
    compression: everwire.Deflate | None,
) -> None:
    async def main() -> None:
        sock = proxy.behind.tcp.dup()
        options: dict[str, Any] = {"max_size": None, "compression": compression}
        async with (
            everwire.serve(echo if style == "coroutine" else Back(), sock=sock, **options),
            connect(proxy, certificates, scheme, compression=compression) as ws,
        ):
            assert ws.response is not None
            assert ("Sec-WebSocket-Extensions" in ws.response.headers) == (compression is not None)
            await check_echo(ws)
            assert 0 < await ws.ping() < 10

    run(main)


class Back(everwire.Listener):
    """Sends back what comes."""

    def on_message(self, ws: everwire.Connection, message: Message) -> None:
        ws.send_nowait(message)


@both_schemes
def test_over_a_unix_socket(run: Run, proxy: Hop, certificates: Certificates, scheme: str) -> None:
    async def main() -> None:
        async with (
            everwire.serve(echo, unix=proxy.behind.unix, max_size=None),
            connect(proxy, certificates, scheme, "/unix") as ws,
        ):
            await check_echo(ws)

    run(main)


@both_schemes
def test_with_tls_behind_the_proxy_too(run: Run, proxy: Hop, certificates: Certificates, scheme: str) -> None:
    async def main() -> None:
        sock = proxy.behind.tls.dup()
        async with (
            everwire.serve(echo, sock=sock, ssl=certificates.server, max_size=None),
            connect(proxy, certificates, scheme, "/tls") as ws,
        ):
            await check_echo(ws)

    run(main)


@both_schemes
def test_what_the_server_learns(run: Run, proxy: Hop, certificates: Certificates, scheme: str) -> None:
    seen: list[everwire.Request] = []

    async def handler(ws: everwire.Connection) -> None:
        seen.append(ws.request)

    async def main() -> None:
        async with (
            serve(proxy, handler, subprotocols=["chat.v1"]),
            connect(
                proxy,
                certificates,
                scheme,
                "/room/%C3%A9?a=1&b=%20",
                subprotocols=["chat.v2", "chat.v1"],
                additional_headers={"Cookie": "id=7", "Authorization": "Bearer x"},
            ) as ws,
        ):
            assert ws.subprotocol == "chat.v1"
            await ws.wait_closed()

    run(main)
    [request] = seen
    assert request.path == "/room/%C3%A9?a=1&b=%20"
    assert request.headers["Host"] == proxy.authority(scheme)
    assert request.headers["X-Forwarded-For"] == "127.0.0.1"
    assert request.headers["X-Forwarded-Proto"] in (scheme, {"ws": "http", "wss": "https"}[scheme])
    assert (request.headers["Cookie"], request.headers["Authorization"]) == ("id=7", "Bearer x")


@both_schemes
def test_origins(run: Run, proxy: Hop, certificates: Certificates, scheme: str) -> None:
    page = {"ws": "http", "wss": "https"}[scheme]

    async def main() -> None:
        async with serve(proxy):
            origin = f"{page}://{proxy.authority(scheme)}"
            async with connect(proxy, certificates, scheme, origin=origin) as ws:
                await ws.send("same origin")
                assert await ws.recv() == "same origin"
            with pytest.raises(everwire.InvalidStatus, match="403"):
                await connect(proxy, certificates, scheme, origin=f"{page}://elsewhere.example")

    run(main)


@both_schemes
@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (4999, "adiós, 再见 👋")])
def test_closing(
    run: Run, proxy: Hop, certificates: Certificates, scheme: str, code: int, reason: str
) -> None:
    async def main() -> None:
        for closer in ("server", "client"):
            recorder = Recorder()
            async with serve(proxy, recorder):
                ws = await connect(proxy, certificates, scheme)
                theirs = await recorder.opened
                await (theirs if closer == "server" else ws).close(code, reason)
                await ws.wait_closed()
                closed = await recorder.closed
                # The one that did not close has seen the reason; the answer to it repeats the code only.
                assert (ws.close_code, closed[0]) == (code, code)
                assert (ws.close_reason if closer == "server" else closed[1]) == reason

    run(main)


@pytest.mark.parametrize("vanishing", ["server", "client"])
def test_an_end_without_a_close_frame(
    run: Run, proxy: Hop, certificates: Certificates, vanishing: str
) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with serve(proxy, recorder):
            ws = await connect(proxy, certificates)
            (await recorder.opened if vanishing == "server" else ws).abort()
            await ws.wait_closed()
            assert ws.close_code == 1006
            assert (await recorder.closed)[0] == 1006

    run(main)


def test_no_server_behind_it(run: Run, proxy: Hop, certificates: Certificates) -> None:
    async def main() -> None:
        with pytest.raises(everwire.InvalidStatus) as caught:
            await connect(proxy, certificates, path="/gone")
        assert caught.value.response.status == 502

    run(main)


def test_plain_requests_and_refusals(run: Run, proxy: Hop, certificates: Certificates) -> None:
    def page(ws: everwire.Connection, request: everwire.Request) -> everwire.Response | None:
        if request.pathname == "/health":
            return everwire.Response.of(200, "fine\n")
        return (
            everwire.Response.of(401, "who?\n", {"WWW-Authenticate": "Bearer"})
            if request.path == "/401"
            else None
        )

    async def main() -> None:
        async with serve(proxy, process_request=page):
            for path, status in (("/health", 200), ("/401", 401)):
                with pytest.raises(everwire.InvalidStatus) as caught:
                    await connect(proxy, certificates, path=path)
                assert caught.value.response.status == status
                assert caught.value.response.body in (b"fine\n", b"who?\n")

    run(main)


@pytest.mark.parametrize("proxy", ["nginx"], indirect=True)
def test_pings_keep_a_silent_connection_open(run: Run, proxy: Hop, certificates: Certificates) -> None:
    async def main() -> None:
        async with serve(proxy, ping_interval=None):
            path = "/impatient"  # where the proxy drops what is silent for a second
            async with connect(proxy, certificates, path=path, ping_interval=0.2) as kept:
                dropped = await connect(proxy, certificates, path=path, ping_interval=None)
                await dropped.wait_closed()
                assert dropped.close_code == 1006
                await kept.send("still there")
                assert await kept.recv() == "still there"

    run(main)


@both_schemes
def test_a_message_of_32_mib(run: Run, proxy: Hop, certificates: Certificates, scheme: str) -> None:
    large = NOISE * 32

    async def main() -> None:
        async with serve(proxy, compression=None), connect(proxy, certificates, scheme) as ws:
            sending = asyncio.create_task(ws.send(large))
            assert await ws.recv() == large
            await sending

    run(main)


def test_many_connections_at_once(run: Run, proxy: Hop, certificates: Certificates) -> None:
    async def main() -> None:
        async with serve(proxy) as server:
            clients = await asyncio.gather(*(connect(proxy, certificates) for _ in range(100)))
            assert len(server.connections) == 100
            for n, client in enumerate(clients):
                await client.send(f"{n}")
            assert [await client.recv() for client in clients] == [f"{n}" for n in range(100)]
            await asyncio.gather(*(client.close() for client in clients))

    run(main)


@both_schemes
def test_other_clients(
    run: Run, proxy: Hop, certificates: Certificates, port: int, library: str, scheme: str
) -> None:
    large = Repeated(NOISE, 4)
    page = {"ws": "http", "wss": "https"}[scheme]
    ca = str(certificates.ca_file) if scheme == "wss" else None

    async def main() -> None:
        async with controlling(port) as peer, serve(proxy, subprotocols=["chat.v1"]):
            theirs = await peer.connect(
                proxy.uri(scheme),
                ca=ca,
                origin=f"{page}://{proxy.authority(scheme)}",
                subprotocols=["chat.v1"],
            )
            assert theirs.subprotocol == "chat.v1"
            await theirs.send("text", b"binary", large)
            assert await theirs.receive(3) == ["text", b"binary", Digest.of(large.message)]
            await theirs.ping("there?")
            await theirs.close(1000, "done")
            with pytest.raises(PeerError, match="403"):
                await peer.connect(proxy.uri(scheme), ca=ca, origin="http://elsewhere.example")

    run(main)
