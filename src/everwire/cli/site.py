"""What ``everwire serve`` answers: the page and the plain HTTP around it, the echo and the room."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from importlib import resources
from pathlib import PurePath

import everwire

__all__ = ["Site"]

PLAIN_TEXT = "text/plain; charset=utf-8"
NOT_FOUND = "Nothing is here. The page is at /, the WebSockets are at /echo and /room.\n"
NOT_ALLOWED = "Only GET and HEAD are answered here.\n"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
PAGE_POLICY = "; ".join(
    f"{directive} {value}"
    for directive, value in {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "data:",
        "connect-src": "ws: wss:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }.items()
)
"""What the page may do: run the scripts and styles of this server, none of them inline; open WebSockets to
anywhere; nothing else. What comes over a WebSocket cannot become markup or code (Trusted Types)."""


class Site:
    """The first page at ``/``, a WebSocket that returns what it is sent at ``/echo`` (and ``/``), and one at
    ``/room`` in which everyone who is connected sees every message.

    Args:
        max_backlog: bytes that may wait for a reader of the room; one who falls further behind is cut off.
    """

    def __init__(self, *, max_backlog: int) -> None:
        self.room = everwire.Topic(max_backlog=max_backlog)

    async def handle(self, ws: everwire.Connection) -> None:
        """Serve one WebSocket until it closes."""
        with contextlib.suppress(everwire.ConnectionClosed):
            if ws.request.pathname == "/room":
                await self._talk(ws)
            else:
                async for message in ws:
                    await ws.send(message)

    async def _talk(self, ws: everwire.Connection) -> None:
        self.room.add(ws)
        try:
            async for message in ws:
                self.room.publish(message)
        finally:
            self.room.discard(ws)

    def select_subprotocol(self, request: everwire.Request, offered: Sequence[str]) -> str | None:
        """The first one offered: a browser fails a connection that accepts none of those it asked for."""
        return offered[0] if offered else None

    def process_request(
        self, connection: everwire.Connection, request: everwire.Request
    ) -> everwire.Response | None:
        """The answer to a plain HTTP request, or None to go on with the WebSocket handshake."""
        path = request.pathname
        if path in ("/echo", "/room"):
            return None
        body = self._files.get(path)
        if body is None:
            return self._respond(404, NOT_FOUND.encode(), PLAIN_TEXT)
        if request.method not in ("GET", "HEAD"):
            return self._respond(405, NOT_ALLOWED.encode(), PLAIN_TEXT, {"Allow": "GET, HEAD"})
        if path != "/":
            return self._respond(200, body, CONTENT_TYPES[PurePath(path).suffix])
        if request.method == "GET" and "websocket" in ",".join(request.headers.get_all("Upgrade")).lower():
            return None
        headers = {
            "Content-Security-Policy": PAGE_POLICY,
            # Both make the page cross-origin isolated, which sharpens its clock from 100 to 5 microseconds.
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
        }
        return self._respond(200, body, CONTENT_TYPES[".html"], headers)

    def _respond(
        self,
        status: int,
        body: bytes,
        content_type: str,
        headers: dict[str, str] | None = None,
    ) -> everwire.Response:
        every = {
            "Content-Type": content_type,
            "Cache-Control": "no-cache",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }
        return everwire.Response.of(status, body, every | (headers or {}))

    @cached_property
    def _files(self) -> dict[str, bytes]:
        """What is served at which path: the page, and the scripts and the style that it consists of."""
        files = {
            f"/page/{each.name}": each.read_bytes()
            for each in resources.files("everwire.cli").joinpath("pages").iterdir()
            if PurePath(each.name).suffix in CONTENT_TYPES
        }
        return {"/": files.pop("/page/index.html"), **files}
