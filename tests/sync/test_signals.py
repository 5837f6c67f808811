"""Ctrl-C, as a user presses it: a real signal to a program of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from blocking import asyncio_server
from commands import Program

import everwire

CLIENT = """
import sys, threading
import everwire

options = dict(proxy=None, compression=None, close_timeout=5)
ws = everwire.sync.connect(sys.argv[1], **options).open()
try:
    print("begin", flush=True)
    {action}
except KeyboardInterrupt:
    print("interrupted, open:", ws.is_open, flush=True)
{then}
"""


def program(folder: Path, action: str, then: str, uri: str) -> Program:
    """A client that does something until it is interrupted, and then something else."""
    file = folder / "client.py"
    file.write_text(CLIENT.format(action=action, then=then))
    return Program([sys.executable, file, uri])


@pytest.mark.parametrize(
    "action",
    ["ws.recv()", "ws.recv(timeout=60)", "for message in ws: pass", "threading.Event().wait()"],
    ids=["recv", "recv-timeout", "for", "elsewhere"],
)
def test_interrupted_while_receiving(action: str, tmp_path: Path) -> None:
    """The connection is usable afterwards."""
    then = "ws.send('still there'); print(ws.recv(timeout=10)); ws.close(); print(ws.close_code)"
    with (
        asyncio_server() as server,
        program(tmp_path, action, then, f"ws://127.0.0.1:{server.port}") as client,
    ):
        client.wait_for("begin\n")
        assert client.stop(signal.SIGINT) == 0, client.output
        assert client.output == "begin\ninterrupted, open: True\nstill there\n1000\n"


def test_interrupted_while_sending(tmp_path: Path) -> None:
    """The message is whole nevertheless: the peer gets it, and what is sent after it."""
    big, count = 1 << 20, 32
    sizes: list[int] = []
    go = threading.Event()

    async def handler(ws: everwire.Connection) -> None:
        ws.pause_reading()
        await asyncio.to_thread(go.wait)
        ws.resume_reading()
        async for message in ws:
            sizes.append(len(message))  # noqa: PERF401 (what came is to be known after an error, too)

    # What is printed last tells that it is blocked: the system does not buffer so much.
    action = f"[(print('sending', i, flush=True), ws.send(b'x' * {big})) for i in range({count})]"
    then = "print('end', flush=True); ws.send('the end'); ws.close(); print(ws.close_code)"
    with (
        asyncio_server(handler, max_size=None) as server,
        program(tmp_path, action, then, f"ws://127.0.0.1:{server.port}") as client,
    ):
        try:
            said = 0
            with suppress(AssertionError):
                for said in range(count):
                    client.wait_for(f"sending {said}\n", timeout=2)
            assert said < count - 1, "nothing slowed it down"
            client.send_signal(signal.SIGINT)
            client.wait_for("interrupted, open: True\nend\n")
        finally:
            go.set()
        assert client.wait() == 0, client.output
        assert client.output.endswith("1000\n")
    assert sizes == [big] * said + [len("the end")]


def test_interrupted_while_connecting(tmp_path: Path) -> None:
    file = tmp_path / "client.py"
    file.write_text(
        "import socket, everwire\n"
        "with socket.create_server(('127.0.0.1', 0)) as silent:\n"
        "    print('begin', flush=True)\n"
        "    uri = f'ws://127.0.0.1:{silent.getsockname()[1]}'\n"
        "    everwire.sync.connect(uri, proxy=None, open_timeout=60).open()\n"
    )
    with Program([sys.executable, file]) as client:
        client.wait_for("begin\n")
        assert client.stop(signal.SIGINT) != 0
        assert client.output.endswith("KeyboardInterrupt\n")


def test_interrupted_in_a_context_whose_peer_is_gone(tmp_path: Path) -> None:
    """The end of the program does not wait for one that does not answer."""
    file = tmp_path / "client.py"
    file.write_text(
        "import sys, everwire\n"
        "with everwire.sync.connect(sys.argv[1], proxy=None, compression=None) as ws:\n"
        "    print('begin', flush=True)\n"
        "    ws.recv()\n"
    )

    async def deaf(ws: everwire.Connection) -> None:
        ws.pause_reading()
        await ws.wait_closed()

    with (
        asyncio_server(deaf) as server,
        Program([sys.executable, file, f"ws://127.0.0.1:{server.port}"]) as client,
    ):
        client.wait_for("begin\n")
        client.send_signal(signal.SIGINT)
        assert client.wait(timeout=8) != 0
        assert client.output.endswith("KeyboardInterrupt\n")


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_a_server_that_is_interrupted(how: str, tmp_path: Path, unused_tcp_port: int) -> None:
    file = tmp_path / "server.py"
    file.write_text(
        "import signal, everwire\n"
        "def echo(ws):\n"
        "    for message in ws: ws.send(message)\n"
        f"with everwire.sync.serve(echo, '127.0.0.1', {unused_tcp_port}) as server:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: server.shutdown())\n"
        "    print('begin', flush=True)\n"
        "    server.serve_forever()\n"
        "print('ended', flush=True)\n"
    )
    with Program([sys.executable, file]) as server:
        server.wait_for("begin\n")
        with everwire.sync.connect(f"ws://127.0.0.1:{unused_tcp_port}", proxy=None) as ws:
            ws.send("hello")
            assert ws.recv(timeout=10) == "hello"
            server.send_signal(signal.Signals[how])
            with pytest.raises(everwire.ConnectionClosedOK, match="1001"):
                ws.recv(timeout=10)
        code = server.wait()
        assert (code == 0) is (how == "SIGTERM")
        assert server.output.endswith("ended\n" if how == "SIGTERM" else "KeyboardInterrupt\n")


def test_closing_in_a_signals_handler(tmp_path: Path) -> None:
    """The receive that it interrupts sees the end, however long it takes; the handler does not wait."""
    file = tmp_path / "client.py"
    file.write_text(
        "import signal, sys, everwire\n"
        "def handler(*_):\n"
        "    ws.close(1000, 'by a signal')\n"
        "    print('handled', flush=True)\n"
        "options = dict(proxy=None, compression=None, close_timeout=None)\n"
        "with everwire.sync.connect(sys.argv[1], **options) as ws:\n"
        "    signal.signal(signal.SIGALRM, handler)\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.3)\n"
        "    for message in ws: pass\n"
        "    print(ws.close_code, ws.close_reason, flush=True)\n"
    )
    with (
        asyncio_server() as server,
        Program([sys.executable, file, f"ws://127.0.0.1:{server.port}"]) as client,
    ):
        assert client.wait() == 0, client.output
        assert client.output == "handled\n1000 by a signal\n"


def test_sending_and_closing_in_a_signals_handler_while_sending(tmp_path: Path) -> None:
    file = tmp_path / "client.py"
    file.write_text(
        "import signal, sys, everwire\n"
        "def handler(*_):\n"
        "    if not ws.buffered_amount:  # it is not blocked in send yet\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0.1)\n"
        "        return\n"
        "    try: ws.send('within')\n"
        "    except everwire.ConcurrencyError: print('busy', flush=True)\n"
        "    ws.close(1000, 'by a signal')\n"
        "    print('handled', flush=True)\n"
        "options = dict(proxy=None, compression=None, close_timeout=0.3)\n"
        "with everwire.sync.connect(sys.argv[1], **options) as ws:\n"
        "    signal.signal(signal.SIGALRM, handler)\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.5)\n"
        "    try:\n"
        "        while True: ws.send(b'x' * (1 << 24))\n"
        "    except everwire.ConnectionClosed: print('closed', flush=True)\n"
    )

    async def deaf(ws: everwire.Connection) -> None:
        ws.pause_reading()
        await ws.wait_closed()

    with (
        asyncio_server(deaf) as server,
        Program([sys.executable, file, f"ws://127.0.0.1:{server.port}"]) as client,
    ):
        assert client.wait() == 0, client.output
        assert client.output == "busy\nhandled\nclosed\n"
