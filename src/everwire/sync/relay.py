"""A socket for what is spoken inside the TLS of a proxy: the thread in the background carries its bytes."""

from __future__ import annotations

import asyncio
import socket

__all__ = ["relay"]

LIMIT = 1 << 16
"""Bytes that may wait on either side before the other one is not read any more."""


class _Side(asyncio.Protocol):
    """Gives what one transport receives to the other one."""

    def __init__(self) -> None:
        self.other: asyncio.Transport | None = None

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None:
            # What it has to send still is sent first.
            self.other.close()

    def pause_writing(self) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.resume_reading()


async def relay(transport: asyncio.Transport) -> socket.socket:
    """Return a socket whose other end is carried over a transport, which must not have been read from yet."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    far, near = _Side(), _Side()
    try:
        theirs.setblocking(False)
        inner, _ = await loop.create_connection(lambda: near, sock=theirs)
    except BaseException:
        ours.close()
        theirs.close()
        transport.abort()
        raise
    # Each side pauses the one that feeds it.
    far.other = inner
    near.other = transport
    for each in (transport, inner):
        each.set_write_buffer_limits(high=LIMIT)
    transport.set_protocol(far)
    return ours
