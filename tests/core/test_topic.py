"""Topics: who gets what, in which order, and what happens to members that are too slow."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
import threading
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from fuzz.seeds import REQUEST, frame
from live import HOST, Message, connect, deaf_socket, pair, reset, take_errors, turns, until

import everwire
from everwire import Deflate, Topic

CLOSE = 8
FORMS: list[Any] = [None, Deflate(), Deflate(context_takeover=True), Deflate(server_max_window_bits=9)]
"""How members may have their messages."""


class Deaf:
    """A peer that reads only when it is told to, and that the system keeps little for."""

    def __init__(self, server: everwire.Server) -> None:
        self.sock = deaf_socket(server)
        self.loop = asyncio.get_running_loop()
        self.data = bytearray()

    async def open(self) -> None:
        """Do the opening handshake."""
        await self.send(REQUEST)
        while b"\r\n\r\n" not in self.data:
            self.data += await self.loop.sock_recv(self.sock, 1024)
        head, _, rest = bytes(self.data).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        self.data = bytearray(rest)

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self.loop.sock_sendall(self.sock, data)

    async def take(self, size: int) -> bytes:
        """So many bytes."""
        while len(self.data) < size:
            more = await self.loop.sock_recv(self.sock, 4096)
            assert more, "the server has closed"
            self.data += more
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    async def frame(self) -> tuple[int, bytes]:
        """The opcode and the payload of the next frame, which is short."""
        first, size = await self.take(2)
        if size == 126:
            size = int.from_bytes(await self.take(2), "big")
        return first & 15, await self.take(size)

    async def end(self) -> None:
        """Wait until the server closes, and nothing comes before."""
        assert not self.data
        assert await self.loop.sock_recv(self.sock, 1) == b""

    def reset(self) -> None:
        """Be gone, so that the server finds out only when it looks."""
        reset(self.sock)

    def __enter__(self) -> Deaf:
        return self

    def __exit__(self, *error: object) -> None:
        self.sock.close()


class Hub(everwire.Listener):
    """A listener whose connections join a topic in the order in which they come."""

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.members: list[everwire.Connection] = []
        self.closed: list[everwire.Connection] = []

    def on_open(self, ws: everwire.Connection) -> None:
        self.members.append(ws)
        self.topic.add(ws)

    def on_message(self, ws: everwire.Connection, message: Message) -> None:
        self.topic.publish(message)

    def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
        self.closed.append(ws)


@asynccontextmanager
async def audience(
    forms: Sequence[Any], hub: Hub, **options: Any
) -> AsyncIterator[tuple[everwire.Server, list[everwire.Connection]]]:
    """Clients of a hub's server, one for each form, in the order of ``hub.members``."""
    async with AsyncExitStack() as stack:
        defaults: dict[str, Any] = {"compression": Deflate(context_takeover=True, threshold=0)}
        server = await stack.enter_async_context(everwire.serve(hub, HOST, 0, **{**defaults, **options}))
        clients = []
        for form in forms:
            client = await stack.enter_async_context(connect(server, compression=form, max_queue=None))
            clients.append(client)
            await until(lambda: len(hub.members) == len(clients))
        yield server, clients


async def take(client: everwire.Connection, n: int) -> list[Message]:
    return [await client.recv() for _ in range(n)]


