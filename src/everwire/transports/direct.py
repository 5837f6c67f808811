"""Sessions over WebSockets of everwire's own server: no task, and no events of ASGI."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from everwire._core.connection import Connection
from everwire.channels.carrier import Origin
from everwire.transports.ending import code_of
from everwire.transports.fields import Fields
from everwire.transports.formats import Format, choose
from everwire.transports.native import LAST_WORDS, NativeCarrier
from everwire.transports.websocket import receive_message
from everwire.websocket.extensions import parse_tokens
from everwire.websocket.listener import Listener
from everwire.websocket.messages import Request
from everwire.wire.codes import DisconnectCode

if TYPE_CHECKING:
    from everwire.channels.session import Session
    from everwire.transports.asgi import HubApplication

__all__ = ["SessionListener"]


class SessionListener(Listener):
    """Gives sessions what comes over their WebSockets.

    Parameters:
        app: the application.
        frame_pings: whether clients are pinged by WebSocket's pings, rather than by messages.
    """

    def __init__(self, app: HubApplication, *, frame_pings: bool = False) -> None:
        self._app = app
        self._frame_pings = frame_pings
        options = app.hub.options
        self.limits = {
            "max_size": app.options.max_size,
            "max_backlog": app.options.max_backlog,
            "close_code": DisconnectCode.SLOW,
            "close_reason": DisconnectCode.SLOW.reason,
            "close_timeout": LAST_WORDS,
            "ping_interval": options.ping_interval if frame_pings else None,
            "ping_timeout": options.pong_timeout if frame_pings else None,
            "idle_timeout": None,
        }

    @staticmethod
    def route(
        request: Request, plain: SessionListener, pinging: SessionListener
    ) -> tuple[Listener, tuple[Request, Format], str | None]:
        """Which of the two listeners a request goes to, with what it needs to know, and the subprotocol."""
        query = parse_qs(request.query)
        offered = parse_tokens("Sec-WebSocket-Protocol", request.headers.get_all("Sec-WebSocket-Protocol"))
        chosen = choose(offered, lambda name: query.get(name, [""])[0])
        return (pinging if chosen.frame_pings else plain), (request, chosen), chosen.subprotocol

    def on_open(self, ws: Connection) -> None:
        """Begin the session."""
        request, chosen = ws.data
        carrier = NativeCarrier(
            ws, chosen.codec, transport="websocket", feeds=self._app.feeds, pings=not self._frame_pings
        )
        address: tuple[str, int] | str | None = ws.remote_address
        origin = Origin(
            headers=Fields(request.headers.raw_items()),
            path=request.pathname,
            query=request.query,
            client=(address[0], address[1]) if isinstance(address, tuple) else None,
        )
        ws.data = self._app.open(carrier, origin)

    def on_message(self, ws: Connection, message: str | bytes) -> None:
        """Give it to the session."""
        session: Session = ws.data
        receive_message(session, message, self._app.options.max_size)

    def on_close(self, ws: Connection, code: int, reason: str) -> None:
        """The session is over, too."""
        session: Session = ws.data
        session.closed(code_of(ws))
