"""The end of a server: every connection told, every handler ended, nothing left, in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import Program
from live import (
    HOST,
    Echo,
    Recorder,
    both_styles,
    connect,
    deaf_socket,
    echo,
    idle,
    serve_echo,
    take_errors,
    turns,
    until,
)
from raw import CLOSE, TEXT, close_payload, dial

import everwire
from everwire import ConnectionClosed, ConnectionClosedOK


@both_styles
@pytest.mark.parametrize(("code", "reason"), [(1001, ""), (1012, "back soon"), (4321, "x" * 123)])
def test_every_connection_is_told(run: Any, style: str, code: int, reason: str) -> None:
    async def main() -> None:
        async with serve_echo(style) as server:
            clients = await asyncio.gather(*(connect(server) for _ in range(20)))
            server.close(code, reason)
            await server.wait_closed()
            for ws in clients:
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.recv()
                assert caught.value.received == (code, reason)
                assert isinstance(caught.value, ConnectionClosedOK) == (code == 1001)
            assert server.connections == []
            assert not server.is_serving()
            with pytest.raises(OSError):
                await connect(server)

    run(main)


@both_styles
@pytest.mark.parametrize("how", ["drain", "close"])
def test_connections_are_closed_over_a_time(run: Any, style: str, how: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with serve_echo(style) as server:
            clients = [await connect(server) for _ in range(10)]
            begin = loop.time()
            if how == "drain":
                draining = loop.create_task(server.drain(spread=0.4))
                await turns()
                # It goes on to listen, and those who come are told to come again.
                with pytest.raises(everwire.InvalidStatus) as refused:
                    await connect(server)
                response = refused.value.response
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
                await draining
            else:
                server.close(1012, spread=0.4)
                with pytest.raises(OSError):
                    await connect(server)
            for ws in clients:
                await ws.wait_closed()
                assert ws.close_code == 1012
            assert loop.time() - begin >= 0.3
            assert server.is_serving() == (how == "drain")

    run(main)


def test_closing_ends_a_drain_and_a_deadline_does(run: Any) -> None:
    async def main() -> None:
        async with serve_echo("listener") as server:
            clients = [await connect(server) for _ in range(5)]
            draining = asyncio.create_task(server.drain(spread=3600))
            await turns()
            server.close()
            await server.wait_closed()
            await draining
            for ws in clients:
                await ws.wait_closed()
                assert ws.close_code in (1001, 1012)
        async with serve_echo("listener") as server:
            clients = [await connect(server) for _ in range(5)]
            await asyncio.wait_for(server.drain(4000, "bye", spread=3600, deadline=0.1), 10)
            for ws in clients:
                await ws.wait_closed()
                assert (ws.close_code, ws.close_reason) == (4000, "bye")

    run(main)


def test_those_who_come_too_fast_are_told_when_to_come_again(run: Any) -> None:
    async def main() -> None:
        async with serve_echo("listener", connection_rate_limit=0.01) as server:
            ws = await connect(server)
            with pytest.raises(everwire.InvalidStatus) as refused:
                await connect(server)
            response = refused.value.response
            assert (response.status, response.headers["Retry-After"]) == (503, "30")
            await ws.send("goes on")
            assert await ws.recv() == "goes on"

    run(main)


def test_leaving_the_context_closes_with_1001(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            ws = await connect(server)
        with pytest.raises(ConnectionClosedOK) as caught:
            await ws.recv()
        assert caught.value.code == 1001

    run(main)


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (5, ""), (1001, "x" * 124)])
def test_a_code_or_reason_that_cannot_be_sent(run: Any, code: int, reason: str) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server, connect(server) as ws:
            with pytest.raises(ValueError, match=r"code|reason"):
                server.close(code, reason)
            assert server.is_serving()
            await ws.send("goes on")
            assert await ws.recv() == "goes on"

    run(main)


def test_closing_again_does_nothing(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            ws = await connect(server)
            server.close(1012)
            server.close(1001)
            await asyncio.gather(*(server.wait_closed() for _ in range(3)))
            assert ws.close_code == 1012
            await server.wait_closed()

    run(main)


def test_waiting_for_the_end_may_be_cancelled(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), 0.01)
            assert server.is_serving()
            async with dial(server.port) as peer:
                await peer.open()
                server.close()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(server.wait_closed(), 0.05)
                await peer.send_frame(CLOSE, close_payload(1001))
                await server.wait_closed()

    run(main)


def test_opening_handshakes_are_cut_short(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        asked = asyncio.Event()
        never = asyncio.Event()

        async def hook(ws: everwire.Connection, request: everwire.Request) -> None:
            asked.set()
            await never.wait()

        async with (
            everwire.serve(echo, HOST, 0, process_request=hook, open_timeout=30, close_timeout=0.1) as server,
            dial(server.port) as silent,
            dial(server.port) as half,
            dial(server.port) as waiting,
        ):
            await half.send(b"GET / HTTP/1.1\r\n")
            await waiting.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await asked.wait()
            begin = time.monotonic()
            server.close()
            await server.wait_closed()
            assert time.monotonic() - begin < 5
            for peer in (silent, half, waiting):
                with contextlib.suppress(ConnectionError):
                    await peer.reader.read()
        assert take_errors(caplog) == []

    run(main)


@both_styles
def test_a_peer_that_never_answers_is_dropped(run: Any, style: str) -> None:
    async def main() -> None:
        async with serve_echo(style, close_timeout=0.3) as server, dial(server.port) as peer:
            await peer.open()
            begin = time.monotonic()
            server.close()
            await server.wait_closed()
            assert time.monotonic() - begin < 3
            assert (await peer.read_close()).code == 1001

    run(main)


@both_styles
def test_a_peer_that_does_not_read_is_dropped(run: Any, style: str) -> None:
    async def main() -> None:
        async def floods(ws: everwire.Connection) -> None:
            while True:
                await ws.send(bytes(100_000))

        class Floods(everwire.Listener):
            def on_open(self, ws: everwire.Connection) -> None:
                while ws.send_nowait(bytes(100_000)) is everwire.SendStatus.SENT:
                    pass

        chosen: Any = floods if style == "coroutine" else Floods()
        async with everwire.serve(chosen, HOST, 0, close_timeout=0.3, compression=None) as server:
            with deaf_socket(server) as sock:
                await asyncio.get_running_loop().sock_sendall(
                    sock,
                    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                )
                await until(lambda: server.connections and server.connections[0].buffered_amount)
                begin = time.monotonic()
                server.close()
                await server.wait_closed()
                assert time.monotonic() - begin < 3
                assert server.settings.connections == 0

    run(main)


def test_handlers_may_finish_their_work(run: Any) -> None:
    async def main() -> None:
        finished = []

        async def handler(ws: everwire.Connection) -> None:
            async for _ in ws:
                pass
            await asyncio.sleep(0.1)
            finished.append(ws.close_code)

        async with everwire.serve(handler, HOST, 0) as server:
            clients = await asyncio.gather(*(connect(server) for _ in range(5)))
        assert finished == [1001] * 5
        assert all(ws.closed for ws in clients)

    run(main)


def test_a_handler_with_messages_left_gets_them(run: Any) -> None:
    async def main() -> None:
        got = []
        go = asyncio.Event()

        async def handler(ws: everwire.Connection) -> None:
            await go.wait()
            got.extend([message async for message in ws])

        async with everwire.serve(handler, HOST, 0, max_queue=4) as server:
            ws = await connect(server)
            for i in range(20):
                await ws.send(str(i))
            await turns(20)
            server.close()
            await turns()
            go.set()
            await server.wait_closed()
        # What was read before the close is not lost.
        assert len(got) >= 4
        assert got == [str(i) for i in range(len(got))]

    run(main)


@pytest.mark.parametrize("stubborn", [False, True])
def test_handlers_that_do_not_end_are_cancelled(
    run: Any, caplog: pytest.LogCaptureFixture, stubborn: bool
) -> None:
    """One that ignores that for a moment is waited for."""

    async def main() -> None:
        ended = asyncio.Event()

        async def handler(ws: everwire.Connection) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if stubborn:
                    await asyncio.sleep(0.2)
                ended.set()
                raise

        async with everwire.serve(handler, HOST, 0) as server:
            ws = await connect(server)
            begin = time.monotonic()
            server.close(timeout=0.3)
            await server.wait_closed()
            assert time.monotonic() - begin < 3
            assert ended.is_set()
            await ws.wait_closed()
        assert take_errors(caplog) == []

    run(main)


def test_a_handler_that_ignores_its_cancellation_is_reported(
    run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        let_go = asyncio.Event()

        async def handler(ws: everwire.Connection) -> None:
            while not let_go.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await let_go.wait()

        async with everwire.serve(handler, HOST, 0) as server:
            ws = await connect(server)
            begin = time.monotonic()
            server.close(timeout=0.1)
            await server.wait_closed()
            assert time.monotonic() - begin < 5
            let_go.set()
            await ws.wait_closed()
            await until(lambda: not server.settings.tasks)
        assert [message for message, _ in take_errors(caplog)] == ["1 handlers do not end when cancelled"]

    run(main)


def test_a_timeout_of_its_own(run: Any) -> None:
    async def main() -> None:
        async with serve_echo("listener", close_timeout=None) as server, dial(server.port) as peer:
            await peer.open()
            begin = time.monotonic()
            server.close(timeout=0.2)
            await server.wait_closed()
            assert 0.1 < time.monotonic() - begin < 3

    run(main)


def test_a_handler_may_close_the_server(run: Any) -> None:
    async def main() -> None:
        servers: list[everwire.Server] = []

        async def handler(ws: everwire.Connection) -> None:
            assert await ws.recv() == "stop"
            servers[0].close(1012)
            await ws.wait_closed()

        async with everwire.serve(handler, HOST, 0) as server:
            servers.append(server)
            async with connect(server) as ws:
                await ws.send("stop")
                await server.serve_forever()
                await ws.wait_closed()
                assert ws.close_code == 1012

    run(main)


def test_serve_forever_that_is_cancelled_shuts_down(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            ws = await connect(server)
            serving = asyncio.create_task(server.serve_forever())
            await turns()
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            assert server.connections == []
            await ws.wait_closed()
            assert ws.close_code == 1001

    run(main)


def test_listeners_are_told_of_the_end(run: Any) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0) as server:
            ws = await connect(server)
        assert await recorder.closed == (1001, "")
        assert ws.close_code == 1001

    run(main)


def test_clients_that_connect_meanwhile_are_not_left_hanging(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:

            async def attempt() -> str:
                try:
                    async with connect(server, open_timeout=5) as ws:
                        async for _ in ws:
                            pass
                        return str(ws.close_code)
                except (OSError, everwire.HandshakeError) as exc:
                    return type(exc).__name__

            attempts = [asyncio.create_task(attempt()) for _ in range(50)]
            await turns(3)
            server.close()
            await server.wait_closed()
            results = await asyncio.wait_for(asyncio.gather(*attempts), 5)
            assert "TimeoutError" not in results, results

    run(main)


def test_a_connection_that_closes_at_the_same_time(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            clients = await asyncio.gather(*(connect(server) for _ in range(20)))
            server.close(1012)
            await asyncio.gather(*(ws.close(4000) for ws in clients), server.wait_closed())
            assert all(ws.closed for ws in clients)

    run(main)


def test_half_a_message_does_not_hold_the_server(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(Echo(), HOST, 0, close_timeout=0.3) as server, dial(server.port) as peer:
            await peer.open()
            await peer.send(peer.frame(TEXT, b"x" * 1000)[:500])
            await turns()
            server.close()
            await server.wait_closed()
            assert (await peer.read_close()).code == 1001

    run(main)


# Ctrl-C

NOISE = ("Task was destroyed", "never retrieved", "never awaited", "Exception ignored", "Traceback")

PROGRAM = """
import asyncio, logging, sys
import everwire

