"""How a connection that cannot carry a close code tells its client that it ends: by a last message."""

from __future__ import annotations

from everwire._core.connection import Connection
from everwire.channels.carrier import Carrier
from everwire.wire.codes import DisconnectCode
from everwire.wire.messages import Disconnect, Push, Reply

__all__ = ["GONE", "code_of", "farewell"]


GONE = int(DisconnectCode.CONNECTION_CLOSED)
"""The code of a session whose client went away by itself."""
SLOW = int(DisconnectCode.SLOW)
"""That of one whose client was too far behind."""


def farewell(carrier: Carrier, code: int, reason: str) -> bytes:
    """The frame that says why; empty if there is nothing to say: the client has gone itself."""
    if code == GONE:
        return b""
    reconnect = 3000 <= code < 3500 or 4000 <= code < 4500
    push = Push(disconnect=Disconnect(code=code, reason=reason, reconnect=reconnect))
    if carrier.unidirectional:
        return carrier.codec.encode_push(push)
    return carrier.codec.encode_replies((Reply(push=push),))


def code_of(connection: Connection) -> DisconnectCode:
    """Why a connection that is over has ended, as far as sessions are told: cut for its backlog, or gone."""
    error = connection.close_error
    if error is not None and error.sent is not None and error.sent.code == SLOW:
        return DisconnectCode.SLOW
    return DisconnectCode.CONNECTION_CLOSED
