"""The transports of a client by name, and where each of them finds the server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

from everwire.client.connector import Way
from everwire.client.links import Link, LinkOptions, WebSocketLink
from everwire.wire.codec import Codec

__all__ = ["TRANSPORTS", "emulation_uri", "ways"]

HTTP_SCHEMES = {"ws": "http", "wss": "https"}


async def open_websocket(uri: str, options: LinkOptions, first: bytes) -> Link:
    """Open a link over WebSocket."""
    return await WebSocketLink.open(uri, options)


async def open_http_stream(uri: str, options: LinkOptions, first: bytes) -> Link:
    """Open a link over a stream of HTTP."""
    from everwire.client.http import HTTPStreamLink

    return await HTTPStreamLink.open(uri, options, first)


async def open_sse(uri: str, options: LinkOptions, first: bytes) -> Link:
    """Open a link over server-sent events."""
    from everwire.client.http import SSELink

    return await SSELink.open(uri, options, first)


TRANSPORTS = {
    "websocket": (open_websocket, 0),
    # What servers take as the body of a request, and as the line of one, as they are set up mostly.
    "http_stream": (open_http_stream, 1 << 15),
    "sse": (open_sse, 1 << 12),
}
"""How each transport is opened, and how large its first frame may be."""


def ways(uri: str, transports: Sequence[str], endpoints: Mapping[str, str], codec: Codec) -> list[Way]:
    """The ways to a server, in the order of the transports.

    Raises:
        ValueError: there is no such transport, or it cannot carry this format.
    """
    if not transports:
        raise ValueError(f"transports is empty; name one at least of {', '.join(TRANSPORTS)}")
    found: list[Way] = []
    for name in transports:
        if name not in TRANSPORTS:
            raise ValueError(f"there is no transport {name!r}; there are: {', '.join(TRANSPORTS)}")
        if name == "sse" and codec.binary:
            raise ValueError("the transport 'sse' carries text: use it with format='json'")
        opener, first_frame = TRANSPORTS[name]
        found.append(Way(name, endpoints.get(name) or endpoint(uri, name), opener, first_frame))
    return found


def endpoint(uri: str, name: str) -> str:
    """Where a transport is when a WebSocket is at this URI: the last part of the path is its name."""
    if name == "websocket":
        return uri
    parts = urlsplit(uri)
    base = parts.path.rpartition("/")[0]
    return urlunsplit(
        (HTTP_SCHEMES.get(parts.scheme, parts.scheme), parts.netloc, f"{base}/{name}", parts.query, "")
    )


def emulation_uri(uri: str, endpoints: Mapping[str, str]) -> str:
    """Where the commands go of transports that only receive."""
    return endpoints.get("emulation") or endpoint(uri, "emulation")
