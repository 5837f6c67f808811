"""Publications as differences to the one before, for subscribers that asked for it (``delta: "fossil"``)."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from everwire._core import fossil
from everwire.errors import WireError
from everwire.wire.codec import Codec
from everwire.wire.messages import Publication

__all__ = ["FOSSIL", "apply_difference", "as_string", "difference", "full_as_string", "string_bytes"]

FOSSIL = "fossil"
"""The name of the only kind of difference."""

MAX_SIZE = 64 << 20
"""The bytes that a difference may make at most, unless said otherwise."""


def as_string(data: bytes) -> Raw:
    """The JSON string that holds a text.

    Raises:
        WireError: it is not UTF-8.
    """
    try:
        return Raw(msgspec.json.encode(data.decode()))
    except UnicodeError as error:
        raise WireError(f"a payload is not UTF-8, as JSON needs it: {error}") from error


def full_as_string(codec: Codec, publication: Publication) -> Publication:
    """A publication as a subscriber with differences gets it whole: for JSON, its payload is in a string.

    Raises:
        WireError: it is for JSON, and the payload is not UTF-8.
    """
    if codec.binary:
        return publication
    return msgspec.structs.replace(publication, data=as_string(bytes(publication.data)), delta=False)


def difference(codec: Codec, previous: Publication, publication: Publication) -> Publication:
    """A publication as the difference to the one before, or whole where that is not longer.

    Raises:
        WireError: it is for JSON, and the payload is not UTF-8.
    """
    data = bytes(publication.data)
    try:
        delta = fossil.create(bytes(previous.data), data)
        if len(delta) < len(data):
            written = Raw(delta) if codec.binary else as_string(delta)
            return msgspec.structs.replace(publication, data=written, delta=True)
    except WireError:
        pass  # too long, or no text: whole, then
    return full_as_string(codec, publication)


def string_bytes(data: Raw) -> bytes:
    """The text of a JSON string.

    Raises:
        WireError: it is none.
    """
    try:
        return msgspec.json.decode(data, type=str).encode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise WireError(f"the data of a publication with differences is not a string: {error}") from error


def apply_difference(
    codec: Codec, previous: bytes, publication: Publication, *, max_size: int = MAX_SIZE
) -> Publication:
    """What a publication stands for: its payload whole, and as it was published.

    Args:
        codec: the format that it came in.
        previous: the payload before; empty: there was none.
        publication: what came.
        max_size: the bytes that may come out.

    Raises:
        WireError: the difference is malformed, is of another payload, or makes more than *max_size* bytes.
    """
    data = bytes(publication.data) if codec.binary else string_bytes(publication.data)
    if publication.delta:
        data = fossil.apply(previous, data, max_size)
    return msgspec.structs.replace(publication, data=Raw(data), delta=False)
