"""What curl gets from a WebSocket server: the answers of HTTP, and the opening handshake."""

from __future__ import annotations

import asyncio
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Certificates, Run
from live import HOST, both_styles, echo, serve_echo
from raw import KEY, accept_value

import everwire
from interop.programs import find

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


class Answer(NamedTuple):
    """What curl printed."""

    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes


@pytest.fixture(scope="module")
def program() -> str:
    """The path of curl."""
    return find("curl")


async def curl(program: str, *arguments: str, check: bool = True, **headers: str) -> Answer:
    """Run curl; headers have underscores for dashes."""
    command = [program, "--silent", "--show-error", "--include", "--max-time", "15", "--noproxy", "*"]
    for name, value in headers.items():
        command += ["--header", f"{name.replace('_', '-')}: {value}"]
    done = await asyncio.to_thread(
        subprocess.run, [*command, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert not check or done.returncode == 0, done.stderr.decode()
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":")[::2] for line in lines)
    return Answer(int(start.split()[1]), {name.lower(): value.strip() for name, value in pairs}, body)


def url(server: everwire.Server, path: str = "/", scheme: str = "http") -> str:
    """The URL of a server."""
    return f"{scheme}://{HOST}:{server.port}{path}"


@both_styles
def test_a_request_that_is_no_handshake(run: Run, program: str, style: str) -> None:
    async def main() -> None:
        async with serve_echo(style) as server:
            answer = await curl(program, url(server))
            assert answer.status == 426
            assert answer.headers["upgrade"] == "websocket"
            assert "upgrade" in answer.headers["connection"].lower()
            assert answer.headers["sec-websocket-version"] == "13"
            assert answer.headers["content-type"].startswith("text/plain")
            assert int(answer.headers["content-length"]) == len(answer.body) > 0

    run(main)


@pytest.mark.parametrize(
    ("arguments", "status", "header", "value"),
    [
        (["--head"], 405, "allow", "GET"),
        (["--data", "x=1"], 405, "allow", "GET"),
        (["--request", "DELETE"], 405, "allow", "GET"),
        (["--http2"], 426, "upgrade", "websocket"),
        (["--user-agent", "x" * 30_000], 426, "upgrade", "websocket"),
        (["--user-agent", "x" * 40_000], 431, "connection", "close"),
        (
            ["--compressed", "--range", "0-10", "--referer", "http://example.com/"],
            426,
            "upgrade",
            "websocket",
        ),
    ],
    ids=lambda value: value[0][:20] if isinstance(value, list) else "",
)
def test_kinds_of_requests(
    run: Run, program: str, arguments: list[str], status: int, header: str, value: str
) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            answer = await curl(program, *arguments, url(server))
            assert answer.status == status
            assert answer.headers[header] == value

    run(main)


def test_a_request_of_http_1_0(run: Run, program: str) -> None:
    def health(ws: everwire.Connection, request: everwire.Request) -> everwire.Response | None:
        return everwire.Response.of(200, "fine\n") if request.path == "/health" else None

    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, process_request=health) as server:
            assert (await curl(program, "--http1.0", url(server))).status == 505
            # Load balancers ask so whether a server is well.
            assert (await curl(program, "--http1.0", url(server, "/health"))).body == b"fine\n"

    run(main)


def test_a_long_url(run: Run, program: str) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            assert (await curl(program, url(server, "/" + "x" * 20_000))).status == 414

    run(main)


@pytest.mark.parametrize("expect", ["100-continue", ""])
def test_a_large_upload_is_answered(run: Run, program: str, tmp_path: Path, expect: str) -> None:
    file = tmp_path / "large"
    file.write_bytes(bytes(8 << 20))

    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            answer = await curl(program, "--data-binary", f"@{file}", url(server), Expect=expect)
            assert answer.status == 405

    run(main)


def test_http_2_is_not_spoken(run: Run, program: str) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            with pytest.raises(AssertionError, match="curl"):
                await curl(program, "--http2-prior-knowledge", url(server))
            assert (await curl(program, url(server))).status == 426

    run(main)


