"""Channel patterns: ``room:{room}``, ``user:{id:int}``, ``files:{path:path}``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

__all__ = ["Pattern"]

_FIELD = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "str": (r"[^:]+", str),
    "int": (r"-?[0-9]{1,18}", int),
    "path": (r".+", str),
}


class Pattern:
    """Which channels are meant, and what their names say.

    A field ``{name}`` stands for one or more characters but colons, ``{name:int}`` for a number,
    ``{name:path}`` for one or more characters of any kind.

    Parameters:
        text: the pattern.

    Attributes:
        text: the same.
        fields: the names of its fields.

    Raises:
        ValueError: it is empty, or a field is malformed, of no known kind, or there twice.
    """

    __slots__ = ("_convert", "_match", "fields", "text")

    def __init__(self, text: str) -> None:
        if not text:
            raise ValueError("a channel pattern is not empty: 'news' or 'room:{room}'")
        self.text = text
        self._convert: dict[str, Callable[[str], Any]] = {}
        expression, end = "", 0
        for field in _FIELD.finditer(text):
            name, kind = field[1], field[2] or "str"
            if not name.isidentifier():
                raise ValueError(f"the field {field[0]!r} of the channel pattern {text!r} has no name")
            if kind not in _KINDS:
                raise ValueError(
                    f"the field {field[0]!r} of the channel pattern {text!r} is of no kind known: "
                    f"{', '.join(_KINDS)}"
                )
            if name in self._convert:
                raise ValueError(f"the channel pattern {text!r} has the field {name!r} twice")
            part, self._convert[name] = _KINDS[kind]
            expression += re.escape(text[end : field.start()]) + f"(?P<{name}>{part})"
            end = field.end()
        rest = text[end:]
        if "{" in rest or "}" in rest:
            raise ValueError(f"the channel pattern {text!r} has a brace without its other half")
        self._match = re.compile(expression + re.escape(rest), re.DOTALL).fullmatch
        self.fields = tuple(self._convert)

    def match(self, channel: str) -> dict[str, Any] | None:
        """The fields of a channel's name, or None if it is not meant."""
        found = self._match(channel)
        if found is None:
            return None
        return {name: convert(found[name]) for name, convert in self._convert.items()}

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"
