"""The client protocol in JSON: a message a line, payloads embedded as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import MsgspecError, Raw

from everwire.errors import WireError
from everwire.wire.fields import Kind, fields
from everwire.wire.messages import NOTHING, Command, EmulationRequest, Push, Reply, WireMessage

__all__ = ["JSON", "JSONCodec"]

M = TypeVar("M", bound=WireMessage)

ENCODER = msgspec.json.Encoder()
COMMANDS = msgspec.json.Decoder(Command)
REPLIES = msgspec.json.Decoder(Reply)
EMULATION = msgspec.json.Decoder(EmulationRequest)
PAYLOAD = msgspec.json.Decoder(Raw)

FAILURES = (MsgspecError, RecursionError, UnicodeError)
"""What reading or writing JSON raises: malformed or of the wrong types, nested too deeply, not UTF-8."""

LONE_SURROGATE = re.compile(
    rb"\\(?:"
    rb"(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a pair
    rb"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|.)",
    re.DOTALL,
)


class Part(NamedTuple):
    """A field of a message that is a payload, or has payloads within."""

    name: str
    kind: Kind
    parts: tuple[Part, ...]


def parts_of(message: type[WireMessage]) -> tuple[Part, ...]:
    """The fields of a message that are payloads or have some, in the order of their numbers."""
    parts: list[Part] = []
    for field in fields(message):
        if field.kind is Kind.PAYLOAD:
            parts.append(Part(field.name, field.kind, ()))
        elif field.message is not None and field.message is not message:
            inner = parts_of(field.message)
            if inner:
                parts.append(Part(field.name, field.kind, inner))
    return tuple(parts)


PARTS_OF_COMMAND = parts_of(Command)
PARTS_OF_REPLY = parts_of(Reply)
PARTS_OF_PUSH = parts_of(Push)


def check(message: WireMessage, parts: tuple[Part, ...]) -> None:
    """Raise one of FAILURES unless all payloads are JSON."""
    for name, kind, inner in parts:
        value = getattr(message, name)
        if kind is Kind.PAYLOAD:
            if value is not NOTHING:
                PAYLOAD.decode(value)
        elif not value:
            continue
        elif kind is Kind.MESSAGE:
            check(value, inner)
        else:
            for item in value.values() if kind is Kind.MAP else value:
                check(item, inner)


def compact(payload: Raw, name: str, message: WireMessage) -> Raw:
    """The same payload on one line; empty, it is as if it were not there."""
    data = bytes(payload)
    if not data:
        return NOTHING
    try:
        data = msgspec.json.format(without_lone_surrogates(data), indent=-1)
        data.decode()
    except FAILURES as error:
        raise WireError(
            f"{name} of a {type(message).__name__} is not JSON, as this format needs it: {error}"
        ) from error
    return Raw(data)


def cleaned(message: M, parts: tuple[Part, ...]) -> M:
    """A copy of the message with each payload on one line.

    Raises:
        WireError: a payload is not JSON.
    """
    changes: dict[str, object] = {}
    for name, kind, inner in parts:
        value = getattr(message, name)
        if kind is Kind.PAYLOAD:
            changes[name] = compact(value, name, message)
        elif not value:
            continue
        elif kind is Kind.MESSAGE:
            changes[name] = cleaned(value, inner)
        elif kind is Kind.MAP:
            changes[name] = {key: cleaned(item, inner) for key, item in value.items()}
        else:
            changes[name] = [cleaned(item, inner) for item in value]
    return msgspec.structs.replace(message, **changes)


def is_clean(frame: bytes, messages: int) -> bool:
    """Whether each message is on one line, and all is UTF-8."""
    if not frame.isascii():
        frame.decode()
    return frame.count(b"\n") == messages - 1


def encode(messages: Sequence[M], parts: tuple[Part, ...]) -> bytes:
    """A message a line.

    Raises:
        WireError: a payload is not JSON, or a text is not Unicode.
    """
    try:
        for message in messages:
            check(message, parts)
        frame = ENCODER.encode_lines(messages)[:-1]
        if is_clean(frame, len(messages)) or not messages:
            return frame
    except FAILURES:
        pass  # the way below says where it is, or mends it
    try:
        return ENCODER.encode_lines([cleaned(message, parts) for message in messages])[:-1]
    except FAILURES as error:
        raise WireError(f"a message cannot be written as JSON: {error}") from error


def without_lone_surrogates(data: bytes) -> bytes:
    r"""Replace halves of surrogate pairs, written as ``\ud83d``, by U+FFFD.

    RFC 8259, section 8.2, lets them pass, browsers write them (where a program has cut an emoji in two), and
    they are no text: the replacement is that of WHATWG's ``USVString``.
    """
    if b"\\ud" not in data and b"\\uD" not in data:
        return data
    return LONE_SURROGATE.sub(lambda found: b"\\ufffd" if found["lone"] else found[0], data)


def decode(decoder: msgspec.json.Decoder[M], frame: bytes | str) -> list[M]:
    """Read a message a line; empty lines are passed over.

    Raises:
        WireError: it is malformed.
    """
    try:
        data = frame.encode() if isinstance(frame, str) else frame
        if not data.isascii():
            data.decode()
    except UnicodeError as error:
        raise WireError(f"a frame in JSON is not UTF-8: {error}") from error
    try:
        return decoder.decode_lines(data)
    except FAILURES as error:
        mended = without_lone_surrogates(data)
        if mended != data:
            return decode(decoder, mended)
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise WireError(f"a frame is malformed: {reason}") from error


class JSONCodec:
    """The client protocol in JSON: a :class:`~everwire.wire.codec.Codec`.

    A payload is embedded as it is, on one line: what is not JSON makes an encoder raise
    :exc:`~everwire.errors.WireError`. A message that was read refers to the whole frame it came in as long as
    one of its payloads is held; ``payload.copy()`` frees the frame.
    """

    name = "json"
    binary = False
    ping = b"{}"
    pong = b"{}"

    def decode_commands(self, frame: bytes | str) -> list[Command]:
        """Read the commands of a frame, in order.

        Raises:
            WireError: it is malformed.
        """
        return decode(COMMANDS, frame)

    def encode_commands(self, commands: Iterable[Command]) -> bytes:
        """Make a frame of commands.

        Raises:
            WireError: a payload is not JSON.
        """
        return encode(list(commands), PARTS_OF_COMMAND)

    def decode_replies(self, frame: bytes | str) -> list[Reply]:
        """Read the replies of a frame, in order.

        Raises:
            WireError: it is malformed.
        """
        return decode(REPLIES, frame)

    def encode_replies(self, replies: Iterable[Reply]) -> bytes:
        """Make a frame of replies.

        Raises:
            WireError: a payload is not JSON.
        """
        return encode(list(replies), PARTS_OF_REPLY)

    def encode_push(self, push: Push) -> bytes:
        """Make a frame of one push without a reply around it: for unidirectional transports.

        Raises:
            WireError: a payload is not JSON.
        """
        return encode((push,), PARTS_OF_PUSH)

    def decode_emulation(self, body: bytes | str) -> EmulationRequest:
        """Read the body of a request with commands for a session; *data* is the frame of them, a JSON string.

        Raises:
            WireError: it is malformed.
        """
        match decode(EMULATION, body):
            case [request]:
                return request
            case requests:
                raise WireError(f"a request for a session is one message, not {len(requests)}")


JSON = JSONCodec()
"""The one instance."""
