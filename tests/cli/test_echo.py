"""``everwire echo`` as a command: what it prints, what it sends back and when, how it ends."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from commands import Program, everwire
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect, unix_connect

if TYPE_CHECKING:
    from conftest import Certificates


@contextlib.contextmanager
def echoing(*args: str | Path) -> Iterator[tuple[Program, str]]:
    """``everwire echo`` on a free port, and its address."""
    with everwire("echo", "--port", "0", *args) as program:
        yield program, program.wait_for(r"wss?://\S+")[0]


def open_socket(url: str, **options: Any) -> ClientConnection:
    opened: ClientConnection = connect(url, proxy=None, **options)
    return opened


def test_messages_come_back_at_any_path() -> None:
    with echoing() as (program, url):
        assert program.output == f"{url}\n"
        for path in ("", "echo", "a/b?c=d"):
            with open_socket(url + path, subprotocols=["chat.v2", "chat.v1"]) as ws:
                assert ws.subprotocol == "chat.v2"
                assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
                for message in ("", "Grüße 👋", b"", b"\x00\xff" * 100_000):
                    ws.send(message)
                    assert ws.recv(timeout=20) == message
        assert program.output == f"{url}\n", "without --verbose it says no more"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_a_signal(number: signal.Signals) -> None:
    with echoing() as (program, url), open_socket(url) as ws:
        assert program.stop(number) == 0
        with pytest.raises(ConnectionClosed, match="1001"):
            ws.recv(timeout=20)
        assert "Traceback" not in program.output


def test_a_delay_is_that_of_each_message() -> None:
    with echoing("--delay", "0.3") as (_, url), open_socket(url) as ws:
        start = time.monotonic()
        for number in range(20):
            ws.send(str(number))
        assert [ws.recv(timeout=20) for _ in range(20)] == [str(number) for number in range(20)]
        assert 0.3 <= time.monotonic() - start < 20 * 0.3


def test_a_client_may_leave_while_messages_wait() -> None:
    with echoing("--delay", "600", "--verbose") as (program, url):
        with open_socket(url) as ws:
            for _ in range(100):
                ws.send("x")
        program.wait_for("#1 closed: ")
        with open_socket(url):
            program.wait_for("#2 open")
        assert program.stop() == 0


def test_verbose_shows_connections_and_messages() -> None:
    with echoing("--verbose") as (program, url):
        with open_socket(url + "room?x=1") as ws:
            port = ws.local_address[1]
            ws.send("hello\x1b[31m\n")
            ws.send("x" * 5000)
            ws.send(bytes(range(200)))
            assert len([ws.recv(timeout=20) for _ in range(3)]) == 3
        program.wait_for(r"#1 closed: received 1000 \(normal closure\)")
    assert f"#1 open from 127.0.0.1 port {port}: /room?x=1" in program.output
    assert "text 11 B  hello\\x1b[31m\\n" in program.output
    assert f"text 4.9 KiB  {'x' * 100}…" in program.output
    assert "binary 200 B  00 01 02" in program.output
    assert max(len(line) for line in program.output.splitlines()) < 300


def test_limits_and_compression() -> None:
    with (
        echoing("--max-size", "1KiB", "--no-compression") as (_, url),
        open_socket(url, max_size=None) as ws,
    ):
        assert "Sec-WebSocket-Extensions" not in ws.response.headers
        ws.send(b"x" * 1025)
        with pytest.raises(ConnectionClosed, match="1009"):
            ws.recv(timeout=20)


def test_pages_of_other_origins_need_the_option() -> None:
    with echoing() as (_, url), pytest.raises(InvalidStatus, match="403"):
        open_socket(url, origin="https://example.com")
    with echoing("--origins", "*") as (_, url), open_socket(url, origin="https://example.com") as ws:
        ws.send("hello")
        assert ws.recv(timeout=20) == "hello"


def test_tls(certificates: Certificates) -> None:
    files = ("--ssl-cert", certificates.cert_file, "--ssl-key", certificates.key_file)
    with echoing(*files) as (_, url), open_socket(url, ssl=certificates.client) as ws:
        assert url.startswith("wss://127.0.0.1:")
        ws.send("secret")
        assert ws.recv(timeout=20) == "secret"


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with everwire("echo", "--unix", path) as program:
        program.wait_for(str(path))
        with unix_connect(str(path), "ws://localhost/") as ws:
            ws.send("near")
            assert ws.recv(timeout=20) == "near"
        assert program.stop() == 0


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with everwire("echo", f"127.0.0.1:{port}") as program:
            assert program.wait() == 1
    assert program.output.startswith(f"everwire: port {port} of 127.0.0.1 is in use")
    assert f"for example: everwire echo --port {port + 1}" in program.output
