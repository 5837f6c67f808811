"""Links over HTTP, for where WebSockets do not get through: a stream to receive, requests to send."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator

import msgspec

from everwire.client.links import LinkClosed, LinkOptions
from everwire.errors import InvalidStatus, WireError
from everwire.websocket.messages import Headers, Response
from everwire.wire.codec import Codec

try:
    import httpx
except ImportError as exc:  # pragma: no cover
    raise ImportError(
        "the transports http_stream and sse need httpx: pip install 'everwire[client]'"
    ) from exc

__all__ = ["HTTPStreamLink", "SSELink"]

CONTENT_TYPES = {"json": "application/json", "protobuf": "application/octet-stream"}


class Splitter:
    """Cuts what comes of a stream into frames, each of bounded size: here the whole lines that have come.

    Args:
        max_size: bytes that may wait for the rest of a frame; None: no limit.
    """

    def __init__(self, max_size: int | None) -> None:
        self._rest = b""
        self._max_size = max_size

    def feed(self, data: bytes) -> list[bytes]:
        """Add what has come; returns the frames that are whole.

        Raises:
            LinkClosed: a frame is too big (1009).
        """
        data = self._rest + data
        frames, used = self.cut(data)
        self._rest = data[used:]
        if self._max_size is not None and len(self._rest) > self._max_size:
            raise LinkClosed(1009, "message too big")
        return frames

    def cut(self, data: bytes) -> tuple[list[bytes], int]:
        """The frames that are whole, and how many bytes they take."""
        end = data.rfind(b"\n") + 1
        return ([data[:end]] if data[:end].strip() else []), end


class Messages(Splitter):
    """Messages after their lengths, as varints: what is whole is one frame."""

    def cut(self, data: bytes) -> tuple[list[bytes], int]:
        """The messages that are whole, as one frame, and how many bytes they take."""
        end = 0
        while True:
            length = shift = 0
            at = end
            while at < len(data) and data[at] & 0x80 and shift < 28:
                length |= (data[at] & 0x7F) << shift
                shift += 7
                at += 1
            if at >= len(data):
                break
            if data[at] & 0x80:
                raise WireError("a message in a stream has a length of more than 5 bytes")
            length |= data[at] << shift
            if at + 1 + length > len(data):
                break
            end = at + 1 + length
        return ([data[:end]] if end else []), end


class Events(Splitter):
    """Server-sent events (WHATWG HTML, section 9.2.6), a frame in the data of each.

    Names, ids and times to reconnect do not occur in the protocol, and are passed over.
    """

    def cut(self, data: bytes) -> tuple[list[bytes], int]:
        """The data of the events that are whole, and how many bytes they take."""
        frames: list[bytes] = []
        lines: list[bytes] = []
        used = at = 0
        while (end := data.find(b"\n", at)) >= 0:
            line = data[at:end].removesuffix(b"\r")
            at = end + 1
            if line.startswith(b"data:"):
                lines.append(line[5:].removeprefix(b" "))
            elif not line:
                if lines:
                    frames.append(b"\n".join(lines))
                    lines = []
                used = at
        return frames, used


class HTTPStreamLink:
    """Receives by a response that does not end, sends by further requests: Centrifugo's emulation.

    Requests follow each other, so that commands arrive in the order they were sent; those that come while
    one is on its way go together in the next.
    """

    name = "http_stream"
    emulated = True

    def __init__(self, client: httpx.AsyncClient, options: LinkOptions) -> None:
        self._client = client
        self._codec: Codec = options.codec
        self._uri = options.emulation
        self._splitter = self._new_splitter(options)
        self._frames: list[bytes] = []
        self._chunks: AsyncIterator[bytes] | None = None
        self._response: httpx.Response | None = None
        self._outbox: list[bytes] = []
        self._session = self._node = ""
        self._sender: asyncio.Task[None] | None = None
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._receiving: asyncio.Task[bytes] | None = None

    @classmethod
    async def open(cls, uri: str, options: LinkOptions, first: bytes) -> HTTPStreamLink:
        """Send the first frame and begin to receive.

        Raises:
            OSError: the server cannot be reached.
            InvalidStatus: it refused.
            TimeoutError: it did not answer within ``open_timeout``.
        """
        link = cls(http_client(options), options)
        try:
            request = link.first_request(uri, first)
            async with asyncio.timeout(options.connect.get("open_timeout")):
                await link.begin(request)
        except BaseException:
            await link.close()
            raise
        return link

    def first_request(self, uri: str, first: bytes) -> httpx.Request:
        """The request whose response is the stream."""
        kind = CONTENT_TYPES[self._codec.name]
        headers = {"Accept": kind, "Content-Type": kind}
        return self._client.build_request("POST", uri, content=first, headers=headers)

    async def begin(self, request: httpx.Request) -> None:
        """Send the request; the head of its response says whether it is one."""
        try:
            response = await self._client.send(request, stream=True)
        except httpx.HTTPError as exc:
            raise OSError(f"{request.url}: {str(exc) or type(exc).__name__}") from exc
        self._response = response
        if response.status_code != 200:
            headers = Headers(response.headers.multi_items())
            raise InvalidStatus(Response(response.status_code, response.reason_phrase, headers))
        self._chunks = response.aiter_bytes()

    async def recv(self) -> bytes:
        """Wait for the next frame."""
        while not self._frames:
            self._frames = await self._next()
        return self._frames.pop(0)

    async def _next(self) -> list[bytes]:
        assert self._chunks is not None
        receiving = asyncio.ensure_future(anext(self._chunks, b""))
        try:
            await asyncio.wait((receiving, self._broken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not receiving.done():
                receiving.cancel()
                await asyncio.wait((receiving,))
        if receiving.cancelled():
            raise LinkClosed(0, "the session is gone")
        try:
            chunk = receiving.result()
        except httpx.HTTPError as exc:
            raise LinkClosed(0, f"{str(exc) or type(exc).__name__}") from exc
        if not chunk:
            raise LinkClosed(0, "the response has ended")
        return self._splitter.feed(chunk)

    def send(self, frame: bytes) -> None:
        """Send a frame by a request of its own, or together with others."""
        self._outbox.append(frame)
        if self._sender is None and not self._broken.done():
            self._sender = asyncio.get_running_loop().create_task(self._post())

    async def drain(self) -> None:
        """Wait until all is sent."""
        while self._sender is not None:
            await asyncio.wait((self._sender,))

    def established(self, session: str, node: str) -> None:
        """Learn the names of the session and its node, which the requests carry."""
        self._session, self._node = session, node

    async def close(self) -> None:
        """End it."""
        if not self._broken.done():
            self._broken.set_result(None)
        if self._sender is not None:
            # The last commands, such as an unsubscription, are on their way.
            _, late = await asyncio.wait((self._sender,), timeout=1)
            for task in late:
                task.cancel()
                await asyncio.wait((task,))
        if self._response is not None:
            await self._response.aclose()
        await self._client.aclose()

    async def _post(self) -> None:
        try:
            while self._outbox:
                frame = self._outbox.pop(0)
                content = self._body(frame)
                headers = {"Content-Type": CONTENT_TYPES[self._codec.name]}
                response = await self._client.post(self._uri, content=content, headers=headers)
                if not response.is_success:
                    break
            else:
                return
        except httpx.HTTPError:
            pass
        finally:
            self._sender = None
        # What was not sent is lost, so the session is: the client makes another one.
        if not self._broken.done():
            self._broken.set_result(None)

    def _body(self, frame: bytes) -> bytes:
        if self._codec.binary:
            values = (self._node.encode(), self._session.encode(), frame)
            return b"".join(delimited(number, value) for number, value in enumerate(values, 1))
        return msgspec.json.encode({"session": self._session, "node": self._node, "data": frame.decode()})

    def _new_splitter(self, options: LinkOptions) -> Splitter:
        size = options.connect.get("max_size")
        return Messages(size) if self._codec.binary else Splitter(size)


class SSELink(HTTPStreamLink):
    """Receives server-sent events, sends by further requests."""

    name = "sse"

    def first_request(self, uri: str, first: bytes) -> httpx.Request:
        """The request whose response is the stream."""
        url = httpx.URL(uri)
        target = url.copy_merge_params({"cf_connect": first.decode()}).raw_path
        # httpx logs URLs, and this one would have the token in it: so it goes beside the URL.
        return self._client.build_request(
            "GET", url, headers={"Accept": "text/event-stream"}, extensions={"target": target}
        )

    def _new_splitter(self, options: LinkOptions) -> Splitter:
        return Events(options.connect.get("max_size"))


def delimited(number: int, value: bytes) -> bytes:
    """A field of bytes in Protobuf, of an EmulationRequest here."""
    size, length = len(value), bytearray()
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | 2,)) + length + value


def http_client(options: LinkOptions) -> httpx.AsyncClient:
    """A client of HTTP with the options of :class:`everwire.connect` that apply to it."""
    given = options.connect
    context, proxy = given.get("ssl"), given.get("proxy")
    headers = given.get("additional_headers")
    from_environment = proxy is True
    return httpx.AsyncClient(
        verify=usual_context(from_environment) if context is None or context is True else context,
        headers=[] if headers is None else list(Headers(headers).raw_items()),
        # The protocol's pings say whether a stream lives.
        timeout=httpx.Timeout(given.get("open_timeout"), read=None),
        trust_env=from_environment,
        proxy=proxy if isinstance(proxy, str) else None,
        follow_redirects=True,
    )


@functools.cache
def usual_context(from_environment: bool) -> ssl.SSLContext:
    """The context for TLS if none was given. To read all authorities is most of the work of connecting."""
    return httpx.create_ssl_context(trust_env=from_environment)
