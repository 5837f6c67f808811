"""Text for a terminal: what peers sent made harmless to show, sizes and bytes made readable."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

__all__ = ["escape", "format_size", "hex_dump", "pieces", "shorten"]

JOINERS = "\u200c\u200d"
"""Invisible, but what emoji and some scripts are written with."""

DUMPED = 256
"""Bytes of a binary message that a dump shows."""


def _harmless(char: str) -> bool:
    return char.isprintable() or char in JOINERS or unicodedata.category(char) == "Zs"


def pieces(text: str) -> Iterator[tuple[bool, str]]:
    """A text in pieces, each with whether it stands for something that is not shown as it is.

    So are control characters, with which a peer could command the terminal (ECMA-48: escape sequences that
    move the cursor, set titles, answer queries), marks that change the direction of a line (Unicode, UAX 9),
    and other characters that one cannot see. Newlines are no exception: take the text apart before.
    """
    if text.isprintable():
        yield False, text
        return
    start = 0
    for at, char in enumerate(text):
        if not _harmless(char):
            if at > start:
                yield False, text[start:at]
            yield True, _escaped(char)
            start = at + 1
    if start < len(text):
        yield False, text[start:]


def escape(text: str) -> str:
    """A text that is safe to print, on one line: ``\\x1b`` for an escape character, ``\\n`` for a newline."""
    return "".join(piece for _, piece in pieces(text))


def _escaped(char: str) -> str:
    code = ord(char)
    if char in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shorten(text: str, limit: int) -> str:
    """The beginning of a text, safe to print, at most so many characters of it and on one line."""
    return escape(text) if len(text) <= limit else escape(text[:limit]) + "…"


def format_size(size: int) -> str:
    """A number of bytes as one reads it: ``17 B``, ``1.5 KiB``, ``2 MiB``."""
    if size < 1024:
        return f"{size} B"
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    raise AssertionError(size)


def hex_dump(data: bytes, limit: int = DUMPED) -> list[str]:
    """The lines of a dump in the form of ``hexdump -C``, of at most ``limit`` bytes."""
    lines: list[str] = []
    for at in range(0, min(len(data), limit), 16):
        row = data[at : min(at + 16, limit)]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:08x}  {left:<23}  {right:<23}  |{shown}|")
    return lines
