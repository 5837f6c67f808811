"""The formats of the client protocol by name."""

from __future__ import annotations

from everwire.wire.codec import Codec
from everwire.wire.json import JSON

__all__ = ["codec"]


def codec(name: str) -> Codec:
    """The codec of a format, always the same one.

    Args:
        name: ``"json"`` or ``"protobuf"``.

    Raises:
        ValueError: there is no such format.
    """
    match name:
        case "json":
            return JSON
        case _:
            raise ValueError(f"there is no format {name!r} of the client protocol: take 'json' or 'protobuf'")
