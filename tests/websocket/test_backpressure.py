"""Slow peers and slow handlers: sending and reading wait, memory stays bounded, nothing is lost."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest
from live import (
    HOST,
    Echo,
    Message,
    Recorder,
    connect,
    deaf_socket,
    ends,
    idle,
    pair,
    resident,
    turns,
    until,
)
from raw import BINARY, CLOSE, TEXT, dial

import everwire
from everwire import ConnectionClosed, ConnectionClosedError, SendStatus

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MUCH = 64 << 20
"""More bytes than the kernel keeps for a connection on the loopback interface."""


async def settled(value: Any) -> Any:
    """A value once it has been the same for a while."""
    loop = asyncio.get_running_loop()
    last, since = value(), loop.time()
    while loop.time() - since < 0.25:
        await asyncio.sleep(0.01)
        if value() != last:
            last, since = value(), loop.time()
    return last


# A peer that does not read


@pytest.mark.parametrize("size", [100, 10_000, 200_000])
def test_send_waits_for_a_peer_that_does_not_read(run: Any, size: int) -> None:
    limit = 65536

    async def main() -> None:
        sent = most = 0
        ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            nonlocal sent, most
            message = b"x" * size
            try:
                while True:
                    await ws.send(message)
                    sent += 1
                    most = max(most, ws.buffered_amount)
            except ConnectionClosed as exc:
                ended.set_result(exc)

        async with everwire.serve(handler, HOST, 0, compression=None) as server:
            with deaf_socket(server) as sock:
                await asyncio.get_running_loop().sock_sendall(sock, REQUEST)
                await until(lambda: sent)
                before = await settled(lambda: sent)
                assert most <= limit
                ws = server.connections[0]
                # Since then the kernel may have taken some more.
                assert 16384 < ws.buffered_amount <= limit + size + 14
                assert before * size < MUCH
                # It goes on as soon as the peer reads.
                reader, writer = await asyncio.open_connection(sock=sock)
                while sent <= before:
                    assert await reader.read(65536)
                writer.close()
            assert isinstance(await ended, ConnectionClosedError)

    run(main)


def test_a_waiting_send_ends_with_the_connection(run: Any) -> None:
    async def main() -> None:
        for end in ("abort", "peer", "close"):
            async with pair(max_queue=1, close_timeout=0.2, client={"max_queue": 1}) as (ws, peer):
                sending = asyncio.create_task(flood(ws))
                await settled(lambda ws=ws: ws.buffered_amount)
                assert not sending.done()
                if end == "abort":
                    ws.abort()
                elif end == "peer":
                    peer.abort()
                else:
                    ws.close()
                with pytest.raises(ConnectionClosedError):
                    await sending
                peer.abort()

    run(main)


async def flood(ws: everwire.Connection) -> None:
    while True:
        await ws.send(b"x" * 50_000)


def test_write_limit_is_a_pair(run: Any) -> None:
    """Sending waits above the upper limit, and goes on below the lower."""
    high, low = 300_000, 100_000

    async def main() -> None:
        async with pair(write_limit=(high, low), max_queue=1, client={"max_queue": 1}) as (ws, peer):
            amounts = []

            async def send() -> None:
                for _ in range(400):
                    sending = ws.send(b"x" * 30_000)
                    waits = ws.buffered_amount > high
                    await sending
                    if waits:
                        amounts.append(ws.buffered_amount)

            sender = asyncio.create_task(send())
            await settled(lambda: ws.buffered_amount)
            assert low < ws.buffered_amount <= high + 30_010
            for _ in range(400):
                await peer.recv()
            await sender
            assert amounts
            # Several bytes more may have been sent by others: here there are none.
            assert max(amounts) <= low

    run(main)


def test_a_write_limit_of_0_waits_for_every_byte(run: Any) -> None:
    async def main() -> None:
        async with pair(write_limit=0, max_queue=1, client={"max_queue": 1}) as (ws, peer):
            sender = asyncio.create_task(flood(ws))
            await settled(lambda: ws.buffered_amount)
            assert 0 < ws.buffered_amount <= 50_010
            for _ in range(100):
                await peer.recv()
            sender.cancel()
            await asyncio.wait([sender])
            peer.abort()

    run(main)


def test_many_waiting_sends_all_go_on(run: Any) -> None:
    async def main() -> None:
        async with pair(write_limit=1000, client={"max_queue": 1}) as (ws, peer):
            senders = [asyncio.create_task(ws.send(b"%d" % i * 20_000)) for i in range(300)]
            await turns()
            assert not all(one.done() for one in senders)
            got = [await peer.recv() for _ in senders]
            assert got == [b"%d" % i * 20_000 for i in range(300)]
            await asyncio.gather(*senders)

    run(main)


# send_nowait


def test_send_nowait_tells_a_peer_that_is_behind(run: Any) -> None:
    async def main() -> None:
        async with pair(write_limit=50_000, client={"max_queue": 1}) as (ws, peer):
            statuses = []
            while not statuses or statuses[-1] is SendStatus.SENT:
                statuses.append(ws.send_nowait(b"x" * 100_000))
                assert (statuses[-1] is SendStatus.BUFFERED) == (ws.buffered_amount > 50_000)
                assert len(statuses) < 1000
            for _ in statuses:
                await peer.recv()
            await until(lambda: not ws.buffered_amount)
            assert ws.send_nowait(b"x") is SendStatus.SENT

    run(main)


@pytest.mark.parametrize("tls", [False, True])
def test_max_backlog_closes(run: Any, certificates: Any, tls: bool) -> None:
    limit = 1_000_000

    async def main() -> None:
        recorder = Recorder()
        async with (
            everwire.serve(
                recorder,
                HOST,
                0,
                max_backlog=limit,
                compression=None,
                ssl=certificates.server if tls else None,
                close_timeout=5,
            ) as server,
            connect(server, max_queue=1, compression=None, ssl=certificates.client if tls else None) as peer,
        ):
            ws = await recorder.opened
            taken = 0
            while (status := ws.send_nowait(b"x" * 100_000)) is not SendStatus.DROPPED:
                taken += 1
                assert ws.buffered_amount <= limit + 200_000
                if status is SendStatus.SENT:
                    await asyncio.sleep(0)
                assert taken < 1000
            with pytest.raises(ConnectionClosed):
                ws.send_nowait(b"more")
            # What was taken before arrives, then the close.
            got = 0
            with pytest.raises(ConnectionClosedError) as caught:
                while True:
                    await peer.recv()
                    got += 1
            assert caught.value.code == 1013
            assert got == taken

    run(main)


def test_max_backlog_drops(run: Any) -> None:
    limit = 1_000_000

    async def main() -> None:
        async with pair(max_backlog=limit, overflow="drop", client={"max_queue": 1}) as (ws, peer):
            numbers = []
            dropped = 0
            for i in range(200):
                if ws.send_nowait(b"%d" % i + b" " * 100_000):
                    numbers.append(i)
                else:
                    dropped += 1
                assert ws.buffered_amount <= limit + 100_020
            assert dropped
            assert ws.is_open
            assert [int(await peer.recv()) for _ in numbers] == numbers
            assert ws.send_nowait("fits again")
            assert await peer.recv() == "fits again"

    run(main)


def test_a_message_over_max_backlog_goes_alone(run: Any) -> None:
    """Otherwise it could never be sent."""

    async def main() -> None:
        async with pair(max_backlog=1000) as (ws, peer):
            assert ws.send_nowait(b"x" * 500_000)
            assert len(await peer.recv()) == 500_000

    run(main)


# A handler that is slow


@pytest.mark.parametrize("size", [10, 5000, 100_000])
def test_a_slow_handler_stops_the_reading(run: Any, size: int) -> None:
    """Its queue is bounded, then the kernel's buffers fill and the peer waits; later nothing is missing."""

    async def main() -> None:
        go = asyncio.Event()
        got = hashlib.sha256()
        count = 0
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            nonlocal count
            await go.wait()
            async for message in ws:
                got.update(message)
                count += 1
            done.set_result(None)

        async with everwire.serve(handler, HOST, 0, max_queue=8) as server, dial(server.port) as peer:
            await peer.open()
            blob = b"".join(peer.frame(BINARY, b"%d" % (i % 10) * size) for i in range(10))
            once = b"".join(b"%d" % i * size for i in range(10))
            n = 0

            async def push() -> None:
                nonlocal n
                while n * len(blob) < MUCH and not go.is_set():
                    peer.writer.write(blob)
                    n += 1
                    await peer.writer.drain()

            pushing = asyncio.create_task(push())
            await settled(lambda: (n, peer.writer.transport.get_write_buffer_size()))
            assert not pushing.done(), "the server has read all of it"
            go.set()
            await pushing
            await peer.send_frame(CLOSE)
            await done
            assert count == 10 * n
            assert got.digest() == hashlib.sha256(once * n).digest()

    run(main, timeout=30)


