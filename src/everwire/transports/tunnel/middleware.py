"""Tunnels for an ASGI application: its WebSockets, for clients that get nothing but HTTP requests through."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from everwire._core.protocol import clip
from everwire.errors import HandshakeError, InvalidOrigin, ProtocolError
from everwire.transports.script import answer_script
from everwire.transports.tunnel.exchange import Exchange, Head
from everwire.transports.tunnel.places import Batch, Here, Peers, Place, There, Unreachable, serve_others
from everwire.transports.tunnel.records import CLOSE, NEXT, PING, Reader, Record, as_bytes, as_event
from everwire.transports.tunnel.tunnel import Application, Limits, Opening, Scope, Tunnel
from everwire.websocket.extensions import parse_tokens
from everwire.websocket.origins import Origins, origin_check

__all__ = ["TunnelMiddleware"]

_ID = re.compile(rb"[A-Za-z0-9_-]{16,64}")
_KEY = range(16, 129)
_MAX_LINE = 1 << 12
"""Bytes of the first line of a request."""
_OF_REQUEST = {b"content-length", b"content-type", b"transfer-encoding", b"connection", b"accept"}
"""Headers of the request that opens a tunnel which say nothing about the WebSocket."""
_OF_ANSWER = {b"content-length", b"content-type", b"transfer-encoding", b"connection"}
_OCTETS = b"application/octet-stream"
_JSON = b"application/json"
_STREAMS = {
    "sse": (b"text/event-stream; charset=utf-8", as_event),
    "http_stream": (_OCTETS, as_bytes),
}
_REFUSALS = {
    404: b"There is no such tunnel here (any more).\n",
    409: b"A stale poll.\n",
}

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class TunnelMiddleware:
    """ASGI middleware that lets clients reach the application's WebSockets by plain HTTP requests.

    The classes of ``everwire.js`` are such clients, and are served at *script*. A request is a tunnel's if
    its query has the parameter ``tunnel``; it opens or serves a WebSocket at its path, with the rest of its
    query. To the application it is a WebSocket like any other; ``scope["extensions"]["everwire.tunnel"]``
    tells it apart. All other requests go to the application as they are.

    Parameters:
        app: the ASGI application.
        origins: pages that may open tunnels, as for :func:`everwire.serve`.
        script: the path of the JavaScript module; None: it is not served.
        max_size: bytes of a message from a client; a larger one closes the tunnel with 1009.
        max_queue: messages from a client that wait for the application; then the client waits.
        max_backlog: bytes of messages to a client that it has not acknowledged; then the application waits.
        max_tunnels: tunnels at one time; then opening one is answered with 503.
        poll_timeout: seconds that a poll is held when there is nothing to send, and after which a stream is
            sent something to keep it alive. A few seconds less than proxies wait, which is often 30 or 60.
        timeout: seconds without any request of its client after which a tunnel is over (1006); more than
            *poll_timeout*.
        open_timeout: seconds that the application may take to accept or refuse; then 504.
        close_timeout: seconds that the application may take to end its WebSockets at the end of the lifespan.
        peers: the other nodes that may get requests for tunnels of this one, and this one for theirs.

    Raises:
        ValueError: an option does not make sense.
    """

    def __init__(
        self,
        app: Application,
        *,
        origins: Origins = "same",
        script: str | None = "/everwire.js",
        max_size: int = 1 << 20,
        max_queue: int = 64,
        max_backlog: int = 1 << 20,
        max_tunnels: int = 10_000,
        poll_timeout: float = 25.0,
        timeout: float = 40.0,
        open_timeout: float = 10.0,
        close_timeout: float = 10.0,
        peers: Peers | None = None,
    ) -> None:
        counts = {
            "max_size": max_size,
            "max_queue": max_queue,
            "max_backlog": max_backlog,
            "max_tunnels": max_tunnels,
            "poll_timeout": poll_timeout,
        }
        for name, value in counts.items():
            if value <= 0:
                raise ValueError(f"{name} is {value}; it must be more than 0")
        if timeout <= poll_timeout:
            raise ValueError(
                f"timeout is {timeout:g} s and poll_timeout {poll_timeout:g} s: a client that waits in a "
                "poll would be taken to be gone; make timeout the longer of the two"
            )
        self.app = app
        self._check_origin = origin_check(origins)
        self._script = script
        self._limits = Limits(max_size, max_queue, max_backlog, poll_timeout, timeout)
        self._max_tunnels = max_tunnels
        self._open_timeout = open_timeout
        self._close_timeout = close_timeout
        self._tunnels: dict[bytes, Tunnel] = {}
        self._closing = False
        self._held_for_others: set[Place] = set()
        self._peers = peers
        if peers is not None:
            serve_others(peers, self._tunnels, poll_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request of a tunnel, or leave it to the application."""
        if scope["type"] == "http":
            name, query = _split(scope["query_string"])
            if name is not None:
                await self._serve(name, query, scope, receive, send)
                return
            if self._script is not None and _path(scope) == self._script:
                await answer_script(scope, send)
                return
        elif scope["type"] == "lifespan":
            receive = self._watch(receive)
        await self.app(scope, receive, send)

    def __len__(self) -> int:
        """How many tunnels there are."""
        return sum(not tunnel.over for tunnel in self._tunnels.values())

    @property
    def everwire_listener(self) -> Any:
        """What the application has for everwire's own server, to serve WebSockets without a task."""
        return getattr(self.app, "everwire_listener", None)

    @property
    def everwire_drain(self) -> Any:
        """What the application has to send its clients away with, those in tunnels among them."""
        return getattr(self.app, "everwire_drain", None)

    def everwire_closing(self) -> None:
        """Everwire's server is about to close: end the tunnels, so that no held request keeps it waiting."""
        self._closing = True
        self.release()
        closing = getattr(self.app, "everwire_closing", None)
        if closing is not None:
            closing()
        for tunnel in list(self._tunnels.values()):
            tunnel.end(1012, "")

    def release(self) -> None:
        """Answer the polls that are held here for tunnels of other nodes: their clients poll elsewhere."""
        for place in self._held_for_others:
            place.leave()

    async def close(self, code: int = 1012, reason: str = "") -> None:
        """Refuse new tunnels, close those there are with *code*, and wait for the application to end them.

        What has not ended after ``close_timeout`` is cancelled.
        """
        self._closing = True
        tasks = [tunnel.task for tunnel in self._tunnels.values()]
        for tunnel in list(self._tunnels.values()):
            tunnel.end(code, reason)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._close_timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        for tunnel in self._tunnels.values():
            tunnel.leave(code)
            tunnel.stop()
        self._tunnels.clear()

    def _watch(self, receive: Receive) -> Receive:
        """What the application receives of its lifespan: the end only after its WebSockets have ended."""

        async def watched() -> Any:
            event = await receive()
            if event["type"] == "lifespan.shutdown":
                await self.close()
            return event

        return watched

    # Requests

    async def _serve(self, name: bytes, query: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, timeout=self._limits.timeout)
        try:
            if self._check_origin is not None:
                host = exchange.headers.get(b"host", b"").decode("latin-1")
                self._check_origin(exchange.origin, host)
            exchange.share()
            if scope["method"] == "OPTIONS":
                await _answer_preflight(exchange)
            elif scope["method"] != "POST":
                await exchange.respond(405, b"A tunnel takes POST.\n", headers=[(b"allow", b"POST, OPTIONS")])
            elif not _ID.fullmatch(name):
                raise ProtocolError("a tunnel's name has 16 to 64 letters, digits, - and _")
            else:
                await self._post(name, query, scope, exchange)
        except InvalidOrigin as exc:
            await exchange.respond(403, f"{exc}\n".encode())
        except (ProtocolError, HandshakeError) as exc:
            await exchange.respond(400, f"{exc}\n".encode())
        except Unreachable as exc:
            await exchange.respond(503, f"{exc}\n".encode())
        except TimeoutError:
            await exchange.respond(408, b"The request did not come in time.\n")
        except OSError:
            pass  # the client is gone

    async def _post(self, name: bytes, query: bytes, scope: Scope, exchange: Exchange) -> None:
        reader = Reader(max_line=_MAX_LINE, max_size=self._limits.max_size)
        head = await exchange.read_head(reader)
        if head.op == "open":
            if len(head.key) not in _KEY:
                raise ProtocolError("a tunnel's key has 16 to 128 characters")
            await self._open(name, query, scope, exchange, head)
            return
        place = self._find(name, head)
        if place is None:
            await exchange.respond(404, _REFUSALS[404])
        elif head.op == "send":
            await self._take(place, head, reader, exchange)
        elif head.op == "poll":
            while await exchange.read_into(reader):
                pass
            await self._poll(place, head, exchange)
        else:
            raise ProtocolError(f"op is open, poll or send, not {head.op!r}")

    def _find(self, name: bytes, head: Head) -> Place | None:
        """The tunnel that a request is for; None: there is none, or the key is not its own."""
        patience = self._limits.poll_timeout
        tunnel = self._tunnels.get(name)
        if tunnel is not None:
            return Here(tunnel, patience) if tunnel.is_key(head.key) else None
        if self._peers is None or head.node in ("", self._peers.node):
            return None
        return There(self._peers, head.node, name, head.key, patience)

    async def _open(self, name: bytes, query: bytes, scope: Scope, exchange: Exchange, head: Head) -> None:
        tunnel = self._tunnels.get(name)
        if tunnel is None:
            if self._closing or len(self._tunnels) >= self._max_tunnels:
                problem = b"The server is shutting down.\n" if self._closing else b"Too many tunnels.\n"
                await exchange.respond(503, problem)
                return
            opened = _websocket_scope(scope, query, head)
            tunnel = Tunnel(
                self.app, opened, head.key, self._limits, functools.partial(self._tunnels.pop, name, None)
            )
            self._tunnels[name] = tunnel
        elif not tunnel.is_key(head.key):
            await exchange.respond(409, b"There is a tunnel of this name.\n")
            return
        done, _ = await asyncio.wait((tunnel.opening,), timeout=self._open_timeout)
        if not done:
            tunnel.leave(1006)
        await self._answer_open(tunnel.opening.result(), exchange)

    async def _answer_open(self, opening: Opening, exchange: Exchange) -> None:
        headers = [(name, value) for name, value in opening.headers if name.lower() not in _OF_ANSWER]
        if opening.status != 101:
            await exchange.respond(opening.status, opening.body, headers=headers)
            return
        answer = {
            "protocol": opening.subprotocol,
            "poll_timeout": self._limits.poll_timeout,
            "timeout": self._limits.timeout,
            "max_size": self._limits.max_size,
            "max_backlog": self._limits.max_backlog,
            "node": "" if self._peers is None else self._peers.node,
        }
        await exchange.respond(200, msgspec.json.encode(answer), _JSON, headers)

    async def _take(self, place: Place, head: Head, reader: Reader, exchange: Exchange) -> None:
        """Give what a client sends to the application, and answer how far that went."""
        number = head.seq
        received: int | None = None
        begun, more = False, True
        try:
            while more:
                records, problem = _whole(reader)
                if records:
                    begun = True
                    received = await place.send(head.ack, number, records)
                    number += len(records)
                    if received is None or received < number - 1:
                        break
                if problem is not None:
                    raise problem
                more = await exchange.read_into(reader)
                if not more:
                    reader.finish()
            if not begun:
                received = await place.send(head.ack, number, ())
        except ProtocolError as exc:
            await place.end(exc.code, clip(str(exc)))
            raise
        if received is None:
            await exchange.respond(404, _REFUSALS[404])
        else:
            await exchange.respond(200, msgspec.json.encode({"received": received}), _JSON)

    async def _poll(self, place: Place, head: Head, exchange: Exchange) -> None:
        if head.as_ != "long_poll" and head.as_ not in _STREAMS:
            raise ProtocolError(f"an answer comes as long_poll, sse or http_stream, not {head.as_!r}")
        as_stream = head.as_ in _STREAMS
        # A stream begins at once, with what there is or not.
        seconds = 0.0 if as_stream else self._limits.poll_timeout
        leaving = asyncio.create_task(_watch_leaving(exchange, place))
        if isinstance(place, There):
            self._held_for_others.add(place)
        try:
            batch = await place.fetch(head.poll, head.ack, head.ack + 1, seconds)
            if leaving.done():
                return
            if batch.status != 200:
                await exchange.respond(batch.status, _REFUSALS[batch.status])
            elif as_stream:
                await self._stream(place, head, batch, exchange)
            else:
                records = [Record(NEXT, b"%d" % (head.ack + 1)), *batch.records]
                await exchange.respond(200, b"".join(map(as_bytes, records)), _OCTETS)
        finally:
            self._held_for_others.discard(place)
            leaving.cancel()
            await asyncio.wait((leaving,))

    async def _stream(self, place: Place, head: Head, batch: Batch, exchange: Exchange) -> None:
        """Answer with what there is, and go on as more comes, until it ends or another request takes over."""
        content_type, encode = _STREAMS[head.as_]
        number = head.ack + 1
        await exchange.start(200, content_type)
        await exchange.write(encode(Record(NEXT, b"%d" % number)), more=True)
        seconds = 0.0
        while not batch.ended:
            if batch.records:
                number += len(batch.records)
                await exchange.write(b"".join(map(encode, batch.records)), more=True)
                if batch.records[-1].kind == CLOSE:
                    break
            elif seconds:
                await exchange.write(encode(Record(PING, b"")), more=True)
            seconds = self._limits.poll_timeout
            try:
                batch = await place.fetch(head.poll, head.ack, number, seconds)
            except Unreachable:
                break
        await exchange.write(b"", more=False)


