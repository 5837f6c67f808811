"""Frames on real sockets: large ones, read straight into the message, in whatever pieces they come."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from typing import Any

import pytest
from fuzz.seeds import REQUEST, frame
from live import HOST, Message, connect, until

import everwire
from everwire import Deflate, Listener

SIZES = (
    0,
    1,
    125,
    126,
    4096,
    32767,
    32768,
    65535,
    65536,
    65537,
    262_144,
    1_000_000,
    1_048_576,
    2_100_000,
    5_000_000,
)


class Keep(Listener):
    """Keeps the messages, or some of them."""

    def __init__(self, every: int = 1) -> None:
        self.every = every
        self.count = 0
        self.messages: list[Message] = []
        self.digests: list[bytes] = []
        self.code: int | None = None

    def on_message(self, ws: everwire.Connection, message: Message) -> None:
        self.digests.append(digest(message))
        if self.count % self.every == 0:
            self.messages.append(message)
        self.count += 1

    def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
        self.code = code


def digest(message: Message) -> bytes:
    """What tells messages apart, in short."""
    data = message.encode() if isinstance(message, str) else message
    return hashlib.sha1(data).digest()


def make(kind: str, size: int, chance: random.Random) -> bytes:
    """The payload of a message: bytes, ASCII, or text of characters of all lengths."""
    if kind == "binary":
        return chance.randbytes(size)
    if kind == "ascii":
        return bytes(chance.choices(b"abcdefgh\n ", k=1000)) * (size // 1000) + b"z" * (size % 1000)
    text = "".join(chance.choices("aé€\U0001f600", k=1000)).encode()
    whole = text * (size // len(text) + 1)
    return whole[:size].decode(errors="ignore").encode()


async def opened(server: everwire.Server) -> socket.socket:
    """A socket that has shaken hands with the server, uncompressed."""
    loop = asyncio.get_running_loop()
    sock = socket.create_connection((HOST, server.port))
    sock.setblocking(False)
    await loop.sock_sendall(sock, REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await loop.sock_recv(sock, 1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return sock


def in_frames(payload: bytes, kind: str, chance: random.Random) -> bytes:
    """A message as a client sends it, in one frame or in several with pings between them."""
    opcode = 2 if kind == "binary" else 1
    cuts = sorted(chance.randrange(len(payload) + 1) for _ in range(chance.choice((0, 0, 1, 4))))
    parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    out = []
    for number, part in enumerate(parts):
        first = (opcode if number == 0 else 0) | (0x80 if number == len(parts) - 1 else 0)
        key = chance.choice((bytes(4), chance.randbytes(4)))
        if number and chance.random() < 0.5:
            out.append(frame(0x89, b"between", masked=True))
        out.append(frame(first, part, masked=True, key=key))
    return b"".join(out)


@pytest.mark.parametrize("kind", ["binary", "ascii", "utf8"])
def test_messages_of_all_sizes_in_pieces(run: Any, kind: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        keep = Keep()
        chance = random.Random(kind)
        async with everwire.serve(keep, HOST, 0, max_size=None, compression=None) as server:
            with await opened(server) as sock:
                payloads = [make(kind, size, chance) for size in SIZES]
                chance.shuffle(payloads)
                stream = memoryview(b"".join(in_frames(payload, kind, chance) for payload in payloads))
                while stream:
                    size = chance.choice((1, 10, 1000, 40_000, 100_000, 1_000_000))
                    await loop.sock_sendall(sock, stream[:size])
                    stream = stream[size:]
                    if chance.random() < 0.3:
                        await asyncio.sleep(0)
                await until(lambda: keep.count == len(payloads))
        expected: list[Message] = list(payloads) if kind == "binary" else [each.decode() for each in payloads]
        # Not by ==, the report of which would be long.
        assert [len(each) for each in keep.messages] == [len(each) for each in expected]
        assert all(ours == theirs for ours, theirs in zip(keep.messages, expected, strict=True))

    run(main, timeout=60)


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("form", [None, Deflate()])
def test_messages_that_are_kept_stay_as_they_are(run: Any, every: int, form: Any) -> None:
    """The memory of messages that nobody has any more is used again, and of those only."""

    async def main() -> None:
        keep = Keep(every)
        chance = random.Random(every)
        sizes = [chance.choice((1000, 65_536, 70_000, 100_000, 300_000, 1_000_000)) for _ in range(60)]
        payloads = [chance.randbytes(size) for size in sizes]
        async with (
            everwire.serve(keep, HOST, 0, compression=form, max_size=1 << 21) as server,
            connect(server, compression=form) as one,
            connect(server, compression=form) as two,
        ):
            for number, payload in enumerate(payloads):
                await (one, two)[number % 2].send(payload)
                await until(lambda: keep.count == number + 1)  # noqa: B023
        assert keep.digests == [digest(payload) for payload in payloads]
        assert [digest(message) for message in keep.messages] == keep.digests[::every]
        assert len({hash(message) for message in keep.messages}) == len(keep.messages)

    run(main, timeout=60)


def test_a_view_of_a_message_keeps_it(run: Any) -> None:
    async def main() -> None:
        views: list[memoryview] = []

        class View(Listener):
            def on_message(self, ws: everwire.Connection, message: Message) -> None:
                assert isinstance(message, bytes)
                views.append(memoryview(message)[100:])

        async with everwire.serve(View(), HOST, 0, compression=None) as server, connect(server) as client:
            for number in range(20):
                await client.send(bytes([number]) * 100_000)
            await until(lambda: len(views) == 20)
        assert all(view == bytes([number]) * 99_900 for number, view in enumerate(views))

    run(main)


@pytest.mark.parametrize("cut", [1, 5, 20_000, 150_000])
def test_a_connection_that_is_lost_within_a_large_frame(run: Any, cut: int) -> None:
    async def main() -> None:
        keep = Keep()
        async with everwire.serve(keep, HOST, 0, compression=None) as server:
            with await opened(server) as sock:
                stream = frame(0x82, bytes(200_000), masked=True)
                await asyncio.get_running_loop().sock_sendall(sock, stream[:cut])
            await until(lambda: keep.code is not None)
        assert (keep.code, keep.count) == (1006, 0)

    run(main)


@pytest.mark.parametrize("place", [0, 40_000, 199_999])
def test_text_that_is_wrong_within_a_large_frame(run: Any, place: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        keep = Keep()
        payload = bytearray(b"a" * 200_000)
        payload[place] = 0xFF
        stream = memoryview(
            frame(0x81, bytes(payload), masked=True) + frame(0x81, b"never seen", masked=True)
        )
        async with everwire.serve(keep, HOST, 0, compression=None) as server:
            with await opened(server) as sock:
                for at in range(0, len(stream), 50_000):
                    await loop.sock_sendall(sock, stream[at : at + 50_000])
                assert (await loop.sock_recv(sock, 4))[2:] == (1007).to_bytes(2, "big")
            await until(lambda: keep.code is not None)
        assert (keep.code, keep.count) == (1006, 0)

    run(main)
