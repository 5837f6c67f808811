"""What peers sent is made harmless before it is shown; sizes and bytes are readable."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.cli.text import escape, format_size, hex_dump, pieces, shorten

HARMFUL = {"Cc", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(st.text())
def test_nothing_that_commands_a_terminal_is_left(text: str) -> None:
    shown = escape(text)
    assert not {unicodedata.category(char) for char in shown} & HARMFUL
    # Of the characters that one cannot see, those that join others are left: emoji are made with them.
    assert {char for char in shown if unicodedata.category(char) == "Cf"} <= {"\u200c", "\u200d"}


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_what_can_be_seen_is_shown_as_it_is(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("safe\u202etxt.exe", r"safe\u202etxt.exe"),
        ("\U000e0041", r"\U000e0041"),
        ("👩\u200d💻 Grüße", "👩\u200d💻 Grüße"),
    ],
)
def test_escapes(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_pieces_tell_what_was_escaped() -> None:
    assert list(pieces("a\x00\x01b")) == [(False, "a"), (True, r"\x00"), (True, r"\x01"), (False, "b")]


def test_shorten() -> None:
    assert shorten("abc", 3) == "abc"
    assert shorten("a\nbcd", 3) == "a\\nb…"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1 MiB"),
        (3 << 29, "1.5 GiB"),
    ],
)
def test_sizes(size: int, shown: str) -> None:
    assert format_size(size) == shown


@given(st.binary(max_size=400))
def test_a_dump_has_the_bytes(data: bytes) -> None:
    lines = hex_dump(data, limit=300)
    assert bytes.fromhex(" ".join(line[10:58] for line in lines)) == data[:300]
    assert all(re.fullmatch(r"[0-9a-f]{8}  .{23}  .{23}  \|[ -~]{1,16}\|", line) for line in lines)
