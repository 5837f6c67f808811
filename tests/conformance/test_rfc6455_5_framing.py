"""RFC 6455, section 5: frames, masking, fragments, control frames; both styles of servers, and clients."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from raw import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Frame,
    Peer,
    close_payload,
    dial,
    frame,
)

from .endpoints import SIDES, STYLES, connected, expect_failure, expect_refusal, key_for, port_of, serving

both_sides = pytest.mark.parametrize("side", SIDES)


async def echoed(peer: Peer, opcode: int, payload: bytes) -> Frame:
    """Send a message and read it back."""
    await peer.send_frame(opcode, payload)
    message = await peer.read_message()
    assert (message.opcode, message.payload) == (opcode, payload)
    return message


# 5.1 and 5.3: masking


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
@pytest.mark.parametrize("side", SIDES)
def test_5_1_wrongly_masked_frames_fail_the_connection(run: Any, side: str, opcode: int) -> None:
    async def main() -> None:
        payload = close_payload(1000) if opcode == CLOSE else b"hello"
        await expect_refusal(
            side, frame(opcode, payload, key=b"\x12\x34\x56\x78" if side == "client" else None)
        )

    run(main)


@both_sides
def test_5_1_an_empty_frame_is_masked_too(run: Any, side: str) -> None:
    async def main() -> None:
        await expect_refusal(side, frame(TEXT, key=b"\x12\x34\x56\x78" if side == "client" else None))

    run(main)


@pytest.mark.parametrize("side", STYLES)
def test_5_1_a_server_masks_nothing(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            for payload in (b"", b"a", b"b" * 1000, b"c" * 70_000):
                assert (await echoed(peer, BINARY, payload)).key is None
            await peer.send_frame(PING)
            assert (await peer.read_frame()).key is None
            await peer.send_frame(CLOSE)
            assert (await peer.read_close()).key is None

    run(main)


def test_5_3_a_client_masks_everything(run: Any) -> None:
    async def main() -> None:
        async with connected("client") as (_, peer):
            for payload in (b"", b"a", b"b" * 1000, b"c" * 70_000):
                assert (await echoed(peer, BINARY, payload)).key is not None
            await peer.send_frame(PING)
            assert (await peer.read_frame()).key is not None
            await peer.send_frame(CLOSE)
            assert (await peer.read_close()).key is not None

    run(main)


def test_5_3_masking_keys_are_fresh_and_not_predictable(run: Any) -> None:
    async def main() -> None:
        keys: list[bytes] = []
        for _ in range(2):
            async with connected("client") as (_, peer):
                keys += [(await echoed(peer, BINARY, b"x")).key or b"" for _ in range(500)]
        assert b"" not in keys
        # Of 1,000 random 32-bit keys, two are the same once in 8,600 runs, and three pairs practically never.
        assert len(set(keys)) > 997
        numbers = [int.from_bytes(key, "big") for key in keys]
        # Neither a counter nor a generator with a constant step; each bit is set about half of the time.
        steps = [(b - a) & 0xFFFFFFFF for a, b in pairwise(numbers)]
        assert len(set(steps)) > 990
        for bit in range(32):
            assert 380 < sum(number >> bit & 1 for number in numbers) < 620

    run(main)


@pytest.mark.parametrize("key", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0", b"\0\0\0\1"])
@pytest.mark.parametrize("style", STYLES)
def test_5_3_any_masking_key_will_do(run: Any, style: str, key: bytes) -> None:
    async def main() -> None:
        async with connected(style) as (_, peer):
            for n in (0, 1, 3, 4, 5, 63, 64, 65, 125, 126, 1000, 65_535, 65_536):
                payload = bytes(i * 7 & 0xFF for i in range(n))
                await peer.send(frame(BINARY, payload, key=key))
                assert (await peer.read_frame()).payload == payload

    run(main)


# 5.2: base framing


@pytest.mark.parametrize("rsv", [RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
@both_sides
def test_5_2_reserved_bits_fail_the_connection(run: Any, side: str, opcode: int, rsv: int) -> None:
    async def main() -> None:
        await expect_refusal(side, frame(opcode, rsv=rsv, key=key_for(side)), compression=None)

    run(main)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("fin", [True, False])
@both_sides
def test_5_2_reserved_opcodes_fail_the_connection(run: Any, side: str, opcode: int, fin: bool) -> None:
    async def main() -> None:
        await expect_refusal(side, frame(opcode, b"x", fin=fin, key=key_for(side)))

    run(main)


@pytest.mark.parametrize(("n", "size"), [(0, 2), (0, 8), (125, 2), (125, 8), (126, 8), (65_535, 8)])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@both_sides
def test_5_2_lengths_take_the_fewest_bytes(run: Any, side: str, opcode: int, n: int, size: int) -> None:
    async def main() -> None:
        await expect_refusal(side, frame(opcode, b"x" * n, size=size, key=key_for(side)))

    run(main)


@pytest.mark.parametrize("length", [1 << 63, (1 << 64) - 1, 1 << 63 | 5])
@both_sides
def test_5_2_the_top_bit_of_a_length_is_zero(run: Any, side: str, length: int) -> None:
    async def main() -> None:
        await expect_refusal(side, frame(BINARY, length=length, size=8, key=key_for(side)))

    run(main)


@pytest.mark.parametrize("n", [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536, 65_537, 1 << 20])
@both_sides
def test_5_2_each_length_is_read_and_written_in_its_form(run: Any, side: str, n: int) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            message = await echoed(peer, BINARY, b"\xa5" * n)
            if message.fin:
                assert message.size == (0 if n < 126 else 2 if n < 65_536 else 8)
            await echoed(peer, TEXT, b"t" * n)

    run(main)


@both_sides
def test_5_2_text_is_str_and_binary_is_bytes(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await echoed(peer, TEXT, "Grüße, 世界 \N{ROCKET}".encode())
            await echoed(peer, BINARY, b"\x00\xff")
            assert endpoint.messages == ["Grüße, 世界 \N{ROCKET}", b"\x00\xff"]

    run(main)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 7])
@both_sides
def test_5_2_frames_may_come_in_pieces_of_any_size(run: Any, side: str, chunk: int) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            data = peer.frame(TEXT, "a\u00e9\u4e16\U0001f680".encode())
            data += peer.frame(BINARY, b"b" * 130)
            data += peer.frame(TEXT, "\U0001f680".encode()[:2], fin=False)
            data += peer.frame(PING, b"in between")
            data += peer.frame(CONTINUATION, b"", fin=False)
            data += peer.frame(CONTINUATION, "\U0001f680".encode()[2:])
            data += peer.frame(BINARY, b"") + peer.frame(PONG, b"unasked")
            await peer.trickle(data, chunk)
            frames = [await peer.read_frame() for _ in range(5)]
            assert sorted(frame.opcode for frame in frames) == [TEXT, TEXT, BINARY, BINARY, PING + 1]
            assert endpoint.messages == ["a\u00e9\u4e16\U0001f680", b"b" * 130, "\U0001f680", b""]

    run(main)


@pytest.mark.parametrize("n", [125, 300, 65_536])
@both_sides
def test_5_2_a_frame_may_be_split_anywhere_in_its_head(run: Any, side: str, n: int) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            data = peer.frame(BINARY, b"s" * n)
            for cut in range(1, len(data) - n + 2):
                await peer.send(data[:cut])
                await peer.trickle(data[cut:], len(data))
                assert (await peer.read_message()).payload == b"s" * n

    run(main)


@both_sides
def test_5_2_many_frames_may_come_at_once(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            sent = [b"%d" % i * (i % 50) for i in range(2000)]
            await peer.send(b"".join(peer.frame(BINARY, payload) for payload in sent))
            assert [(await peer.read_frame()).payload for _ in sent] == sent

    run(main)


@both_sides
def test_5_2_a_violation_does_not_take_back_what_was_received(run: Any, side: str) -> None:
    """A message, then a wrong frame, in one piece: the answer to the message comes before the failure."""

    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            data = peer.frame(TEXT, b"first") + peer.frame(TEXT, b"second", rsv=RSV2) + peer.frame(PING)
            await peer.send(data)
            assert (await peer.read_frame()).payload == b"first"
            await expect_failure(peer, 1002)
            assert endpoint.messages == ["first"]

    run(main)


# 5.4: fragmentation


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@both_sides
def test_5_4_fragments_make_a_message(run: Any, side: str, opcode: int) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            parts = [b"one", b"", b"two", b"x" * 70_000, b""]
            await peer.send_frame(opcode, parts[0], fin=False)
            for part in parts[1:-1]:
                await peer.send_frame(CONTINUATION, part, fin=False)
            await peer.send_frame(CONTINUATION, parts[-1])
            message = await peer.read_message()
            assert message.opcode == opcode
            assert message.payload == b"".join(parts)
            assert len(endpoint.messages) == 1

    run(main)


@both_sides
def test_5_4_all_fragments_may_be_empty(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            data = (
                peer.frame(TEXT, fin=False) + peer.frame(CONTINUATION, fin=False) + peer.frame(CONTINUATION)
            )
            await peer.send(data)
            assert (await peer.read_message()).payload == b""
            assert endpoint.messages == [""]

    run(main)


@both_sides
def test_5_4_a_message_may_have_very_many_fragments(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            data = peer.frame(BINARY, b"0", fin=False)
            data += b"".join(peer.frame(CONTINUATION, b"1", fin=False) for _ in range(20_000))
            await peer.send(data + peer.frame(CONTINUATION, b"2"))
            assert (await peer.read_message()).payload == b"0" + b"1" * 20_000 + b"2"

    run(main)


@pytest.mark.parametrize("fin", [True, False])
@both_sides
def test_5_4_a_continuation_continues_something(run: Any, side: str, fin: bool) -> None:
    async def main() -> None:
        await expect_refusal(side, frame(CONTINUATION, b"of nothing", fin=fin, key=key_for(side)))

    run(main)


@both_sides
def test_5_4_nothing_is_left_to_continue_after_a_message(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            await peer.send_frame(TEXT, b"a", fin=False)
            await peer.send_frame(CONTINUATION, b"b")
            assert (await peer.read_message()).payload == b"ab"
            await peer.send_frame(CONTINUATION, b"c")
            await expect_failure(peer, 1002)

    run(main)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@both_sides
def test_5_4_fragments_of_two_messages_do_not_mix(run: Any, side: str, opcode: int) -> None:
    async def main() -> None:
        key = key_for(side)
        await expect_refusal(side, frame(TEXT, b"a", fin=False, key=key) + frame(opcode, b"b", key=key))

    run(main)


@both_sides
def test_5_4_control_frames_may_come_between_fragments(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await peer.send_frame(TEXT, b"a", fin=False)
            await peer.send_frame(PING, b"now")
            pong = await peer.read_frame()
            assert (pong.opcode, pong.payload) == (PONG, b"now")
            assert endpoint.messages == []
            await peer.send_frame(PONG, b"unasked")
            await peer.send_frame(CONTINUATION, b"b")
            assert (await peer.read_message()).payload == b"ab"

    run(main)


# 5.5: control frames


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@both_sides
def test_5_5_control_frames_are_not_fragmented(run: Any, side: str, opcode: int) -> None:
    async def main() -> None:
        await expect_refusal(side, frame(opcode, fin=False, key=key_for(side)))

    run(main)


@pytest.mark.parametrize("n", [126, 65_536])
@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@both_sides
def test_5_5_control_frames_have_at_most_125_bytes(run: Any, side: str, opcode: int, n: int) -> None:
    async def main() -> None:
        await expect_refusal(side, frame(opcode, close_payload(1000, b"x" * (n - 2)), key=key_for(side)))

    run(main)


@pytest.mark.parametrize("payload", [b"", b"a", b"\x00\xff\xfe", b"p" * 125])
@both_sides
def test_5_5_2_a_ping_is_answered_with_its_payload(run: Any, side: str, payload: bytes) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            await peer.send_frame(PING, payload)
            pong = await peer.read_frame()
            assert (pong.opcode, pong.payload, pong.fin, pong.rsv) == (PONG, payload, True, 0)

    run(main)


@both_sides
def test_5_5_2_pings_are_answered_in_order(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            await peer.send(b"".join(peer.frame(PING, b"%d" % i) for i in range(200)))
            # the answer to the most recent one would do (5.5.3), but it has to be there, and none after it
            answers = [(await peer.read_frame()).payload]
            while answers[-1] != b"199":
                answers.append((await peer.read_frame()).payload)
            assert answers == sorted(answers, key=int)

    run(main)


@both_sides
def test_5_5_3_a_pong_that_nobody_asked_for_is_ignored(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            for payload in (b"", b"unasked", b"\x00\x00\x00\x01"):
                await peer.send_frame(PONG, payload)
            await echoed(peer, TEXT, b"still here")

    run(main)


@both_sides
def test_5_5_3_a_pong_answers_our_ping(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            ws = await endpoint.opened
            waiter = ws.ping(b"payload")
            ping = await peer.read_frame()
            assert (ping.opcode, ping.payload) == (PING, b"payload")
            await peer.send_frame(PONG, b"payload")
            assert await waiter >= 0

    run(main)


def test_5_6_a_server_may_send_before_the_client_does(run: Any) -> None:
    async def main() -> None:
        import everwire

        async def greet(ws: everwire.Connection) -> None:
            await ws.send("text")
            await ws.send(b"binary")
            await ws.send(b"text in bytes", text=True)

        async with everwire.serve(greet, "127.0.0.1", 0) as server, dial(port_of(server)) as peer:
            await peer.open()
            frames = [await peer.read_message() for _ in range(4)]
            assert [(f.opcode, f.payload) for f in frames[:3]] == [
                (TEXT, b"text"),
                (BINARY, b"binary"),
                (TEXT, b"text in bytes"),
            ]
            assert frames[3].opcode == CLOSE
            assert frames[3].code == 1000

    run(main)


@pytest.mark.parametrize("style", STYLES)
def test_5_a_connection_lost_in_the_middle_of_a_frame_is_1006(run: Any, style: str) -> None:
    async def main() -> None:
        async with serving(style) as (endpoint, port):
            async with dial(port) as peer:
                await peer.open()
                await peer.send(peer.frame(TEXT, b"never all of it")[:7])
            error = await endpoint.closed()
            assert error.received is None
            assert error.code == 1006
            assert endpoint.messages == []

    run(main)
