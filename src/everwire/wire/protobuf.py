"""The client protocol in Protobuf: each message after its length, payloads of any bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message
from msgspec import Raw

from everwire.errors import WireError
from everwire.wire.descriptors import message_classes
from everwire.wire.fields import Field, Kind, fields
from everwire.wire.messages import (
    Command,
    EmulationRequest,
    Publication,
    Push,
    Reply,
    WireMessage,
)

__all__ = ["PROTOBUF", "ProtobufCodec"]

M = TypeVar("M", bound=WireMessage)

CLASSES = message_classes(Command, Reply, EmulationRequest)

Convert = Callable[[Any], Any]

OFFSET_MAX = 2**63 - 1


class Converter(Generic[M]):
    """Turns messages of a type into those of the library and back.

    Attributes:
        writers: for each field, what turns its value into one for the library; None: nothing need be done.
        readers: the same the other way, by name.
    """

    def __init__(self, message: type[M]) -> None:
        self.message = message
        self.other = CLASSES[message]
        # Filled in when all converters exist: a message may have others of its own kind in it.
        self.writers: list[tuple[str, Convert | None]] = []
        self.readers: dict[str, Convert | None] = {}

    def values(self, message: WireMessage) -> dict[str, Any]:
        """The fields that are not empty, for the class of the library."""
        values: dict[str, Any] = {}
        for name, write in self.writers:
            value = getattr(message, name)
            if value:
                values[name] = value if write is None else write(value)
        return values

    def write(self, message: WireMessage) -> bytes:
        """The message in bytes, without its length."""
        return self.other(**self.values(message)).SerializeToString()

    def read(self, other: Message) -> M:
        """The message that one of the library stands for."""
        readers = self.readers
        values: dict[str, Any] = {}
        for descriptor, value in other.ListFields():
            name = descriptor.name
            read = readers[name]
            values[name] = value if read is None else read(value)
        return self.message(**values)


CONVERTERS: dict[type[WireMessage], Converter[Any]] = {message: Converter(message) for message in CLASSES}


def writer(field: Field) -> Convert | None:
    """What turns the value of a field into one for the library."""
    if field.message is None:
        return bytes if field.kind is Kind.PAYLOAD else None
    values, other = CONVERTERS[field.message].values, CLASSES[field.message]
    match field.kind:
        case Kind.LIST:
            return lambda items: [values(item) for item in items]
        case Kind.MAP:
            return lambda items: {key: other(**values(item)) for key, item in items.items()}
        case _:
            return values


def reader(field: Field) -> Convert | None:
    """What turns a value of the library into one for the field."""
    read = CONVERTERS[field.message].read if field.message is not None else None
    match field.kind:
        case Kind.LIST if read is not None:
            return lambda items: [read(item) for item in items]
        case Kind.MAP if read is not None:
            return lambda items: {key: read(item) for key, item in items.items()}
        case Kind.PAYLOAD:
            return Raw
        case Kind.TEXTS:
            return list
        case Kind.TEXT_MAP:
            return dict
        case Kind.INTEGER if field.highest == OFFSET_MAX and field.lowest == 0:
            return offset
        case _:
            return read


def offset(value: int) -> int:
    """The value, if it is within the bounds that are the same for all formats.

    Raises:
        WireError: it is over them.
    """
    if value > OFFSET_MAX:
        raise WireError(f"an offset of {value} is over the limit of {OFFSET_MAX}")
    return value


for message, converter in CONVERTERS.items():
    converter.writers = [(field.name, writer(field)) for field in fields(message)]
    converter.readers = {field.name: reader(field) for field in fields(message)}


# What is sent most is written by hand, since that is faster than the library. Each field begins with
# its tag, the number of the field and the type of its value (protobuf.dev/programming-guides/encoding).


def varint(value: int) -> bytes:
    """A number in groups of 7 bits, the lowest first."""
    if value < 0x80:
        return bytes((value,))
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


REST_OF_REPLY = attrgetter(*(field.name for field in fields(Reply) if field.name != "push"))
REST_OF_PUSH = attrgetter(
    *(field.name for field in fields(Push) if field.name not in ("id", "channel", "pub"))
)


def publication_bytes(pub: Publication) -> bytes:
    """A publication, without its length."""
    if (
        pub.info is not None
        or pub.tags
        or not (0 <= pub.offset <= OFFSET_MAX and 0 <= pub.time <= OFFSET_MAX)
    ):
        return CONVERTERS[Publication].write(pub)
    data = bytes(pub.data)
    out = b"\x22" + varint(len(data)) + data if data else b""
    if pub.offset:
        out += b"\x30" + varint(pub.offset)
    if pub.delta:
        out += b"\x40\x01"
    if pub.time:
        out += b"\x48" + varint(pub.time)
    if pub.channel:
        channel = pub.channel.encode()
        out += b"\x52" + varint(len(channel)) + channel
    return out


def push_bytes(push: Push) -> bytes:
    """A push, without its length."""
    if push.pub is None or any(REST_OF_PUSH(push)) or not 0 <= push.id <= OFFSET_MAX:
        return CONVERTERS[Push].write(push)
    out = b"\x08" + varint(push.id) if push.id else b""
    if push.channel:
        channel = push.channel.encode()
        out += b"\x12" + varint(len(channel)) + channel
    pub = publication_bytes(push.pub)
    return out + b"\x22" + varint(len(pub)) + pub


def reply_bytes(reply: Reply) -> bytes:
    """A reply, without its length."""
    if reply.push is None or any(REST_OF_REPLY(reply)):
        return CONVERTERS[Reply].write(reply)
    push = push_bytes(reply.push)
    return b"\x22" + varint(len(push)) + push


def encode(messages: Iterable[M], write: Callable[[M], bytes]) -> bytes:
    """Each message after its length.

    Raises:
        WireError: a value is out of bounds, or a text is not Unicode.
    """
    try:
        parts = [write(message) for message in messages]
    except (ValueError, TypeError, EncodeError, RecursionError) as error:
        raise WireError(f"a message cannot be written as Protobuf: {error}") from error
    return b"".join([varint(len(part)) + part for part in parts])


def split(frame: bytes) -> list[bytes]:
    """The messages of a frame.

    Raises:
        WireError: a length is malformed, or the last message is cut off.
    """
    parts: list[bytes] = []
    at, end = 0, len(frame)
    while at < end:
        size = shift = 0
        while True:
            if at == end or shift > 28:
                raise WireError("a frame is malformed: the length of a message is cut off, or too long")
            byte = frame[at]
            at += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if size > end - at:
            raise WireError(f"a frame is malformed: {end - at} bytes are left of a message of {size}")
        parts.append(frame[at : at + size])
        at += size
    return parts


def decode(message: type[M], frame: bytes | str) -> list[M]:
    """Read each message after its length.

    Raises:
        WireError: it is malformed.
    """
    if isinstance(frame, str):
        raise WireError("a frame in Protobuf is binary, not text")
    return [parse(message, part) for part in split(frame)]


def parse(message: type[M], part: bytes) -> M:
    """Read a message without its length.

    Raises:
        WireError: it is malformed.
    """
    converter = CONVERTERS[message]
    try:
        read: M = converter.read(converter.other.FromString(part))
        return read
    except (DecodeError, RecursionError) as error:
        raise WireError(f"a message is malformed: {error}") from error


class ProtobufCodec:
    """The client protocol in Protobuf: a :class:`~everwire.wire.codec.Codec`."""

    name = "protobuf"
    binary = True
    ping = b"\x00"
    pong = b"\x00"

    def decode_commands(self, frame: bytes | str) -> list[Command]:
        """Read the commands of a frame, in order.

        Raises:
            WireError: it is malformed.
        """
        return decode(Command, frame)

    def encode_commands(self, commands: Iterable[Command]) -> bytes:
        """Make a frame of commands.

        Raises:
            WireError: a value is out of bounds.
        """
        return encode(commands, CONVERTERS[Command].write)

    def decode_replies(self, frame: bytes | str) -> list[Reply]:
        """Read the replies of a frame, in order.

        Raises:
            WireError: it is malformed.
        """
        return decode(Reply, frame)

    def encode_replies(self, replies: Iterable[Reply]) -> bytes:
        """Make a frame of replies.

        Raises:
            WireError: a value is out of bounds.
        """
        return encode(replies, reply_bytes)

    def encode_push(self, push: Push) -> bytes:
        """Make a frame of one push, after its length, with no reply around it: for unidirectional transports.

        Raises:
            WireError: a value is out of bounds.
        """
        return encode((push,), push_bytes)

    def decode_emulation(self, body: bytes | str) -> EmulationRequest:
        """Read the body of a request with commands for a session; *data* is the frame of them.

        Raises:
            WireError: it is malformed.
        """
        if isinstance(body, str):
            raise WireError("a request in Protobuf is binary, not text")
        return parse(EmulationRequest, body)


PROTOBUF = ProtobufCodec()
"""The one instance."""