def small_buffers() -> socket.socket:
    """A socket to listen with whose connections hold little of what they are to send."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sock.bind((HOST, 0))
    return sock


class TestMembers:
    def test_come_and_go(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            async with audience([None, None, None], Hub(topic)) as (_, _clients):
                a, b, c = topic
                assert len(topic) == 3
                topic.add(a)
                assert len(topic) == 3
                topic.discard(a)
                topic.discard(a)
                assert (a in topic, b in topic, c in topic) == (False, True, True)
                assert set(topic) == {b, c}
                topic.add(a)
                assert set(topic) == {a, b, c}
                assert "something else" not in topic
                assert topic.publish("x") == 3
            await until(lambda: len(topic) == 0)
            assert list(topic) == []
            assert topic.publish("nobody hears it") == 0

        run(main)

    def test_who_closes_leaves(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            hub = Hub(topic)
            async with audience([None] * 5, hub) as (_, clients):
                gone, lost = hub.members[1], hub.members[3]
                await clients[1].close()
                clients[3].abort()
                await until(lambda: len(topic) == 3)
                assert gone not in topic
                assert lost not in topic
                topic.publish("still here")
                for place in (0, 2, 4):
                    assert await clients[place].recv() == "still here"

        run(main)

    def test_who_cannot_join(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            async with pair() as (server, client):
                with pytest.raises(ValueError, match="server"):
                    topic.add(client)
                await client.close()
                await server.wait_closed()
                with pytest.raises(everwire.ConnectionClosed):
                    topic.add(server)
                with pytest.raises(TypeError):
                    topic.add("a connection")  # type: ignore[arg-type]
                topic.discard(server)
            assert len(topic) == 0

        run(main)

    def test_members_are_of_one_loop(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()

            async def elsewhere() -> None:
                async with pair() as (server, _):
                    with pytest.raises(ValueError, match="one event loop"):
                        topic.add(server)

            async with pair() as (server, _):
                topic.add(server)
                await asyncio.to_thread(asyncio.run, elsewhere())

        run(main)

    def test_of_several_topics(self, run: Any) -> None:
        async def main() -> None:
            topics = [Topic() for _ in range(5)]
            async with pair() as (server, client):
                for topic in topics:
                    topic.add(server)
                for number, topic in enumerate(topics):
                    topic.publish(f"{number}")
                assert sorted(await take(client, 5)) == ["0", "1", "2", "3", "4"]
                for topic in topics[:4]:
                    topic.discard(server)
                for topic in topics:
                    topic.publish("last")
                assert await client.recv() == "last"
                topics[4].discard(server)
                topics[2].add(server)
                topics[2].publish("again")
                assert await client.recv() == "again"
            assert [len(topic) for topic in topics] == [0] * 5

        run(main)

    @pytest.mark.parametrize("options", [{"overflow": "wait"}, {"max_backlog": 0}, {"max_backlog": None}])
    def test_options_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            Topic(**options)


class TestMessages:
    def test_kinds(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            async with audience(FORMS, Hub(topic)) as (_, clients):
                for message in (
                    "text",
                    b"bytes",
                    bytearray(b"array"),
                    memoryview(b"view"),
                    "",
                    b"",
                    "é" * 100,
                ):
                    assert topic.publish(message) == len(FORMS)
                topic.publish(b"as text", text=True)
                topic.publish("as binary", text=False)
                with pytest.raises(TypeError):
                    topic.publish(5)  # type: ignore[arg-type]
                with pytest.raises(TypeError):
                    topic.publish(None)  # type: ignore[arg-type]
                expected = ["text", b"bytes", b"array", b"view", "", b"", "é" * 100, "as text", b"as binary"]
                for client in clients:
                    assert await take(client, len(expected)) == expected

        run(main)

    def test_order_within_a_turn_and_over_turns(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            chance = random.Random(1)
            async with audience(FORMS * 2, Hub(topic)) as (_, clients):
                expected: list[Message] = []
                for number in range(400):
                    size = chance.choice((0, 10, 70, 200, 5000, 40000 if number % 50 == 0 else 0))
                    expected.append(f"{number} " + "ab" * (size // 2))
                    topic.publish(expected[-1])
                    if chance.random() < 0.2:
                        await turns(chance.randrange(3))
                for client in clients:
                    assert await take(client, len(expected)) == expected
                assert topic.published == 400
                assert topic.delivered == 400 * len(clients)
                assert topic.dropped == topic.disconnected == 0

        run(main, timeout=40)

    def test_order_with_what_is_sent_to_one_alone(self, run: Any) -> None:
        async def main() -> None:
            topics = [Topic(), Topic()]
            hub = Hub(topics[0])
            chance = random.Random(2)
            async with audience(FORMS * 2, hub) as (_, clients):
                for member in hub.members:
                    topics[1].add(member)
                expected: list[list[tuple[str, str]]] = [[] for _ in clients]
                for number in range(600):
                    kind = chance.randrange(4)
                    text = f"{number} " + "x" * chance.choice((0, 90, 3000))
                    if kind < 2:
                        topics[kind].publish(f"{kind} {text}")
                        for each in expected:
                            each.append((f"{kind}", text))
                    else:
                        place = chance.randrange(len(clients))
                        hub.members[place].send_nowait(f"own {text}")
                        expected[place].append(("own", text))
                    if chance.random() < 0.1:
                        await turns(2)
                for client, each in zip(clients, expected, strict=True):
                    received = [tuple(str(m).split(" ", 1)) for m in await take(client, len(each))]
                    # The order of calls, of each topic together with what is sent directly.
                    for kinds in ({"0", "own"}, {"1", "own"}):
                        assert [m for m in received if m[0] in kinds] == [m for m in each if m[0] in kinds]

        run(main, timeout=40)

    def test_a_new_member_gets_what_is_published_from_then_on(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            async with pair() as (first, first_client), pair() as (second, second_client):
                topic.add(first)
                topic.publish("before")
                topic.add(second)
                topic.publish("after")
                topic.discard(first)
                topic.publish("without the first")
                assert await take(first_client, 2) == ["before", "after"]
                assert await take(second_client, 2) == ["after", "without the first"]
                await first.send("the end")
                assert await first_client.recv() == "the end"

        run(main)

    def test_what_is_published_before_a_close_is_sent(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            async with pair() as (server, client):
                topic.add(server)
                topic.publish("last words")
                server.close(4000, "done")
                topic.publish("too late")
                assert await client.recv() == "last words"
                with pytest.raises(everwire.ConnectionClosed) as caught:
                    await client.recv()
                assert (caught.value.code, caught.value.reason) == (4000, "done")

        run(main)

    def test_own_compressed_messages_refer_to_nothing_that_the_topic_sent(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            hub = Hub(topic)
            async with audience([Deflate(context_takeover=True)], hub) as (_, [client]):
                expected = []
                for number in range(200):
                    message = f"{number % 7} the same words again and again " * 5
                    expected.append(message)
                    if number % 3:
                        hub.members[0].send_nowait(message)
                    else:
                        topic.publish(message)
                assert await take(client, 200) == expected

        run(main)


class TestCallbacks:
    def test_publish_in_on_message(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            async with audience([None, Deflate(), None], Hub(topic)) as (_, clients):
                for number in range(50):
                    for place, client in enumerate(clients):
                        await client.send(f"{place} {number}")
                expected = Counter(f"{place} {number}" for place in range(3) for number in range(50))
                for client in clients:
                    received = await take(client, 150)
                    assert Counter(received) == expected
                    for place in range(3):
                        mine = [str(m) for m in received if str(m).startswith(f"{place} ")]
                        assert mine == [f"{place} {number}" for number in range(50)]

        run(main)

    def test_members_leave_join_and_publish_while_it_runs(self, run: Any) -> None:
        class Chaos(Hub):
            """When one is lost, another is sent off, a third joins again, and all are told."""

            def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
                super().on_close(ws, code, reason)
                place = self.members.index(ws)
                if place % 4 == 0:
                    other = self.members[place + 1]
                    self.topic.discard(other)
                    self.topic.publish(f"{place} is gone")
                    self.topic.discard(self.members[place + 2])
                    self.topic.add(self.members[place + 2])
                    assert ws not in self.topic
                    assert other not in self.topic

        async def main() -> None:
            topic = Topic()
            hub = Chaos(topic)
            loop = asyncio.get_running_loop()
            async with everwire.serve(hub, HOST, 0, compression=None) as server, AsyncExitStack() as stack:
                clients = []
                lost = []
                for place in range(16):
                    if place % 4 == 0:
                        lost.append(stack.enter_context(Deaf(server)))
                        await lost[-1].open()
                        clients.append(None)
                    else:
                        clients.append(await stack.enter_async_context(connect(server, compression=None)))
                    await until(lambda: len(hub.members) == len(clients))
                for peer in lost:
                    peer.reset()
                # The server has not looked at its sockets since: it finds out when it sends.
                for number in range(3):
                    topic.publish(f"{number} " + "x" * 70_000)
                await until(lambda: len(hub.closed) == 4)
                assert len(topic) == 8
                topic.publish("the end")
                expected = {f"{number} {'x' * 70_000}" for number in range(3)}
                for place, client in enumerate(clients):
                    if client is None or place % 4 == 1:
                        continue
                    received: list[Message] = []
                    while "the end" not in received:
                        received.append(await client.recv())
                    assert expected <= set(received)
                    assert {m for m in received if str(m).endswith("gone")} == {
                        f"{each} is gone" for each in (0, 4, 8, 12)
                    }
            assert loop.is_running()

        run(main)

    def test_an_error_in_a_callback_leaves_the_topic_whole(self, run: Any, caplog: Any) -> None:
        class Broken(Hub):
            def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
                super().on_close(ws, code, reason)
                raise RuntimeError("broken")

        async def main() -> None:
            topic = Topic()
            hub = Broken(topic)
            async with everwire.serve(hub, HOST, 0) as server, connect(server) as client:
                with Deaf(server) as peer:
                    await peer.open()
                    await until(lambda: len(topic) == 2)
                    peer.reset()
                topic.publish("x" * 70_000)
                topic.publish("y")
                assert await take(client, 2) == ["x" * 70_000, "y"]
                await until(lambda: hub.closed)
                topic.publish("z")
                assert await client.recv() == "z"
            await until(lambda: len(hub.closed) == 2)
            assert take_errors(caplog) == [("on_close failed", RuntimeError)] * 2

        run(main)


class TestThreads:
    def test_publish_from_threads(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic()
            async with audience([None, Deflate()], Hub(topic)) as (_, clients):

                def work(name: int) -> None:
                    for number in range(100):
                        topic.publish_threadsafe(f"{name} {number}")

                threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
                for thread in threads:
                    thread.start()
                for client in clients:
                    received = [str(message).split() for message in await take(client, 400)]
                    for name in range(4):
                        assert [n for who, n in received if who == f"{name}"] == [f"{n}" for n in range(100)]
                for thread in threads:
                    thread.join()
                assert topic.published == 400

        run(main)

    def test_without_members_nobody_is_told(self) -> None:
        topic = Topic()
        topic.publish_threadsafe("x")
        assert topic.delivered == 0


class TestSlowMembers:
    """One member does not read, and the system holds little for it; another one reads."""

    SIZE = 1000

    @asynccontextmanager
    async def crowd(self, topic: Topic) -> AsyncIterator[tuple[Hub, Deaf, everwire.Connection]]:
        """A member that does not read yet, as a raw peer, and the client of one that does."""
        hub = Hub(topic)
        serving = everwire.serve(hub, sock=small_buffers(), compression=None, close_timeout=3)
        async with serving as server:
            with Deaf(server) as peer:
                await peer.open()
                await until(lambda: len(hub.members) == 1)
                async with connect(server, compression=None, max_queue=None) as client:
                    await until(lambda: len(hub.members) == 2)
                    yield hub, peer, client
                    await client.close()
                    hub.members[0].abort()

    def message(self, number: int) -> str:
        return f"{number:<{self.SIZE}}"

    async def publish(self, topic: Topic, client: everwire.Connection, numbers: range) -> None:
        """Publish, at the pace of the member that reads."""
        for number in numbers:
            topic.publish(self.message(number))
            assert await client.recv() == self.message(number)

    async def read(self, peer: Deaf, last: int) -> list[int]:
        """What the slow member gets from now on, up to the message with this number."""
        numbers = []
        while not numbers or numbers[-1] != last:
            opcode, payload = await peer.frame()
            assert opcode == 1
            numbers.append(int(payload))
        return numbers

    def test_close(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic(max_backlog=20_000)
            async with self.crowd(topic) as (hub, peer, client):
                sent = 0
                while not topic.disconnected:
                    await self.publish(topic, client, range(sent, sent + 10))
                    sent += 10
                    assert sent < 2000
                assert (topic.disconnected, topic.published) == (1, sent)
                assert hub.members[0].close_error is not None
                numbers = []
                while True:
                    opcode, payload = await peer.frame()
                    if opcode == CLOSE:
                        break
                    numbers.append(int(payload))
                # It got all up to the point at which it was given up.
                assert numbers == list(range(len(numbers)))
                assert int.from_bytes(payload[:2], "big") == 1013
                await peer.send(frame(0x88, payload, masked=True))
                await until(lambda: len(topic) == 1)
                assert topic.delivered == sent + len(numbers)
                await self.publish(topic, client, range(sent, sent + 10))

        run(main)

    def test_drop(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic(max_backlog=20_000, overflow="drop")
            async with self.crowd(topic) as (hub, peer, client):
                await self.publish(topic, client, range(500))
                assert topic.disconnected == 0
                assert topic.dropped > 200
                assert hub.members[0].buffered_amount <= 20_000
                reading = asyncio.ensure_future(self.read(peer, 999))
                await until(lambda: hub.members[0].buffered_amount == 0)
                await self.publish(topic, client, range(999, 1000))
                numbers = await reading
                assert numbers == sorted(set(numbers))
                assert numbers[:10] == list(range(10))
                assert len(numbers) == 501 - topic.dropped
                assert topic.delivered == 501 + len(numbers)

        run(main)

    def test_latest(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic(max_backlog=20_000, overflow="latest")
            async with self.crowd(topic) as (hub, peer, client):
                await self.publish(topic, client, range(500))
                assert topic.disconnected == 0
                dropped = topic.dropped
                assert dropped > 200
                assert hub.members[0].buffered_amount <= 20_000
                # What waits comes first, then the newest message, and what is published from then on.
                # The system may take more though the peer does not read: then it has caught up for once.
                numbers = await self.read(peer, 499)
                assert numbers[:10] == list(range(10))
                assert numbers == sorted(set(numbers))
                caught_up = sum(after != before + 1 for before, after in pairwise(numbers))
                # It may have missed nothing but the message that it got then.
                assert 0 <= len(numbers) - (500 - dropped) - caught_up <= 5
                assert 1 <= caught_up <= 50
                await self.publish(topic, client, range(500, 510))
                assert await self.read(peer, 509) == list(range(500, 510))
                assert topic.dropped == dropped

        run(main)

    def test_latest_again_and_again(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic(max_backlog=5_000, overflow="latest")
            async with self.crowd(topic) as (_, peer, client):
                last = -1
                for start in range(0, 600, 200):
                    await self.publish(topic, client, range(start, start + 200))
                    numbers = await self.read(peer, start + 199)
                    assert numbers == sorted(set(numbers))
                    assert numbers[0] > last
                    last = numbers[-1]

        run(main)

    @pytest.mark.parametrize("overflow", ["close", "drop", "latest"])
    def test_a_message_over_the_limit_is_sent_to_who_is_not_behind(self, run: Any, overflow: Any) -> None:
        async def main() -> None:
            topic = Topic(max_backlog=1000, overflow=overflow)
            async with audience([None, Deflate()], Hub(topic)) as (_, clients):
                for size in (5000, 200_000):
                    topic.publish("x" * size)
                    for client in clients:
                        assert await client.recv() == "x" * size
                    await turns()
            assert topic.dropped == 0

        run(main)

    def test_what_is_sent_alone_to_a_member_that_is_given_up_is_not_sent(self, run: Any) -> None:
        async def main() -> None:
            topic = Topic(max_backlog=20_000)
            async with self.crowd(topic) as (hub, peer, client):
                slow = hub.members[0]
                with contextlib.suppress(everwire.ConnectionClosed):
                    for _ in range(400):
                        topic.publish(self.message(0))
                        # This sends what is published first, and finds that it is too much.
                        slow.send_nowait(self.message(1))
                assert topic.disconnected == 1
                opcodes = []
                while CLOSE not in opcodes:
                    opcodes.append((await peer.frame())[0])
                await peer.send(frame(0x88, b"\x03\xf5", masked=True))
                await peer.end()
                assert client.is_open

        run(main)


class TestMemory:
    """What topics cost that have few members: a server has one for each user, perhaps."""

    COUNT = 300

    async def traced(self, step: Any) -> int:
        """Bytes that Python has allocated more after a step than before."""
        gc.collect()
        tracemalloc.start()
        try:
            await step()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()

    @pytest.mark.loops("asyncio")
    def test_a_quiet_topic_keeps_no_room_for_messages(self, run: Any) -> None:
        async def main() -> None:
            async with pair() as (server, client):
                topics = [Topic() for _ in range(self.COUNT)]

                async def step() -> None:
                    for topic in topics:
                        topic.add(server)
                    for number, topic in enumerate(topics):
                        topic.publish(f"{number}")
                        if number % 10 == 0:
                            await turns(2)
                    for number in range(self.COUNT):
                        assert await client.recv() == f"{number}"

                assert await self.traced(step) < self.COUNT * 500

        run(main)

    @pytest.mark.loops("asyncio")
    def test_who_is_behind_holds_little_more_than_what_is_unsent(self, run: Any) -> None:
        async def main() -> None:
            hub = Hub(Topic())
            async with everwire.serve(hub, sock=small_buffers(), compression=None) as server:
                with Deaf(server) as peer:
                    await peer.open()
                    await until(lambda: hub.members)
                    member = hub.members[0]
                    while not member.buffered_amount:
                        hub.topic.publish("x" * 1000)
                        await turns(2)
                    topics = [Topic() for _ in range(self.COUNT)]
                    for topic in topics:
                        topic.add(member)
                    before = member.buffered_amount

                    async def step() -> None:
                        for topic in topics:
                            topic.publish("y" * 64)
                            await turns(2)

                    held = await self.traced(step)
                    unsent = member.buffered_amount - before
                    # The system may have taken some of it meanwhile.
                    assert unsent > self.COUNT * 64 // 2
                    assert held < unsent * 3
                    member.abort()

        run(main)
