"""The examples do what they say. They run as they are printed, but on a port that is free."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Program
from websockets.sync.client import connect

EXAMPLES = Path(__file__).parents[1] / "examples"
PORT = "8765"


class Examples:
    """The examples on one free port, as files of a folder that is the working directory, too."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"ws://127.0.0.1:{port}"
        for source in EXAMPLES.glob("*.py"):
            text = source.read_text()
            assert PORT in text, f"{source.name} does not use the port of the other examples"
            (folder / source.name).write_text(text.replace(PORT, str(port)))

    def run(self, name: str) -> Program:
        """Start an example."""
        return Program([sys.executable, name], cwd=self.folder)


@pytest.fixture
def examples(tmp_path: Path, unused_tcp_port: int) -> Examples:
    """The examples, ready to run."""
    return Examples(tmp_path, unused_tcp_port)


@pytest.mark.parametrize("name", ["echo_server.py", "echo_listener.py"])
def test_the_client_and_the_servers(examples: Examples, name: str) -> None:
    with examples.run(name) as server:
        server.wait_for(f"Serving {examples.url}")
        with examples.run("client.py") as client:
            assert client.wait() == 0, client.output
        lines = client.output.splitlines()
        assert lines[:2] == ["Hello, wire!", r"b'\x00\x01\x02'"]
        assert lines[2].startswith("A ping takes ")
        if name == "echo_listener.py":
            server.wait_for("left with 1000")
        assert server.stop(signal.SIGINT) == 0, server.output


def test_the_browser_api(examples: Examples) -> None:
    with examples.run("browser_api.py") as client:
        assert client.wait() == 0, client.output
        assert "Connection refused" in client.output
    with examples.run("echo_server.py") as server:
        server.wait_for(f"Serving {examples.url}")
        with examples.run("browser_api.py") as client:
            assert client.wait() == 0, client.output
        assert client.output.splitlines() == [
            "Connection established.",
            "Data received: Hello, wire!",
            r"Data received: b'\x00\x01\x02'",
            "Closed with 1000: That is all",
        ]
        assert server.stop(signal.SIGINT) == 0, server.output


def test_fastapi(examples: Examples) -> None:
    with examples.run("fastapi_app.py") as server:
        server.wait_for(f"Serving {examples.url}")
        with connect(f"{examples.url}/echo", proxy=None) as ws:
            ws.send("hello")
            assert ws.recv(timeout=20) == "hello"
        with connect(f"{examples.url}/room", proxy=None) as ws:
            ws.send("to all")
            assert ws.recv(timeout=20) == "to all"
        assert server.stop(signal.SIGINT) == 0, server.output


def test_the_client_without_an_event_loop(examples: Examples) -> None:
    with examples.run("echo_server.py") as server:
        server.wait_for(f"Serving {examples.url}")
        with examples.run("sync_client.py") as client:
            assert client.wait() == 0, client.output
    lines = client.output.splitlines()
    assert lines[:2] == ["Hello, wire!", r"b'\x00\x01\x02'"]
    assert lines[2].startswith("A ping takes ")


def test_broadcast(examples: Examples) -> None:
    with examples.run("broadcast.py") as server:
        server.wait_for(f"Serving {examples.url}")
        with connect(examples.url, proxy=None) as one, connect(examples.url, proxy=None) as two:
            heard = {one.recv(timeout=20) for _ in range(3)}
            assert heard & {two.recv(timeout=20) for _ in range(3)}
        assert server.stop(signal.SIGINT) == 0, server.output


def test_reconnect(examples: Examples) -> None:
    with examples.run("reconnect.py") as client:
        with examples.run("echo_server.py"):
            client.wait_for("Connected\nStill there\\?")
        client.wait_for("Connection lost")
        with examples.run("echo_server.py"):
            client.wait_for("Connection lost\n(?s:.*)Connected\nStill there\\?")
        assert client.stop(signal.SIGINT) == 0, client.output


def test_tls(examples: Examples) -> None:
    command = [sys.executable, "-m", "trustme", "--quiet"]
    assert "python -m trustme" in (examples.folder / "tls.py").read_text()
    subprocess.run(command, cwd=examples.folder, check=True, timeout=60)
    with examples.run("tls.py") as program:
        assert program.wait() == 0, program.output
    assert program.output == "Nobody else can read this\n"


def test_every_example_is_tested() -> None:
    tested = Path(__file__).read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in tested] == []
