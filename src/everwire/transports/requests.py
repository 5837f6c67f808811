"""What clients put into requests: connect requests of unidirectional transports, and commands."""

from __future__ import annotations

import msgspec

from everwire.errors import HandshakeError, WireError
from everwire.wire.formats import codec
from everwire.wire.messages import ConnectRequest, EmulationRequest

__all__ = ["read_commands", "read_connect", "read_emulation"]


def read_connect(data: bytes) -> ConnectRequest:
    """The connect request of a unidirectional client, in JSON; nothing or ``null`` is an empty one.

    Raises:
        HandshakeError: it is malformed.
    """
    if not data.strip():
        return ConnectRequest()
    try:
        return msgspec.json.decode(data, type=ConnectRequest | None) or ConnectRequest()
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise HandshakeError(f"the connect request is malformed: {error}") from None


def read_emulation(body: bytes, *, binary: bool) -> EmulationRequest:
    """The request that carries commands of an emulated session.

    Raises:
        HandshakeError: it is malformed.
    """
    try:
        return codec("protobuf" if binary else "json").decode_emulation(body)
    except WireError as error:
        raise HandshakeError(f"the request is malformed: {error}") from None


def read_commands(request: EmulationRequest, *, binary: bool) -> bytes:
    """The frame of commands in it: in JSON a string.

    Raises:
        HandshakeError: it is malformed.
    """
    data = bytes(request.data)
    if binary:
        return data
    try:
        return msgspec.json.decode(data or b'""', type=str).encode()
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise HandshakeError(f"data is a string of commands, one a line: {error}") from None
