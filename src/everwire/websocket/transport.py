"""The transport facade: any ``asyncio.Protocol`` on a connection that the reactor serves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from everwire._core.connection import Connection

__all__ = ["ReactorTransport", "hand_over"]


class ReactorTransport(asyncio.Transport):
    """An ``asyncio.Transport`` whose bytes the reactor reads and writes."""

    def __init__(self, connection: Connection, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._connection = connection
        self._protocol = protocol
        self._closing = False
        self._paused_protocol = False
        self._high = 65536
        self._low = 16384

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return ``peername``, ``sockname``, ``ssl_object``, ``peercert``, ``sslcontext`` or ``cipher``."""
        layer = self._connection.ssl_object
        if name == "peername":
            return self._connection.remote_address
        if name == "sockname":
            return self._connection.local_address
        if layer is None:
            return default
        if name == "ssl_object":
            return layer
        if name == "peercert":
            return layer.getpeercert()
        if name == "cipher":
            return layer.cipher()
        if name == "sslcontext":
            return layer.context
        return default

    @property
    def connection(self) -> Connection:
        """The connection below."""
        return self._connection

    def detach(self) -> None:
        """Let go of the protocol, to which the transport is closed from now on; the connection stays."""
        self._closing = True
        self._protocol = asyncio.Protocol()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Give what comes from now on to another protocol."""
        self._protocol = protocol
        if self._connection.handed_over:
            self._connection.hand_over(protocol, self)

    def take_back(self, head: bytes) -> None:
        """Take the connection from its protocol: it is decided about this head as about a first one.

        The transport is of no use from then on.
        """
        self._connection.take_back(head)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        return self._protocol

    def is_closing(self) -> bool:
        """Return whether the transport is closed or closing."""
        return self._closing or self._connection.closed

    def is_reading(self) -> bool:
        """Return whether bytes are taken from the peer."""
        return not self.is_closing() and self._connection.reading_wanted

    def pause_reading(self) -> None:
        """Take no more bytes from the peer."""
        self._connection.pause_raw()

    def resume_reading(self) -> None:
        """Take bytes from the peer again."""
        self._connection.resume_raw()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes without waiting."""
        if not data or self._closing:
            return
        connection = self._connection
        connection.raw_write(data)
        if connection.buffered_amount > self._high and not self._paused_protocol:
            self._paused_protocol = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several pieces in order."""
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        """Send what is left, then say that no more comes."""
        self._connection.raw_eof()

    def can_write_eof(self) -> bool:
        """Return whether :meth:`write_eof` works: not with TLS."""
        return self._connection.ssl_object is None

    def close(self) -> None:
        """Send what is left, then close."""
        if not self._closing:
            self._closing = True
            self._connection.raw_close()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._connection.abort()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent."""
        return self._connection.buffered_amount

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the watermarks (low, high) in bytes."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the watermarks, in bytes, at which the protocol is paused and resumed."""
        if high is None:
            high = 65536 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    def _sent(self) -> None:
        """The connection has sent something."""
        if self._paused_protocol and self.get_write_buffer_size() <= self._low:
            self._paused_protocol = False
            self._protocol.resume_writing()


def hand_over(connection: Connection, protocol: asyncio.Protocol, head: bytes) -> ReactorTransport:
    """Give a connection, from the head of its request on, to *protocol*."""
    transport = ReactorTransport(connection, protocol)
    connection.hand_over(protocol, transport)
    protocol.connection_made(transport)
    protocol.data_received(head)
    if connection.reading_wanted:
        connection.resume_raw()
    return transport
