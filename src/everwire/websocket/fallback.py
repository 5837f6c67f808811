"""Connections on asyncio's own transports: where there is no poller, and for what only asyncio can do."""

from __future__ import annotations

import asyncio
from typing import cast

from everwire._core.connection import Connection

__all__ = ["Adapter"]


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
