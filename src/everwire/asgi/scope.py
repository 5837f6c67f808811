"""The scope of a WebSocket connection (HTTP & WebSocket ASGI message format, version 2.5)."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Protocol
from urllib.parse import quote, unquote

from everwire._core.connection import Connection
from everwire.websocket.extensions import parse_tokens
from everwire.websocket.messages import Request

__all__ = [
    "SPEC_VERSION",
    "Application",
    "Event",
    "Scope",
    "client_of",
    "connection",
    "path_of",
    "websocket_scope",
]

SPEC_VERSION = "2.5"
"""The version of the ASGI message format that is spoken."""

Scope = MutableMapping[str, Any]
Event = Mapping[str, Any]
Application = Callable[
    [Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[Any]
]
"""An ASGI 3 application."""


class HasScope(Protocol):
    """What frameworks make of a scope: Starlette's and FastAPI's ``WebSocket``, for two."""

    @property
    def scope(self) -> Mapping[str, Any]: ...


def websocket_scope(
    connection: Connection,
    request: Request,
    *,
    root_path: str = "",
    state: Mapping[str, Any] | None = None,
    asgi_version: str = "3.0",
) -> dict[str, Any]:
    """The scope of a request that opens a WebSocket.

    Raises:
        InvalidHeader: Sec-WebSocket-Protocol is malformed.
    """
    raw_path = request.pathname
    scope: dict[str, Any] = {
        "type": "websocket",
        "asgi": {"version": asgi_version, "spec_version": SPEC_VERSION},
        "http_version": "1.1",
        "scheme": "ws" if connection.ssl_object is None else "wss",
        "server": _server(connection.local_address),
        "client": _client(connection.remote_address),
        "root_path": root_path,
        "path": root_path + unquote(raw_path),
        "raw_path": (root_path + raw_path).encode("ascii"),
        "query_string": request.query.encode("ascii"),
        "headers": [
            (name.lower().encode("ascii"), value.encode("latin-1"))
            for name, value in request.headers.raw_items()
        ],
        "subprotocols": parse_tokens(
            "Sec-WebSocket-Protocol", request.headers.get_all("Sec-WebSocket-Protocol")
        ),
        "extensions": {"websocket.http.response": {}, "everwire": {"connection": connection}},
    }
    if state is not None:
        scope["state"] = dict(state)
    return scope


def _client(address: tuple[Any, ...] | str | None) -> tuple[str, int] | None:
    return (address[0], address[1]) if isinstance(address, tuple) else None


def _server(address: tuple[Any, ...] | str | bytes | None) -> tuple[str, int | None] | None:
    if isinstance(address, tuple):
        return address[0], address[1]
    return (os.fsdecode(address), None) if address else None


def client_of(scope: Scope) -> str:
    """The client as ``host:port``, for logs; empty if it is not known."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""


def path_of(scope: Scope) -> str:
    """Path and query, for logs."""
    path = quote(scope["path"])
    query = scope["query_string"]
    return f"{path}?{query.decode('ascii')}" if query else path


def connection(websocket: HasScope | Mapping[str, Any]) -> Connection:
    """The native connection of an ASGI WebSocket: for ``Topic.add``, ``send_nowait``, ``ping`` and the like.

    *websocket* is Starlette's or FastAPI's ``WebSocket``, or the scope of an ASGI application. Receive either
    from the framework or from the connection, not from both.

    Raises:
        RuntimeError: the application runs under another server than everwire, or it is no WebSocket's scope.
    """
    scope = websocket if isinstance(websocket, Mapping) else websocket.scope
    extension = scope.get("extensions", {}).get("everwire")
    if extension is None:
        if scope.get("type") != "websocket":
            raise RuntimeError(
                f"the scope is of type {scope.get('type')!r}; only a WebSocket's has a connection"
            )
        raise RuntimeError(
            "this application does not run under everwire: start it with `everwire serve`, or with "
            "`uvicorn --ws everwire.asgi:UvicornProtocol`"
        )
    found: Connection = extension["connection"]
    return found
