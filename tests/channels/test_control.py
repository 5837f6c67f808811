"""Messages between nodes, on the wire."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everwire.channels import control
from everwire.channels.control import Announce, Answer, Ask, Assembler, Gone, decode, encode

MESSAGES = st.one_of(
    st.builds(Ask, st.text(), st.integers(0, 2**53), st.text(), st.binary()),
    st.builds(Answer, st.text(), st.integers(0, 2**53), st.binary(), st.integers(0, 5000), st.text()),
    st.builds(Gone, st.text()),
    st.builds(
        Announce, *[st.text()] * 3, *[st.integers(0, 2**40)] * 5, st.floats(allow_nan=False), st.booleans()
    ),
)


@settings(max_examples=50)
@given(MESSAGES)
def test_messages_come_as_they_were_sent(message: control.Message) -> None:
    assert [decode(data, Assembler()) for data in encode(message, 1)] == [message]


@given(st.binary(max_size=100))
def test_whatever_comes_is_a_message_or_no_message_or_an_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        found = decode(data, Assembler())
        assert found is None or isinstance(found, control.Message)


@given(
    st.recursive(
        st.none() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(), st.lists, max_leaves=20
    )
)
def test_so_is_whatever_makes_sense_in_messagepack(value: object) -> None:
    with contextlib.suppress(ValueError):
        found = decode(msgspec.msgpack.encode(value), Assembler())
        assert found is None or isinstance(found, control.Message)


def test_parts_of_several_nodes_may_mix_and_what_misses_one_is_dropped() -> None:
    size = control.PART * 2
    messages = [Ask("a", 1, "op", b"a" * size), Ask("b", 1, "op", b"b" * size)]
    parts = Assembler()
    found = [
        decode(data, parts)
        for both in zip(*(encode(each, 1) for each in messages), strict=True)
        for data in both
    ]
    assert [each for each in found if each is not None] == messages
    first, _, third = encode(messages[0], 2)
    assert [decode(data, parts) for data in (first, third)] == [None, None]
    assert [decode(data, parts) for data in encode(messages[0], 3)][-1] == messages[0]
    assert parts._size == 0 and not parts._begun


def test_what_is_too_large_is_refused_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="the most is"):
        encode(Ask("a", 1, "op", bytes(control.MAX_SIZE)), 1)
    monkeypatch.setattr(control, "MAX_SIZE", control.PART)
    parts = Assembler()
    sent = [msgspec.msgpack.encode([5, "a", 1, n, 4, bytes(control.PART)]) for n in range(4)]
    assert decode(sent[0], parts) is None
    with pytest.raises(ValueError, match="in parts is over"):
        decode(sent[1], parts)
    assert parts._size == 0
    monkeypatch.setattr(control, "MAX_SIZE", 4 << 20)
    monkeypatch.setattr(control, "PATIENCE", 0.0)
    for _ in range(3):
        decode(sent[0], parts)
        assert parts._size == control.PART, "what never becomes whole is forgotten"
