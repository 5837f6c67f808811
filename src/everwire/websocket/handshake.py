"""The opening handshake without I/O, of the server and of the client (RFC 6455, sections 4 and 9)."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import sha1
from secrets import token_bytes
from typing import NamedTuple

from everwire.errors import (
    HandshakeError,
    InvalidHeader,
    InvalidMessage,
    InvalidOrigin,
    InvalidStatus,
    NegotiationError,
)
from everwire.websocket import extensions
from everwire.websocket.extensions import Deflate, DeflateParams, parse_extensions, parse_tokens
from everwire.websocket.messages import Headers, HeadersLike, Request, Response
from everwire.websocket.origins import Origins, origin_check

__all__ = [
    "Accepted",
    "ClientHandshake",
    "Negotiated",
    "ServerHandshake",
    "accept_key",
    "check_additional",
    "error_response",
    "has_token",
]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY = re.compile("[A-Za-z0-9+/]{22}==").fullmatch
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

_CACHED_OFFERS = 256
_OWN_HEADERS = frozenset(
    (
        "connection",
        "upgrade",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "content-length",
        "transfer-encoding",
    )
)

Fields = dict[str, str | list[str]]
SelectSubprotocol = Callable[[Request, list[str]], str | None]


def accept_key(key: str) -> str:
    """The value of Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455, section 4.2.2).

    >>> accept_key("dGhlIHNhbXBsZSBub25jZQ==")
    's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
    """
    return b64encode(sha1(key.encode() + _GUID).digest()).decode()


def error_response(error: HandshakeError) -> Response:
    """The response with which a server refuses a handshake: the error's status, and its message as text."""
    response = Response.of(error.status, f"{error}\n", [("Date", formatdate(usegmt=True))])
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.status == 405:
        response.headers["Allow"] = "GET"
    if error.status == 426:
        response.headers["Upgrade"] = "websocket"
        response.headers["Sec-WebSocket-Version"] = "13"
        response.headers["Connection"] = "Upgrade, close"
    else:
        response.headers["Connection"] = "close"
    return response


class Accepted(NamedTuple):
    """A handshake that the server accepts."""

    response: bytes
    """The response to send: the whole head of a 101."""

    subprotocol: str | None
    """The subprotocol agreed on, or None."""

    deflate: DeflateParams | None
    """The parameters of permessage-deflate agreed on; None: messages are not compressed."""

    def with_headers(self, headers: Headers) -> bytes:
        """The response with further headers, which are known to be allowed."""
        return self.response[:-2] + str(headers).encode("latin-1")

    def to_response(self) -> Response:
        """The response as an object, for one who wants to change it: send its ``serialize()`` then."""
        return Response.parse(self.response)


