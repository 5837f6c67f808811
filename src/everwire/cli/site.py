"""What ``everwire serve`` answers by itself: its pages, an echo, a room, a hub of channels."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from importlib import resources
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

import everwire
from everwire.asgi.scope import Event, Scope, connection
from everwire.hub import Hub

__all__ = ["Pages", "Site", "WithPage", "is_local_name", "with_page"]

Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

PLAIN_TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"
NOT_FOUND = (
    "Nothing is here. Pages are at / and /channels, WebSockets at /echo and /room, "
    "the hub of channels is below /connection.\n"
)
NOT_ALLOWED = "Only GET and HEAD are answered here.\n"
UPGRADE = "This is a WebSocket: the request has to upgrade.\n"
CONTENT_TYPES = {
    ".html": HTML,
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
        "connect-src": "'self' ws: wss:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }.items()
)
"""What a page may do: run the scripts and styles of this server, none of them inline; ask this server;
open WebSockets to anywhere; nothing else. What comes over one cannot become markup or code (Trusted Types).
"""
PAGE_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    # Both make the page cross-origin isolated, which sharpens its clock from 100 to 5 microseconds.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CHANNELS = "/channels"
OF_THE_HUB = ("/connection", "/emulation", "/api", "/health", "/everwire.js")
"""Where the hub of the site is: these paths, and those below them."""
WEBSOCKETS = ("/", "/echo", "/room")
NOT_BY_NAME = (
    "The hub is insecure, so it answers at localhost and at addresses only: any other name could be that of "
    "somebody's page. With --insecure it answers at any name.\n"
)


class Pages:
    """Files that do not change: pages, and the scripts and the style that they consist of.

    Parameters:
        hub: how the hub of the page of channels is: ``"insecure"`` (everybody may do everything),
            ``"closed"`` (nobody may connect), or ``"open"`` (to whom it lets in).
        playground: whether the page for WebSockets is at ``/``, rather than that of channels.
    """

    def __init__(self, *, hub: str, playground: bool) -> None:
        self._hub = hub
        self._playground = playground

    async def answer(self, scope: Scope, send: Send) -> bool:
        """Answer a request for one of them; False: there is none at its path."""
        path = scope["path"]
        body = self._files.get(path)
        if body is None:
            return False
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, NOT_ALLOWED.encode(), headers={"Allow": "GET, HEAD"})
        elif path in ("/", CHANNELS):
            await respond(send, 200, body, HTML, PAGE_HEADERS)
        else:
            await respond(send, 200, body, CONTENT_TYPES[PurePath(path).suffix])
        return True

    @cached_property
    def _files(self) -> dict[str, bytes]:
        """What is served at which path."""
        files = {
            f"/page/{each.name}": each.read_bytes()
            for each in resources.files("everwire.cli").joinpath("pages").iterdir()
            if PurePath(each.name).suffix in CONTENT_TYPES
        }
        first, channels = files.pop("/page/index.html"), files.pop("/page/channels.html")
        del files["/page/bench.html"]
        channels = channels.replace(b'data-hub="open"', f'data-hub="{self._hub}"'.encode())
        if not self._playground:
            first = channels = channels.replace(
                b'<nav aria-label="Pages">', b'<nav aria-label="Pages" hidden>'
            )
        return {"/": first, CHANNELS: channels, **files}


async def respond(
    send: Send,
    status: int,
    body: bytes,
    content_type: str = PLAIN_TEXT,
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send a whole response, with the headers that all have."""
    fields = {"Content-Type": content_type, "Content-Length": str(len(body)), **HEADERS, **(headers or {})}
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def refuse(receive: Receive, send: Send, status: int, reason: str) -> None:
    """Answer the request for a WebSocket with a response instead."""
    await receive()
    start: Event = {"type": "websocket.http.response.start", "status": status, "headers": []}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": reason.encode()})


def is_local_name(host: str) -> bool:
    """Whether the header Host is an address, or a name that is always this machine's."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name == "localhost" or name.endswith(".localhost"):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def state_of(hub: Hub) -> str:
    """How a hub is, as the page of channels is told."""
    if hub.insecure:
        return "insecure"
    by_itself = hub.verifier is None and hub.hooks.connect is None
    return "closed" if by_itself and hub.options.allow_anonymous_connect_without_token is False else "open"


class WithPage:
    """A hub with the page of its channels at ``/``. All else is the hub's."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._pages = Pages(hub=state_of(hub), playground=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what an ASGI server has."""
        if scope["type"] != "http" or not await self._pages.answer(scope, send):
            await self.hub(scope, receive, send)

    def __getattr__(self, name: str) -> Any:
        """What everwire's server asks a hub for."""
        return getattr(self.hub, name)


def with_page(app: Any) -> WithPage:
    """Put the page of channels before a hub.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(app, Hub):
        raise TypeError(f"--page is for an everwire.Hub, not for {type(app).__name__}")
    return WithPage(app)


class Site:
    """What ``everwire serve`` has without an application.

    The first page at ``/``, a WebSocket that returns what it is sent at ``/echo`` (and ``/``), one at
    ``/room`` in which everyone who is connected sees every message; the page of channels at ``/channels``,
    and its hub.

    Args:
        hub: the hub.
        max_backlog: bytes that may wait for a reader of the room; one who falls further behind is cut off.
        local_names_only: whether the hub answers at ``localhost`` and at addresses only. Otherwise a page
            from elsewhere could have its own name lead to this machine, and be of the same origin (DNS
            rebinding).
    """

    def __init__(self, hub: Hub, *, max_backlog: int, local_names_only: bool = False) -> None:
        self.hub = hub
        self._local_names_only = local_names_only
        self.room = everwire.Topic(max_backlog=max_backlog)
        self._pages = Pages(hub=state_of(hub), playground=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve what an ASGI server has."""
        path = scope.get("path", "")
        if scope["type"] == "lifespan":
            await self.hub(scope, receive, send)
        elif path.startswith(OF_THE_HUB):
            if self._answers_at(dict(scope["headers"]).get(b"host", b"").decode("latin-1")):
                await self.hub(scope, receive, send)
            elif scope["type"] == "websocket":
                await refuse(receive, send, 403, NOT_BY_NAME)
            else:
                await respond(send, 403, NOT_BY_NAME.encode())
        elif scope["type"] == "websocket":
            await self._serve_websocket(scope, receive, send)
        elif path in WEBSOCKETS[1:]:
            await respond(send, 426, UPGRADE.encode(), headers={"Upgrade": "websocket"})
        elif not await self._pages.answer(scope, send):
            await respond(send, 404, NOT_FOUND.encode())

    def everwire_listener(self, request: everwire.Request) -> Any:
        """What serves a WebSocket of everwire's own server without a task."""
        return self.hub.everwire_listener(request) if self._answers_at(request.host) else None

    def __getattr__(self, name: str) -> Any:
        """What everwire's server asks a hub for."""
        return getattr(self.hub, name)

    def _answers_at(self, host: str | None) -> bool:
        return not self._local_names_only or not host or is_local_name(host)

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path not in WEBSOCKETS:
            await refuse(receive, send, 404, NOT_FOUND)
            return
        await receive()
        # The first subprotocol offered: a browser fails a connection that accepts none of those it asked for.
        await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
        if path == "/room":
            await self._talk(connection(scope), receive)
            return
        while (event := await receive())["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})

    async def _talk(self, ws: everwire.Connection, receive: Receive) -> None:
        self.room.add(ws)
        try:
            while (event := await receive())["type"] == "websocket.receive":
                text = event.get("text")
                self.room.publish(text if text is not None else event["bytes"])
        finally:
            self.room.discard(ws)
