"""What the fields of a message are, for both formats: read off the definitions of the messages."""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from msgspec import inspect

from everwire.wire.messages import WireMessage

__all__ = ["Field", "Kind", "fields"]


class Kind(Enum):
    """What a field holds."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    PAYLOAD = "payload"
    MESSAGE = "message"
    TEXTS = "a list of texts"
    LIST = "a list of messages"
    TEXT_MAP = "texts by text"
    MAP = "messages by text"


class Field(NamedTuple):
    """A field of a message.

    Attributes:
        name: its name, in Python and in JSON.
        number: its number, in Protobuf.
        kind: what it holds.
        message: the message that it holds, or holds some of; None: other things.
        lowest, highest: the bounds of an integer.
    """

    name: str
    number: int
    kind: Kind
    message: type[WireMessage] | None = None
    lowest: int = 0
    highest: int = 0


def message_in(type_: Any) -> type[WireMessage] | None:
    """The message that this type is; None: it is another one."""
    return type_.cls if isinstance(type_, inspect.StructType) and issubclass(type_.cls, WireMessage) else None


def described(name: str, number: int, type_: inspect.Type) -> Field:
    """A field with what its type says."""
    match type_:
        case inspect.StrType():
            return Field(name, number, Kind.TEXT)
        case inspect.BoolType():
            return Field(name, number, Kind.BOOLEAN)
        case inspect.IntType(ge=int(lowest), le=int(highest)):
            return Field(name, number, Kind.INTEGER, None, lowest, highest)
        case inspect.RawType():
            return Field(name, number, Kind.PAYLOAD)
        case inspect.UnionType(types=types) if message := next(filter(None, map(message_in, types)), None):
            return Field(name, number, Kind.MESSAGE, message)
        case inspect.ListType(item_type=inspect.StrType()):
            return Field(name, number, Kind.TEXTS)
        case inspect.ListType(item_type=item) if message := message_in(item):
            return Field(name, number, Kind.LIST, message)
        case inspect.DictType(key_type=inspect.StrType(), value_type=inspect.StrType()):
            return Field(name, number, Kind.TEXT_MAP)
        case inspect.DictType(key_type=inspect.StrType(), value_type=item) if message := message_in(item):
            return Field(name, number, Kind.MAP, message)
        case _:
            raise TypeError(f"the field {name} has a type that the client protocol does not have: {type_}")


KNOWN: dict[type[WireMessage], tuple[Field, ...]] = {}


def fields(message: type[WireMessage]) -> tuple[Field, ...]:
    """The fields of a message, in the order of their numbers."""
    if message in KNOWN:
        return KNOWN[message]
    info = inspect.type_info(message)
    assert isinstance(info, inspect.StructType)
    found = [described(field.name, message.NUMBERS[field.name], field.type) for field in info.fields]
    KNOWN[message] = tuple(sorted(found, key=lambda field: field.number))
    return KNOWN[message]
