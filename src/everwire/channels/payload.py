"""Payloads: values to and from the bytes of publications, checked against a type where there is one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast, get_type_hints

import msgspec
from msgspec import Raw

from everwire.errors import BadRequest
from everwire.wire.messages import NOTHING

__all__ = ["as_raw", "decoder", "encode", "parameter_type"]

_encode = msgspec.json.Encoder().encode


def encode(value: Any) -> Raw:
    """A value as a payload: JSON; bytes as they are; a pydantic model as it dumps itself.

    Raises:
        TypeError: it is of a type that JSON has nothing for.
    """
    if isinstance(value, Raw):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return Raw(bytes(cast(bytes, value)))
    if hasattr(value, "__pydantic_serializer__"):
        return Raw(value.__pydantic_serializer__.to_json(value))
    return Raw(_encode(value))


def as_raw(value: Any) -> Raw:
    """A value that may be None as a payload."""
    return NOTHING if value is None else encode(value)


def decoder(kind: Any) -> Callable[[Raw], Any]:
    """What reads payloads of a type: a msgspec Struct, a dataclass, a TypedDict, a pydantic model,
    ``dict[str, int]``.

    ``Any`` and None read JSON, ``bytes`` gives the payload as it is. What the decoder gets and cannot read
    raises :class:`~everwire.errors.BadRequest`, which says where it does not fit.
    """
    if kind is bytes:
        return bytes
    if kind is None or kind is inspect.Parameter.empty:
        kind = Any
    if hasattr(kind, "__pydantic_validator__"):
        return _pydantic(kind)
    decode = msgspec.json.Decoder(kind).decode

    def read(data: Raw) -> Any:
        raw = bytes(data)
        if not raw and kind is Any:
            return None
        try:
            return decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"the payload is not what it should be: {error}") from error

    return read


def _pydantic(kind: Any) -> Callable[[Raw], Any]:
    validate = kind.__pydantic_validator__.validate_json

    def read(data: Raw) -> Any:
        try:
            return validate(bytes(data))
        except ValueError as error:
            raise BadRequest(f"the payload is not what it should be: {_first(error)}") from error

    return read


def _first(error: ValueError) -> str:
    """The first thing that is wrong, in a line: where, and what."""
    problems: Callable[..., list[dict[str, Any]]] | None = getattr(error, "errors", None)
    if problems is None:
        return str(error)
    found = problems(include_url=False)[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in found["loc"])
    return f"{found['msg']} - at `${place}`"


def parameter_type(function: Callable[..., Any], name: str) -> Any:
    """The annotation of a parameter; None if it has none."""
    try:
        return get_type_hints(function).get(name)
    except (NameError, TypeError):  # of a name that is imported for type checkers only
        return None
