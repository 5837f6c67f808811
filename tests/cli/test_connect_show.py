"""Messages as people read them: JSON laid out, everything bounded, nothing altered."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.cli.connect.show import content, described, is_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def shown(message: str | bytes) -> str:
    return "".join(text for _, text in content(message))


@given(st.lists(VALUES) | st.dictionaries(st.text(), VALUES), st.sampled_from([None, 1]))
def test_json_is_laid_out_and_stays_what_it_is(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    assert is_json(text)
    assert json.loads(shown(text)) == value
    if len(text) > 80:
        assert shown(text) == json.dumps(value, indent=2)


def test_json_is_shown_to_the_letter() -> None:
    text = '{"a": 1.0000000000000000001, "a": 1e400, "b": "\\u0041", "c": 123456789012345678901234567890}'
    inside = [line.strip().rstrip(",") for line in shown(text).splitlines()]
    assert inside[1:-1] == [
        '"a": 1.0000000000000000001',
        '"a": 1e400',
        '"b": "\\u0041"',
        '"c": 123456789012345678901234567890',
    ]


def test_json_is_coloured_by_what_it_is() -> None:
    styles = {text.strip(): style for style, text in content('{"key": ["text", -1.5, true, null]}')}
    assert styles['"key"'] == "class:json.key"
    assert styles['"text"'] == "class:json.string"
    assert styles["-1.5"] == "class:json.number"
    assert styles["true"] == styles["null"] == "class:json.word"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        '"a"',
        "{",
        "{a: 1}",
        "[NaN]",
        "[1,]",
        "[" * 99_999 + "]" * 99_999,
        "[" + "1," * 200_000 + "1]",
    ],
    ids=lambda text: text[:8],
)
def test_what_is_not_taken_for_json(text: str) -> None:
    assert not is_json(text)
    assert len(shown(text)) < 11_000


@given(st.text())
def test_text_can_be_read_and_harms_nobody(text: str) -> None:
    assert "\x1b" not in shown(text)
    assert all(char.isprintable() or char in "\n\u200c\u200d" or char.isspace() for char in shown(text))


def test_text_that_is_long_is_cut() -> None:
    assert shown("x" * 12_345) == "x" * 10_000 + "\n… 2,345 more characters"


def test_escaped_characters_stand_out() -> None:
    assert ("class:escaped", "\\x1b") in content("\x1b[2J")
    assert ("class:escaped", "\\u202e") in content('{"a": "\u202e"}')


def test_binary_is_dumped_and_cut() -> None:
    assert shown(b"") == ""
    assert shown(b"Hello\x00") == f"00000000  {'48 65 6c 6c 6f 00':<48}  |Hello.|"
    assert shown(bytes(1000)).splitlines()[-1] == "… 744 more bytes"


def test_descriptions() -> None:
    assert described("Grüße") == "text 7 B"
    assert described(bytes(2048)) == "binary 2 KiB"
