"""What nodes send each other: compact messages in MessagePack, arrays whose first item says the kind.

Nodes of different versions share an engine while they are exchanged one by one. So a kind keeps its number
and the order of its fields; new fields come at the end, with a default; a kind that a node does not know is
passed over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
from msgspec import Struct

__all__ = ["Announce", "Answer", "Ask", "Assembler", "Gone", "Message", "decode", "encode"]

PART = 1 << 18
"""Bytes of what is sent at once; what is larger goes in parts. NATS carries 1 MiB, unless it is set lower."""
MAX_SIZE = 4 << 20
"""Bytes of a message, all parts together."""
MAX_ASSEMBLED = 64 << 20
"""Bytes of all messages of which parts are still to come."""
PATIENCE = 10.0
"""Seconds that the next part of a message may take to come."""


class Announce(Struct, array_like=True, tag=1):
    """A node is there, with these counts.

    *every*: seconds after which it says so again; *ask*: whether those who hear it should say that they are
    there.
    """

    node: str
    name: str
    version: str
    clients: int
    users: int
    channels: int
    subscriptions: int
    uptime: int
    every: float
    ask: bool = False


class Gone(Struct, array_like=True, tag=2):
    """A node ends."""

    node: str


class Ask(Struct, array_like=True, tag=3):
    """A node asks for something: *op* says what, *id* is to be in the answer."""

    node: str
    id: int
    op: str
    data: bytes


class Answer(Struct, array_like=True, tag=4):
    """The answer: *data*, or an error's *code* and *message*."""

    node: str
    id: int
    data: bytes = b""
    code: int = 0
    message: str = ""


class Part(Struct, array_like=True, tag=5):
    """A part of a message that is too large to be sent at once, from 0 to *count* - 1."""

    node: str
    id: int
    index: int
    count: int
    data: bytes


Message = Announce | Gone | Ask | Answer

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message | Part).decode
_decode_whole = msgspec.msgpack.Decoder(Message).decode
KINDS = range(1, 6)


def encode(message: Message, number: int) -> Iterator[bytes]:
    """What is to be sent for a message, one after the other; *number* tells its parts from those of others.

    Raises:
        ValueError: it is too large.
    """
    whole = _encode(message)
    if len(whole) > MAX_SIZE:
        raise ValueError(f"a message between nodes has {len(whole)} bytes; the most is {MAX_SIZE}")
    if len(whole) <= PART:
        return iter((whole,))
    count = -(-len(whole) // PART)
    return (
        _encode(Part(message.node, number, index, count, whole[index * PART : (index + 1) * PART]))
        for index in range(count)
    )


def decode(data: bytes, parts: Assembler) -> Message | None:
    """A message that has come; None: it is not whole yet, or of a kind that is not known here.

    Raises:
        ValueError: it makes no sense.
    """
    try:
        message: Message | Part = _decode(data)
        if not isinstance(message, Part):
            return message
        whole = parts.add(message)
        decoded: Message | None = None if whole is None else _decode_whole(whole)
        return decoded
    except msgspec.ValidationError as error:
        if _is_of_another_kind(data):
            return None
        raise ValueError(f"a message of another node makes no sense: {error}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"a message of another node is malformed: {error}") from None


def _is_of_another_kind(data: bytes) -> bool:
    try:
        kind = msgspec.msgpack.decode(data)[0]
    except (msgspec.DecodeError, RecursionError, LookupError, TypeError, UnicodeDecodeError):
        return False
    return isinstance(kind, int) and kind not in KINDS


class Assembler:
    """Puts the parts of large messages together, as long as they come in order: what engines promise."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, int], tuple[float, list[bytes]]] = {}
        self._size = 0

    def add(self, part: Part) -> bytes | None:
        """Take a part; returns the message with its last one.

        Raises:
            ValueError: there is too much of it, or of all together.
        """
        self._expire()
        key = part.node, part.id
        _, parts = self._begun.pop(key, (0.0, []))
        self._size -= sum(map(len, parts))
        if part.index != len(parts):
            return None  # one is missing: the rest is of no use
        parts.append(part.data)
        size = sum(map(len, parts))
        if size > MAX_SIZE or self._size + size > MAX_ASSEMBLED:
            raise ValueError(
                f"what node {part.node} sends in parts is over {MAX_SIZE} bytes, or over what waits"
            )
        if len(parts) == part.count:
            return b"".join(parts)
        self._begun[key] = time.monotonic(), parts
        self._size += size
        return None

    def _expire(self) -> None:
        """Forget those of which nothing has come for long: they are first."""
        late = time.monotonic() - PATIENCE
        for key, (heard, parts) in list(self._begun.items()):
            if heard > late:
                break
            del self._begun[key]
            self._size -= sum(map(len, parts))
