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
        ImportError: the library for it is not installed.
    """
    match name:
        case "json":
            return JSON
        case "protobuf":
            try:
                from everwire.wire.protobuf import PROTOBUF
            except ImportError as error:
                raise ImportError(
                    'the format "protobuf" needs the package protobuf: pip install "everwire[channels]"'
                ) from error
            return PROTOBUF
        case _:
            raise ValueError(f"there is no format {name!r} of the client protocol: take 'json' or 'protobuf'")
