"""``everwire bench`` as a command: what it measures, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
import typer.core
import typer.main
from commands import Program
from commands import everwire as command
from docs.pages import DOCS, tables
from live import HOST
from typer.testing import CliRunner

import everwire
from everwire.cli.app import app

if TYPE_CHECKING:
    from conftest import Certificates

SHORT = ("--duration", "0.2", "--warmup", "0.1")


class Counting(everwire.Listener):
    """Echoes at /echo, sends to all at /fan, and counts; what else a path means its name says."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.opened = self.closed = 0
        self.heads: list[everwire.Request] = []
        self.topic = everwire.Topic()
        self.codes: list[int] = []
        self.compressed = 0

    def on_open(self, ws: everwire.Connection) -> None:
        self.opened += 1
        self.heads.append(ws.request)
        ws.data = ws.request.pathname
        if ws.data == "/fan":
            self.topic.add(ws)
        elif ws.data == "/push":
            asyncio.get_running_loop().call_later(0.002, self.push, ws)

    def push(self, ws: everwire.Connection) -> None:
        with contextlib.suppress(everwire.ConnectionClosed):
            ws.send_nowait("tick")
            asyncio.get_running_loop().call_later(0.002, self.push, ws)

    def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
        self.messages.append(message)
        if ws.data == "/fan":
            self.topic.publish(message)
        elif ws.data == "/wrong":
            ws.send_nowait(message[::-1])
        elif ws.data == "/short":
            ws.send_nowait(message[1:])
        elif ws.data == "/leave":
            ws.close(1011, "a defect")
        elif ws.data == "/crash":
            ws.abort()
        elif ws.data != "/mute":
            ws.send_nowait(message)

    def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
        self.closed += 1
        self.codes.append(code)


class Target:
    """A server in a thread of its own, to put under load."""

    def __init__(self, listener: Counting, url: str) -> None:
        self.listener = listener
        self.url = url


