"""What tunnels carry: records, in bytes and as server-sent events."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import NamedTuple

from everwire.errors import InvalidPayload, MessageTooBig, ProtocolError

__all__ = [
    "BINARY",
    "CLOSE",
    "NEXT",
    "PING",
    "TEXT",
    "Reader",
    "Record",
    "as_bytes",
    "as_event",
    "close_record",
]

TEXT = b"t"
"""A text message: UTF-8."""
BINARY = b"b"
"""A binary message."""
CLOSE = b"c"
"""The end: nothing, or a close code in two bytes and a reason in UTF-8, as in RFC 6455, section 5.5.1."""
NEXT = b"n"
"""The number of the next message in this response, in decimal digits; it is not numbered itself."""
PING = b"p"
"""Nothing: it keeps a stream alive. It is not numbered."""

_HEAD = 5


class Record(NamedTuple):
    """A message, or what stands between messages.

    Attributes:
        kind: one of the constants of this module.
        payload: what it carries.
    """

    kind: bytes
    payload: bytes

    @property
    def text(self) -> str:
        """The text of a text message.

        Raises:
            InvalidPayload: it is not UTF-8.
        """
        try:
            return self.payload.decode()
        except UnicodeDecodeError:
            raise InvalidPayload("a text message is not UTF-8") from None

    def close_frame(self) -> tuple[int, str]:
        """The code and the reason of a close; 1005 if it has none.

        Raises:
            ProtocolError: the code is not one that may be sent, or the reason is too long or not UTF-8.
        """
        payload = self.payload
        if not payload:
            return 1005, ""
        code = int.from_bytes(payload[:2], "big")
        allowed = 1000 <= code <= 1014 and code not in (1004, 1005, 1006)
        if len(payload) < 2 or len(payload) > 125 or not (allowed or 3000 <= code <= 4999):
            raise ProtocolError(f"a close has {len(payload)} bytes and the code {code}")
        return code, Record(TEXT, payload[2:]).text


def close_record(code: int, reason: str) -> Record:
    """A close with this code and this reason; 1005: with none."""
    return Record(CLOSE, b"" if code == 1005 else code.to_bytes(2, "big") + reason.encode())


def as_bytes(record: Record) -> bytes:
    """A record on the wire: its kind, the length of its payload in four bytes (big-endian), its payload."""
    return b"%b%b%b" % (record.kind, len(record.payload).to_bytes(4, "big"), record.payload)


def as_event(record: Record) -> bytes:
    """A record as a server-sent event: text as a JSON string, other payloads of messages in Base64."""
    if record.kind == TEXT:
        data = json.dumps(record.payload.decode(), ensure_ascii=False).encode()
    elif record.kind in (BINARY, CLOSE):
        data = b64encode(record.payload)
    else:
        data = record.payload
    return b"event: %b\ndata: %b\n\n" % (record.kind, data)


class Reader:
    """Takes the body of a request apart as it comes: one line, then records.

    Parameters:
        max_line: bytes that the line may have.
        max_size: bytes that the payload of a record may have.

    Attributes:
        line: the line without its end, as soon as it is there.
    """

    def __init__(self, *, max_line: int, max_size: int) -> None:
        self.line: bytes | None = None
        self._max_line = max_line
        self._max_size = max_size
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what has come.

        Raises:
            ProtocolError: the line is too long.
        """
        self._buffer += data
        if self.line is None:
            end = self._buffer.find(b"\n", 0, self._max_line + 1)
            if end >= 0:
                self.line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
            elif len(self._buffer) > self._max_line:
                raise ProtocolError(f"the first line of the request is over {self._max_line} bytes")

    def records(self) -> Iterator[Record]:
        """The records that are whole by now.

        Raises:
            ProtocolError: there is no such kind of record.
            MessageTooBig: a record is over ``max_size``.
        """
        buffer, at = self._buffer, 0
        try:
            while self.line is not None and len(buffer) - at >= _HEAD:
                kind = bytes(buffer[at : at + 1])
                length = int.from_bytes(buffer[at + 1 : at + _HEAD], "big")
                if kind not in (TEXT, BINARY, CLOSE):
                    raise ProtocolError(f"a message is of the kind {kind!r}")
                if length > self._max_size:
                    raise MessageTooBig(f"a message of {length} bytes is over the limit of {self._max_size}")
                if len(buffer) - at - _HEAD < length:
                    break
                payload = bytes(buffer[at + _HEAD : at + _HEAD + length])
                at += _HEAD + length
                yield Record(kind, payload)
        finally:
            del buffer[:at]

    def finish(self) -> None:
        """The body is over.

        Raises:
            ProtocolError: it ends within the line or a record.
        """
        if self.line is None:
            # A request that is nothing but its line needs no end of it.
            self.line = bytes(self._buffer)
            self._buffer.clear()
        if self._buffer:
            raise ProtocolError("the body ends within a record")
