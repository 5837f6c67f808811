"""One HTTP request of a tunnel: its body, its origin, its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from everwire.errors import ClientDisconnected, ProtocolError
from everwire.transports.tunnel.records import Reader
from everwire.transports.tunnel.tunnel import Scope

__all__ = ["Exchange", "Head"]

_NO_STORE = [
    (b"cache-control", b"no-store"),
    # nginx passes on what comes as it comes, if the response says so.
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]


class Head(msgspec.Struct, rename={"as_": "as"}):
    """The first line of each request, in JSON: what the client wants.

    Attributes:
        op: ``"open"``, ``"poll"`` or ``"send"``.
        key: the secret of the tunnel, which its client has chosen.
        protocols: the subprotocols that are offered (open).
        poll: the number of this poll; each has a higher one than those before (poll).
        as_: how the answer is to come: ``"long_poll"``, ``"sse"`` or ``"http_stream"`` (open, poll).
        ack: the number of the last message that the client has (poll, send).
        seq: the number of the first message of this request (send).
        node: the node of the tunnel, as the answer to its opening has said (poll, send).
    """

    op: str
    key: str
    protocols: list[str] = []
    poll: int = 0
    as_: str = "long_poll"
    ack: int = 0
    seq: int = 1
    node: str = ""


class Exchange:
    """A request and its answer.

    Parameters:
        timeout: seconds that the body may take.

    Attributes:
        headers: the request's headers; of several with one name the last.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
        *,
        timeout: float,
    ) -> None:
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self._send = send
        self._shared: list[tuple[bytes, bytes]] = []
        self._more = True
        self._deadline = asyncio.get_running_loop().time() + timeout

    @property
    def origin(self) -> str | None:
        """The origin of the page that asks; None: it is no page."""
        origin = self.headers.get(b"origin")
        return None if origin is None else origin.decode("latin-1")

    def share(self) -> None:
        """Let the page read the answer, though it is of another origin (Fetch standard, CORS protocol)."""
        origin = self.headers.get(b"origin")
        if origin is not None:
            self._shared = [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"vary", b"Origin"),
            ]

    async def read_head(self, reader: Reader) -> Head:
        """The first line; what comes with it stays in the reader.

        Raises:
            ProtocolError: there is no such line.
            TimeoutError: it does not come in time.
            ClientDisconnected: the client is gone.
        """
        while reader.line is None:
            if await self.read_into(reader):
                continue
            reader.finish()
        try:
            return msgspec.json.decode(reader.line, type=Head)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise ProtocolError(f"the first line of the request is not what it is to be: {exc}") from None

    async def read_into(self, reader: Reader) -> bool:
        """Read a piece of the body; False: there is none any more.

        Raises:
            ProtocolError: the first line is too long.
            TimeoutError: the body does not come in time.
            ClientDisconnected: the client is gone.
        """
        if not self._more:
            return False
        async with asyncio.timeout_at(self._deadline):
            event = await self._receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnected("the client is gone")
        self._more = event.get("more_body", False)
        reader.feed(event.get("body", b""))
        return True

    async def wait_for_leaving(self) -> None:
        """Return when the client is gone; the body must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(
        self, status: int, content_type: bytes, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """Begin the answer."""
        every = [*headers, *_NO_STORE, *self._shared]
        if content_type:
            every.append((b"content-type", content_type))
        await self._send({"type": "http.response.start", "status": status, "headers": every})

    async def write(self, body: bytes, *, more: bool) -> None:
        """Send a part of the answer's body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def respond(
        self,
        status: int,
        body: bytes = b"",
        content_type: bytes = b"text/plain; charset=utf-8",
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Send a whole answer."""
        length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
        await self.start(status, content_type if body else b"", [*headers, *length])
        await self.write(body, more=False)
