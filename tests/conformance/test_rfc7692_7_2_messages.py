"""RFC 7692, sections 6, 7.2 and 8: compressed messages, for both styles of servers and for clients."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from raw import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, RSV2, TEXT, dial

import everwire

from .deflate import KEEPING, PLAIN, Codec, parameters, read
from .endpoints import SIDES, STYLES, connected, expect_failure, serving

both_sides = pytest.mark.parametrize("side", SIDES)

TEXTS = ["the same words again and again, " * n for n in (0, 1, 3, 30, 3000)]

AGREEMENTS = [
    PLAIN,
    "permessage-deflate",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
    f"{PLAIN}; server_max_window_bits=9; client_max_window_bits=9",
    "permessage-deflate; server_max_window_bits=12; client_max_window_bits=15",
]


@pytest.mark.parametrize("agreement", AGREEMENTS)
@both_sides
def test_7_2_messages_are_compressed_as_agreed(run: Any, side: str, agreement: str) -> None:
    async def main() -> None:
        async with connected(side, extensions=agreement, compression=KEEPING) as (endpoint, peer):
            codec = Codec(parameters(agreement), client=peer.client)
            for text in TEXTS * 2:
                await peer.send_frame(TEXT, codec.compress(text.encode()), rsv=RSV1)
                assert await read(peer, codec) == text.encode()
            noise = bytes(i * i * 31 >> 3 & 0xFF for i in range(200_000))
            for _ in range(3):
                await peer.send_frame(BINARY, codec.compress(noise), rsv=RSV1)
                assert await read(peer, codec) == noise
            assert endpoint.messages == [*TEXTS * 2, noise, noise, noise]

    run(main)


@pytest.mark.parametrize("bits", range(8, 16))
@pytest.mark.parametrize("takeover", [False, True])
@pytest.mark.parametrize("style", STYLES)
def test_7_1_2_1_a_server_keeps_to_its_window(run: Any, style: str, takeover: bool, bits: int) -> None:
    """What it sends can be decompressed with a window of just the size that it announced."""

    async def main() -> None:
        deflate = everwire.Deflate(context_takeover=takeover, level=9, threshold=0)
        async with serving(style, compression=deflate) as (_, port), dial(port) as peer:
            answer = await peer.open(
                sec_websocket_extensions=f"permessage-deflate; server_max_window_bits={bits}"
            )
            agreed = parameters(answer.headers["sec-websocket-extensions"])
            codec = Codec(agreed, client=True)
            noise = bytes(i * i * 31 >> 3 & 0xFF for i in range(1 << bits))
            # repetitions at distances around the size of the window
            message = noise + noise[:50] + b"-" * 17 + noise
            for _ in range(2):
                await peer.send_frame(BINARY, codec.compress(message), rsv=RSV1)
                echo = await peer.read_message()
                assert echo.rsv == RSV1
                assert codec.decompress(echo.payload) == message

    run(main)


@pytest.mark.parametrize(
    ("payloads", "text"),
    [
        (["f248cdc9c90700"], "Hello"),
        (["f248cd", "c9c90700"], "Hello"),
        (["000500faff48656c6c6f00"], "Hello"),
        (["f348cdc9c9070000"], "Hello"),
        (["f2480500 0000ffff cac9c90700"], "Hello"),
        (["00"], ""),
        (["0200"], ""),
        ([""], ""),
        (["f248cd", "", "c9c907", "", "00"], "Hello"),
    ],
    ids=[
        "7.2.3.1",
        "7.2.3.1 split",
        "7.2.3.3",
        "7.2.3.4",
        "7.2.3.5",
        "7.2.3.6",
        "empty",
        "nothing",
        "fragments",
    ],
)
@both_sides
def test_7_2_3_the_examples(run: Any, side: str, payloads: list[str], text: str) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN) as (endpoint, peer):
            for i, payload in enumerate(payloads):
                await peer.send_frame(
                    CONTINUATION if i else TEXT,
                    bytes.fromhex(payload),
                    fin=i == len(payloads) - 1,
                    rsv=0 if i else RSV1,
                )
            assert await read(peer, Codec(parameters(PLAIN), client=peer.client)) == text.encode()
            assert endpoint.messages == [text]

    run(main)


@both_sides
def test_7_2_3_2_a_message_may_refer_to_the_one_before(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side, extensions="permessage-deflate", compression=KEEPING) as (endpoint, peer):
            codec = Codec({}, client=peer.client)
            for payload in ("f248cdc9c90700", "f200110000"):
                await peer.send_frame(TEXT, bytes.fromhex(payload), rsv=RSV1)
                assert await read(peer, codec) == b"Hello"
            assert endpoint.messages == ["Hello", "Hello"]

    run(main)


@both_sides
def test_7_2_3_2_without_context_takeover_it_may_not(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN) as (endpoint, peer):
            await peer.send_frame(TEXT, bytes.fromhex("f248cdc9c90700"), rsv=RSV1)
            await peer.read_message()
            await peer.send_frame(TEXT, bytes.fromhex("f200110000"), rsv=RSV1)
            await expect_failure(peer, 1007)
            assert endpoint.messages == ["Hello"]

    run(main)


@both_sides
def test_6_messages_need_not_be_compressed(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN) as (endpoint, peer):
            codec = Codec(parameters(PLAIN), client=peer.client)
            for payload in (b"as it is", b"as it is, " * 100):
                await peer.send_frame(TEXT, payload)
                assert await read(peer, codec) == payload
            await peer.send_frame(TEXT, b"in ", fin=False)
            await peer.send_frame(CONTINUATION, b"two")
            assert await read(peer, codec) == b"in two"
            assert len(endpoint.messages) == 3

    run(main)


@both_sides
def test_6_1_small_messages_are_not_compressed_large_ones_are(run: Any, side: str) -> None:
    async def main() -> None:
        deflate = everwire.Deflate(threshold=100)
        async with connected(side, extensions=PLAIN, compression=deflate) as (_, peer):
            await peer.send_frame(TEXT, b"x" * 99)
            assert (await peer.read_frame()).rsv == 0
            await peer.send_frame(TEXT, b"x" * 100)
            message = await peer.read_frame()
            assert message.rsv == RSV1
            assert len(message.payload) < 50

    run(main)


@pytest.mark.parametrize("chunk", [1, 2, 5])
@both_sides
def test_6_2_compressed_messages_may_come_in_pieces(run: Any, side: str, chunk: int) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN) as (_, peer):
            codec = Codec(parameters(PLAIN), client=peer.client)
            text = "".join(chr(0x20 + i * i % 0x1F00) for i in range(200)).encode()
            payload = codec.compress(text)
            data = peer.frame(TEXT, payload[:10], fin=False, rsv=RSV1) + peer.frame(PING, b"p")
            data += peer.frame(CONTINUATION, payload[10:])
            await peer.trickle(data, chunk)
            assert (await peer.read_frame()).opcode == PONG
            assert await read(peer, codec) == text

    run(main)


@both_sides
def test_6_1_control_frames_are_not_compressed(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN, compression=KEEPING) as (_, peer):
            await peer.send_frame(PING, b"a" * 100)
            pong = await peer.read_frame()
            assert (pong.rsv, pong.payload) == (0, b"a" * 100)
            await peer.send_frame(CLOSE, b"\x03\xe8" + b"a" * 100)
            assert (await peer.read_close()).rsv == 0

    run(main)


# Misuse of RSV1


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
@both_sides
def test_6_1_rsv1_on_a_control_frame_fails(run: Any, side: str, opcode: int) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN) as (_, peer):
            await peer.send_frame(opcode, rsv=RSV1)
            await expect_failure(peer, 1002)

    run(main)


@pytest.mark.parametrize("first", [0, RSV1])
@pytest.mark.parametrize("fin", [True, False])
@both_sides
def test_6_1_rsv1_on_a_continuation_fails(run: Any, side: str, fin: bool, first: int) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN) as (_, peer):
            await peer.send_frame(BINARY, b"\xf2\x48", fin=False, rsv=first)
            await peer.send_frame(CONTINUATION, b"\xcd", fin=fin, rsv=RSV1)
            await expect_failure(peer, 1002)

    run(main)


@both_sides
def test_6_2_other_reserved_bits_still_fail(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN) as (_, peer):
            await peer.send_frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=RSV1 | RSV2)
            await expect_failure(peer, 1002)

    run(main)


@both_sides
def test_6_rsv1_without_negotiation_fails(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            assert peer.frame(TEXT, rsv=RSV1)[0] == FIN | RSV1 | TEXT
            await peer.send_frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=RSV1)
            await expect_failure(peer, 1002)

    run(main)


# Bad data


@pytest.mark.parametrize(
    "payload",
    [b"\x07", b"\xff" * 20, b"\x00\x05\x00\x00\x00hello", b"\x06\xff"],
    ids=["block type", "noise", "stored length", "block type again"],
)
@both_sides
def test_7_2_2_what_does_not_decompress_is_1007(run: Any, side: str, payload: bytes) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN) as (endpoint, peer):
            await peer.send_frame(BINARY, payload, rsv=RSV1)
            await expect_failure(peer, 1007)
            assert endpoint.messages == []

    run(main)


@pytest.mark.parametrize("invalid", [b"abc\xff", b"\xed\xa0\x80", b"abc\xc3"])
@both_sides
def test_7_2_2_compressed_text_is_utf_8_too(run: Any, side: str, invalid: bytes) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN) as (_, peer):
            codec = Codec(parameters(PLAIN), client=peer.client)
            await peer.send_frame(TEXT, codec.compress(invalid), rsv=RSV1)
            await expect_failure(peer, 1007)

    run(main)


@both_sides
def test_8_the_limit_is_of_the_decompressed_message(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN, max_size=10_000) as (endpoint, peer):
            codec = Codec(parameters(PLAIN), client=peer.client)
            await peer.send_frame(BINARY, codec.compress(bytes(10_000)), rsv=RSV1)
            assert await read(peer, codec) == bytes(10_000)
            await peer.send_frame(BINARY, codec.compress(bytes(10_001)), rsv=RSV1)
            await expect_failure(peer, 1009)
            assert endpoint.messages == [bytes(10_000)]

    run(main)


@both_sides
def test_8_a_small_frame_cannot_fill_the_memory(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side, extensions=PLAIN, max_size=1 << 20) as (_, peer):
            bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
            payload = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(64)) + bomb.flush(
                zlib.Z_SYNC_FLUSH
            )
            assert len(payload) < 1 << 17
            await peer.send_frame(BINARY, payload[:-4], rsv=RSV1)
            await expect_failure(peer, 1009)

    run(main)
