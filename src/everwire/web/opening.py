"""What ``WebSocket`` and ``WebSocketStream`` share: options, subprotocols, both ends of a connection."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl as tls
from collections.abc import Iterable
from typing import Literal, TypedDict

from everwire._core.connection import Connection
from everwire.errors import InvalidHeader, NegotiationError
from everwire.web.exceptions import DOMException
from everwire.websocket.client import connect
from everwire.websocket.extensions import Deflate, parse_tokens
from everwire.websocket.messages import HeadersLike

__all__ = [
    "ConnectOptions",
    "check_protocols",
    "ended_cleanly",
    "extensions",
    "open",
    "refusal",
    "running_loop",
]


class ConnectOptions(TypedDict, total=False):
    """The options of :class:`everwire.connect` that the browser's API takes too; they mean the same there.

    Only ``max_redirects`` has another default: 0, for browsers follow none.
    """

    origin: str | None
    compression: Deflate | Literal["deflate"] | None
    additional_headers: HeadersLike | None
    user_agent_header: str | None
    max_redirects: int
    ssl: tls.SSLContext | Literal[True] | None
    server_hostname: str | None
    host: str | None
    port: int | None
    sock: socket.socket | None
    unix: str | os.PathLike[str] | None
    local_addr: tuple[str, int] | None
    proxy: str | Literal[True] | None
    proxy_ssl: tls.SSLContext | None
    open_timeout: float | None
    close_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None
    idle_timeout: float | None
    max_size: int | None
    max_queue: int | None
    write_limit: int | tuple[int, int]
    max_backlog: int | None
    logger: logging.Logger | None


def running_loop(name: str) -> asyncio.AbstractEventLoop:
    """The event loop that a new object of the class *name* will run on.

    Raises:
        RuntimeError: there is none.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        message = f"{name} needs a running event loop: make it in a coroutine, under asyncio.run"
        raise RuntimeError(message) from None


def check_protocols(protocols: Iterable[object]) -> tuple[str, ...]:
    """The subprotocols to offer.

    Raises:
        DOMException: ``SyntaxError``: one of them is no token (RFC 9110, section 5.6.2), or is there twice.
        TypeError: one of them is no ``str``.
    """
    names: list[str] = []
    for name in protocols:
        if not isinstance(name, str):
            raise TypeError(f"a subprotocol is a str, not {name!r}")
        try:
            tokens = parse_tokens("Sec-WebSocket-Protocol", [name])
        except InvalidHeader:
            tokens = []
        if tokens != [name]:
            raise DOMException(
                f"{name!r} cannot be a subprotocol: use letters, digits and -._~", "SyntaxError"
            )
        names.append(name)
    if len({name.lower() for name in names}) < len(names):
        raise DOMException(f"protocols has one of them twice: {names}", "SyntaxError")
    return tuple(names)


async def open(connector: connect) -> Connection:
    """Opens the connection; the coroutine that a task needs."""
    return await connector


def refusal(connection: Connection, protocols: tuple[str, ...]) -> NegotiationError | None:
    """Why a connection that is open cannot be used (Fetch, "establish a WebSocket connection"), or None."""
    if protocols and connection.subprotocol is None:
        return NegotiationError(f"the server accepted none of the subprotocols {', '.join(protocols)}")
    return None


def extensions(connection: Connection) -> str:
    """The extensions that the server accepted, as its header has them."""
    response = connection.response
    return "" if response is None else ", ".join(response.headers.get_all("Sec-WebSocket-Extensions"))


def ended_cleanly(connection: Connection) -> bool:
    """Whether the closing handshake of a connection that is over was completed (RFC 6455, section 7.1.4)."""
    error = connection.close_error
    return error is not None and None not in (error.received, error.sent) and error.__cause__ is None
