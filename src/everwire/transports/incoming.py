"""What comes to a hub's ASGI application: a request, or the opening of a WebSocket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from everwire.channels.carrier import Origin
from everwire.errors import ClientDisconnected, HandshakeError, InvalidOrigin
from everwire.transports.fields import Fields
from everwire.websocket.origins import OriginCheck

__all__ = ["Incoming", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

OF_SERVERS = {
    "asgi",
    "client",
    "extensions",
    "headers",
    "http_version",
    "method",
    "path",
    "query_string",
    "raw_path",
    "root_path",
    "scheme",
    "server",
    "state",
    "subprotocols",
    "type",
}
"""What is in a scope where no framework has put anything."""
SECRETS = re.compile(rb"((?:^|&)(?:cf_connect|token|subscription_token)=)[^&]+")
"""The parameters of the query that have tokens in them, or may have."""
OCTETS = "application/octet-stream"
NO_STORE = (b"cache-control", b"private, no-cache, no-store, must-revalidate, max-age=0")


class Incoming:
    """A request or the opening of a WebSocket, and the way to answer it.

    Attributes:
        scope, receive, send: what the ASGI server gave.
        rest: of the path, what comes after the endpoint's own: the channel's name in ``/raw/news``.
        query: the query string.
        headers: the request's headers, names in lower case; the values of one with several, by commas.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, rest: str = "") -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.rest = rest
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        query: bytes = scope["query_string"]
        self.query = query.decode("latin-1")
        # Servers write the query into their logs, when the answer begins; tokens are not to be there.
        scope["query_string"] = SECRETS.sub(rb"\1***", query)
        self._fields: dict[str, list[str]] | None = None
        self._cors: list[tuple[bytes, bytes]] = []

    @property
    def method(self) -> str:
        """The method of a request; ``GET`` for a WebSocket."""
        return str(self.scope.get("method", "GET"))

    @property
    def everwire(self) -> Mapping[str, Any]:
        """What everwire's own server offers beyond ASGI; empty under others."""
        return self.extension("everwire")

    def extension(self, name: str) -> Mapping[str, Any]:
        """What an extension of ASGI has to say; empty if it is not there."""
        extensions: Mapping[str, Mapping[str, Any]] = self.scope.get("extensions") or {}
        return extensions.get(name, {})

    @property
    def is_protobuf(self) -> bool:
        """Whether the body of a request is in Protobuf."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == OCTETS

    def parameter(self, name: str) -> str:
        """The first value of a parameter of the query; empty if there is none."""
        if self._fields is None:
            self._fields = parse_qs(self.query, keep_blank_values=True)
        return self._fields.get(name, [""])[0]

    def origin(self) -> Origin:
        """Where a session that this opens comes from."""
        client = self.scope.get("client")
        return Origin(
            headers=Fields(self.headers.items()),
            path=self.scope["path"],
            query=self.query,
            client=(client[0], client[1]) if client else None,
            # What the server alone has put there is above; kept as long as the session, it is much.
            scope=self.scope if self.scope.keys() - OF_SERVERS else None,
        )

    def check_origin(self, check: OriginCheck | None) -> None:
        """Refuse pages of other origins; have the answer tell the browser of an allowed one that it may read.

        Raises:
            InvalidOrigin: the page may not.
        """
        origin = self.headers.get("origin")
        if origin is not None and self.scope["type"] == "http":
            # For caches, whatever the outcome: the answer depends on it.
            self._cors = [(b"vary", b"origin")]
        if check is not None:
            try:
                check(origin, self.headers.get("host", ""))
            except InvalidOrigin:
                # To the page it belongs to, a browser sends a GET without its origin.
                if origin is not None or self.headers.get("sec-fetch-site") != "same-origin":
                    raise
                check(self._own_origin(), self.headers.get("host", ""))
        if origin is not None and self.scope["type"] == "http":
            self._cors.append((b"access-control-allow-origin", origin.encode("latin-1")))
            if check is not None:
                # Where any page may come, its user's cookies stay at home.
                self._cors.append((b"access-control-allow-credentials", b"true"))

    def _own_origin(self) -> str:
        return f"{self.scope.get('scheme', 'http')}://{self.headers.get('host', '')}"

    def stream_headers(self, content_type: str) -> list[tuple[bytes, bytes]]:
        """The headers of a response that does not end."""
        return [
            (b"content-type", content_type.encode("ascii")),
            NO_STORE,
            # nginx passes on what comes as it comes, if the response says so.
            (b"x-accel-buffering", b"no"),
            (b"x-content-type-options", b"nosniff"),
            *self._cors,
        ]

    async def body(self, limit: int, timeout: float) -> bytes:
        """The whole body of the request.

        Raises:
            HandshakeError: it is larger than *limit* bytes (413), or takes more than *timeout* seconds (408).
            ClientDisconnected: the client is gone.
        """
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(timeout):
                while True:
                    event = await self.receive()
                    if event["type"] != "http.request":
                        raise ClientDisconnected("the client is gone")
                    parts.append(event.get("body", b""))
                    size += len(parts[-1])
                    if size > limit:
                        raise HandshakeError(
                            f"the body is over the limit of {limit} bytes; the option max_size sets it", 413
                        )
                    if not event.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise HandshakeError(f"the body took more than {timeout:g} seconds to come", 408) from None

    async def answer(
        self,
        status: int,
        body: bytes | str = b"",
        *,
        content_type: str = "text/plain; charset=utf-8",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Answer a request."""
        data = body.encode() if isinstance(body, str) else body
        fields = [NO_STORE, *self._cors, *headers]
        if status != 204:
            fields += [
                (b"content-type", content_type.encode("ascii")),
                (b"content-length", b"%d" % len(data)),
                (b"x-content-type-options", b"nosniff"),
            ]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})
        await self.send(
            {"type": "http.response.body", "body": b"" if self.method == "HEAD" else data, "more_body": False}
        )

    async def refuse(self, error: HandshakeError, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer with an error's status, and its message as text; a WebSocket is not opened."""
        if error.retry_after is not None:
            headers = [*headers, (b"retry-after", b"%d" % error.retry_after)]
        if self.scope["type"] == "http":
            await self.answer(error.status, f"{error}\n", headers=headers)
        elif "websocket.http.response" in (self.scope.get("extensions") or {}):
            text = f"{error}\n".encode()
            fields = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", b"%d" % len(text)),
                *headers,
            ]
            start = {"type": "websocket.http.response.start", "status": error.status, "headers": fields}
            await self.send(start)
            await self.send({"type": "websocket.http.response.body", "body": text, "more_body": False})
        else:
            await self.send({"type": "websocket.close", "code": 1008, "reason": ""})
