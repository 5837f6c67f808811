"""Commands of sessions that are over streams: each request carries some, to any node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from everwire.channels.hub import Hub
from everwire.errors import BadRequest, CommandError, EngineError, HandshakeError, NodeUnreachable
from everwire.transports.incoming import Incoming
from everwire.transports.requests import read_commands, read_emulation
from everwire.wire.codes import ErrorCode

if TYPE_CHECKING:
    from everwire.transports.asgi import HubApplication

__all__ = ["emulate_for_others", "emulation"]

TIMEOUT = 5.0
"""Seconds for another node to take commands: as long as the SDKs wait for the answer to a command."""
STATUSES: dict[int, int] = {
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.UNKNOWN_CHANNEL: 404,
    ErrorCode.METHOD_NOT_FOUND: 404,
}
GONE = "there is no such session (any more): connect again"


class Emulated(Struct, array_like=True):
    """Commands for a session, as one node gives them to another."""

    session: str
    commands: bytes
    binary: bool


async def emulation(app: HubApplication, incoming: Incoming) -> None:
    """Take commands for a session: ``/emulation``.

    The session's secret, which its connect result had with the node, says which one. Answered with 204 before
    the commands are handled: their replies come over the stream. 404: the session is gone; 503: its node does
    not answer, and may have taken them or not. After both, clients connect again.
    """
    body = await incoming.body(app.options.max_size, app.options.body_timeout)
    request = read_emulation(body, binary=incoming.is_protobuf)
    commands = read_commands(request, binary=incoming.is_protobuf)
    emulated = Emulated(request.session, commands, incoming.is_protobuf)
    try:
        if request.node and request.node != app.hub.node:
            await _send_on(app.hub, request.node, emulated)
        else:
            _take(app.hub, emulated)
    except CommandError as error:
        raise HandshakeError(error.message, STATUSES.get(error.code, 503)) from None
    await incoming.answer(204)


def emulate_for_others(hub: Hub) -> None:
    """Take commands for sessions of this node that have come to other ones."""
    decode = msgspec.msgpack.Decoder(Emulated).decode

    async def handle(data: bytes) -> bytes:
        _take(hub, decode(data))
        return b""

    hub.cluster.handle("emulation", handle)


async def _send_on(hub: Hub, node: str, emulated: Emulated) -> None:
    try:
        await hub.cluster.call(node, "emulation", msgspec.msgpack.encode(emulated), timeout=TIMEOUT)
    except NodeUnreachable as error:
        raise HandshakeError(f"{error}: connect again", 503 if error.known else 404) from None
    except ValueError as error:
        raise HandshakeError(str(error), 413) from None
    except EngineError:
        raise HandshakeError("the node of the session cannot be reached: connect again", 503) from None


def _take(hub: Hub, emulated: Emulated) -> None:
    """Give a session of this node its commands.

    Raises:
        CommandError: there is no such session (102), or it is of another format (107).
    """
    session = hub.find_session(emulated.session) if emulated.session else None
    if session is None or not session.carrier.emulated:
        raise CommandError(ErrorCode.UNKNOWN_CHANNEL, GONE)
    if session.carrier.codec.binary is not emulated.binary:
        raise BadRequest(f"the session's format is {session.carrier.codec.name}")
    session.receive(emulated.commands)
