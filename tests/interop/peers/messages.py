"""How messages are written in the JSON between a test and a peer.

Text is ``{"text": ...}``, binary ``{"bytes": base64}``; ``"times"`` repeats it. A message of more than
:data:`WHOLE` bytes is reported as ``{"kind": "text" or "bytes", "size": bytes, "sha256": hex}``.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from typing import Any, NamedTuple

Message = str | bytes

WHOLE = 1 << 16
"""Bytes up to which a message that a peer received is reported whole."""


class Digest(NamedTuple):
    """What stands for a large message."""

    kind: str
    size: int
    sha256: str

    @classmethod
    def of(cls, message: Message) -> Digest:
        """The digest of a message."""
        data = message.encode() if isinstance(message, str) else message
        kind = "text" if isinstance(message, str) else "bytes"
        return cls(kind, len(data), hashlib.sha256(data).hexdigest())


class Repeated(NamedTuple):
    """A large message: a unit, so many times."""

    unit: Message
    times: int

    @property
    def message(self) -> Message:
        """The whole of it."""
        return self.unit * self.times


def pack(message: Message | Repeated) -> dict[str, Any]:
    """A message for a peer to send."""
    if isinstance(message, Repeated):
        return {**pack(message.unit), "times": message.times}
    return {"text": message} if isinstance(message, str) else {"bytes": b64encode(message).decode()}


def unpack(packed: dict[str, Any]) -> Message:
    """A message as :func:`pack` wrote it."""
    unit: Message = packed["text"] if "text" in packed else b64decode(packed["bytes"])
    return unit * packed["times"] if "times" in packed else unit


def report(message: Message) -> dict[str, Any]:
    """A message that was received."""
    size = len(message) if isinstance(message, bytes) else len(message.encode())
    return pack(message) if size <= WHOLE else Digest.of(message)._asdict()


def read_report(packed: dict[str, Any]) -> Message | Digest:
    """A message as :func:`report` wrote it."""
    return Digest(**packed) if "sha256" in packed else unpack(packed)
