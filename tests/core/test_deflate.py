"""Compression of messages, with the standard library's zlib as the other side and as the judge."""

from __future__ import annotations

import contextlib
import gc
import random
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire._core.deflate import deflater, inflater
from everwire.errors import InvalidPayload, MessageTooBig

TAIL = b"\x00\x00\xff\xff"
BITS = range(8, 16)

# Repetition near and far, so that there is something to find and windows of every size matter.
pieces = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"abcdefgh", b"everwire ", bytes(range(256)), b"\x00" * 300]),
    st.integers(0, 40).map(lambda seed: random.Random(seed).randbytes(300)),
)
payloads = st.lists(pieces, max_size=12).map(b"".join)


def reference(payload: bytes, bits: int = 15, level: int = 6) -> bytes:
    """A message that stands alone, compressed by the standard library."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -max(bits, 9))
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4] if payload else b"\x00"


def strict(data: bytes, bits: int) -> bytes:
    """What zlib makes of data with that window: byte by byte, as it may also look back into its output."""
    stream = zlib.decompressobj(-bits)
    out = [stream.decompress(data, 1)]
    while stream.unconsumed_tail or out[-1]:
        out.append(stream.decompress(stream.unconsumed_tail, 1))
    return b"".join(out)


def stored(payload: bytes, *, last: bool = False) -> bytes:
    """A block that is not compressed (RFC 1951, section 3.2.4)."""
    size = len(payload)
    return bytes([last]) + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + payload


def copy_block(distance: int) -> bytes:
    """A block of fixed codes that copies three bytes from a distance of 1 to 4 (RFC 1951, section 3.2.6)."""
    bits = "010"[::-1]  # not the last block, fixed codes; bits are packed from the lowest up
    bits = "0" + "10" + "0000001" + f"{distance - 1:05b}" + "0000000"
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))


class TestRoundTrip:
    @given(payloads, st.sampled_from(BITS), st.integers(0, 9), st.sampled_from([1, 5, 8, 9]))
    def test_of_messages_that_stand_alone(
        self, payload: bytes, bits: int, level: int, mem_level: int
    ) -> None:
        data = deflater(bits, False, level, mem_level).compress(payload)
        assert zlib.decompressobj(-15).decompress(data + TAIL) == payload
        assert inflater(bits, False).decompress(data, len(payload)) == payload

    @given(
        st.lists(payloads, max_size=6),
        st.sampled_from(BITS),
        st.integers(1, 9),
        st.sampled_from([1, 5, 8, 9]),
    )
    def test_of_messages_that_share_a_window(
        self, messages: list[bytes], bits: int, level: int, mem_level: int
    ) -> None:
        ours, theirs = deflater(bits, True, level, mem_level), zlib.decompressobj(-15)
        inflating = inflater(bits, True)
        for message in messages:
            data = ours.compress(message)
            assert theirs.decompress(data + TAIL) == message
            assert inflating.decompress(data, len(message)) == message

    @given(st.lists(payloads, max_size=6), st.sampled_from(BITS), st.integers(0, 9))
    def test_of_what_zlib_compressed(self, messages: list[bytes], bits: int, level: int) -> None:
        theirs, window = zlib.compressobj(level, zlib.DEFLATED, -max(bits, 9)), inflater(bits, True)
        for message in messages:
            data = theirs.compress(message) + theirs.flush(zlib.Z_SYNC_FLUSH) if message else b"\x00" + TAIL
            assert window.decompress(data[:-4], len(message)) == message
            alone = reference(message, bits, level)
            assert inflater(bits, False).decompress(alone, len(message)) == message

    @pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
    @pytest.mark.parametrize("takeover", [False, True])
    def test_of_any_buffer(self, make: Callable[[bytes], bytes], takeover: bool) -> None:
        data = deflater(15, takeover, 1, 5).compress(make(b"hello hello hello"))
        assert inflater(15, takeover).decompress(make(data), 100) == b"hello hello hello"

    @pytest.mark.parametrize("takeover", [False, True])
    def test_of_a_large_message(self, takeover: bool) -> None:
        payload = random.Random(1).randbytes(1000) * 3000
        data = deflater(15, takeover, 1, 5).compress(payload)
        assert len(data) < len(payload) / 20
        assert inflater(15, takeover).decompress(data, len(payload)) == payload

    @pytest.mark.parametrize("takeover", [False, True])
    def test_of_an_empty_message(self, takeover: bool) -> None:
        ours, theirs = deflater(15, takeover, 1, 5), inflater(15, takeover)
        for message in (b"", b"a", b"", b"", b"a"):
            data = ours.compress(message)
            assert data  # a frame with RSV1 needs one byte at least (RFC 7692, section 7.2.3.6)
            assert theirs.decompress(data, 1) == message

    @pytest.mark.parametrize("takeover", [False, True])
    def test_of_no_bytes_at_all_is_an_empty_message(self, takeover: bool) -> None:
        theirs = inflater(15, takeover)
        assert theirs.decompress(b"", 0) == b""
        assert theirs.decompress(reference(b"abc"), 3) == b"abc"


class TestWindow:
    @pytest.mark.parametrize("level", range(1, 10))
    @pytest.mark.parametrize("mem_level", [1, 5, 9])
    def test_of_256_bytes_is_never_looked_beyond(self, level: int, mem_level: int) -> None:
        source = random.Random(7692)
        messages = [source.randbytes(period) * 5 for period in range(240, 300, 4)]
        messages += [bytes(source.choices(b"abcd", k=2000)), b"a" * 3000]
        ours = deflater(8, True, level, mem_level)
        data = b"".join(ours.compress(message) + TAIL for message in messages)
        assert strict(data, 8) == b"".join(messages)

    @pytest.mark.parametrize("bits", range(9, 16))
    def test_is_not_larger_than_agreed(self, bits: int) -> None:
        source = random.Random(7692)
        far = source.randbytes(2**bits + 50) * 2
        ours = deflater(bits, True, 9, 9)
        assert strict(ours.compress(far) + TAIL, bits) == far

    @pytest.mark.parametrize("bits", range(9, 15))
    def test_a_peer_that_looks_beyond_it_is_found_out(self, bits: int) -> None:
        far = random.Random(7692).randbytes(2**bits + 600)
        stream = zlib.compressobj(9, zlib.DEFLATED, -15)
        first, second = (stream.compress(far) + stream.flush(zlib.Z_SYNC_FLUSH) for _ in range(2))
        window = inflater(bits, True)
        assert window.decompress(first[:-4], 1 << 20) == far
        with pytest.raises(InvalidPayload):
            window.decompress(second[:-4], 1 << 20)

    @pytest.mark.parametrize("bits", [-15, 0, 7, 16])
    def test_has_a_size_that_exists(self, bits: int) -> None:
        for takeover in (False, True):
            with pytest.raises(ValueError, match="window_bits"):
                deflater(bits, takeover, 1, 5)
            with pytest.raises(ValueError, match="window_bits"):
                inflater(bits, takeover)

    def test_takeover_makes_repeated_messages_small(self) -> None:
        message = random.Random(3).randbytes(500)
        ours, alone = deflater(15, True, 1, 5), deflater(15, False, 1, 5)
        assert len(ours.compress(message)) > 500
        assert len(ours.compress(message)) < 50
        assert [len(alone.compress(message)) > 500 for _ in range(2)] == [True, True]


class TestLimit:
    @pytest.mark.parametrize("takeover", [False, True])
    @pytest.mark.parametrize("size", [0, 1, 1000, 16384, 16385, 100_000])
    def test_is_exact(self, takeover: bool, size: int) -> None:
        data = reference(b"a" * size)
        assert inflater(15, takeover).decompress(data, size) == b"a" * size
        with pytest.raises(MessageTooBig, match=f" {size} bytes"):
            inflater(15, takeover).decompress(reference(b"a" * (size + 1)), size)

    @pytest.mark.parametrize("takeover", [False, True])
    def test_below_zero_is_none(self, takeover: bool) -> None:
        assert len(inflater(15, takeover).decompress(reference(b"a" * 3_000_000), -1)) == 3_000_000

    @pytest.mark.parametrize("takeover", [False, True])
    @pytest.mark.parametrize("before", [b"", stored(b"a", last=True)])
    def test_stops_a_bomb_early(self, takeover: bool, before: bytes) -> None:
        bomb = before + reference(bytes(64 << 20), level=9)
        assert len(bomb) < 70_000
        tracemalloc.start()
        try:
            with pytest.raises(MessageTooBig):
                inflater(15, takeover).decompress(bomb, 100_000)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1_000_000

    @pytest.mark.parametrize("takeover", [False, True])
    def test_holds_over_blocks_marked_as_last(self, takeover: bool) -> None:
        data = stored(b"a" * 50, last=True) + stored(b"b" * 50, last=True) + b"\x00"
        assert inflater(15, takeover).decompress(data, 100) == b"a" * 50 + b"b" * 50
        for size in (0, 49, 50, 99):
            with pytest.raises(MessageTooBig):
                inflater(15, takeover).decompress(data, size)


class TestDamage:
    @pytest.mark.parametrize("takeover", [False, True])
    @pytest.mark.parametrize(
        "data", [b"\xff", b"\x06", b"\x07\x00", b"\x01\x05\x00\x00\x00hello", b"hello", stored(b"hello")[:-1]]
    )
    def test_is_an_invalid_payload(self, data: bytes, takeover: bool) -> None:
        with pytest.raises(InvalidPayload) as caught:
            inflater(15, takeover).decompress(data, 1000)
        assert caught.value.code == 1007

    def test_of_a_message_cut_off_is_seen_when_it_stands_alone(self) -> None:
        data = reference(b"".join(b"%d " % i for i in range(500)))
        for size in range(1, len(data) - 1):
            with pytest.raises(InvalidPayload):
                inflater(15, False).decompress(data[:size], 1 << 20)

    @pytest.mark.parametrize("takeover", [False, True])
    @pytest.mark.parametrize("last", [False, True])
    @pytest.mark.parametrize("missing", range(1, 11))
    def test_of_a_block_that_ends_after_the_message_is_seen(
        self, takeover: bool, last: bool, missing: int
    ) -> None:
        # It must not be filled up with what is added to find the end.
        with pytest.raises(InvalidPayload):
            inflater(15, takeover).decompress(stored(b"hello" + bytes(missing), last=last)[:-missing], 1000)

    @given(st.binary(min_size=1, max_size=300), st.booleans())
    def test_of_any_kind_is_an_error_or_a_message(self, data: bytes, takeover: bool) -> None:
        stream = inflater(15, takeover)
        for _ in range(2):
            try:
                assert len(stream.decompress(data, 2000)) <= 2000
            except (InvalidPayload, MessageTooBig):
                break

    @given(payloads.filter(bool), st.data(), st.booleans())
    def test_of_any_byte_is_an_error_or_a_message(
        self, payload: bytes, draw: st.DataObject, takeover: bool
    ) -> None:
        data = bytearray(reference(payload))
        data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
        with contextlib.suppress(InvalidPayload, MessageTooBig):
            assert len(inflater(15, takeover).decompress(data, 5000)) <= 5000


class TestLastBlocks:
    """Blocks marked as the last one may be anywhere in a message (RFC 7692, sections 7.2.3.4 and 7.2.3.5)."""

    @pytest.mark.parametrize("takeover", [False, True])
    @pytest.mark.parametrize("end", [b"\x00", b""])
    def test_may_end_a_message(self, takeover: bool, end: bytes) -> None:
        stream = inflater(15, takeover)
        for _ in range(3):
            assert stream.decompress(bytes.fromhex("f348cdc9c90700") + end, 5) == b"Hello"
            assert stream.decompress(bytes.fromhex("f248cdc9c90700"), 5) == b"Hello"

    @pytest.mark.parametrize("takeover", [False, True])
    def test_may_be_anywhere(self, takeover: bool) -> None:
        parts = [b"a" * 5000, b"", b"bcd" * 3000, random.Random(4).randbytes(9000)]
        data = b"".join(zlib.compress(part, 9, wbits=-15) for part in parts)
        stream = inflater(15, takeover)
        assert stream.decompress(data + b"\x00", 1 << 20) == b"".join(parts)
        assert stream.decompress(data + reference(b"end"), 1 << 20) == b"".join(parts) + b"end"
        assert stream.decompress(reference(b"next"), 4) == b"next"

    @pytest.mark.parametrize("takeover", [False, True])
    def test_may_be_of_a_whole_message_and_be_cut_off(self, takeover: bool) -> None:
        data = zlib.compress(b"first", wbits=-15) + stored(b"second")
        with pytest.raises(InvalidPayload):
            inflater(15, takeover).decompress(data[:-2], 1000)

    @pytest.mark.parametrize("takeover", [False, True])
    def test_are_not_endless(self, takeover: bool) -> None:
        assert inflater(15, takeover).decompress(b"\x03\x00" * 1000 + b"\x00", 0) == b""
        with pytest.raises(InvalidPayload, match="1024"):
            inflater(15, takeover).decompress(b"\x03\x00" * 500_000, 1000)


class TestIsolation:
    """What one connection sent is out of reach of every other one, and of its own later messages."""

    def test_a_reference_beyond_the_start_is_invalid(self) -> None:
        assert inflater(15, False).decompress(stored(b"xyz") + copy_block(3) + b"\x00", 10) == b"xyzxyz"
        secret = b"correct horse battery staple"
        shared = inflater(15, False)
        assert shared is inflater(15, False)
        for distance in range(1, 5):
            assert shared.decompress(reference(secret), 100) == secret
            with pytest.raises(InvalidPayload, match="too far back"):
                shared.decompress(copy_block(distance), 100)

    def test_a_message_that_stands_alone_does_not_reach_into_a_window(self) -> None:
        stream = zlib.compressobj(9, zlib.DEFLATED, -15)
        secret = random.Random(5).randbytes(200)
        first, second = (stream.compress(secret) + stream.flush(zlib.Z_SYNC_FLUSH) for _ in range(2))
        window, alone = inflater(15, True), inflater(15, False)
        assert window.decompress(first[:-4], 200) == alone.decompress(first[:-4], 200) == secret
        assert window.decompress(second[:-4], 200) == secret
        with pytest.raises(InvalidPayload):
            alone.decompress(second[:-4], 200)

    def test_windows_are_of_one_connection(self) -> None:
        stream = zlib.compressobj(9, zlib.DEFLATED, -15)
        secret = random.Random(5).randbytes(200)
        first, second = (stream.compress(secret) + stream.flush(zlib.Z_SYNC_FLUSH) for _ in range(2))
        one, other = inflater(15, True), inflater(15, True)
        assert one.decompress(first[:-4], 200) == secret
        with pytest.raises(InvalidPayload):
            other.decompress(second[:-4], 200)

    @given(st.lists(payloads, min_size=2, max_size=5), st.sampled_from(BITS), st.integers(1, 9))
    def test_shared_compressors_forget_each_message(
        self, messages: list[bytes], bits: int, level: int
    ) -> None:
        shared = deflater(bits, False, level, 8)
        for message in messages * 2:
            assert zlib.decompressobj(-15).decompress(shared.compress(message) + TAIL) == message

    def test_shared_compressors_make_the_same_of_the_same(self) -> None:
        shared = deflater(15, False, 1, 5)
        message = b"".join(b"%d " % i for i in range(300))
        first = shared.compress(message)
        shared.compress(random.Random(6).randbytes(70_000))
        assert shared.compress(message) == first

    def test_a_stream_in_error_stays_so(self) -> None:
        window = inflater(15, True)
        with pytest.raises(InvalidPayload):
            window.decompress(b"\x07\x00", 100)
        with pytest.raises(InvalidPayload):
            window.decompress(reference(b"abc"), 100)


class TestForeign:
    @given(st.lists(st.tuples(payloads, st.booleans()), max_size=8), st.sampled_from(BITS))
    def test_messages_between_ours_are_not_referred_to(
        self, messages: list[tuple[bytes, bool]], bits: int
    ) -> None:
        ours, shared, theirs = deflater(bits, True, 6, 8), deflater(bits, False, 6, 8), inflater(bits, True)
        for message, foreign in messages:
            if foreign:
                data = shared.compress(message)
                ours.foreign()
            else:
                data = ours.compress(message)
            assert theirs.decompress(data, len(message)) == message

    def test_makes_the_next_message_stand_alone_and_no_later_one(self) -> None:
        message = random.Random(8).randbytes(300)
        ours = deflater(15, True, 1, 5)
        ours.foreign()
        sizes = [len(ours.compress(message)) for _ in range(2)]
        ours.foreign()
        ours.foreign()
        data = ours.compress(message)
        assert inflater(15, False).decompress(data, 300) == message
        assert sizes[0] > 300 > 50 > sizes[1]
        assert len(ours.compress(message)) < 50


class TestSharing:
    def test_is_of_those_with_the_same_parameters(self) -> None:
        assert deflater(15, False, 1, 5) is deflater(15, False, 1, 5)
        different = [deflater(15, False, 1, 5), deflater(14, False, 1, 5), deflater(15, False, 2, 5)]
        different += [deflater(15, False, 1, 6), deflater(15, True, 1, 5), deflater(15, True, 1, 5)]
        assert len({id(each) for each in different}) == len(different)
        assert inflater(15, False) is inflater(9, False)
        assert inflater(15, True) is not inflater(15, True)

    def test_is_not_between_threads(self) -> None:
        found: list[object] = []
        thread = threading.Thread(target=lambda: found.append(deflater(15, False, 1, 5)))
        thread.start()
        thread.join()
        assert found[0] is not deflater(15, False, 1, 5)

    def test_survives_a_finalizer_that_sends(self) -> None:
        shared = deflater(15, False, 1, 5)
        inner: list[bytes] = []

        class Sender:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                inner.append(shared.compress(b"inner " * 50))

        class Data(bytes):
            """Bytes whose length is asked for in the middle of the work."""

        for _ in range(200):
            Sender()
            data = shared.compress(Data(b"outer " * 50_000))
            assert zlib.decompressobj(-15).decompress(data + TAIL) == b"outer " * 50_000
        gc.collect()
        assert len(inner) == 200
        assert {zlib.decompressobj(-15).decompress(data + TAIL) for data in inner} == {b"inner " * 50}

    def test_survives_threads(self) -> None:
        shared = deflater(15, False, 6, 8)
        messages = [random.Random(i).randbytes(2000) * 50 for i in range(4)]
        wrong: list[int] = []

        def work(i: int) -> None:
            for _ in range(20):
                data = shared.compress(messages[i])
                if zlib.decompressobj(-15).decompress(data + TAIL) != messages[i]:
                    wrong.append(i)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    def test_survives_an_error(self) -> None:
        shared = deflater(15, False, 1, 5)
        with pytest.raises(TypeError):
            shared.compress("text")  # type: ignore[arg-type]
        assert zlib.decompressobj(-15).decompress(shared.compress(b"abc") + TAIL) == b"abc"


def test_everything_holds_with_the_standard_library_too() -> None:
    script = (
        "import sys, pytest\n"
        "sys.modules['zlib_ng'] = None\n"
        "from everwire._core.deflate import BACKEND\n"
        "assert BACKEND == 'zlib'\n"
        "sys.exit(pytest.main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", script, "-q", "-p", "no:cacheprovider", __file__]
    # everwire has a plugin for pytest, which the script imports earlier than pytest likes.
    command += ["-k", "not standard_library", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