def test_one_request_after_the_other(run: Run, program: str) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            answer = await curl(program, *[url(server, f"/{i}") for i in range(5)])
            assert answer.body.count(b"HTTP/1.1 426") == 4

    run(main)


@both_styles
def test_the_handshake(run: Run, program: str, style: str) -> None:
    class Greeter(everwire.Listener):
        def on_open(self, ws: everwire.Connection) -> None:
            ws.send_nowait("hello")
            ws.close(4000, "bye")

    async def greet(ws: everwire.Connection) -> None:
        await ws.send("hello")
        ws.close(4000, "bye")

    async def main() -> None:
        handler = greet if style == "coroutine" else Greeter()
        # curl never answers the close frame.
        async with everwire.serve(handler, HOST, 0, close_timeout=0.2) as server:
            answer = await curl(program, url(server), **HANDSHAKE, check=False)
            assert answer.status == 101
            assert answer.headers["sec-websocket-accept"] == accept_value(KEY)
            assert answer.headers["upgrade"] == "websocket"
            assert answer.headers["connection"] == "Upgrade"
            assert answer.body == b"\x81\x05hello" + b"\x88\x05\x0f\xa0bye"

    run(main)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Upgrade": "h2c"}, 426),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Host": "a b"}, 400),
    ],
    ids=str,
)
def test_a_wrong_handshake(run: Run, program: str, changed: dict[str, str], status: int) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            answer = await curl(program, url(server), **{**HANDSHAKE, **changed})
            assert answer.status == status
            assert answer.body

    run(main)


def test_basic_authentication(run: Run, program: str) -> None:
    options: dict[str, Any] = {
        "basic_auth": everwire.basic_auth(credentials=("näme", "wörd: x"), realm="the realm"),
    }

    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, **options) as server:
            for arguments, status in (
                ([], 401),
                (["--user", "näme:wrong"], 401),
                (["--user", "näme:wörd: x"], 426),
            ):
                answer = await curl(program, *arguments, url(server))
                assert answer.status == status
                if status == 401:
                    assert answer.headers["www-authenticate"].startswith('Basic realm="the realm"')

    run(main)


def test_pages_of_the_application(run: Run, program: str, certificates: Certificates) -> None:
    async def page(ws: everwire.Connection, request: everwire.Request) -> everwire.Response | None:
        if request.pathname != "/page":
            return None
        return everwire.Response.of(200, "<p>Grüße", {"Content-Type": "text/html; charset=utf-8"})

    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, process_request=page, ssl=certificates.server) as server:
            trust = ["--cacert", str(certificates.ca_file)]
            answer = await curl(program, *trust, "--http2", url(server, "/page?x=1", "https"))
            assert (answer.status, answer.body.decode()) == (200, "<p>Grüße")
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            answer = await curl(program, *trust, "--head", url(server, "/page", "https"))
            assert (answer.status, answer.body) == (200, b"")
            assert int(answer.headers["content-length"]) == len("<p>Grüße".encode())
            assert (await curl(program, *trust, url(server, "/other", "https"))).status == 426

    run(main)


def test_over_a_unix_socket(run: Run, program: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        async with everwire.serve(echo, unix=path):
            answer = await curl(program, "--unix-socket", str(path), "http://localhost/")
            assert answer.status == 426

    run(main)


@cache
def _speaks_websocket(program: str) -> bool:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    [protocols] = [line for line in said.splitlines() if line.startswith("Protocols:")]
    return "ws" in protocols.split()


def test_a_url_of_websocket(run: Run, program: str) -> None:
    """A curl that knows ws:// opens a connection and prints what comes; one that does not says so."""

    async def greet(ws: everwire.Connection) -> None:
        await ws.send("hello")

    async def main() -> None:
        async with everwire.serve(greet, HOST, 0) as server:
            command = [program, "--silent", "--show-error", "--max-time", "15", url(server, "/", "ws")]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
            if _speaks_websocket(program):
                assert done.stdout == b"hello", done.stderr
            else:
                assert b"not supported" in done.stderr

    run(main)
