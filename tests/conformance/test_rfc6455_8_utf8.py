"""RFC 6455, section 8.1: text that is not UTF-8 fails the connection with 1007, as soon as it is certain."""

from __future__ import annotations

from typing import Any

import pytest
from raw import BINARY, CONTINUATION, PING, PONG, TEXT, frame

from .endpoints import SIDES, connected, expect_failure

both_sides = pytest.mark.parametrize("side", SIDES)

INVALID = {
    "lone continuation": b"\x80",
    "unused byte c0": b"\xc0\xaf",
    "unused byte c1": b"\xc1\xbf",
    "unused byte f5": b"\xf5\x80\x80\x80",
    "unused byte ff": b"\xff",
    "overlong of three": b"\xe0\x9f\xbf",
    "overlong of four": b"\xf0\x8f\xbf\xbf",
    "first surrogate": b"\xed\xa0\x80",
    "last surrogate": b"\xed\xbf\xbf",
    "pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "past the last code point": b"\xf4\x90\x80\x80",
    "second byte of two": b"\xc3\x28",
    "second byte of three": b"\xe2\x28\xa1",
    "third byte of three": b"\xe2\x82\x28",
    "fourth byte of four": b"\xf0\x9f\x9a\x28",
}

VALID = {
    "ends of one byte": "\x00\x7f",
    "ends of two bytes": "\x80\u07ff",
    "ends of three bytes": "\u0800\ud7ff\ue000\uffff",
    "ends of four bytes": "\U00010000\U0010ffff",
    "byte order mark": "\ufeffabc",
    "noncharacters": "\ufdd0\ufffe\U0001fffe",
    "mixed": "aé世\U0001f680" * 20,
}

UNFINISHED = {
    "of two": b"\xc3",
    "of three": b"\xe2\x82",
    "of four": b"\xf0\x9f\x9a",
    "first of four": b"\xf4",
}


@pytest.mark.parametrize("text", VALID.values(), ids=VALID)
@both_sides
def test_8_1_all_of_unicode_may_be_sent(run: Any, side: str, text: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await peer.send_frame(TEXT, text.encode())
            assert (await peer.read_message()).payload == text.encode()
            assert endpoint.messages == [text]

    run(main)


@pytest.mark.parametrize("text", VALID.values(), ids=VALID)
@both_sides
def test_8_1_characters_may_be_split_between_fragments(run: Any, side: str, text: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            data = text.encode()
            await peer.send(
                peer.frame(TEXT, data[:1], fin=False)
                + b"".join(peer.frame(CONTINUATION, data[i : i + 1], fin=False) for i in range(1, len(data)))
                + peer.frame(CONTINUATION)
            )
            assert (await peer.read_message()).payload == data
            assert endpoint.messages == [text]

    run(main)


@pytest.mark.parametrize("before", [b"", b"a", b"0123456789abcdef" * 5, "\U0001f680".encode() * 10])
@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
@both_sides
def test_8_1_a_message_that_is_not_utf_8_fails(run: Any, side: str, invalid: bytes, before: bytes) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await peer.send_frame(TEXT, before + invalid + b"after")
            await expect_failure(peer, 1007)
            await endpoint.closed()
            assert endpoint.messages == []

    run(main)


@pytest.mark.parametrize("unfinished", UNFINISHED.values(), ids=UNFINISHED)
@both_sides
def test_8_1_a_message_may_not_end_inside_a_character(run: Any, side: str, unfinished: bytes) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            await peer.send_frame(TEXT, b"abc" + unfinished)
            await expect_failure(peer, 1007)
        async with connected(side) as (_, peer):
            await peer.send_frame(TEXT, b"abc" + unfinished, fin=False)
            await peer.send_frame(PING)
            assert (await peer.read_frame()).opcode == PONG
            await peer.send_frame(CONTINUATION)
            await expect_failure(peer, 1007)

    run(main)


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
@both_sides
def test_8_1_fails_fast_in_a_fragmented_message(run: Any, side: str, invalid: bytes) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            await peer.send_frame(TEXT, b"first", fin=False)
            await peer.send_frame(CONTINUATION, invalid, fin=False)
            # the message is not complete, and never will be
            await expect_failure(peer, 1007)

    run(main)


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID)
@both_sides
def test_8_1_fails_fast_in_the_middle_of_a_frame(run: Any, side: str, invalid: bytes) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            whole = peer.frame(TEXT, b"0123456789" + invalid + b"x" * 1000)
            await peer.send(whole[: len(whole) - 1000])
            # the frame is not complete, and never will be
            await expect_failure(peer, 1007)

    run(main)


@both_sides
def test_8_1_fails_at_the_very_byte(run: Any, side: str) -> None:
    """A character of four bytes that would be past the last code point: its second byte shows that."""

    async def main() -> None:
        async with connected(side) as (_, peer):
            whole = peer.frame(TEXT, b"abc\xf4\x90\x80\x80" + b"x" * 20)
            await peer.trickle(whole[:-22])
            await expect_failure(peer, 1007)

    run(main)


@both_sides
def test_8_1_binary_messages_are_anything(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            everything = bytes(range(256)) + b"".join(INVALID.values())
            await peer.send_frame(BINARY, everything, fin=False)
            await peer.send_frame(CONTINUATION, everything)
            assert (await peer.read_message()).payload == everything * 2
            assert endpoint.messages == [everything * 2]

    run(main)


@both_sides
def test_8_1_pings_are_anything(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            await peer.send(frame(PING, b"\xff\x80", key=None if side == "client" else b"abcd"))
            assert (await peer.read_frame()).payload == b"\xff\x80"

    run(main)
