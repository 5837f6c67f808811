"""Deltas in Fossil's format: they make what they were made for, and hostile ones are refused."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire._core.fossil import apply, create
from everwire.errors import WireError

LIMIT = 1 << 26

blocks = st.lists(
    st.sampled_from([b"a" * 40, b"0123456789abcdefghij", b"x", b"\xff\x80", bytes(17)]), max_size=12
)
anything = st.one_of(st.binary(max_size=200), blocks.map(b"".join))
texts = st.lists(
    st.sampled_from(
        [
            "the same piece of text ",
            "\u20ac\u20ac\u20ac\u20ac\u20ac\u20ac",
            "\U0001f600" * 6,
            "\u044f" * 9,
            "b",
            "\n",
        ]
    ),
    max_size=12,
).map("".join)


@given(anything, anything)
def test_a_delta_makes_the_target(source: bytes, target: bytes) -> None:
    delta = create(source, target)
    assert apply(source, delta, LIMIT) == target
    assert len(delta) <= len(target) + 32


@given(texts, texts)
def test_a_delta_between_texts_is_text(source: str, target: str) -> None:
    delta = create(source.encode(), target.encode())
    delta.decode()
    assert apply(source.encode(), delta, LIMIT) == target.encode()


def test_a_small_change_is_a_small_delta() -> None:
    chance = random.Random(1)
    source = chance.randbytes(100_000)
    target = source[:40_000] + b"changed" + source[40_010:]
    delta = create(source, target)
    assert len(delta) < 100
    assert apply(source, delta, LIMIT) == target


def test_the_format_is_that_of_fossil() -> None:
    assert create(b"", b"") == b"0\n0;"
    assert create(b"", b"abc") == b"3\n3:abc1XObC0;"
    assert create(b"0123456789abcdef" * 2, b"0123456789abcdef" * 2).startswith(b"W\nW@0,")


@pytest.mark.parametrize("fill", [b"\x80", b"a", b"\xe2\x82\xac", b"ab" * 9 + b"\x80"])
def test_no_input_takes_long(fill: bytes) -> None:
    source = fill * (300_000 // len(fill))
    target = source[: len(source) // 2] + b"x" + source[len(source) // 2 :]
    started = time.process_time()
    delta = create(source, target)
    assert time.process_time() - started < 5
    assert apply(source, delta, LIMIT) == target


@pytest.mark.parametrize(
    ("delta", "message"),
    [
        (b"", "no number"),
        (b"3", "cut off"),
        (b"3;", "does not begin"),
        (b"3\n", "no number"),
        (b"3\n3", "cut off"),
        (b"3\n3:ab", "cut off"),
        (b"3\n~~~~~:abc", "more comes out"),
        (b"3\n~~~~~~~:abc", "more than 32 bits"),
        (b"3\n3@0", "cut off"),
        (b"3\n3@0;", "comma"),
        (b"3\n3@~~~~~,", "beyond the end"),
        (b"3\n3@3,", "beyond the end"),
        (b"3\n4@0,", "more comes out"),
        (b"3\n3!abc", "not an operation"),
        (b"3\n0;", "0 bytes come out"),
        (b"3\n3:abc0;", "checksum"),
        (b"~~~~~\n0;", "over the limit"),
        (b"0\n0;0", "after its end"),
    ],
)
def test_hostile_deltas_are_refused(delta: bytes, message: str) -> None:
    with pytest.raises(WireError, match=message):
        apply(b"abcde", delta, 1000)


@given(anything, anything, st.data())
def test_damaged_deltas_are_refused_or_within_the_limit(
    source: bytes, target: bytes, data: st.DataObject
) -> None:
    delta = bytearray(create(source, target))
    for _ in range(data.draw(st.integers(1, 3))):
        delta[data.draw(st.integers(0, len(delta) - 1))] = data.draw(st.sampled_from(b"0~@:;,\n1aZ\xff"))
    try:
        made = apply(source, bytes(delta), 300)
    except WireError:
        return
    assert len(made) <= 300


def test_another_source_is_told() -> None:
    delta = create(b"a" * 100, b"a" * 90 + b"b")
    with pytest.raises(WireError, match="another"):
        apply(b"c" * 100, delta, LIMIT)
