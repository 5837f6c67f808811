"""The headers of a message, with the ways of ``websockets.datastructures.Headers``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from everwire.websocket import messages
from everwire.websocket.messages import HeadersLike, MultipleValuesError

__all__ = ["Headers", "HeadersLike", "MultipleValuesError"]


class Headers(messages.Headers):
    """Headers to which ``headers[name] = value`` adds a value, and that are iterated over in lower case.

    Raises:
        ValueError: a name or a value that HTTP cannot carry.
    """

    __slots__ = ()

    def __setitem__(self, name: str, value: str) -> None:
        self.add(name, value)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.raw_items()))

    def copy(self) -> Self:
        """A copy that can be changed independently."""
        return type(self)(self)

    def update(self, other: HeadersLike = (), /, **kwargs: str) -> None:
        """Add all values of ``other``.

        Raises:
            ValueError: HTTP cannot carry a name or a value.
        """
        for name, value in messages.Headers(other, **kwargs).raw_items():
            self.add(name, value)

    def serialize(self) -> bytes:
        """The bytes of the headers, with the empty line after them."""
        return str(self).encode("latin-1")
