"""Listeners: what they are told, when, and what happens when they fail."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from live import HOST, Message, Recorder, connect, take_errors, until
from raw import BINARY, CLOSE, TEXT, close_payload, dial

import everwire
from everwire import ConnectionClosedError, ConnectionClosedOK, Listener, SendStatus


def test_a_listener_is_told_everything_in_order(run: Any) -> None:
    async def main() -> None:
        told: list[Any] = []
        closed = asyncio.Event()

        class Log(Listener):
            def on_open(self, ws: everwire.Connection) -> None:
                assert ws.is_open
                told.append("open")
                ws.send_nowait("hello")

            def on_message(self, ws: everwire.Connection, message: Message) -> None:
                told.append(message)

            def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
                assert ws.closed
                told.append((code, reason))
                closed.set()

        async with everwire.serve(Log(), HOST, 0) as server:
            async with connect(server) as ws:
                assert await ws.recv() == "hello"
                await ws.send("a")
                await ws.send(b"b")
                await ws.close(4000, "enough")
            await closed.wait()
            assert told == ["open", "a", b"b", (4000, "enough")]

    run(main)


def test_messages_right_behind_the_handshake_come_after_on_open(run: Any) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0) as server, dial(server.port) as peer:
            request = (
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await peer.send(request + peer.frame(TEXT, b"early") + peer.frame(CLOSE))
            assert (await peer.read_head()).status == 101
            assert await recorder.messages.get() == "early"
            assert await recorder.closed == (1005, "")
            assert recorder.opened.done()

    run(main)


@pytest.mark.parametrize("lost", [False, True])
def test_how_a_connection_ends_is_told(run: Any, lost: bool) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0) as server:
            ws = await connect(server)
            if lost:
                ws.abort()
                assert await recorder.closed == (1006, "")
            else:
                await ws.close(1001, "bye")
                assert await recorder.closed == (1001, "bye")

    run(main)


def test_a_connection_that_does_not_open_is_not_told_of(run: Any) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0) as server:
            async with dial(server.port) as peer:
                assert (await peer.request(without="Sec-WebSocket-Key")).status == 400
                await peer.reader.read()
            async with dial(server.port) as peer:
                await peer.send(b"GET / HT")
            await until(lambda: not server.settings.connections)
            assert not recorder.opened.done()
            assert not recorder.closed.done()

    run(main)


@pytest.mark.parametrize("method", ["on_open", "on_message", "on_drain", "on_close"])
def test_a_listener_that_raises(run: Any, caplog: pytest.LogCaptureFixture, method: str) -> None:
    """It is logged once, the connection ends with 1011, the server lives."""

    async def main() -> None:
        broken = True

        class Broken(Listener):
            def on_message(self, ws: everwire.Connection, message: Message) -> None:
                if message == "much":
                    while ws.send_nowait(b"x" * 300_000) is not SendStatus.BUFFERED:
                        pass
                else:
                    ws.send_nowait(message)

        def fail(self: Any, *args: Any) -> None:
            if broken:
                raise ZeroDivisionError("on purpose")
            if method == "on_message":
                args[0].send_nowait(args[1])

        setattr(Broken, method, fail)
        async with everwire.serve(Broken(), HOST, 0, compression=None) as server:
            async with connect(server) as ws:
                if method in ("on_message", "on_drain"):
                    await ws.send("much")
                elif method == "on_close":
                    await ws.close()
                if method != "on_close":
                    with pytest.raises(ConnectionClosedError) as caught:
                        while True:
                            await ws.recv()
                    assert caught.value.code == 1011
            await until(lambda: not server.settings.connections)
            assert take_errors(caplog) == [(f"{method} failed", ZeroDivisionError)]
            broken = False
            async with connect(server) as ws:
                await ws.send("again")
                assert await ws.recv() == "again"

    run(main)


def test_after_a_callback_failed_no_message_is_delivered(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        got = []

        class Broken(Listener):
            def on_message(self, ws: everwire.Connection, message: Message) -> None:
                got.append(message)
                raise KeyError(message)

        async with everwire.serve(Broken(), HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            await peer.send(b"".join(peer.frame(TEXT, b"%d" % i) for i in range(5)))
            assert (await peer.read_close()).code == 1011
            assert got == ["0"]
            assert take_errors(caplog) == [("on_message failed", KeyError)]

    run(main)


def test_a_listener_may_close_in_any_callback(run: Any) -> None:
    async def main() -> None:
        class OnOpen(Listener):
            def on_open(self, ws: everwire.Connection) -> None:
                ws.send_nowait("first")
                ws.close(4001, "in on_open")

        class OnMessage(Listener):
            def on_message(self, ws: everwire.Connection, message: Message) -> None:
                ws.close(4002, "in on_message")

            def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
                ws.close()
                with pytest.raises(everwire.ConnectionClosed):
                    ws.send_nowait("x")

        async with everwire.serve(OnOpen(), HOST, 0) as server, connect(server) as ws:
            assert await ws.recv() == "first"
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.received == (4001, "in on_open")
        async with everwire.serve(OnMessage(), HOST, 0) as server, connect(server) as ws:
            await ws.send("a")
            await ws.send("b")
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            assert caught.value.received == (4002, "in on_message")

    run(main)


@pytest.mark.parametrize("method", ["on_open", "on_message"])
def test_a_listener_may_abort_in_any_callback(run: Any, method: str) -> None:
    async def main() -> None:
        closed = asyncio.get_running_loop().create_future()

        class Aborts(Listener):
            def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
                closed.set_result(code)

        setattr(Aborts, method, lambda self, ws, *message: ws.abort())
        async with everwire.serve(Aborts(), HOST, 0) as server, dial(server.port) as peer:
            request = peer.frame(TEXT, b"a") + peer.frame(BINARY, b"b" * 70_000)
            if method == "on_message":
                await peer.open()
                await peer.send(request)
            else:
                peer.writer.write(
                    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                    + request
                )
            with contextlib.suppress(ConnectionError):
                await peer.reader.read()
            assert await closed == 1006

    run(main)


def test_a_listener_may_pause_reading(run: Any) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0) as server, connect(server) as ws:
            ours = await recorder.opened
            ours.pause_reading()
            for i in range(50):
                await ws.send(str(i))
            await asyncio.sleep(0.02)
            assert recorder.messages.empty()
            ours.resume_reading()
            assert [await recorder.messages.get() for _ in range(50)] == [str(i) for i in range(50)]

    run(main)


def test_a_listener_may_pause_in_the_middle_of_much(run: Any) -> None:
    async def main() -> None:
        got: asyncio.Queue[Message] = asyncio.Queue()
        paused = asyncio.Event()

        class Paces(Listener):
            def on_message(self, ws: everwire.Connection, message: Message) -> None:
                got.put_nowait(message)
                if int(message) % 10 == 9:
                    ws.data = ws
                    ws.pause_reading()
                    paused.set()

        async with everwire.serve(Paces(), HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            ours = server.connections[0]
            await peer.send(b"".join(peer.frame(TEXT, b"%d" % i) for i in range(50)))
            for turn in range(1, 6):
                await paused.wait()
                paused.clear()
                assert got.qsize() == 10 * turn
                ours.resume_reading()
            assert [got.get_nowait() for _ in range(50)] == [str(i) for i in range(50)]

    run(main)


def test_a_listener_on_a_client(run: Any) -> None:
    async def main() -> None:
        recorder = Recorder()

        async def handler(ws: everwire.Connection) -> None:
            await ws.send("hello")
            assert await ws.recv() == "answer"
            await ws.close(4000, "bye")

        async with everwire.serve(handler, HOST, 0) as server:
            ws = await connect(server, listener=recorder)
            assert await recorder.opened is ws
            assert await recorder.messages.get() == "hello"
            ws.send_nowait("answer")
            assert await recorder.closed == (4000, "bye")

    run(main)


def test_on_drain_is_told_once_what_is_unsent_has_shrunk(run: Any) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with (
            everwire.serve(recorder, HOST, 0, compression=None, write_limit=(40_000, 10_000)) as server,
            connect(server, max_queue=1) as ws,
        ):
            ours = await recorder.opened
            n = 1
            while ours.send_nowait(b"x" * 200_000) is SendStatus.SENT:
                n += 1
            assert ours.buffered_amount > 40_000
            assert not recorder.drained.is_set()
            for _ in range(n):
                await ws.recv()
            await recorder.drained.wait()
            assert ours.buffered_amount <= 10_000
            recorder.drained.clear()
            ours.send_nowait("small")
            await ws.recv()
            assert not recorder.drained.is_set()

    run(main)


def test_a_listener_class_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        everwire.serve(Recorder, HOST, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["on_open", "on_message", "on_drain", "on_close"])
def test_a_coroutine_method_is_refused(method: str) -> None:
    async def wrong(self: Any, *args: Any) -> None: ...

    kind = type("Wrong", (Listener,), {method: wrong})
    with pytest.raises(TypeError, match=method):
        everwire.serve(kind(), HOST, 0)


def test_a_listener_serves_many(run: Any) -> None:
    async def main() -> None:
        class Names(Listener):
            def on_open(self, ws: everwire.Connection) -> None:
                ws.data = []

            def on_message(self, ws: everwire.Connection, message: Message) -> None:
                ws.data.append(message)
                ws.send_nowait(f"{ws.request.path}:{len(ws.data)}")

        async with everwire.serve(Names(), HOST, 0) as server:

            async def talk(i: int) -> None:
                async with connect(server, f"/{i}") as ws:
                    for n in range(1, 4):
                        await ws.send("x")
                        assert await ws.recv() == f"/{i}:{n}"

            await asyncio.gather(*(talk(i) for i in range(30)))

    run(main)


def test_the_end_is_known_to_on_close(run: Any) -> None:
    async def main() -> None:
        ended = asyncio.get_running_loop().create_future()

        class Notes(Listener):
            def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
                ended.set_result((ws.close_error, ws.close_code, ws.close_reason, ws.remote_address))

        async with everwire.serve(Notes(), HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            await peer.send_frame(CLOSE, close_payload(1000, "done"))
            error, code, reason, remote = await ended
            assert isinstance(error, ConnectionClosedOK)
            assert (code, reason) == (1000, "done")
            assert remote == peer.writer.get_extra_info("sockname")

    run(main)
