"""Commands of sessions that are over streams: each request carries some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from everwire.errors import HandshakeError
from everwire.transports.incoming import Incoming
from everwire.transports.requests import read_commands, read_emulation

if TYPE_CHECKING:
    from everwire.transports.asgi import HubApplication

__all__ = ["emulation"]


async def emulation(app: HubApplication, incoming: Incoming) -> None:
    """Take commands for a session: ``/emulation``.

    The session's secret, which its connect result had, says which one. Answered with 204 before the commands
    are handled: their replies come over the stream.
    """
    body = await incoming.body(app.options.max_size, app.options.body_timeout)
    request = read_emulation(body, binary=incoming.is_protobuf)
    session = app.hub.find_session(request.session) if request.session else None
    if request.node and request.node != app.hub.node:
        session = None
    if session is None or not session.carrier.emulated:
        raise HandshakeError("there is no such session here (any more): connect again", 404)
    if session.carrier.codec.binary is not incoming.is_protobuf:
        raise HandshakeError(f"the session's format is {session.carrier.codec.name}", 400)
    session.receive(read_commands(request, binary=incoming.is_protobuf))
    await incoming.answer(204)
