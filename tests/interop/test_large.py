"""Messages of 64 MiB, to and from other libraries."""

from __future__ import annotations

import asyncio
import random

import pytest
from conftest import Run

from interop.peers.messages import Digest, Message, Repeated
from interop.peers.remote import controlling
from interop.sides import connected

UNIT = random.Random(64).randbytes(1 << 18)
TIMES = 256

TEXT = "Grüße, 你好, 👋🏽 🎉 0123456789 abcdefghijk lmnopq " * 4681

# Styles and kinds take turns: what differs between them is the same for all libraries.
CASES = [
    ("websockets", "server-listener", None, "text"),
    ("websockets", "client-coroutine", None, "binary"),
    ("picows", "server-coroutine", None, "binary"),
    ("picows", "client-listener", None, "text"),
    ("picows.websockets", "server-listener", None, "text"),
    ("picows.websockets", "client-coroutine", None, "binary"),
    ("aiohttp", "server-coroutine", None, "binary"),
    ("aiohttp", "client-listener", None, "text"),
    ("ws", "server-coroutine", None, "binary"),
    ("ws", "client-listener", None, "binary"),
    ("ws", "server-listener", "deflate", "text"),
    ("websockets", "client-coroutine", "deflate", "text"),
]


@pytest.mark.parametrize(("library", "side", "compression", "kind"), CASES)
def test_64_mib_there_and_back(
    run: Run, port: int, library: str, side: str, compression: str | None, kind: str
) -> None:
    unit: Message = TEXT if kind == "text" else UNIT
    large = Repeated(unit, TIMES)
    expected = Digest.of(large.message)
    assert expected.size >= 64 << 20

    async def main() -> None:
        theirs = {"compression": None if compression is None else {}}
        async with (
            controlling(port) as peer,
            connected(side, peer, compression=compression, theirs=theirs) as pair,
        ):
            sending = asyncio.create_task(pair.theirs.send(large))
            receiving = asyncio.create_task(pair.theirs.receive())
            [message] = await pair.ours.receive()
            assert Digest.of(message) == expected
            await sending
            await pair.ours.send(message)
            assert await receiving == [expected]

    run(main, timeout=60)
