"""Channel patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.channels.patterns import Pattern


@pytest.mark.parametrize(
    ("pattern", "channel", "fields"),
    [
        ("news", "news", {}),
        ("news", "newsletter", None),
        ("news", "", None),
        ("room:{room}", "room:a", {"room": "a"}),
        ("room:{room}", "room:", None),
        ("room:{room}", "room:a:b", None),
        ("room:{room}", "xroom:a", None),
        ("room:{room:path}", "room:a:b/c", {"room": "a:b/c"}),
        ("room:{room:path}", "room:a\nb", {"room": "a\nb"}),
        ("user:{id:int}", "user:42", {"id": 42}),
        ("user:{id:int}", "user:-1", {"id": -1}),
        ("user:{id:int}", "user:4x", None),
        ("user:{id:int}", "user:٤", None),
        ("user:{id:int}", "user:" + "9" * 40, None),
        ("{a}:{b}", "x:y", {"a": "x", "b": "y"}),
        ("a.b*{x}", "aXb*1", None),
        ("a.b*{x}", "a.b*1", {"x": "1"}),
    ],
)
def test_a_channel_and_its_fields(pattern: str, channel: str, fields: dict[str, object] | None) -> None:
    assert Pattern(pattern).match(channel) == fields


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("", "not empty"),
        ("room:{}", "no name"),
        ("room:{1}", "no name"),
        ("room:{a:float}", "of no kind known: str, int, path"),
        ("{a}:{a}", "twice"),
        ("room:{a", "brace"),
        ("room:a}", "brace"),
    ],
)
def test_a_pattern_that_makes_no_sense(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Pattern(pattern)


@given(st.text(alphabet=st.characters(exclude_characters=":", exclude_categories=["Cs"]), min_size=1))
def test_any_text_without_a_colon_is_a_field(text: str) -> None:
    assert Pattern("a:{x}:z").match(f"a:{text}:z") == {"x": text}