@dataclass(slots=True, kw_only=True)
class ServerHandshake:
    """What a server accepts. One object serves all its connections, and keeps nothing of any.

    Raises:
        ValueError: an option has a value that cannot work.
        TypeError: an option is of a wrong type.
    """

    origins: Origins = "same"
    """Which pages may connect: ``"same"`` (host and port as in the Host header), a list, or None: any.
    See :data:`everwire.websocket.origins.Origins`."""

    subprotocols: Sequence[str] = ()
    """The subprotocols that the server speaks, the preferred ones first. If none of them is offered, the
    connection has none; a browser that offered some then fails it."""

    select_subprotocol: SelectSubprotocol | None = None
    """Chooses instead: it takes the request and the subprotocols offered, and returns one of them or None. It
    may raise :exc:`HandshakeError` to refuse the connection."""

    compression: Deflate | None = None
    """How messages are compressed if the client offers it; None: not at all."""

    additional_headers: HeadersLike = ()
    """Headers to add to every 101 response."""

    server_header: str | None = None
    """The value of the header Server; None: no such header."""

    _check_origin: Callable[[str | None, str], None] | None = field(init=False, repr=False)
    _before_key: bytes = field(init=False, repr=False)
    _after_key: bytes = field(init=False, repr=False)
    _answers: dict[str, tuple[bytes, DeflateParams | None]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._check_origin = origin_check(self.origins)
        _check_subprotocols(self.subprotocols)
        headers = Headers(self.additional_headers)
        check_additional(headers, "additional_headers")
        start = "HTTP/1.1 101 Switching Protocols\r\n"
        if self.server_header is not None:
            start += str(Headers(Server=self.server_header))[:-2]
        start += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        self._before_key = start.encode()
        self._after_key = f"\r\n{headers}".encode("latin-1")
        self._answers = {}

    def accept(self, request: Request) -> Accepted:
        """The response to a request, and what was agreed on with it (RFC 6455, section 4.2).

        Raises:
            HandshakeError: the request is no WebSocket handshake (400, 405, 426, 505), or is not allowed
                (:exc:`InvalidOrigin`, 403); :func:`error_response` makes the response to send.
        """
        fields = request.headers.scan()
        if request.method != "GET" or request.version != "HTTP/1.1":
            raise _bad_request_line(request)
        # The first comparison of each pair is what nearly every client sends.
        upgrade = fields.get("upgrade")
        if upgrade != "websocket" and not has_token(upgrade, "websocket"):
            raise _not_a_websocket("Upgrade", upgrade, "this is a WebSocket server: upgrade to websocket")
        connection = fields.get("connection")
        if connection != "Upgrade" and not has_token(connection, "upgrade"):
            raise _not_a_websocket("Connection", connection, "the Connection header does not say Upgrade")
        if fields.get("sec-websocket-version") != "13":
            raise _bad_version(fields.get("sec-websocket-version"))
        key = fields.get("sec-websocket-key")
        if type(key) is not str or not _KEY(key):
            raise InvalidHeader("Sec-WebSocket-Key", _joined(key))
        # A body would be read as frames: what a proxy takes for one must not be there.
        if fields.get("content-length", "0") != "0" or "transfer-encoding" in fields:
            raise HandshakeError("the request has a body; a WebSocket handshake has none")
        if self._check_origin is not None:
            origin = fields.get("origin")
            if origin is not None or self.origins != "same":
                self._allow_origin(origin, fields.get("host"), request)
        accept = b64encode(sha1(key.encode() + _GUID).digest())
        subprotocol = None
        deflate = None
        after = self._after_key
        offered = fields.get("sec-websocket-protocol")
        if offered is not None or self.select_subprotocol is not None:
            subprotocol = self._choose(offered, request)
            if subprotocol is not None:
                after = b"\r\nSec-WebSocket-Protocol: %b%b" % (subprotocol.encode(), after)
        offer = fields.get("sec-websocket-extensions")
        if offer is not None and self.compression is not None:
            answer, deflate = self._negotiate(offer, self.compression)
            after = answer + after
        return Accepted(b"".join((self._before_key, accept, after)), subprotocol, deflate)

    def _allow_origin(
        self, origin: str | list[str] | None, host: str | list[str] | None, request: Request
    ) -> None:
        if isinstance(origin, list):
            raise InvalidOrigin(", ".join(origin))
        if not isinstance(host, str) or not request.path.startswith("/"):
            host = request.host
        assert self._check_origin is not None
        self._check_origin(origin, host)

    def _choose(self, offered: str | list[str] | None, request: Request) -> str | None:
        tokens = parse_tokens("Sec-WebSocket-Protocol", _listed(offered))
        if self.select_subprotocol is None:
            return next((name for name in self.subprotocols if name in tokens), None)
        chosen = self.select_subprotocol(request, tokens)
        if chosen is not None and chosen not in tokens:
            raise ValueError(
                f"select_subprotocol returned {chosen!r}, which the client does not offer: {tokens}"
            )
        return chosen

    def _negotiate(self, offer: str | list[str], compression: Deflate) -> tuple[bytes, DeflateParams | None]:
        """The line of the response for an offer of extensions (none is empty), and what it means."""
        if isinstance(offer, list):
            offer = ", ".join(offer)
        known = self._answers.get(offer)
        if known is not None:
            return known
        agreed = extensions.negotiate(parse_extensions([offer]), compression)
        answer = (b"", None) if agreed is None else (_extension_line(agreed[0]), agreed[1])
        # Clients make few different offers; one that makes up many must not fill the memory.
        if len(self._answers) < _CACHED_OFFERS and len(offer) <= 256:
            self._answers[offer] = answer
        return answer


def _extension_line(value: str) -> bytes:
    return f"\r\nSec-WebSocket-Extensions: {value}".encode()


def _bad_request_line(request: Request) -> HandshakeError:
    if request.method != "GET":
        return HandshakeError(f"the method of a WebSocket handshake is GET, not {request.method}", 405)
    return InvalidMessage(f"a WebSocket handshake needs HTTP/1.1, not {request.version}", 505)


def _not_a_websocket(name: str, value: str | list[str] | None, message: str) -> InvalidHeader:
    return InvalidHeader(name, _joined(value), message, status=426)


def _bad_version(value: str | list[str] | None) -> InvalidHeader:
    if value is None:
        return InvalidHeader("Sec-WebSocket-Version")
    message = f"WebSocket version {_joined(value)!r} is not supported here: use 13"
    return InvalidHeader("Sec-WebSocket-Version", _joined(value), message, status=426)


def has_token(value: str | list[str] | None, token: str) -> bool:
    """Whether a comma-separated list has a token, in whatever case."""
    if value is None:
        return False
    return any(element.strip(" \t").lower() == token for one in _listed(value) for element in one.split(","))


def _listed(value: str | list[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


def _joined(value: str | list[str] | None) -> str | None:
    return ", ".join(value) if isinstance(value, list) else value


def _check_subprotocols(subprotocols: Sequence[str]) -> None:
    if isinstance(subprotocols, str):
        raise TypeError(f"subprotocols is a list: [{subprotocols!r}]")
    for name in subprotocols:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} cannot be a subprotocol: use letters, digits and -._~")
    if len(set(subprotocols)) < len(subprotocols):
        raise ValueError(f"subprotocols has one of them twice: {list(subprotocols)}")


def check_additional(headers: Headers, option: str) -> None:
    """Refuse headers that the handshake sets itself, or must not have; *option* is where they were given.

    Raises:
        ValueError: there is one.
    """
    for name in headers:
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"{option} cannot have {name}: the handshake sets it, or must not have it")


class Negotiated(NamedTuple):
    """What the server's response to a handshake means to the client."""

    subprotocol: str | None
    """The subprotocol agreed on, or None."""

    deflate: DeflateParams | None
    """The parameters of permessage-deflate agreed on; None: messages are not compressed."""


@dataclass(slots=True, kw_only=True)
class ClientHandshake:
    """One opening handshake of a client: the request, and the check of the response to it.

    Raises:
        ValueError: an option has a value that cannot be sent.
        TypeError: an option is of a wrong type.
    """

    host: str
    """The value of the header Host: a host, with a port unless it is the scheme's default one."""

    path: str = "/"
    """What to ask for: path and query, percent-encoded."""

    origin: str | None = None
    """The value of the header Origin; None: no such header."""

    subprotocols: Sequence[str] = ()
    """The subprotocols to offer, the preferred ones first."""

    compression: Deflate | None = None
    """How messages are compressed if the server agrees; None: not at all."""

    additional_headers: HeadersLike = ()
    """Further headers of the request. Those that the handshake itself needs are not among them."""

    user_agent_header: str | None = None
    """The value of the header User-Agent; None: no such header."""

    authorization: str | None = None
    """The value of the header Authorization, as :func:`everwire.websocket.auth.basic_authorization` makes it;
    one in ``additional_headers`` takes precedence."""

    key: str = field(default_factory=lambda: b64encode(token_bytes(16)).decode(), repr=False)
    """The nonce of the handshake, Sec-WebSocket-Key: 16 random bytes in Base64."""

    def __post_init__(self) -> None:
        _check_subprotocols(self.subprotocols)

    def request(self) -> Request:
        """The request to send (RFC 6455, section 4.1)."""
        additional = Headers(self.additional_headers)
        check_additional(additional, "additional_headers")
        headers = Headers()
        if "Host" not in additional:
            headers["Host"] = self.host
        headers["Upgrade"] = "websocket"
        headers["Connection"] = "Upgrade"
        headers["Sec-WebSocket-Key"] = self.key
        headers["Sec-WebSocket-Version"] = "13"
        if self.compression is not None:
            headers["Sec-WebSocket-Extensions"] = extensions.offer(self.compression)
        if self.subprotocols:
            headers["Sec-WebSocket-Protocol"] = ", ".join(self.subprotocols)
        for name, value in (
            ("Origin", self.origin),
            ("User-Agent", self.user_agent_header),
            ("Authorization", self.authorization),
        ):
            if value is not None and name not in additional:
                headers[name] = value
        headers.update(additional)
        return Request("GET", self.path, headers)

    def check(self, response: Response) -> Negotiated:
        """What the response to the request means (RFC 6455, section 4.1).

        Raises:
            InvalidStatus: the status is not 101.
            InvalidHeader: a header that makes it a WebSocket is missing or wrong.
            NegotiationError: it names a subprotocol or an extension that was not offered.
        """
        if response.status != 101:
            raise InvalidStatus(response)
        fields = response.headers.by_name()
        upgrade = fields.get("upgrade")
        if not isinstance(upgrade, str) or upgrade.lower() != "websocket":
            raise InvalidHeader("Upgrade", _joined(upgrade))
        connection = fields.get("connection")
        if not has_token(connection, "upgrade"):
            raise InvalidHeader("Connection", _joined(connection))
        accept = fields.get("sec-websocket-accept")
        if accept != accept_key(self.key):
            raise InvalidHeader("Sec-WebSocket-Accept", _joined(accept))
        offered = parse_extensions(_listed(fields.get("sec-websocket-extensions")))
        deflate = extensions.accept(offered, self.compression)
        return Negotiated(self._subprotocol(fields.get("sec-websocket-protocol")), deflate)

    def _subprotocol(self, answer: str | list[str] | None) -> str | None:
        tokens = parse_tokens("Sec-WebSocket-Protocol", _listed(answer))
        if not tokens:
            return None
        if len(tokens) > 1 or isinstance(answer, list):
            raise NegotiationError(f"the server chose several subprotocols: {_joined(answer)}")
        if tokens[0] not in self.subprotocols:
            raise NegotiationError(f"the server chose the subprotocol {tokens[0]}, which was not offered")
        return tokens[0]