async def _watch_leaving(exchange: Exchange, place: Place) -> None:
    await exchange.wait_for_leaving()
    place.leave()


def _whole(reader: Reader) -> tuple[list[Record], ProtocolError | None]:
    """The records that have come whole, and what is wrong with what comes after them."""
    records: list[Record] = []
    try:
        for record in reader.records():
            records.append(record)  # noqa: PERF402 - those before a wrong one count
    except ProtocolError as exc:
        return records, exc
    return records, None


async def _answer_preflight(exchange: Exchange) -> None:
    headers = [
        (b"allow", b"POST, OPTIONS"),
        (b"access-control-allow-methods", b"POST"),
        (b"access-control-allow-headers", b"content-type"),
        (b"access-control-max-age", b"7200"),
    ]
    await exchange.respond(204, headers=headers)


def _split(query: bytes) -> tuple[bytes | None, bytes]:
    """The name of the tunnel in a query string, and the rest of it; None: it has none."""
    if b"tunnel=" not in query:
        return None, query
    name: bytes | None = None
    rest: list[bytes] = []
    for part in query.split(b"&"):
        if name is None and part.startswith(b"tunnel="):
            name = part[7:]
        else:
            rest.append(part)
    return name, b"&".join(rest)


def _path(scope: Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


def _websocket_scope(scope: Scope, query: bytes, head: Head) -> Scope:
    """The scope of the WebSocket that a request opens.

    Raises:
        InvalidHeader: a subprotocol is not a token.
    """
    protocols = parse_tokens("Sec-WebSocket-Protocol", head.protocols)
    headers = [(name, value) for name, value in scope["headers"] if name not in _OF_REQUEST]
    if protocols:
        headers.append((b"sec-websocket-protocol", ", ".join(protocols).encode("ascii")))
    opened = {key: value for key, value in scope.items() if key != "method"}
    opened |= {
        "type": "websocket",
        "scheme": "wss" if scope.get("scheme") in ("https", "wss") else "ws",
        "query_string": query,
        "headers": headers,
        "subprotocols": protocols,
        "extensions": {"websocket.http.response": {}, "everwire.tunnel": {"transport": head.as_}},
    }
    if "state" in scope:
        opened["state"] = dict(scope["state"])
    return opened
