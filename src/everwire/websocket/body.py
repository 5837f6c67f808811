"""Reading the body of an answer that refuses the handshake, as much as is worth reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from everwire.websocket.messages import Response

__all__ = ["MAX_BODY", "Body", "BodyReader"]

MAX_BODY = 64 * 1024
"""Bytes of a body that are read; the rest is left."""

MAX_CHUNK_LINE = 1024


class _Framing(Enum):
    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_EOF = auto()


class Body:
    """The body of a response, without I/O (RFC 9112, sections 6.3 and 7.1)."""

    __slots__ = ("_data", "_framing", "_left", "_pending", "_trailer")

    def __init__(self, response: Response) -> None:
        self._data = bytearray()
        self._pending = bytearray()
        self._left = 0
        self._trailer = False
        headers = response.headers
        codings = ",".join(headers.get_all("Transfer-Encoding")).lower()
        lengths = headers.get_all("Content-Length")
        if response.status < 200 or response.status in (204, 304):
            self._framing = _Framing.NONE
        elif codings:
            chunked = codings.split(",")[-1].strip() == "chunked"
            self._framing = _Framing.CHUNKED if chunked else _Framing.UNTIL_EOF
        elif len(lengths) == 1 and lengths[0].isascii() and lengths[0].isdigit():
            self._framing = _Framing.LENGTH
            self._left = int(lengths[0])
        else:
            self._framing = _Framing.UNTIL_EOF

    @property
    def data(self) -> bytes:
        """What has come of it, at most :data:`MAX_BODY` bytes."""
        return bytes(self._data[:MAX_BODY])

    @property
    def done(self) -> bool:
        """Whether it is complete, or as long as it is read."""
        if self._framing is _Framing.NONE or len(self._data) >= MAX_BODY:
            return True
        return self._framing is _Framing.LENGTH and self._left == 0

    def feed(self, data: bytes) -> bool:
        """Takes what was received; whether nothing more is needed."""
        if self._framing is _Framing.LENGTH:
            data = data[: self._left]
            self._left -= len(data)
        if self._framing is _Framing.CHUNKED:
            self._pending += data
            while self._chunk():
                pass
        elif self._framing is not _Framing.NONE:
            self._data += data
        return self.done

    def _chunk(self) -> bool:
        """Goes one step through the chunks; whether there may be another one."""
        pending = self._pending
        if self._left:
            # What is left of a chunk, and the CRLF behind it.
            taken = min(self._left, len(pending))
            self._data += pending[: max(0, min(taken, self._left - 2))]
            del pending[:taken]
            self._left -= taken
            return self._left == 0 and not self.done
        end = pending.find(b"\r\n")
        if end < 0:
            if len(pending) > MAX_CHUNK_LINE:
                self._framing = _Framing.NONE
            return False
        line = bytes(pending[:end])
        del pending[: end + 2]
        if self._trailer:
            self._trailer = bool(line)
            self._framing = self._framing if line else _Framing.NONE
            return bool(line)
        try:
            size = int(line.partition(b";")[0].strip(b" \t"), 16)
        except ValueError:
            size = -1
        if size < 0:
            self._framing = _Framing.NONE
            return False
        self._left = size + 2 if size else 0
        self._trailer = size == 0
        return True


class BodyReader(asyncio.Protocol):
    """Reads the body of a response that a connection was handed over for, then drops the connection.

    Attributes:
        done: resolved when ``response.body`` is what could be read of it.
    """

    def __init__(self, response: Response, drop: Callable[[], object]) -> None:
        self.response = response
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._body = Body(response)
        self._drop = drop

    @property
    def needed(self) -> bool:
        """Whether there is a body to wait for."""
        return not self._body.done

    def data_received(self, data: bytes) -> None:
        if self._body.feed(data):
            self.finish()

    def eof_received(self) -> None:
        self.finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish()

    def finish(self) -> None:
        """Takes what has come for the whole body."""
        self.response.body = self._body.data
        if not self.done.done():
            self.done.set_result(None)
            self._drop()
