"""Connections on asyncio's own transports: where there is no poller, and for what only asyncio can do."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from typing import Any, cast

from everwire._core.connection import Connection
from everwire._core.settings import Settings

__all__ = ["Adapter", "TransportAcceptor"]

_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RETRY = 0.5  # seconds


class Adapter(asyncio.Protocol):
    """Carries bytes between an asyncio transport and a connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is there: the connection begins."""
        self.connection.attach_transport(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self.connection.transport_received(data)

    def eof_received(self) -> bool:
        """The peer sends no more."""
        return self.connection.transport_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self.connection.transport_lost(exc)

    def pause_writing(self) -> None:
        """The transport has enough for now."""
        self.connection.transport_blocked(True)

    def resume_writing(self) -> None:
        """The transport takes more."""
        self.connection.transport_blocked(False)


class TransportAcceptor:
    """Accepts connections for asyncio's transports, as the core's Acceptor does for the reactor."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        settings: Settings,
        context: ssl.SSLContext | None,
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._settings = settings
        self._context = context
        self._beginning: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._complained = False
        self._resume()

    def close(self) -> None:
        """Take no more connections, and close the socket."""
        if self._retry is not None:
            self._retry.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for task in self._beginning:
            task.cancel()

    def _resume(self) -> None:
        self._retry = None
        self._loop.add_reader(self._sock, self._ready)

    def _ready(self) -> None:
        # Not loop.sock_accept(): cancelled at the wrong moment, it would lose a connection.
        try:
            sock, _ = self._sock.accept()
        except OSError as exc:
            if exc.errno in _NO_DESCRIPTORS:
                if not self._complained:
                    self._complained = True
                    self._settings.logger.error(
                        "accepting paused: %s; it goes on when there are file descriptors again",
                        os.strerror(exc.errno),
                    )
                self._loop.remove_reader(self._sock)
                self._retry = self._loop.call_later(_RETRY, self._resume)
            return
        self._complained = False
        sock.setblocking(False)
        task = self._loop.create_task(self._begin(sock))
        self._beginning.add(task)

        def begun(task: asyncio.Task[None]) -> None:
            self._beginning.discard(task)
            if task.cancelled():  # perhaps before it ran at all
                sock.close()

        task.add_done_callback(begun)

    async def _begin(self, sock: socket.socket) -> None:
        options: dict[str, Any] = {}
        if self._context is not None:
            options = {"ssl": self._context, "ssl_handshake_timeout": self._settings.open_seconds}
        try:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            create = self._settings.create_connection or Connection
            await self._loop.connect_accepted_socket(lambda: Adapter(create(self._settings)), sock, **options)
        except OSError:
            sock.close()  # it was gone already, or TLS failed