@contextlib.contextmanager
def target(**options: Any) -> Iterator[Target]:
    """A server on the loopback interface, until the block ends."""
    listener = Counting()
    started: Future[tuple[int, Callable[[], object]]] = Future()

    async def main() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with everwire.serve(listener, HOST, 0, close_timeout=1, **options) as server:
            started.set_result((server.port, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    port, stop = started.result(10)
    try:
        yield Target(listener, f"{'wss' if options.get('ssl') else 'ws'}://{HOST}:{port}")
    finally:
        stop()
        thread.join(10)


@pytest.fixture(scope="module")
def server() -> Iterator[Target]:
    """One for the tests that do not mind others."""
    with target() as found:
        yield found


def measure(url: str, *args: str | Path, status: int = 0) -> tuple[dict[str, Any], Program]:
    """Run it to its end, and return the results as JSON, and the program."""
    with command("bench", url, *SHORT, "--json", "-", *args) as program:
        assert program.wait() == status, program.output
    results: dict[str, Any] = json.loads(program.output[program.output.index("{") :])
    return results, program


@pytest.mark.parametrize("processes", [1, 2])
def test_as_many_messages_are_reported_as_the_server_counts(processes: int) -> None:
    with target() as server:
        results, _ = measure(
            f"{server.url}/echo", "-c", "5", "-d", "3", "--size", "100", "-p", str(processes)
        )
        counted = len(server.listener.messages)
        assert results["total"] == {"sent": counted, "received": counted}
        assert 100 < results["received"] < counted, "the warm-up is left out"
        assert results["received_per_s"] == pytest.approx(
            results["received"] / results["duration_s"], rel=0.05
        )
        assert results["duration_s"] == pytest.approx(0.2, abs=0.1)
        assert results["connections"] == {"wanted": 5, "opened": 5}
        assert server.listener.opened == 5
        assert server.listener.codes == [1000] * 5, "the closing handshakes were left out"
        assert {len(message) for message in server.listener.messages} == {100}
        latency = results["latency_us"]
        order = [latency[name] for name in ("min", "p50", "p90", "p99", "p99.9", "max")]
        assert order == sorted(order)
        assert order[0] > 0
        assert results["errors"] == {}
        assert results["series"]


def test_the_report_is_for_people(server: Target) -> None:
    with command("bench", f"{server.url}/echo", *SHORT, "-c", "2") as program:
        assert program.wait() == 0
    text = program.output
    assert text.startswith(f"everwire bench {server.url}/echo\n")
    assert "echo, 2 connections, text of 64 B, 1 under way each, as fast as answers come" in text
    assert re.search(r"connections +2 +opened", text)
    assert re.search(r"messages +[\d,]+ +received in 0\.\d s", text)
    assert re.search(r"errors +0", text)
    for name in ("p50", "p90", "p99", "p99.9", "max"):
        assert re.search(rf"^{re.escape(name)} +[\d.]+ (ns|µs|ms|s) +━+", text, re.MULTILINE), name


def test_a_terminal_gets_a_display(server: Target) -> None:
    args = ("bench", f"{server.url}/echo", "--duration", "1.2", "--warmup", "0.1")
    with command(*args, terminal=True) as program:
        program.wait_for("Ctrl-C ends it early")
        program.wait_for("measuring")
        program.wait_for("messages/s")
        program.wait_for(r"p99\.9")
        assert program.wait() == 0


@pytest.mark.parametrize("stamped", [True, False])
def test_contents_are_checked(server: Target, stamped: bool) -> None:
    size = ("--size", "1KiB") if stamped else ("--message", "hello")
    results, _ = measure(f"{server.url}/echo", "--check", *size)
    assert results["errors"] == {}
    results, program = measure(f"{server.url}/wrong", "--check", *size, status=1)
    assert list(results["errors"]) == ["wrong content"]
    assert "mixes up" in results["errors"]["wrong content"]["hint"]
    assert "x wrong content: this came back" in program.output


def test_sizes_are_always_checked(server: Target) -> None:
    results, _ = measure(f"{server.url}/short", status=1)
    assert list(results["errors"]) == ["wrong size"]
    assert results["errors"]["wrong size"]["example"].startswith("63 bytes came back for 64")
    assert results["received"] == 0


def test_errors_can_be_allowed(server: Target) -> None:
    results, _ = measure(f"{server.url}/short", "--allow-errors")
    assert results["errors"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fan_out(processes: int) -> None:
    with target() as server:
        url = f"{server.url}/fan"
        results, _ = measure(url, "--mode", "fanout", "-c", "10", "--check", "-p", str(processes))
        sent = len(server.listener.messages)
        assert results["total"] == {"sent": sent, "received": 10 * sent}
        assert sent > 10
        assert results["errors"] == {}


def test_what_the_server_pushes(server: Target) -> None:
    results, _ = measure(f"{server.url}/push", "--mode", "push", "-c", "3")
    assert results["total"]["sent"] == 0
    assert results["received"] > 30
    assert results["latency_us"]["p50"] > 1000


def test_idle_connections() -> None:
    with target() as server:
        results, _ = measure(f"{server.url}/echo", "--mode", "idle", "-c", "150")
        assert server.listener.opened == 150
        assert server.listener.messages == []
    assert results["connections"]["opened"] == 150
    assert results["openings_per_s"] > 0
    assert results["opening_us"]["p50"] > 0


def test_connections_can_be_opened_slowly(server: Target) -> None:
    results, _ = measure(f"{server.url}/echo", "--ramp", "0.4", "-c", "4", "-p", "2")
    assert results["openings_per_s"] < 4 / 0.25


def test_a_rate(server: Target) -> None:
    results, _ = measure(f"{server.url}/echo", "--rate", "200", "-c", "4", "-p", "2", "-d", "10")
    assert results["total"]["sent"] <= 200 * 0.3 + 20
    assert results["sent_per_s"] == pytest.approx(200, rel=0.4)


def test_a_rate_out_of_reach_is_said(server: Target) -> None:
    with command("bench", f"{server.url}/echo", *SHORT, "--rate", "10000000", "-c", "1") as program:
        assert program.wait() == 0
    assert "10,000,000 messages a second were sent" in program.output


def test_tls(certificates: Certificates) -> None:
    with target(ssl=certificates.server) as server:
        url = f"{server.url}/echo"
        assert measure(url, "--cacert", certificates.ca_file)[0]["received"] > 10
        assert measure(url, "--insecure")[0]["received"] > 10
        results, program = measure(url, status=1)
        assert results["errors"]["tls"]["count"] == 50
        assert "--cacert" in program.output


def test_compression() -> None:
    with target() as server:
        results, _ = measure(f"{server.url}/echo", "--compression", "--check", "--size", "2KiB", "-c", "2")
        assert results["errors"] == {}
        for head in server.listener.heads:
            assert "permessage-deflate" in head.headers["Sec-WebSocket-Extensions"]


def test_what_is_sent_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Grüße", encoding="utf-8")
    (tmp_path / "data").write_bytes(b"\xff\x00")
    for args, sent in {
        ("--file", str(tmp_path / "text"), "--binary"): "Grüße".encode(),
        ("--file", str(tmp_path / "data")): b"\xff\x00",
    }.items():
        with target() as server:
            measure(f"{server.url}/echo", "--rate", "50", "-c", "1", *args)
            assert set(server.listener.messages) == {sent}


def test_the_handshake_can_be_shaped() -> None:
    def select(connection: object, offered: Any) -> str | None:
        return "chat.v2" if "chat.v2" in offered else None

    with target(select_subprotocol=select, origins=["https://example.com"]) as server:
        args = ["--subprotocol", "chat.v1", "--subprotocol", "chat.v2", "-H", "Authorization: Bearer abc"]
        args += ["--header", "X-Two:2", "--origin", "https://example.com", "-c", "1"]
        results, program = measure(f"{server.url}/echo", *args)
        assert results["errors"] == {}
        assert "abc" not in program.output, "a secret was printed"
        head = server.listener.heads[0]
        assert head.headers["Sec-WebSocket-Protocol"] == "chat.v1, chat.v2"
        assert head.headers["Authorization"] == "Bearer abc"
        assert head.headers["X-Two"] == "2"
    with target(origins=["https://example.com"]) as server:
        results, _ = measure(f"{server.url}/echo", "--origin", "https://evil.example", "-c", "3", status=1)
        assert results["errors"]["HTTP 403"]["count"] == 3


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    started = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with everwire.serve(Counting(), unix=path):
            loop.call_soon(started.set)
            await loop.run_in_executor(None, stop.wait)

    stop = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert started.wait(10)
        assert measure("ws://localhost/echo", "--unix", path)[0]["received"] > 10
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interrupt_ends_it_early_with_a_report(server: Target, processes: int) -> None:
    args = ("bench", f"{server.url}/echo", "--duration", "60", "--warmup", "0", "-p", str(processes))
    with command(*args, terminal=True) as program:
        program.wait_for("measuring")
        program.send_signal(signal.SIGINT)
        assert program.wait(timeout=10) == 0
    assert "Ended early" in program.output
    assert re.search(r"p99\.9", program.output)
    assert "Traceback" not in program.output


def test_a_server_that_is_not_there_is_reported(unused_tcp_port: int) -> None:
    results, program = measure(f"ws://127.0.0.1:{unused_tcp_port}/", "-c", "3", status=1)
    assert results["errors"]["refused"]["count"] == 3
    assert "is it started?" in program.output


@pytest.mark.parametrize(
    ("path", "kind"), [("/leave", "closed 1011"), ("/crash", "lost"), ("/mute", "no answer")]
)
def test_a_server_that_fails_is_reported(server: Target, path: str, kind: str) -> None:
    results, program = measure(f"{server.url}{path}", "-c", "4", "--timeout", "0.3", status=1)
    assert results["errors"][kind]["count"] == 4
    assert f"4 x {kind}" in program.output
    assert "Traceback" not in program.output


def test_a_server_that_dies_is_reported() -> None:
    with command("serve", "--port", "0") as doomed:
        url = doomed.wait_for(r"ws://127\.0\.0\.1:\d+/echo")[0]
        args = ("bench", url, "--duration", "60", "--warmup", "0", "-c", "3", "--json", "-")
        with command(*args, terminal=True) as program:
            program.wait_for("measuring")
            doomed.process.kill()
            assert program.wait(timeout=10) == 1
    assert "3 x lost" in program.output


def test_a_process_that_dies_is_reported(server: Target) -> None:
    args = ("bench", f"{server.url}/echo", "--duration", "1", "--warmup", "0", "-p", "2", "-c", "4")
    with command(*args, terminal=True) as program:
        program.wait_for("measuring")
        pgrep = ["pgrep", "-P", str(program.process.pid)]
        children = subprocess.run(pgrep, capture_output=True, text=True, check=True).stdout.split()
        assert len(children) == 2
        os.kill(int(children[1]), signal.SIGKILL)
        assert program.wait(timeout=10) == 1
    assert "1 x a process failed" in program.output
    assert re.search(r"p99\.9", program.output), "what the other one measured is lost"


def test_its_processes_end_with_it(server: Target) -> None:
    args = ("bench", f"{server.url}/echo", "--duration", "60", "--warmup", "0", "-c", "2")
    closed = server.listener.closed
    with command(*args, terminal=True) as program:
        program.wait_for("measuring")
        program.process.kill()
        program.wait()
        deadline = time.monotonic() + 10
        while server.listener.closed < closed + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert server.listener.closed >= closed + 2


@pytest.mark.parametrize("what", ["echo", "fanout"])
def test_what_is_no_websocket_is_reported(what: str) -> None:
    with command("serve", "--port", "0") as page:
        url = page.wait_for(r"ws://127\.0\.0\.1:\d+/")[0]
        results, _ = measure(f"{url}nowhere", "--mode", what, "-c", "2", status=1)
    assert results["errors"]["HTTP 404"]["count"] == 2


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["ftp://localhost"], "ftp"),
        (["ws://localhost", "--size", "big"], "'big' is not a size"),
        (["ws://localhost", "--size", "1GiB"], "0 to 268,435,456 bytes"),
        (["ws://localhost", "--size", "1", "--message", "x"], "exclude each other"),
        (["ws://localhost", "--file", "nowhere"], "nowhere cannot be read"),
        (["ws://localhost", "--header", "nothing"], "'nothing' begins no header"),
        (["ws://localhost", "--header", "Upgrade: h2c"], "Upgrade"),
        (["ws://localhost", "--rate", "0"], "--rate is"),
        (["ws://localhost", "--rate", "5", "--mode", "idle"], "none are"),
        (["wss://localhost", "--cacert", "nowhere"], "there is no file nowhere"),
        (["wss://localhost", "--cacert", __file__], "has no certificates"),
        (["ws://localhost", "--html", "nowhere/x.html"], "there is no folder nowhere"),
        (["ws://localhost", "--mode", "flood"], "flood"),
        (["ws://localhost", "--connections", "0"], "--connections"),
    ],
)
def test_wrong_arguments_are_named(args: list[str], problem: str) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["bench", *args])
    assert done.exit_code == 2, done.output
    assert problem in done.output


def test_the_reference_has_all_options() -> None:
    rows = [
        row for row in tables(DOCS / "reference" / "command-line.md", "everwire bench") if "option" in row
    ]
    documented = {flag.strip("` ") for row in rows for flag in row["option"].split(",")}
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    options = [each for each in group.commands["bench"].params if each.param_type_name == "option"]
    assert documented == {flag for each in options for flag in (*each.opts, *each.secondary_opts)}
