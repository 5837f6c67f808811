"""The loops over payload bytes against plain Python: masking and UTF-8."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everwire._core.kernels import KERNEL, Utf8Validator, is_ascii, mask

KEY = b"\x12\xa5\xff\x01"

# The ends of what each length of UTF-8 can say, of the surrogates, and of Unicode.
_ENDS = (0x80, 0x800, 0x1000, 0xD000, 0xD800, 0xDC00, 0xE000, 0xFFFE, 0x10000, 0x40000, 0x100000, 0x110000)
BOUNDARIES = [0, *(point for end in _ENDS for point in (end - 1, end)), 0xFDD0, 0x13FFFF, 0x1FFFFF]
WRONG = [
    b"\x80",  # a continuation byte alone
    b"\xbf",
    b"\xc0\x80",  # overlong
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",  # surrogates
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",  # above U+10FFFF
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfc\x84\x80\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xc3(",  # cut off in the middle
    b"\xe2\x82(",
    b"\xf0\x9f\x98(",
]


def masked(data: bytes, key: bytes, phase: int = 0) -> bytes:
    """What masking is (RFC 6455, section 5.3)."""
    return bytes(byte ^ key[(i + phase) % 4] for i, byte in enumerate(data))


def encoded(point: int) -> bytes:
    """A code point as UTF-8 would write it if it were allowed to."""
    if point < 0x80:
        return bytes((point,))
    if point < 0x800:
        return bytes((0xC0 | point >> 6, 0x80 | point & 63))
    if point < 0x10000:
        return bytes((0xE0 | point >> 12, 0x80 | point >> 6 & 63, 0x80 | point & 63))
    return bytes((0xF0 | point >> 18, 0x80 | point >> 12 & 63, 0x80 | point >> 6 & 63, 0x80 | point & 63))


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def valid(*pieces: bytes) -> bool:
    """What the validator says of a text in pieces."""
    validator = Utf8Validator()
    return all(validator.feed(piece) for piece in pieces) and validator.complete


class TestMask:
    def test_a_form_is_chosen(self) -> None:
        assert KERNEL in ("avx2", "sse2", "neon", "words")

    @pytest.mark.parametrize("phase", range(8))
    def test_all_lengths(self, phase: int) -> None:
        data = random.Random(1).randbytes(300)
        for size in range(301):
            assert mask(data[:size], KEY, phase) == masked(data[:size], KEY, phase), size

    def test_all_alignments(self) -> None:
        data = random.Random(2).randbytes(700)
        view = memoryview(data)
        for start, size in product(range(65), (0, 1, 63, 64, 65, 127, 128, 129, 255, 300, 600)):
            assert mask(view[start : start + size], KEY, start) == masked(
                data[start : start + size], KEY, start
            )

    @given(st.binary(max_size=2000), st.binary(min_size=4, max_size=4), st.integers(0, 10**6))
    def test_any(self, data: bytes, key: bytes, phase: int) -> None:
        once = mask(data, key, phase)
        assert once == masked(data, key, phase)
        assert mask(once, key, phase) == data

    @given(st.binary(max_size=1000), st.lists(st.integers(0, 1000)))
    def test_in_pieces(self, data: bytes, cuts: list[int]) -> None:
        at, out = 0, b""
        for cut in [*sorted(cut for cut in cuts if cut <= len(data)), len(data)]:
            out += mask(data[at:cut], KEY, at)
            at = cut
        assert out == mask(data, KEY)

    def test_all_buffers(self) -> None:
        assert mask(bytearray(b"hello"), KEY) == mask(memoryview(b"hello"), KEY) == masked(b"hello", KEY)

    @pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
    def test_a_key_of_another_size(self, key: bytes) -> None:
        with pytest.raises(ValueError, match="4 bytes"):
            mask(b"data", key)


class TestAscii:
    def test_a_high_byte_is_seen_wherever_it_is(self) -> None:
        for size in (1, 7, 8, 31, 32, 63, 64, 100, 127, 128, 129, 191, 192, 200, 260):
            assert is_ascii(b"\x7f" * size)
            for place in range(size):
                data = bytearray(b"a" * size)
                data[place] = 0x80
                assert not is_ascii(data), (size, place)

    def test_nothing_is_ascii(self) -> None:
        assert is_ascii(b"")


class TestUtf8:
    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        assert valid(data) == is_utf8(data)

    @given(st.text(max_size=300), st.binary(max_size=4), st.integers(0, 300))
    def test_text_with_something_in_it(self, text: str, something: bytes, place: int) -> None:
        data = text.encode(errors="surrogatepass")
        data = data[:place] + something + data[place:]
        assert valid(data) == is_utf8(data)

    @given(
        st.one_of(
            st.text(max_size=40).map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=40)
        )
    )
    @example("κόσμε \U0001f600 \U0010ffff".encode())
    def test_every_split(self, data: bytes) -> None:
        expected = is_utf8(data)
        for cut in range(len(data) + 1):
            assert valid(data[:cut], data[cut:]) == expected
        assert valid(*(data[i : i + 1] for i in range(len(data)))) == expected

    @pytest.mark.parametrize("point", BOUNDARIES, ids=hex)
    def test_code_points_at_a_boundary(self, point: int) -> None:
        allowed = point < 0x110000 and not 0xD800 <= point < 0xE000
        data = encoded(point)
        # Behind ASCII of each length, for the loops take it in blocks.
        for before in (0, 1, 7, 8, 9, 63, 64, 65, 128, 200):
            assert valid(b"a" * before + data) == allowed
            assert valid(b"a" * before + data + b"b" * 70) == allowed

    @pytest.mark.parametrize("data", WRONG, ids=bytes.hex)
    def test_what_is_wrong_is_seen_at_once(self, data: bytes) -> None:
        for before in (b"", b"a" * 64, "é".encode() * 40):
            assert not Utf8Validator().feed(before + data + b"and so on")

    def test_all_code_points(self) -> None:
        for start in range(0, 0x110000, 0x800):
            if start != 0xD800:
                assert valid("".join(map(chr, range(start, start + 0x800))).encode()), hex(start)
        for surrogate in range(0xD800, 0xE000):
            assert not valid(encoded(surrogate)), hex(surrogate)

    def test_all_pairs_of_bytes_and_what_may_follow(self) -> None:
        for first, second in product(range(0x80, 0x100), range(0x100)):
            for tail in (b"", b"\x80", b"\xbf\x80", b"a"):
                data = bytes((first, second)) + tail
                assert valid(data) == is_utf8(data), data

    @pytest.mark.parametrize("text", ["é", "€", "\U0001f600"])
    def test_a_text_that_ends_inside_a_character_is_not_complete(self, text: str) -> None:
        data = text.encode()
        for cut in range(1, len(data)):
            validator = Utf8Validator()
            assert validator.feed(data[:cut])
            assert not validator.complete
            assert validator.feed(data[cut:])
            assert validator.complete

    def test_nothing_is_complete(self) -> None:
        validator = Utf8Validator()
        assert validator.feed(b"")
        assert validator.complete
