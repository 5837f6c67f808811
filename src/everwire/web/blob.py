"""Blobs: bytes with a media type (File API, section 3)."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import TYPE_CHECKING

from everwire.web.idl import buffer_bytes, scalar_values

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Blob"]


class Blob:
    """Bytes that do not change, and their media type. ``bytes(blob)`` gives the bytes at once.

    Args:
        parts: what it is put together from, in this order: text (as UTF-8), bytes-like objects, other blobs.
        type: the media type; an empty string if it is not known.

    Raises:
        TypeError: *parts* is a single part, or one of them is of another kind.
    """

    __slots__ = ("_data", "_type")

    def __init__(self, parts: Iterable[str | Buffer | Blob] = (), *, type: str = "") -> None:
        if isinstance(parts, str | bytes | bytearray | memoryview | Blob):
            raise TypeError(f"parts is a list: [{parts!r:.60}]")
        self._data = b"".join(_part(each) for each in parts)
        self._type = _media_type(type)

    @classmethod
    def of(cls, data: builtins.bytes, type: str = "") -> Blob:
        """The blob of these very bytes, which are not copied."""
        blob = cls.__new__(cls)
        blob._data = data
        blob._type = _media_type(type)
        return blob

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self._data)

    @property
    def type(self) -> str:
        """The media type in lower case; an empty string if it is not known."""
        return self._type

    def slice(self, start: int = 0, end: int | None = None, contentType: str = "") -> Blob:
        """A part of it. Negative positions count from the end."""
        return Blob.of(self._data[start:end], contentType)

    async def text(self) -> str:
        """The bytes read as UTF-8; what is not UTF-8 becomes U+FFFD."""
        return self._data.decode(errors="replace").removeprefix("\ufeff")

    async def arrayBuffer(self) -> builtins.bytes:
        """The bytes."""
        return self._data

    async def bytes(self) -> builtins.bytes:
        """The bytes."""
        return self._data

    def __bytes__(self) -> builtins.bytes:
        return self._data

    def __repr__(self) -> str:
        return f"<Blob {self.size} bytes{f' {self._type}' if self._type else ''}>"


def _part(part: str | Buffer | Blob) -> bytes:
    if isinstance(part, Blob):
        return bytes(part)
    return scalar_values(part).encode() if isinstance(part, str) else buffer_bytes(part)


def _media_type(type: str) -> str:
    return type.lower() if all(" " <= each <= "~" for each in type) else ""