def test_the_queue_of_a_slow_handler_is_bounded(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0, max_queue=4) as server, dial(server.port) as peer:
            await peer.open()
            await until(lambda: server.connections)
            ws = server.connections[0]
            await peer.send(b"".join(peer.frame(TEXT, b"%d" % i) for i in range(100)))
            await until(lambda: not ws.reading_wanted)
            # As many as fit the queue are there at once; the others are read as it empties.
            assert [await ws.recv() for _ in range(100)] == [str(i) for i in range(100)]
            assert ws.reading_wanted

    run(main)


def test_messages_of_much_memory_count_as_more(run: Any) -> None:
    """The queue is also bounded in bytes: by max_size."""

    async def main() -> None:
        async with everwire.serve(idle, HOST, 0, max_size=1 << 20) as server, dial(server.port) as peer:
            await peer.open()
            await until(lambda: server.connections)
            ws = server.connections[0]
            before = resident()
            frame = peer.frame(BINARY, bytes(1_000_000))
            for _ in range(30):
                peer.writer.write(frame)
            await until(lambda: not ws.reading_wanted)
            held = await settled(lambda: peer.writer.transport.get_write_buffer_size())
            assert held > 15_000_000
            assert resident() - before < 60_000_000
            for _ in range(30):
                assert len(await ws.recv()) == 1_000_000

    run(main)


