"""WebSocket: what the standard leaves to us, and what Python adds. What it says is tested in ``wpt``."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Certificates, Run
from live import HOST, echo, idle, until, uri
from raw import BINARY, CLOSE, TEXT, Listener, close_payload

import everwire
from web.record import recorded

OPTIONS: dict[str, Any] = {"proxy": None, "close_timeout": 3.0}


def dial(server: everwire.Server, path: str = "/", protocols: Any = (), **options: Any) -> everwire.WebSocket:
    """A WebSocket to a server."""
    scheme = "wss" if options.get("ssl") else "ws"
    return everwire.WebSocket(uri(server, path, scheme=scheme), protocols, **{**OPTIONS, **options})


def test_the_first_example_of_the_documentation(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    async def greet(ws: everwire.Connection) -> None:
        await ws.send("Hello")

    async def main() -> None:
        async with everwire.serve(greet, "localhost", 0, subprotocols=["xmpp"]) as server:
            closed = asyncio.Event()
            socket = everwire.WebSocket(f"ws://localhost:{server.port}", ["soap", "xmpp"])
            socket.onopen = lambda event: print("Connection established.", socket.protocol)
            socket.onmessage = lambda event: print(f"Data received: {event.data}")
            socket.onerror = lambda error: print(f"Error: {error}")
            socket.onclose = lambda event: closed.set()
            await closed.wait()

    run(main)
    assert capsys.readouterr().out == "Connection established. xmpp\nData received: Hello\n"


def test_an_error_says_what_failed(run: Run, unused_tcp_port: int) -> None:
    async def main() -> None:
        async with recorded(everwire.WebSocket(f"ws://{HOST}:{unused_tcp_port}", **OPTIONS)) as record:
            event = await record.next("error")
            assert isinstance(event.error, ConnectionRefusedError)
            assert str(event) == event.message == str(event.error)
            assert record.socket.readyState == everwire.WebSocket.CLOSED
            event = await record.next("close")
            assert (event.code, event.reason, event.wasClean) == (1006, "", False)
            await record.no_more()

    run(main)


def test_it_needs_an_event_loop() -> None:
    with pytest.raises(RuntimeError, match=r"asyncio\.run"):
        everwire.WebSocket("ws://localhost")


def test_nothing_happens_before_the_constructor_is_done(run: Run) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0) as server:
            socket = dial(server)
            assert (socket.readyState, socket.protocol, socket.extensions) == (0, "", "")
            assert repr(socket) == f"<WebSocket ws://{HOST}:{server.port}/, connecting>"
            async with recorded(socket) as record:
                await record.next("open")

    run(main)


@pytest.mark.parametrize(
    ("url", "options", "error"),
    [
        ("ws://localhost", {"ssl": True}, ValueError),
        ("ws://localhost", {"max_queue": 0}, ValueError),
        ("ws://localhost", {"max_sise": 5}, TypeError),
        ("ws://localhost", {"additional_headers": {"a b": "c"}}, ValueError),
        ("ws://localhost", {"proxy": "gopher://localhost"}, everwire.ProxyError),
    ],
)
def test_bad_options_are_refused_at_once(run: Run, url: str, options: Any, error: type[Exception]) -> None:
    async def main() -> None:
        with pytest.raises(error):
            everwire.WebSocket(url, **options)

    run(main)


def test_options_are_those_of_connect(run: Run, certificates: Certificates) -> None:
    async def headers(ws: everwire.Connection) -> None:
        seen = ws.request.headers
        await ws.send(" ".join(seen[name] for name in ("Origin", "X-Token", "User-Agent")))

    async def main() -> None:
        async with everwire.serve(headers, HOST, 0, ssl=certificates.server, origins=None) as server:
            options: dict[str, Any] = {"origin": "https://here", "additional_headers": {"X-Token": "t"}}
            options |= {"user_agent_header": "me", "ssl": certificates.client, "compression": None}
            async with recorded(dial(server, **options)) as record:
                await record.next("open")
                assert record.socket.extensions == ""
                message = await record.next("message")
                assert message.data == "https://here t me"
                assert message.origin == f"wss://{HOST}:{server.port}"

    run(main)


def test_a_message_that_is_too_big_ends_it(run: Run) -> None:
    async def big(ws: everwire.Connection) -> None:
        await ws.send(b"x" * 1001)
        await ws.wait_closed()

    async def main() -> None:
        async with (
            everwire.serve(big, HOST, 0) as server,
            recorded(dial(server, max_size=1000)) as record,
        ):
            await record.next("open")
            assert isinstance((await record.next("error")).error, everwire.MessageTooBig)
            assert (await record.next("close")).code == 1006

    run(main)


def test_a_connection_that_is_lost(run: Run) -> None:
    async def main() -> None:
        async with Listener() as listener, recorded(everwire.WebSocket(listener.uri, **OPTIONS)) as record:
            peer = await listener.accept()
            await peer.answer()
            await record.next("open")
            peer.abort()
            assert isinstance((await record.next("error")).error, everwire.ConnectionClosedError)
            event = await record.next("close")
            assert (event.code, event.wasClean) == (1006, False)

    run(main)


def test_the_state_between_the_close_frame_and_the_end(run: Run) -> None:
    async def main() -> None:
        async with Listener() as listener, recorded(everwire.WebSocket(listener.uri, **OPTIONS)) as record:
            peer = await listener.accept()
            await peer.answer()
            await record.next("open")
            await peer.send_frame(CLOSE, close_payload(4000, "over"))
            await peer.read_close()
            assert record.socket.readyState is everwire.WebSocket.CLOSING
            record.socket.send("lost")
            assert record.socket.bufferedAmount == 4
            await record.no_more()
            await peer.close()
            event = await record.next("close")
            assert (event.code, event.reason, event.wasClean) == (4000, "over", True)
            assert record.socket.bufferedAmount == 4

    run(main)


def test_more_than_max_backlog_closes_it(run: Run) -> None:
    async def main() -> None:
        async with (
            Listener() as listener,
            recorded(everwire.WebSocket(listener.uri, max_backlog=100_000, **OPTIONS)) as record,
        ):
            peer = await listener.accept()
            await peer.answer()
            await record.next("open")
            while record.socket.readyState == record.socket.OPEN:
                record.socket.send(b"x" * 50_000)
            peer.abort()
            error = (await record.next("error")).error
            assert isinstance(error, everwire.DOMException)
            assert error.name == "QuotaExceededError"
            await record.next("close")

    run(main)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_buffered_amount_tells_what_has_not_left(run: Run, compression: Any) -> None:
    async def main() -> None:
        received = asyncio.Event()
        size = 0

        async def slow(ws: everwire.Connection) -> None:
            nonlocal size
            await received.wait()
            async for message in ws:
                size += len(message)

        async with everwire.serve(slow, HOST, 0, max_queue=1, compression=compression) as server:
            async with recorded(dial(server, compression=compression)) as record:
                await record.next("open")
                ws, sent = record.socket, 0
                chunk = gibberish(100_000)
                while ws.bufferedAmount == 0 or sent < 2_000_000:
                    before = ws.bufferedAmount
                    ws.send(chunk)
                    sent += len(chunk)
                    # It grows by the message in this turn of the loop, whatever was sent of it.
                    assert ws.bufferedAmount == before + len(chunk)
                    await asyncio.sleep(0)
                waiting = ws.bufferedAmount
                assert 0 < waiting <= sent
                received.set()
                await until(lambda: ws.bufferedAmount == 0)
            assert size == sent

    run(main)


def gibberish(size: int) -> bytes:
    """Bytes that do not compress, the same each time."""
    return random.Random(1).randbytes(size)


class TestCoroutines:
    def test_each_begins_before_the_next_event(self, run: Run) -> None:
        async def main() -> None:
            async with (
                Listener() as listener,
                recorded(everwire.WebSocket(listener.uri, **OPTIONS)) as record,
            ):
                order: list[str] = []
                go_on = asyncio.Event()

                async def handle(event: everwire.MessageEvent) -> None:
                    order.append(f"{event.data} begins")
                    assert event.data in ("b", "c") or record.types == ["open", "message"]
                    await go_on.wait()
                    order.append(f"{event.data} ends")

                record.socket.onmessage = handle
                record.socket.addEventListener("message", lambda event: order.append(f"{event.data} comes"))
                peer = await listener.accept()
                await peer.answer()
                # In one piece, so that they are read at once.
                frames = [peer.frame(TEXT, each) for each in (b"a", b"b", b"c")]
                await peer.send(b"".join(frames) + peer.frame(CLOSE))
                await peer.read_close()
                await peer.close()
                event = await record.closed()
                assert event.wasClean
                assert record.types == ["open", *["message"] * 3, "close"]
                assert order == [f"{each} {what}" for each in ("a", "b", "c") for what in ("comes", "begins")]
                go_on.set()
                await until(lambda: len(order) == 9)
                assert order[6:] == ["a ends", "b ends", "c ends"]

        run(main)

    def test_reading_pauses_while_many_are_under_way(self, run: Run) -> None:
        async def flood(ws: everwire.Connection) -> None:
            for number in range(1000):
                await ws.send(str(number))

        async def main() -> None:
            async with everwire.serve(flood, HOST, 0) as server:
                under_way = most = 0
                seen: list[str] = []

                async def handle(event: everwire.MessageEvent) -> None:
                    nonlocal under_way, most
                    under_way += 1
                    most = max(most, under_way)
                    seen.append(event.data)
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                    under_way -= 1

                async with recorded(dial(server, max_queue=5)) as record:
                    record.socket.onmessage = handle
                    assert (await record.closed()).wasClean
                await until(lambda: not under_way)
                assert seen == [str(number) for number in range(1000)]
                assert 1 < most <= 6

        run(main)

    def test_a_coroutine_may_wait_for_a_later_event(self, run: Run) -> None:
        async def main() -> None:
            async with everwire.serve(echo, HOST, 0) as server, recorded(dial(server)) as record:
                answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
                heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

                async def ask(event: everwire.Event) -> None:
                    record.socket.send("How are you?")
                    heard.set_result(await answer)

                record.socket.onopen = ask
                record.socket.onmessage = lambda event: answer.set_result(event.data)
                assert await heard == "How are you?"

        run(main)

    @pytest.mark.parametrize("coroutine", [False, True])
    def test_what_a_listener_raises_is_reported(self, run: Run, coroutine: bool) -> None:
        async def main() -> None:
            reported: list[dict[str, Any]] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: reported.append(context))
            async with everwire.serve(echo, HOST, 0) as server, recorded(dial(server)) as record:

                def fail(event: everwire.Event) -> None:
                    raise KeyError("mine")

                async def fail_later(event: everwire.Event) -> None:
                    await asyncio.sleep(0)
                    raise KeyError("mine")

                record.socket.onmessage = fail_later if coroutine else fail
                await record.next("open")
                record.socket.send("x")
                await record.next("message")
                await until(lambda: reported)
                assert isinstance(reported[0]["exception"], KeyError)
                assert "WebSocket ws://" in reported[0]["message"]
                # It goes on.
                record.socket.onmessage = None
                record.socket.send("y")
                assert (await record.next("message")).data == "y"

        run(main)


class TestGarbage:
    """A WebSocket that nobody refers to (WebSockets, section 7)."""

    def test_it_stays_while_it_has_listeners(self, run: Run) -> None:
        async def main() -> None:
            ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

            async def count(ws: everwire.Connection) -> None:
                for number in range(3):
                    gc.collect()
                    await ws.send(str(number))
                    await ws.recv()
                await ws.close(4001)
                ended.set_result(ws.close_code)

            async with everwire.serve(count, HOST, 0) as server:
                seen: list[str] = []
                closed: asyncio.Future[int] = asyncio.get_running_loop().create_future()

                def answer(event: everwire.MessageEvent) -> None:
                    seen.append(event.data)
                    assert isinstance(event.target, everwire.WebSocket)
                    event.target.send("more")

                def listen() -> weakref.ref[everwire.WebSocket]:
                    socket = dial(server)
                    socket.onmessage = answer
                    socket.onclose = lambda event: closed.set_result(event.code)
                    return weakref.ref(socket)

                reference = listen()
                assert await closed == 4001
                assert seen == ["0", "1", "2"]
                await ended
                await until(lambda: gc.collect() is not None and reference() is None)

        run(main)

    @pytest.mark.parametrize("listeners", ["none", "removed", "open"])
    def test_it_is_closed_when_nothing_can_be_heard_of_it(self, run: Run, listeners: str) -> None:
        async def main() -> None:
            opened = asyncio.Event()
            closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

            async def wait(ws: everwire.Connection) -> None:
                opened.set()
                await ws.wait_closed()
                closed.set_result(ws.close_code)

            async with everwire.serve(wait, HOST, 0) as server:
                socket = dial(server)
                if listeners == "open":
                    socket.onopen = print
                if listeners == "removed":
                    socket.addEventListener("message", print)
                    socket.removeEventListener("message", print)
                await opened.wait()
                while socket.readyState != socket.OPEN:
                    await asyncio.sleep(0)
                del socket
                gc.collect()
                assert await closed == 1005

        run(main)

    def test_it_is_closed_while_it_connects(self, run: Run) -> None:
        async def main() -> None:
            async with Listener() as listener:
                socket = everwire.WebSocket(listener.uri, **OPTIONS)
                peer = await listener.accept()
                await peer.read_head()
                del socket
                gc.collect()
                await peer.read_eof()

        run(main)


def test_the_listeners_are_let_go(run: Run) -> None:
    class Owner:
        def __init__(self, server: everwire.Server) -> None:
            self.socket = dial(server)
            self.socket.onclose = self.closed
            self.done = asyncio.Event()

        def closed(self, event: everwire.CloseEvent) -> None:
            self.done.set()

    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            owner = Owner(server)
            while owner.socket.readyState != 1:
                await asyncio.sleep(0)
            owner.socket.close()
            await owner.done.wait()
            reference = weakref.ref(owner)
            del owner
            await until(lambda: gc.collect() is not None and reference() is None)

    run(main)


def test_redirects_are_followed_if_one_says_so(run: Run) -> None:
    def redirect(connection: everwire.Connection, request: everwire.Request) -> everwire.Response | None:
        return None if request.path == "/there" else everwire.Response.of(302, "", {"Location": "/there"})

    async def main() -> None:
        async with everwire.serve(echo, HOST, 0, process_request=redirect) as server:
            async with recorded(dial(server, max_redirects=1)) as record:
                await record.next("open")
            async with recorded(dial(server)) as record:
                error = (await record.next("error")).error
                assert isinstance(error, everwire.InvalidStatus)
                assert error.response.status == 302

    run(main)


def test_a_socket_of_ones_own(run: Run) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            connected = socket.create_connection((HOST, server.port))
            async with recorded(everwire.WebSocket("ws://example.invalid/", sock=connected)) as record:
                await record.next("open")

    run(main)


@pytest.mark.parametrize("make", [bytearray, memoryview, lambda data: memoryview(data)[::2]])
def test_any_buffer_is_sent(run: Run, make: Callable[[bytes], Any]) -> None:
    async def main() -> None:
        async with Listener() as listener, recorded(everwire.WebSocket(listener.uri, **OPTIONS)) as record:
            peer = await listener.accept()
            await peer.answer()
            await record.next("open")
            data = make(b"0123456789")
            record.socket.send(data)
            frame = await peer.read_frame()
            assert (frame.opcode, frame.payload) == (BINARY, bytes(data))
            peer.abort()

    run(main)


def test_what_cannot_be_sent(run: Run) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server, recorded(dial(server)) as record:
            await record.next("open")
            with pytest.raises(TypeError, match="int"):
                record.socket.send(5)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="'blob' or 'arraybuffer'"):
                record.socket.binaryType = "text"  # type: ignore[assignment]
            for name in ("onopen", "onmessage", "onerror", "onclose"):
                with pytest.raises(TypeError, match=name):
                    setattr(record.socket, name, "print")

    run(main)


def test_closing_while_it_connects_calls_the_opening_off(run: Run) -> None:
    async def main() -> None:
        async with Listener() as listener, recorded(everwire.WebSocket(listener.uri, **OPTIONS)) as record:
            peer = await listener.accept()
            await peer.read_head()
            record.socket.close()
            assert record.types == []
            assert (await record.next("error")).error.name == "AbortError"
            assert (await record.next("close")).code == 1006
            await peer.read_eof()

    run(main)


def test_closing_in_the_turn_in_which_it_opens(run: Run) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            for _ in range(20):
                async with recorded(dial(server)) as record:
                    record.socket.onopen = lambda event: event.target.close(3001)  # type: ignore[union-attr]
                    await record.next("open")
                    event = await record.next("close")
                    assert (event.code, event.wasClean) == (3001, True)

    run(main)