logging.basicConfig(level=logging.WARNING)

async def waits(ws):
    async for message in ws:
        await ws.send(message)

async def sends(ws):
    while True:
        await ws.send(bytes(100_000))

async def sleeps(ws):
    await asyncio.sleep(3600)

async def stubborn(ws):
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0.2)

class Echo(everwire.Listener):
    def on_message(self, ws, message):
        ws.send_nowait(message)

async def main():
    handler = Echo() if sys.argv[1] == "listener" else globals()[sys.argv[1]]
    async with everwire.serve(handler, "127.0.0.1", 0, close_timeout=0.5) as server:
        print("port", server.port, flush=True)
        await server.serve_forever()

if sys.argv[2] == "uvloop":
    import uvloop
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("loop", "handler"),
    [
        ("asyncio", "waits"),
        ("asyncio", "listener"),
        ("asyncio", "sends"),
        ("asyncio", "sleeps"),
        ("asyncio", "stubborn"),
        ("uvloop", "sends"),
        ("uvloop", "stubborn"),
        ("transports", "sends"),
        ("transports", "listener"),
    ],
)
def test_ctrl_c(tmp_path: Path, loop: str, handler: str) -> None:
    """The program ends within seconds as Python programs do on Ctrl-C, and says nothing else."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    env = {"EVERWIRE_REACTOR": "off"} if loop == "transports" else {}
    with Program([sys.executable, "-W", "error", script, handler, loop], env=env) as program:
        port = int(program.wait_for(r"port (\d+)\n")[1])
        # Of each kind of peer one: in the middle of the handshake, open and silent.
        socks = [socket.create_connection((HOST, port)) for _ in range(3)]
        socks[1].sendall(b"GET / HT")
        socks[2].sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert socks[2].recv(12) == b"HTTP/1.1 101"
        begin = time.monotonic()
        code = program.stop(signal.SIGINT)
        assert time.monotonic() - begin < 8
        for sock in socks:
            sock.close()
        # Python kills itself with the signal, after a traceback of KeyboardInterrupt.
        assert code in (-signal.SIGINT, 130)
        assert program.output.rstrip().endswith("KeyboardInterrupt")
        said = program.output.replace("Traceback (most recent call last)", "", 2)
        assert not any(noise in said for noise in NOISE), program.output
        assert "ERROR" not in program.output


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.replace("close_timeout=0.5", "close_timeout=60"))
    with Program([sys.executable, script, "sleeps", "asyncio"]) as program:
        port = int(program.wait_for(r"port (\d+)\n")[1])
        with socket.create_connection((HOST, port)) as sock:
            sock.sendall(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            sock.recv(1024)
            program.send_signal(signal.SIGINT)
            # The server has seen the first signal when it says that it closes.
            assert sock.recv(2) == b"\x88\x02"
            begin = time.monotonic()
            assert program.stop(signal.SIGINT) in (-signal.SIGINT, 130)
            assert time.monotonic() - begin < 8


def test_idle_handlers_in_many_connections(run: Any) -> None:
    async def main() -> None:
        before = len(os.listdir("/dev/fd"))
        async with everwire.serve(idle, HOST, 0) as server:
            clients = await asyncio.gather(*(connect(server) for _ in range(100)))
            assert len(server.connections) == 100
        assert all(ws.closed for ws in clients)
        assert len(os.listdir("/dev/fd")) <= before + 3

    run(main)
