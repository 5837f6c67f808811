"""Messages as people read them: JSON laid out and coloured, bytes as a dump, all of it bounded and harmless.

What is shown is a list of pairs: the name of a style, and text.
"""

from __future__ import annotations

import json
import re
from typing import Any

from everwire.cli.text import DUMPED, format_size, hex_dump, pieces

__all__ = ["Fragments", "content", "described", "is_json"]

Fragments = list[tuple[str, str]]

MAX_CHARACTERS = 10_000
"""Characters of a message that are shown."""

MAX_JSON = 200_000
"""Characters of the longest message that is looked at for whether it is JSON."""

ONE_LINE = 80
"""Characters that JSON may have to be shown on one line."""

# Strings, numbers and words, punctuation: whatever json.loads has found to be right.
_token = re.compile(r'("(?:[^"\\]|\\.)*")(?=(\s*:)?)|([^\s{}\[\]:,"]+)|([{}\[\]:,])')


def content(message: str | bytes, *, layout: bool = True) -> Fragments:
    """What a message says; with line breaks if that takes several lines.

    Args:
        layout: whether JSON may take several lines.
    """
    if isinstance(message, bytes):
        return _dump(message)
    if is_json(message):
        return _limited(_pretty(message, one_line=not layout or len(message) <= ONE_LINE))
    return _limited([("", message)])


def described(message: str | bytes) -> str:
    """The kind of a message and its size."""
    if isinstance(message, bytes):
        return f"binary {format_size(len(message))}"
    return f"text {format_size(len(message.encode()))}"


def is_json(text: str) -> bool:
    """Whether a text is a JSON object or array; a bare word or number is not worth the name."""
    text = text.strip(" \t\r\n")
    if len(text) > MAX_JSON or text[:1] + text[-1:] not in ("{}", "[]"):
        return False
    try:
        json.loads(text, parse_int=_nothing, parse_float=_nothing, parse_constant=_reject)
    except (ValueError, RecursionError):
        return False
    return True


def _nothing(number: str) -> None:
    """Numbers are shown as they came, so nobody needs their values."""


def _reject(word: str) -> Any:
    raise ValueError(word)


def _pretty(text: str, *, one_line: bool) -> Fragments:
    """JSON laid out anew from its tokens: it is not parsed and written again, which could alter it."""
    tokens = list(_token.finditer(text))
    out: Fragments = []
    depth = 0
    for at, token in enumerate(tokens):
        string, colon, word, mark = token.groups()
        if string is not None:
            out.append(("class:json.key" if colon is not None else "class:json.string", string))
        elif word is not None:
            out.append(("class:json.number" if word[0] in "-0123456789" else "class:json.word", word))
        else:
            following = tokens[at + 1][0] if at + 1 < len(tokens) else ""
            preceding = tokens[at - 1][0] if at else ""
            before = after = ""
            if mark in "{[":
                depth += 1
                after = "" if following in "}]" else _line(depth, one_line, "")
            elif mark in "}]":
                depth -= 1
                before = "" if preceding in "{[" else _line(depth, one_line, "")
            else:
                after = " " if mark == ":" else _line(depth, one_line, " ")
            out.append(("class:json.mark", before + mark + after))
    return out


def _line(depth: int, one_line: bool, otherwise: str) -> str:
    return otherwise if one_line else "\n" + "  " * depth


def _limited(fragments: Fragments) -> Fragments:
    """As much as is to be shown, made harmless; a note says how much more there is."""
    left = MAX_CHARACTERS
    out: Fragments = []
    hidden = 0
    for style, text in fragments:
        shown, rest = text[:left], len(text) - left
        left -= len(shown)
        hidden += max(rest, 0)
        for number, line in enumerate(shown.replace("\r\n", "\n").split("\n")):
            if number:
                out.append(("", "\n"))
            for escaped, piece in pieces(line.expandtabs(4)):
                out.append(("class:escaped" if escaped else style, piece))
    if hidden:
        out.append(("class:dim", f"\n… {hidden:,} more characters"))
    return out


def _dump(data: bytes) -> Fragments:
    lines = hex_dump(data)
    out: Fragments = []
    for number, line in enumerate(lines):
        offset, digits, characters = line[:8], line[8:58], line[58:]
        out += [
            ("class:dim", ("\n" if number else "") + offset),
            ("class:hex", digits),
            ("class:dim", characters),
        ]
    if len(data) > DUMPED:
        out.append(("class:dim", f"\n… {len(data) - DUMPED:,} more bytes"))
    return out