def test_a_close_behind_a_full_queue_is_seen_in_the_end(run: Any) -> None:
    async def main() -> None:
        async with pair(max_queue=2) as (ws, peer):
            for i in range(20):
                await peer.send(str(i))
            closing = asyncio.create_task(peer.wait_closed())
            peer.close(4000, "after all of it")
            got = []
            with pytest.raises(ConnectionClosedError) as caught:
                while True:
                    got.append(await ws.recv())
            assert got == [str(i) for i in range(20)]
            assert caught.value.reason == "after all of it"
            await closing

    run(main)


def test_an_echo_to_a_peer_that_does_not_read_is_bounded(run: Any) -> None:
    """A server does not read from a peer that is behind: a listener cannot be flooded."""

    async def main() -> None:
        async with everwire.serve(Echo(), HOST, 0, compression=None) as server:
            with deaf_socket(server) as sock:
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(sock, REQUEST)
                await until(lambda: server.connections)
                ws = server.connections[0]
                mask = b"\x00\x00\x00\x00"
                frame = b"\x82\xfe" + (10_000).to_bytes(2, "big") + mask + bytes(10_000)
                taken = 0

                async def push() -> None:
                    nonlocal taken
                    while taken < MUCH:
                        await loop.sock_sendall(sock, frame * 8)
                        taken += 8 * len(frame)

                pushing = asyncio.create_task(push())
                await settled(lambda: (taken, ws.buffered_amount))
                assert not pushing.done()
                assert ws.buffered_amount < 1_000_000
                assert taken < MUCH
                pushing.cancel()
                await asyncio.wait([pushing])

    run(main)


@pytest.mark.parametrize("style", ["coroutine", "listener"])
def test_others_are_served_while_one_does_not_read(run: Any, style: str) -> None:
    async def main() -> None:
        async def handler(ws: everwire.Connection) -> None:
            async for message in ws:
                await ws.send(message * 100)

        class Multiply(everwire.Listener):
            def on_message(self, ws: everwire.Connection, message: Message) -> None:
                ws.send_nowait(message * 100)

        chosen: Any = handler if style == "coroutine" else Multiply()
        async with everwire.serve(chosen, HOST, 0) as server, dial(server.port) as deaf:
            await deaf.open()
            for _ in range(200):
                deaf.writer.write(deaf.frame(BINARY, bytes(10_000)))
            async with connect(server) as ws:
                for i in range(50):
                    await ws.send(str(i % 10))
                    assert await ws.recv() == str(i % 10) * 100
            deaf.abort()

    run(main)


def test_both_ends_flood_each_other(run: Any) -> None:
    """Both wait for the other to read, and both read: no deadlock, nothing lost."""
    n = 200

    async def main() -> None:
        async with pair(write_limit=1000, max_queue=2, client={"max_queue": 2}) as (ws, peer):

            async def send(one: everwire.Connection) -> None:
                for i in range(n):
                    await one.send(b"%d" % i * 10_000)

            async def receive(one: everwire.Connection) -> None:
                for i in range(n):
                    assert await one.recv() == b"%d" % i * 10_000

            await asyncio.gather(send(ws), send(peer), receive(ws), receive(peer))

    run(main)


@pytest.mark.parametrize("end", ["server", "client"])
def test_pings_are_answered_behind_what_waits(run: Any, end: str) -> None:
    async def main() -> None:
        async with ends(end, client={"max_queue": 4}, max_queue=4) as (ws, peer):

            async def receive() -> None:
                for _ in range(300):
                    await peer.recv()

            receiving = asyncio.create_task(receive())
            for _ in range(300):
                await ws.send(bytes(20_000))
            assert await ws.ping() < 10
            await receiving

    run(main)
