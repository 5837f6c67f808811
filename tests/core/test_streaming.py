"""Streams: connections whose messages go into the body of an HTTP response."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from conftest import Certificates, Run
from core.test_topic import Hub, small_buffers
from hypothesis import given
from hypothesis import strategies as st
from live import HOST, Message, connect, deaf_socket, reset, take_errors, until
from raw import Peer, dial

import everwire
from everwire import Topic
from everwire._core.connection import Connection
from everwire.websocket.handshake import ServerHandshake
from everwire.websocket.listener import Callbacks
from everwire.websocket.messages import Request
from everwire.websocket.outcome import open_connection
from everwire.websocket.server import Server
from everwire.websocket.sockets import Where

pytestmark = pytest.mark.transports

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n%b\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PATHS = ["/lines", "/events", "/raw", "/lines-1.0", "/events-1.0", "/raw-1.0"]
"""What a test asks for: a framing, of a body that is chunked or, for HTTP/1.0, is not."""


class Streams:
    """Decides about requests: each is answered by a stream, or opens a WebSocket."""

    def __init__(self, listener: everwire.Listener, limits: dict[str, Any]) -> None:
        self.closing = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.callbacks = Callbacks(listener)
        self.limits = limits
        self.handshake = ServerHandshake()

    def on_head(self, connection: Connection, head: bytes) -> None:
        """Open the stream that the path names."""
        request = Request.parse(head)
        settings = connection.settings.derive(listener=self.callbacks, **self.limits)
        if "Upgrade" in request.headers:
            open_connection(connection, self.handshake.accept(request), None, settings=settings)
            return
        framing, _, version = request.path[1:].partition("-")
        head = HEAD % (b"" if version else CHUNKED)
        connection.open_stream(head, framing, chunked=not version, settings=settings)  # type: ignore[arg-type]


class Members(Hub):
    """A hub that remembers how its connections ended."""

    def __init__(self, topic: Topic | None = None) -> None:
        super().__init__(topic if topic is not None else Topic())
        self.codes: list[tuple[int, str]] = []
        self.drained: list[Connection] = []

    def on_drain(self, ws: Connection) -> None:
        self.drained.append(ws)

    def on_close(self, ws: Connection, code: int, reason: str) -> None:
        super().on_close(ws, code, reason)
        self.codes.append((code, reason))


@asynccontextmanager
async def streaming(
    hub: everwire.Listener, *, ssl: Any = None, sock: Any = None, limits: Any = None, **options: Any
) -> AsyncIterator[Server]:
    """A server of streams."""
    server = Server(Streams(hub, limits or {}), close_timeout=3.0, options=options)
    where = Where(
        host=None if sock else HOST,
        port=None if sock else 0,
        unix=None,
        sock=sock,
        backlog=16,
        reuse_port=False,
        reuse_address=True,
    )
    server._listen(await where.sockets(), ssl, None)
    async with server:
        yield server


@asynccontextmanager
async def one(
    path: str, *, context: Any = None, **options: Any
) -> AsyncIterator[tuple[Connection, Peer, Members]]:
    """A stream, its client after the head, and who is told of it."""
    hub = Members()
    async with streaming(hub, **options) as server, dial(server.port, context=context) as peer:
        await ask(peer, path)
        await until(lambda: hub.members)
        yield hub.members[0], peer, hub


async def ask(peer: Peer, path: str) -> None:
    """Ask for a stream, and read its head."""
    await peer.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
    head = await peer.read_head()
    assert head.status == 200
    assert (head.headers.get("transfer-encoding") == "chunked") == (not path.endswith("1.0"))


async def read_body(peer: Peer, path: str) -> bytes:
    """The body up to its end, which is as it has to be."""
    if path.endswith("1.0"):
        return await peer.reader.read()
    body = b""
    while size := int(await peer.reader.readuntil(b"\r\n"), 16):
        body += await peer.reader.readexactly(size)
        assert await peer.reader.readexactly(2) == b"\r\n"
    assert await peer.reader.readexactly(2) == b"\r\n"
    await peer.read_eof()
    return body


def framed(path: str, message: Message) -> bytes:
    """What a message is in the body."""
    data = message.encode() if isinstance(message, str) else message
    if path.startswith("/lines"):
        return data + b"\n"
    if path.startswith("/raw"):
        return data
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"".join(b"data: %b\n" % line for line in lines) + b"\n"


MESSAGES: list[Message] = ["text", b"bytes", "", b"", "é" * 100, "x" * 15, "x" * 16, "a" * 300_000, "end"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("layer", ["plain", "tls"])
def test_messages(run: Run, certificates: Certificates, path: str, layer: str) -> None:
    tls = layer == "tls"

    async def main() -> None:
        options = {"context": certificates.client, "ssl": certificates.server} if tls else {}
        async with one(path, **options) as (stream, peer, hub):
            assert stream.is_open
            assert stream.request.path == path
            reading = asyncio.ensure_future(read_body(peer, path))
            for message in MESSAGES:
                await stream.send(message)
            stream.send_nowait(bytearray(b"array"))
            stream.send_nowait(memoryview(b"view"))
            stream.close(3000, "enough")
            with pytest.raises(everwire.ConnectionClosed):
                stream.send_nowait("late")
            assert await reading == b"".join(framed(path, each) for each in [*MESSAGES, b"array", b"view"])
            await peer.close()
            await stream.wait_closed()
            assert hub.codes == [(3000, "enough")]
            with pytest.raises(everwire.ConnectionClosed) as caught:
                await stream.recv()
            assert (caught.value.code, caught.value.reason) == (3000, "enough")

    run(main)


@given(st.lists(st.text(st.sampled_from("ab\r\n:é"), max_size=12), min_size=1, max_size=4))
def test_events_have_a_field_for_each_line(messages: list[str]) -> None:
    async def main() -> None:
        topic = Topic()
        async with streaming(Members(topic)) as server, dial(server.port) as peer:
            await ask(peer, "/events")
            await until(lambda: len(topic) == 1)
            (stream,) = topic
            for number, message in enumerate(messages):
                if number % 2:
                    topic.publish(message)
                else:
                    stream.send_nowait(message)
            stream.close()
            assert await read_body(peer, "/events") == b"".join(framed("/events", each) for each in messages)

    asyncio.run(main())


def test_a_topic_of_streams_and_websockets(run: Run) -> None:
    """Everybody gets everything in order, with what is sent to one alone in its place."""

    async def main() -> None:
        topic = Topic()
        hub = Members(topic)
        chance = random.Random(3)
        async with streaming(hub) as server, AsyncExitStack() as stack:
            readers: list[asyncio.Task[Any]] = []
            for path in PATHS:
                peer = await stack.enter_async_context(dial(server.port))
                await ask(peer, path)
                readers.append(asyncio.ensure_future(read_body(peer, path)))
            ws = await stack.enter_async_context(connect(server, compression=None, max_queue=None))
            await until(lambda: len(topic) == 7)
            by_path = {member.request.path: member for member in hub.members}
            expected: dict[str, list[Message]] = {path: [] for path in by_path}
            for number in range(300):
                message: Message = f"{number} " + "x" * chance.choice(
                    (0, 9, 300, 70_000 if number % 40 == 0 else 0)
                )
                if chance.random() < 0.3:
                    path = chance.choice(sorted(by_path))
                    by_path[path].send_nowait(message)
                    expected[path].append(message)
                else:
                    topic.publish(message)
                    for each in expected.values():
                        each.append(message)
                if chance.random() < 0.2:
                    await asyncio.sleep(0)
            for path in PATHS:
                by_path[path].close()
            for path, reader in zip(PATHS, readers, strict=True):
                assert await reader == b"".join(framed(path, each) for each in expected[path])
            for message in expected["/"]:
                assert await ws.recv() == message
        assert len(topic) == 0

    run(main)


def test_who_goes_away_is_missed(run: Run) -> None:
    async def main() -> None:
        for leave in ("eof", "reset"):
            async with one("/events") as (stream, peer, hub):
                if leave == "eof":
                    peer.writer.write_eof()
                else:
                    peer.abort()
                await stream.wait_closed()
                assert hub.codes == [(1006, "")]
                assert len(hub.topic) == 0
                with pytest.raises(everwire.ConnectionClosed):
                    stream.send_nowait("late")

    run(main)


def test_what_the_client_says_is_ignored_within_a_bound(run: Run) -> None:
    async def main() -> None:
        async with one("/lines") as (stream, peer, hub):
            await peer.send(b"\x81\x85 frames, heads or anything " * 100)
            await peer.send(b"GET / HTTP/1.1\r\n\r\n")
            stream.send_nowait("still here")
            assert await peer.reader.readuntil(b"\n\r\n") == b"b\r\nstill here\n\r\n"
            await peer.send(b"x" * 20_000)
            assert await read_body(peer, "/lines") == b""
            await peer.close()
            await stream.wait_closed()
            assert hub.codes == [(1008, "input to a stream")]

    run(main)


def test_who_does_not_read_is_closed(run: Run) -> None:
    """By a topic and by ``send_nowait``, with the code of the option; the body ends well all the same."""

    async def fill(sender: Topic | None, end: tuple[int, str]) -> int:
        """Send to a client that does not read, until it is given up; how often the server did that itself."""
        hub = Members(sender)
        limits = {"max_backlog": 20_000, "close_code": 3009, "close_reason": "slower"}
        async with streaming(hub, sock=small_buffers(), limits=limits) as server:
            peer = await dialled(server)
            await until(lambda: hub.members)
            stream = hub.members[0]
            sent = 0
            while stream.is_open:
                if sender is not None:
                    sender.publish(f"{sent:<1000}")
                    await asyncio.sleep(0)
                else:
                    stream.send_nowait(f"{sent:<1000}")
                sent += 1
                assert sent < 5000
            assert stream.buffered_amount < 50_000
            lines = (await read_body(peer, "/lines")).splitlines()
            assert [int(line) for line in lines] == list(range(len(lines)))
            await peer.close()
            await stream.wait_closed()
            assert hub.codes == [end]
            return server.settings.overflows

    async def main() -> None:
        topic = Topic(max_backlog=20_000, close_code=3008, close_reason="slow")
        assert await fill(topic, (3008, "slow")) == 0
        assert topic.disconnected == 1
        assert await fill(None, (3009, "slower")) == 1

    run(main)


async def dialled(server: Server) -> Peer:
    """A client that has asked for lines, with little room for what it does not read."""
    sock = deaf_socket(server)
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    peer = Peer(reader, writer, client=True)
    await ask(peer, "/lines")
    return peer


def test_on_drain(run: Run) -> None:
    async def main() -> None:
        hub = Members()
        async with streaming(hub, sock=small_buffers(), limits={"write_limit": (8192, 1024)}) as server:
            peer = await dialled(server)
            await until(lambda: hub.members)
            stream = hub.members[0]
            while stream.send_nowait("x" * 1000) is not everwire.SendStatus.BUFFERED:
                await asyncio.sleep(0)
            assert stream.buffered_amount > 8192
            assert hub.drained == []
            while not hub.drained:
                await peer.reader.read(4096)
            assert hub.drained == [stream]
            assert stream.buffered_amount <= 1024
            await peer.close()

    run(main)


def test_the_end_of_the_server_ends_streams(run: Run) -> None:
    async def main() -> None:
        hub = Members()
        async with streaming(hub) as server, dial(server.port) as peer, dial(server.port) as other:
            await ask(peer, "/events")
            await ask(other, "/raw-1.0")
            await until(lambda: len(hub.members) == 2)
            assert server.settings.connections == 2
            assert set(server.connections) == set(hub.members)
            hub.topic.publish("last")
            server.close(1012, "restart")
            assert await read_body(peer, "/events") == b"data: last\n\n"
            assert await read_body(other, "/raw-1.0") == b"last"
            await peer.close()
            await other.close()
            await server.wait_closed()
            assert hub.codes == [(1012, "restart")] * 2
            assert server.settings.connections == 0

    run(main)


def test_who_stays_after_the_end_is_dropped(run: Run) -> None:
    async def main() -> None:
        async with one("/events", limits={"close_timeout": 0.1}) as (stream, peer, hub):
            stream.close(3001)
            await stream.wait_closed()
            assert hub.codes == [(3001, "")]
            assert await read_body(peer, "/events") == b""

    run(main)


def test_a_stream_has_no_pings_and_no_idle_time(run: Run) -> None:
    async def main() -> None:
        limits = {"ping_interval": 0.05, "ping_timeout": 0.05, "idle_timeout": 0.05}
        async with one("/events", limits=limits, open_timeout=0.1) as (stream, peer, _):
            with pytest.raises(everwire.errors.InvalidState, match="no pings"):
                stream.ping()
            with pytest.raises(everwire.errors.InvalidState, match="no pings"):
                stream.pong()
            # Long enough for any of these to be due.
            await asyncio.sleep(0.4)
            stream.send_nowait("here")
            stream.close()
            assert await read_body(peer, "/events") == b"data: here\n\n"

    run(main)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="of Linux")
def test_a_peer_that_is_gone_without_a_word_is_found_out_by_the_system(run: Run) -> None:
    async def main() -> None:
        for limits, expected in (({}, 5000), ({"ping_interval": None}, 0)):
            async with one("/events", limits={"ping_interval": 3, "ping_timeout": 2} | limits) as (
                stream,
                peer,
                _,
            ):
                sock = stream.transport.get_extra_info("socket") if stream.transport else None
                number = os.dup(stream.fileno if sock is None else sock.fileno())
                with socket.socket(fileno=number) as same:
                    found = same.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                    assert abs(found - expected) < 500
                stream.close()
                assert await read_body(peer, "/events") == b""

    run(main)


def test_what_cannot_be(run: Run) -> None:
    async def main() -> None:
        async with one("/events") as (stream, peer, _):
            with pytest.raises(TypeError, match="str or bytes-like"):
                await stream.send(["in", "fragments"])
            with pytest.raises(everwire.errors.InvalidState, match="open already"):
                stream.open_stream(b"", "events")
            with pytest.raises(ValueError, match="lines, events, raw, not 'frames'"):
                stream.open_stream(b"", "frames")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="not a close code"):
                stream.close(999)
            assert stream.is_open
            stream.close()
            assert await read_body(peer, "/events") == b""

    run(main)


def test_an_error_in_a_callback_ends_the_body(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Members):
        def on_open(self, ws: Connection) -> None:
            ws.send_nowait("first")
            super().on_open(ws)
            raise RuntimeError("broken")

    async def main() -> None:
        hub = Broken()
        async with streaming(hub) as server, dial(server.port) as peer:
            await ask(peer, "/raw")
            assert await read_body(peer, "/raw") == b"first"
            await peer.close()
            await until(lambda: hub.codes)
            assert hub.codes == [(1011, "internal error")]
        assert take_errors(caplog) == [("on_open failed", RuntimeError)]

    run(main)


def test_clients_that_are_cut_off_leave_the_others(run: Run) -> None:
    """Half of the clients are gone in the midst of large messages; nothing is left of them."""

    async def main() -> None:
        topic = Topic()
        hub = Members(topic)
        async with streaming(hub, sock=small_buffers()) as server, AsyncExitStack() as stack:
            lost, readers = [], []
            for number in range(10):
                if number % 2:
                    peer = await stack.enter_async_context(dial(server.port))
                    await ask(peer, PATHS[number // 2])
                    readers.append(
                        (PATHS[number // 2], asyncio.ensure_future(read_body(peer, PATHS[number // 2])))
                    )
                else:
                    sock = deaf_socket(server)
                    await asyncio.get_running_loop().sock_sendall(
                        sock, b"GET /raw HTTP/1.1\r\nHost: x\r\n\r\n"
                    )
                    lost.append(sock)
                await until(lambda: len(hub.members) == len(lost) + len(readers))
            for number in range(4):
                topic.publish(f"{number}" * 50_000)
                await asyncio.sleep(0)
            for sock in lost:
                reset(sock)
            await until(lambda: len(topic) == 5)
            topic.publish("end")
            for member in topic:
                member.close()
            expected = [f"{number}" * 50_000 for number in range(4)] + ["end"]
            for path, reader in readers:
                assert await reader == b"".join(framed(path, each) for each in expected)
        assert server.settings.connections == 0

    run(main)
