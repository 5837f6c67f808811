"""Timeouts: silent peers, idle ones, slow handshakes, closes that nobody answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from live import HOST, Recorder, both_styles, connect, deaf_socket, echo, idle, take_errors, until
from raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Listener, Peer, close_payload, dial

import everwire
from everwire import ConnectionClosedError

TICK = 1 / 16
"""Seconds that a timeout may be late or early, at least: the core counts time in such ticks."""


async def pongs(peer: Peer, n: int) -> list[float]:
    """Answer *n* pings; the times at which they came."""
    times = []
    while len(times) < n:
        frame = await peer.read_frame()
        assert frame.opcode == PING
        times.append(time.monotonic())
        await peer.send_frame(PONG, frame.payload)
    return times


# Keepalive


@pytest.mark.parametrize("ping_timeout", [None, 0.3, 10.0])
def test_a_silent_peer_is_pinged_again_and_again(run: Any, ping_timeout: float | None) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"ping_interval": 0.1, "ping_timeout": ping_timeout}
        async with everwire.serve(idle, HOST, 0, **options) as server, dial(server.port) as peer:
            await peer.open()
            begin = time.monotonic()
            times = await asyncio.wait_for(pongs(peer, 3), 5)
            assert times[0] - begin >= 0.1 - TICK
            assert times[-1] - begin >= 0.3 - 2 * TICK
            ws = server.connections[0]
            await until(lambda: ws.latency > 0)

    run(main)


@both_styles
def test_a_peer_that_answers_no_ping_is_dropped(
    run: Any, caplog: pytest.LogCaptureFixture, style: str
) -> None:
    async def main() -> None:
        ended = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            try:
                await ws.recv()
            finally:
                ended.set_result(ws.close_error)

        class Ends(everwire.Listener):
            def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
                assert code == 1006
                ended.set_result(ws.close_error)

        chosen: Any = handler if style == "coroutine" else Ends()
        async with everwire.serve(chosen, HOST, 0, ping_interval=0.1, ping_timeout=0.2) as server:
            async with dial(server.port) as peer:
                await peer.open()
                assert (await peer.read_frame()).opcode == PING
                close = await peer.read_close()
                assert close.code == 1011
                assert "ping" in close.reason
                await peer.read_eof()
            error = await ended
            assert isinstance(error, ConnectionClosedError)
            assert error.sent is not None
            assert error.sent.code == 1011
            assert error.received is None
            await until(lambda: not server.settings.tasks)
        assert take_errors(caplog) == []

    run(main)


def test_a_client_drops_a_server_that_answers_no_ping(run: Any) -> None:
    async def main() -> None:
        async with Listener() as listener:
            connecting = asyncio.ensure_future(
                everwire.connect(listener.uri, proxy=None, ping_interval=0.1, ping_timeout=0.2)._open()
            )
            peer = await listener.accept()
            await peer.answer()
            ws = await connecting
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.sent is not None
            assert caught.value.sent.code == 1011

    run(main)


@pytest.mark.loops("asyncio")
@pytest.mark.parametrize("what", ["message", "pong", "fragment", "bytes"])
def test_any_bytes_show_that_a_peer_is_there(run: Any, what: str) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"ping_interval": 0.15, "ping_timeout": 0.15}
        async with everwire.serve(echo, HOST, 0, **options) as server, dial(server.port) as peer:
            await peer.open()
            if what == "fragment":
                await peer.send_frame(TEXT, b"a", fin=False)
            end = time.monotonic() + 0.6
            data = peer.frame(BINARY, bytes(1000))
            sent = 0
            while time.monotonic() < end:
                if what == "message":
                    await peer.send_frame(TEXT, b"x")
                elif what == "pong":
                    await peer.send_frame(PONG, b"x")
                elif what == "fragment":
                    await peer.send_frame(CONTINUATION, b"x", fin=False)
                else:
                    await peer.send(data[sent : sent + 1])
                    sent += 1
                await asyncio.sleep(0.03)
            assert server.connections

    run(main)


def test_a_peer_that_is_not_listened_to_is_not_blamed(run: Any) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"ping_interval": 0.1, "ping_timeout": 0.2, "max_queue": 1}
        async with everwire.serve(idle, HOST, 0, **options) as server, connect(server) as client:
            for i in range(5):
                await client.send(str(i))
            await asyncio.sleep(0.6)
            ws = server.connections[0]
            assert [await ws.recv() for _ in range(5)] == [str(i) for i in range(5)]
            assert await ws.ping() < 5

    run(main)


def test_no_pings_where_none_are_wanted(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0, ping_interval=None) as server, dial(server.port) as peer:
            await peer.open()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(peer.read_frame(), 0.5)

    run(main)


def test_a_peer_that_reads_slowly_is_there(run: Any) -> None:
    """A ping stands behind what waits to be sent: as long as that gets less, the peer is alive."""

    async def main() -> None:
        opened: asyncio.Future[everwire.Connection] = asyncio.get_running_loop().create_future()

        class Opens(everwire.Listener):
            def on_open(self, ws: everwire.Connection) -> None:
                opened.set_result(ws)

        options: dict[str, Any] = {"ping_interval": 0.2, "ping_timeout": 0.3, "compression": None}
        async with everwire.serve(Opens(), HOST, 0, **options) as server:
            with deaf_socket(server, received=65536) as sock:
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(
                    sock,
                    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                )
                ws = await opened
                total = 16_000_000
                for _ in range(160):
                    ws.send_nowait(bytes(total // 160))
                assert ws.buffered_amount
                got = 0
                begin = time.monotonic()
                while got < total:
                    data = await loop.sock_recv(sock, 1 << 18)
                    assert data, f"dropped after {got} bytes and {time.monotonic() - begin:.1f} seconds"
                    got += len(data)
                    await asyncio.sleep(0.01)
                assert time.monotonic() - begin > 0.6

    run(main)


# Idle


def test_an_idle_connection_is_closed(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, idle_timeout=0.3) as server, connect(server) as ws:
            begin = time.monotonic()
            for _ in range(4):
                await ws.send("x")
                await ws.recv()
                await asyncio.sleep(0.15)
            assert time.monotonic() - begin > 0.5
            with pytest.raises(everwire.ConnectionClosedOK) as caught:
                await ws.recv()
            assert caught.value.received == (1001, "idle timeout")

    run(main)


def test_pings_do_not_keep_an_idle_connection(run: Any) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"idle_timeout": 0.4, "ping_interval": 0.1, "ping_timeout": 5}
        async with everwire.serve(idle, HOST, 0, **options) as server, connect(server) as ws:
            await asyncio.wait_for(ws.wait_closed(), 5)
            assert ws.close_code == 1001

    run(main)


# The opening handshake


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_handshake_takes_at_most_open_timeout(
    run: Any, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, open_timeout=0.3) as server, dial(server.port) as peer:
            begin = time.monotonic()
            await peer.send(sent)
            answer = await asyncio.wait_for(peer.reader.read(), 5)
            assert 0.3 - TICK < time.monotonic() - begin < 3
            if sent:
                assert answer.startswith(b"HTTP/1.1 408 ")
                assert b"\r\nConnection: close\r\n" in answer
            else:
                assert answer == b""
            await peer.close()
            await until(lambda: not server.settings.connections)
        assert take_errors(caplog) == []

    run(main)


def test_a_head_byte_by_byte_does_not_gain_time(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, open_timeout=0.4) as server, dial(server.port) as peer:
            begin = time.monotonic()
            head = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Header: x\r\n" * 1000
            ended = asyncio.create_task(peer.reader.read())
            for byte in head:
                if ended.done():
                    break
                await peer.send(bytes([byte]))
                await asyncio.sleep(0.02)
            assert (await ended).startswith(b"HTTP/1.1 408 ")
            assert time.monotonic() - begin < 3

    run(main)


def test_a_hook_takes_at_most_open_timeout(run: Any) -> None:
    async def main() -> None:
        never = asyncio.Event()
        asked = asyncio.Event()

        async def hook(ws: everwire.Connection, request: everwire.Request) -> None:
            asked.set()
            await never.wait()

        async with everwire.serve(
            echo, HOST, 0, open_timeout=0.2, close_timeout=0.2, process_request=hook
        ) as server:
            with pytest.raises((OSError, everwire.HandshakeError)):
                await connect(server)
            assert asked.is_set()
            await until(lambda: not server.settings.connections)
            never.set()

    run(main)


def test_an_open_connection_outlives_open_timeout(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, open_timeout=0.1) as server, connect(server) as ws:
            await asyncio.sleep(0.4)
            await ws.send("x")
            assert await ws.recv() == "x"

    run(main)


# The closing handshake


@both_styles
def test_a_peer_that_never_answers_a_close(run: Any, style: str) -> None:
    async def main() -> None:
        recorder = Recorder()
        opened: asyncio.Future[everwire.Connection] = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            opened.set_result(ws)
            await ws.wait_closed()

        chosen: Any = handler if style == "coroutine" else recorder
        async with everwire.serve(chosen, HOST, 0, close_timeout=0.3) as server, dial(server.port) as peer:
            await peer.open()
            ws = await (opened if style == "coroutine" else recorder.opened)
            begin = time.monotonic()
            await ws.close(4000)
            assert 0.3 - TICK < time.monotonic() - begin < 3
            assert (await peer.read_close()).code == 4000
            await peer.read_eof()
            assert ws.close_code == 1006
            assert isinstance(ws.close_error, ConnectionClosedError)

    run(main)


def test_a_peer_that_goes_on_sending_does_not_gain_time(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0, close_timeout=0.3) as server, dial(server.port) as peer:
            await peer.open()
            await until(lambda: server.connections)
            closing = asyncio.create_task(server.connections[0].wait_closed())
            server.connections[0].close()
            begin = time.monotonic()
            while not closing.done() and time.monotonic() - begin < 5:
                peer.writer.write(peer.frame(TEXT, b"more"))
                await asyncio.sleep(0.02)
            assert time.monotonic() - begin < 3
            await closing
            peer.abort()

    run(main)


def test_a_failed_connection_whose_peer_does_not_leave(run: Any) -> None:
    """After a protocol error the peer has close_timeout seconds to read why, and no more."""

    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, close_timeout=0.3) as server, dial(server.port) as peer:
            await peer.open()
            begin = time.monotonic()
            await peer.send_frame(BINARY, b"x", rsv=0x40)
            assert (await peer.read_close()).code == 1002
            await until(lambda: not server.settings.connections)
            assert 0.3 - TICK < time.monotonic() - begin < 3

    run(main)


def test_a_client_does_not_wait_for_ever_for_the_server_to_hang_up(run: Any) -> None:
    async def main() -> None:
        async with Listener() as listener:

            async def client() -> float:
                async with everwire.connect(listener.uri, proxy=None, close_timeout=0.3) as ws:
                    begin = time.monotonic()
                    await ws.close()
                    assert ws.close_code == 1000
                    return time.monotonic() - begin

            task = asyncio.create_task(client())
            peer = await listener.accept()
            await peer.answer()
            close = await peer.read_close()
            await peer.send_frame(CLOSE, close_payload(close.code))
            # The server should close now, and does not.
            assert 0.3 - TICK < await task < 3

    run(main)


def test_a_refused_peer_that_does_not_leave(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, close_timeout=0.3) as server, dial(server.port) as peer:
            begin = time.monotonic()
            assert (await peer.request(without="Upgrade")).status == 426
            await until(lambda: not server.settings.connections)
            assert time.monotonic() - begin < 3

    run(main)


# Time


@pytest.mark.loops("asyncio")
@pytest.mark.parametrize("what", ["open", "close", "server", "idle"])
def test_a_timeout_counts_from_what_it_is_for(run: Any, what: str) -> None:
    """However long nothing has happened before."""

    async def main() -> None:
        options: dict[str, Any] = {f"{'close' if what == 'server' else what}_timeout": 0.3}
        async with everwire.serve(idle, HOST, 0, ping_interval=None, **options) as server:
            if what == "open":
                await asyncio.sleep(0.5)
            async with dial(server.port) as peer:
                if what == "open":
                    await peer.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
                    await asyncio.sleep(0.1)
                    await peer.send(b"\r\n")
                    assert (await peer.read_head()).status == 426
                    return
                await peer.open()
                await until(lambda: server.connections)
                ws = server.connections[0]
                if what == "idle":
                    for _ in range(5):
                        await asyncio.sleep(0.1)
                        await peer.send_frame(TEXT, b"x")
                    await asyncio.sleep(0.1)
                    assert ws.is_open
                    return
                await asyncio.sleep(0.5)
                begin = time.monotonic()
                if what == "close":
                    await ws.close(4000)
                else:
                    server.close(1001)
                    await server.wait_closed()
                assert time.monotonic() - begin > 0.3 - 2 * TICK
                assert (await peer.read_close()).code == (4000 if what == "close" else 1001)

    run(main)
