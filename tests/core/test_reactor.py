"""The reactor: timers, slots, what is done at the end of a turn, and its own end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fuzz.seeds import REQUEST, frame
from live import HOST, Recorder, connect, idle, pair, turns, until

import everwire
from everwire import Listener, Topic
from everwire._core.connection import Connection
from everwire._core.reactor import get_reactor, polls
from everwire._core.settings import Settings

RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"


class Calls(Listener):
    """Notes what it is told of which connection."""

    def __init__(self, note: Callable[[str, Connection, object], object]) -> None:
        self.note = note

    def on_open(self, ws: Connection) -> None:
        self.note("open", ws, None)

    def on_message(self, ws: Connection, message: str | bytes) -> None:
        self.note("message", ws, message)

    def on_close(self, ws: Connection, code: int, reason: str) -> None:
        self.note("close", ws, code)


def settings_for(note: Callable[[str, Connection, object], object], **options: Any) -> Settings:
    """The settings of connections on which a note is made of what comes."""

    def on_head(connection: Connection, head: bytes) -> None:
        connection.open(RESPONSE)

    defaults: dict[str, Any] = {"ping_interval": None, "close_timeout": 3.0}
    return Settings(client=False, on_head=on_head, listener=Calls(note), **{**defaults, **options})


def attach(
    settings: Settings, loop: asyncio.AbstractEventLoop | None = None
) -> tuple[Connection, socket.socket]:
    """A connection on one end of a pair of sockets, with the request on its way, and the other end."""
    ours, theirs = socket.socketpair()
    connection = Connection(settings, loop)
    connection.attach_socket(ours)
    theirs.setblocking(False)
    theirs.send(REQUEST)
    return connection, theirs


def text(message: str) -> bytes:
    return frame(0x81, message.encode(), masked=True)


@asynccontextmanager
async def attached(
    n: int, note: Callable[[str, Connection, object], object], **options: Any
) -> AsyncIterator[list[tuple[Connection, socket.socket]]]:
    """So many connections that are open, and the other ends of them."""
    settings = settings_for(note, **options)
    pairs = [attach(settings) for _ in range(n)]
    try:
        await until(lambda: all(connection.is_open for connection, _ in pairs))
        for _, peer in pairs:
            assert peer.recv(1000) == RESPONSE
        yield pairs
    finally:
        for connection, peer in pairs:
            connection.abort()
            peer.close()


def nothing(what: str, ws: Connection, value: object) -> None:
    """Take no note."""


class TestTimers:
    def test_are_due_in_order(self, run: Any) -> None:
        async def main() -> None:
            closed: list[float] = []
            seconds = [0.45, 0.1, 0.6, 0.25, 32.2]

            def note(what: str, ws: Connection, value: object) -> None:
                if what == "close":
                    closed.append(ws.data)

            connections, peers = [], []
            for each in seconds:
                connection, peer = attach(settings_for(note, idle_timeout=each, close_timeout=0.05))
                connection.data = each
                connections.append(connection)
                peers.append(peer)
            begin = asyncio.get_running_loop().time()
            await until(lambda: len(closed) == 4)
            assert closed == [0.1, 0.25, 0.45, 0.6]
            assert asyncio.get_running_loop().time() - begin >= 0.6
            # Half a minute stands at the same place of the wheel as no time at all, and is not taken for it.
            assert connections[4].is_open
            connections[4].abort()
            for peer in peers:
                peer.close()

        run(main)

    def test_begin_anew_when_something_comes(self, run: Any) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            closed: dict[int, float] = {}

            def note(what: str, ws: Connection, value: object) -> None:
                if what == "close":
                    closed[ws.data] = loop.time()

            async with attached(2, note, idle_timeout=1.0, close_timeout=0.05) as pairs:
                for place, (connection, _) in enumerate(pairs):
                    connection.data = place
                for after in (0.4, 0.8):
                    loop.call_later(after, pairs[1][1].send, text("still here"))
                await until(lambda: len(closed) == 2)
                assert closed[1] - closed[0] >= 0.5

        run(main)

    def test_fire_again_and_again(self, run: Any) -> None:
        async def main() -> None:
            async with attached(3, nothing, ping_interval=0.1, ping_timeout=5) as pairs:
                loop = asyncio.get_running_loop()
                for _ in range(3):
                    for _, peer in pairs:
                        ping = await loop.sock_recv(peer, 100)
                        assert ping[:2] == b"\x89\x04"
                        peer.send(frame(0x8A, ping[2:], masked=True))
                assert all(connection.is_open for connection, _ in pairs)

        run(main)

    def test_a_closing_handshake_after_silence_has_its_time(self, run: Any) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            codes: list[object] = []

            def note(what: str, ws: Connection, value: object) -> None:
                if what == "close":
                    codes.append(value)

            async with attached(1, note, close_timeout=1.0) as [(connection, peer)]:
                quiet = asyncio.Event()
                loop.call_later(1.5, quiet.set)
                await quiet.wait()
                connection.close(1000, "")
                # The peer takes its time, but less than it has.
                assert (await loop.sock_recv(peer, 100))[:1] == b"\x88"
                loop.call_later(0.3, peer.send, frame(0x88, b"\x03\xe8", masked=True))
                await until(lambda: codes)
                assert codes == [1000]

        run(main)

    def test_of_connections_that_are_gone_do_nothing(self, run: Any) -> None:
        async def main() -> None:
            log: list[str] = []

            def note(what: str, ws: Connection, value: object) -> None:
                if what == "close":
                    log.append(ws.data)

            gone, _peer = attach(settings_for(note, idle_timeout=0.1))
            await until(lambda: gone.is_open)
            gone.data = "gone"
            gone.abort()
            # This one has the slot now, and a later time.
            late, other = attach(settings_for(note, idle_timeout=0.4, close_timeout=0.05))
            late.data = "late"
            soon, third = attach(settings_for(note, idle_timeout=0.25, close_timeout=0.05))
            soon.data = "soon"
            await until(lambda: len(log) == 3)
            assert log == ["gone", "soon", "late"]
            for peer in (_peer, other, third):
                peer.close()

        run(main)


class TestSlots:
    def test_are_given_back(self, run: Any) -> None:
        async def main() -> None:
            reactor = get_reactor()
            assert get_reactor(asyncio.get_running_loop()) is reactor
            assert reactor.native
            before = reactor.slots
            async with everwire.serve(idle, HOST, 0) as server:
                assert reactor.slots == before + 1
                for _ in range(3):
                    clients = [await connect(server) for _ in range(300)]
                    await until(lambda: len(server.connections) == 300)
                    assert reactor.slots == before + 1 + 600
                    assert set(clients) < set(reactor.owners())
                    for client in clients[::2]:
                        client.abort()
                    closing = [client.close() for client in clients[1::2]]
                    for each in closing:
                        await each
                    await until(lambda: reactor.slots == before + 1)
            assert reactor.slots == before
            assert reactor.owners() == []

        run(main, timeout=60)

    def test_events_of_an_earlier_owner_are_not_the_next_ones(self, run: Any) -> None:
        async def main() -> None:
            pairs: list[tuple[Connection, socket.socket]] = []
            fresh: list[tuple[Connection, socket.socket]] = []
            told: list[tuple[Connection, object]] = []
            settings = settings_for(nothing)

            def note(what: str, ws: Connection, value: object) -> None:
                if what != "message":
                    return
                told.append((ws, value))
                if not fresh:
                    # All the others, which have something to read as well, make room for new ones.
                    for other, _ in pairs:
                        if other is not ws:
                            other.abort()
                    fresh.extend(attach(settings) for _ in range(8))

            async with attached(8, note) as made:
                pairs += made
                for place, (_, peer) in enumerate(pairs):
                    peer.send(text(f"{place}"))
                await until(lambda: len(fresh) == 8 and all(connection.is_open for connection, _ in fresh))
                assert len(told) == 1
                assert sum(connection.is_open for connection, _ in pairs) == 1
                for connection, peer in fresh:
                    assert peer.recv(1000) == RESPONSE
                    connection.abort()
                    peer.close()

        run(main)

    def test_a_connection_may_end_in_its_own_callback(self, run: Any) -> None:
        async def main() -> None:
            told: list[object] = []

            def note(what: str, ws: Connection, value: object) -> None:
                told.append((what, value))
                if what == "message":
                    ws.abort()

            async with attached(1, note) as [(connection, peer)]:
                peer.send(text("first") + text("never seen") + b"\xff\xff")
                await until(lambda: connection.closed)
                assert told == [("open", None), ("message", "first"), ("close", 1006)]
                assert peer.recv(100) == b""

        run(main)


class TestTurns:
    def test_what_is_sent_in_a_turn_leaves_at_its_end(self, run: Any) -> None:
        async def main() -> None:
            async with pair() as (server, client):
                for number in range(10):
                    await server.send(f"{number}")
                assert server.buffered_amount == 30
                await turns(2)
                assert server.buffered_amount == 0
                assert [await client.recv() for _ in range(10)] == [f"{number}" for number in range(10)]

        run(main)

    def test_answers_are_gathered(self, run: Any) -> None:
        async def main() -> None:
            def note(what: str, ws: Connection, value: Any) -> None:
                if what == "message":
                    ws.send_nowait(value)
                    assert ws.buffered_amount > 0

            async with attached(1, note) as [(_, peer)]:
                messages = [f"{number}" for number in range(100)]
                peer.send(b"".join(map(text, messages)))
                # All of them come at once, for they were sent in one call.
                data = await asyncio.get_running_loop().sock_recv(peer, 10_000)
                assert data == b"".join(frame(0x81, each.encode(), masked=False) for each in messages)

        run(main)

    def test_topics_run_once_a_turn_and_before_what_waits_is_sent(self, run: Any) -> None:
        async def main() -> None:
            topics = [Topic(), Topic()]
            async with pair() as (server, client):
                for topic in topics:
                    topic.add(server)
                topics[0].publish("a")
                topics[1].publish("b")
                topics[0].publish("c")
                assert topics[0].delivered == topics[1].delivered == 0
                await turns(2)
                assert (topics[0].delivered, topics[1].delivered) == (2, 1)
                # Each topic in its order, in the order in which they were first published to.
                assert [await client.recv() for _ in range(3)] == ["a", "c", "b"]

        run(main)

    def test_topics_that_publish_to_each_other_come_to_an_end(self, run: Any) -> None:
        async def main() -> None:
            topics = [Topic(), Topic()]
            left = 20

            def note(what: str, ws: Connection, value: Any) -> None:
                nonlocal left
                if what == "message" and left:
                    left -= 1
                    topics[left % 2].publish(f"{left}")

            async with attached(2, note) as pairs:
                for connection, _ in pairs:
                    for topic in topics:
                        topic.add(connection)
                for _, peer in pairs:
                    peer.send(text("go") * 10)
                await until(lambda: left == 0)
                await turns(3)
                assert topics[0].published == topics[1].published == 10
                assert topics[0].delivered == topics[1].delivered == 20

        run(main)

    def test_an_interrupt_in_a_callback_stops_the_loop_and_loses_nothing(self) -> None:
        told: list[object] = []

        def note(what: str, ws: Connection, value: object) -> None:
            if what == "message":
                told.append(value)
                if len(told) == 1:
                    raise KeyboardInterrupt

        with contextlib.closing(asyncio.new_event_loop()) as loop:
            settings = settings_for(note)
            pairs = [attach(settings, loop) for _ in range(3)]

            async def opened() -> None:
                await until(lambda: all(connection.is_open for connection, _ in pairs))
                for place, (_, peer) in enumerate(pairs):
                    peer.send(text(f"{place}"))
                await until(lambda: len(told) == 3)

            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(opened())
            loop.run_until_complete(until(lambda: len(told) == 3))
            assert sorted(map(str, told)) == ["0", "1", "2"]
            for connection, peer in pairs:
                connection.abort()
                peer.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    loop.run_until_complete(task)


async def all_open(connections: list[Connection]) -> None:
    """Wait until all of them are open."""
    await until(lambda: all(connection.is_open for connection in connections))


def descriptors() -> int:
    """How many descriptors this process has open (Linux)."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc to count descriptors")
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_a_loop_that_is_abandoned_with_open_connections_is_collected(kind: str) -> None:
    module = asyncio if kind == "asyncio" else pytest.importorskip(kind)
    gc.collect()
    before = descriptors()
    loop = module.new_event_loop()
    topic = Topic()
    settings = settings_for(nothing, ping_interval=20, idle_timeout=60)
    pairs = [attach(settings, loop) for _ in range(3)]
    connections = [connection for connection, _ in pairs]
    loop.run_until_complete(all_open(connections))
    for connection, _ in pairs:
        topic.add(connection)
        connection.data = connection
    topic.publish("never sent")
    pairs[0][0].send_nowait("neither is this")
    reactor = get_reactor(loop)
    assert reactor.slots == 3
    gone = [weakref.ref(each) for each in (loop, *connections)]
    peers = [peer for _, peer in pairs]
    loop.close()
    del loop, reactor, pairs, connections, connection, topic, settings
    gc.collect()
    assert [ref() for ref in gone] == [None] * 4
    for peer in peers:
        # The ends of the others are closed.
        assert peer.recv(10_000) == RESPONSE
        assert peer.recv(10_000) == b""
        peer.close()
    assert descriptors() == before


def test_a_loop_has_its_own_reactor(run: Any) -> None:
    async def main() -> None:
        async def other() -> object:
            return get_reactor()

        theirs = await asyncio.to_thread(asyncio.run, other())
        assert theirs is not get_reactor()
        assert get_reactor() is get_reactor()
        assert get_reactor().loop is asyncio.get_running_loop()

    run(main)


def test_the_reactor_can_be_switched_off(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert polls()
    monkeypatch.setenv("EVERWIRE_REACTOR", "off")
    assert not polls()

    async def main() -> None:
        assert not get_reactor().native
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0) as server, connect(server) as client:
            await client.send("hello")
            assert await recorder.messages.get() == "hello"

    run(main)


def test_there_is_none_without_a_loop() -> None:
    with pytest.raises(RuntimeError):
        get_reactor()
