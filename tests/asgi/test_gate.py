"""The gate to an ASGI application, on a server of our own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from conftest import Certificates, Run
from live import connect, take_errors, turns, until
from raw import dial

import everwire
from asgi.places import gated
from everwire.asgi import ClientDisconnected, Gate, connection


async def echo(scope: Any, receive: Any, send: Any) -> None:
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


def test_messages_pass_both_ways(run: Run) -> None:
    async def main() -> None:
        async with gated(Gate(echo)) as server, connect(server) as ws:
            await ws.send("text")
            assert await ws.recv() == "text"
            await ws.send(b"bytes")
            assert await ws.recv() == b"bytes"

    run(main)


def test_an_application_learns_that_its_client_is_gone(run: Run) -> None:
    async def main() -> None:
        learned: asyncio.Future[tuple[Any, OSError]] = asyncio.get_running_loop().create_future()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "websocket.accept"})
            event = await receive()
            with pytest.raises(OSError) as caught:
                await send({"type": "websocket.send", "text": "late"})
            learned.set_result((event, caught.value))

        async with gated(Gate(app)) as server, connect(server) as ws:
            await ws.close(4321, "bye")
            event, error = await learned
        assert event == {"type": "websocket.disconnect", "code": 4321, "reason": "bye"}
        assert isinstance(error, ClientDisconnected)
        assert isinstance(error.__cause__, everwire.ConnectionClosed)

    run(main)


def test_other_origins_are_refused_and_the_log_says_what_to_do(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with gated(Gate(echo)) as server:
            with pytest.raises(everwire.InvalidStatus) as caught:
                await connect(server, origin="https://evil.example")
            assert caught.value.status == 403
        good = "https://good.example"
        async with gated(Gate(echo, origins=[good])) as server, connect(server, origin=good):
            pass

    run(main)
    (error,) = take_errors(caplog)
    assert "allow it with the option origins" in error[0]


@pytest.mark.parametrize(
    ("event", "error", "words"),
    [
        ({"type": "websocket.send"}, ValueError, "needs 'bytes' or 'text'"),
        ({"type": "websocket.send", "text": None, "bytes": None}, ValueError, "needs 'bytes' or 'text'"),
        ({"type": "websocket.send", "text": b"bytes"}, TypeError, "is bytes, not str"),
        ({"type": "websocket.send", "bytes": "text"}, TypeError, "text goes under 'text'"),
        ({"type": "websocket.close", "code": 1005}, ValueError, "1005 is not a close code"),
        ({"type": "websocket.close", "reason": "x" * 124}, ValueError, "at most 123 bytes"),
        ({"text": "no type"}, RuntimeError, "but got None"),
    ],
)
def test_wrong_events_raise_and_leave_the_connection(
    run: Run, event: Any, error: type[Exception], words: str
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        with pytest.raises(error, match=words):
            await send(event)
        await send({"type": "websocket.send", "bytes": bytearray(b"still here")})

    async def main() -> None:
        async with gated(Gate(app)) as server, connect(server) as ws:
            assert await ws.recv() == b"still here"
            await ws.wait_closed()
            assert ws.close_code == 1000

    run(main)


@pytest.mark.parametrize(
    "headers", [[(b"sec-websocket-accept", b"x")], [(b"x-a", b"b\r\nx-c: d")], [(b"x a", b"b")]]
)
def test_headers_that_cannot_be_sent(run: Run, caplog: pytest.LogCaptureFixture, headers: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises(ValueError):
            await send({"type": "websocket.accept", "headers": headers})
        await send({"type": "websocket.accept"})

    async def main() -> None:
        async with gated(Gate(app)) as server, connect(server) as ws:
            await ws.wait_closed()
            assert ws.close_code == 1000

    run(main)


def test_messages_that_wait_pause_reading(run: Run) -> None:
    async def main() -> None:
        go_on = asyncio.Event()
        held: list[everwire.Connection] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            held.append(connection(scope))
            await receive()
            await send({"type": "websocket.accept"})
            await go_on.wait()
            for i in range(100):
                assert await receive() == {"type": "websocket.receive", "text": f"{i}"}

        async with gated(Gate(app), max_queue=8) as server, connect(server, compression=None) as ws:
            for i in range(100):
                await ws.send(f"{i}")
            await until(lambda: held and not held[0].reading_wanted)
            go_on.set()
            await ws.wait_closed()
            assert ws.close_code == 1000

    run(main)


@pytest.mark.parametrize("how", ["plain", "tls"])
def test_a_client_that_vanishes_is_noticed_before_it_is_accepted(
    run: Run, certificates: Certificates, how: str
) -> None:
    async def main() -> None:
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        begun = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            begun.set()
            told.set_result(await receive())

        tls = how == "tls"
        gate = Gate(app)
        async with gated(gate, ssl=certificates.server if tls else None, open_timeout=0.1) as server:
            async with dial(server.port, context=certificates.client if tls else None) as peer:
                asking = asyncio.ensure_future(peer.request())
                await begun.wait()
                await asyncio.sleep(0.3)  # open_timeout is over: an application may take longer
                assert not told.done()
                await peer.send_frame(1, b"too early")
                await turns()
                peer.abort()
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await asking
            assert await told == {"type": "websocket.disconnect", "code": 1006}

    run(main)


def test_what_a_client_sends_before_it_is_accepted_waits(run: Run) -> None:
    async def main() -> None:
        go_on, begun = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            begun.set()
            await go_on.wait()
            await echo(scope, receive, send)

        async with gated(Gate(app)) as server, dial(server.port) as peer:
            asking = asyncio.ensure_future(peer.request())
            await begun.wait()
            for _ in range(50):
                await peer.send_frame(2, b"x" * 1000)
            await turns()
            go_on.set()
            assert (await asking).status == 101
            for _ in range(50):
                assert (await peer.read_frame()).payload == b"x" * 1000

    run(main)


@pytest.mark.parametrize("length", [None, b"6"], ids=["chunked", "with a length"])
def test_a_response_is_sent_as_it_comes(run: Run, length: bytes | None) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-length", length)] if length else []
            await send({"type": "websocket.http.response.start", "status": 400, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": b"abc", "more_body": True})
            await go_on.wait()
            await send({"type": "websocket.http.response.body", "body": b"def"})

        async with gated(Gate(app)) as server, dial(server.port) as peer:
            head = await peer.request()
            assert head.status == 400
            assert ("transfer-encoding" in head.headers) == (length is None)
            first = b"abc" if length else b"3\r\nabc\r\n"
            assert await peer.reader.readexactly(len(first)) == first
            go_on.set()
            assert await peer.reader.read() == (b"def" if length else b"3\r\ndef\r\n0\r\n\r\n")

    run(main)


def test_half_a_response_does_not_look_whole(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.http.response.start", "status": 400})
            await send({"type": "websocket.http.response.body", "body": b"abc", "more_body": True})
            await go_on.wait()
            raise ValueError("broken")

        async with gated(Gate(app)) as server, dial(server.port) as peer:
            await peer.request()
            assert await peer.reader.readexactly(8) == b"3\r\nabc\r\n"
            go_on.set()
            with contextlib.suppress(ConnectionResetError):
                await peer.read_eof()
        take_errors(caplog)

    run(main)


def test_shutdown_cancels_an_application_that_does_not_end(run: Run) -> None:
    async def main() -> None:
        cancelled = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        gate = Gate(app)
        async with gated(gate) as server, connect(server) as ws:
            await gate.shutdown(1012, "back soon", timeout=0.05)
            assert cancelled.is_set()
            await ws.wait_closed()
            assert (ws.close_code, ws.close_reason) == (1012, "back soon")
            with pytest.raises(everwire.InvalidStatus) as caught:
                await connect(server)
            assert caught.value.status == 503

    run(main)


def test_receive_can_be_cancelled_without_losing_a_message(run: Run) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        await send({"type": "websocket.send", "text": "go"})
        task = asyncio.create_task(receive())
        event = await task
        await send({"type": "websocket.send", "text": event["text"]})

    async def main() -> None:
        async with gated(Gate(app)) as server, connect(server) as ws:
            assert await ws.recv() == "go"
            await ws.send("kept")
            assert await ws.recv() == "kept"

    run(main)
