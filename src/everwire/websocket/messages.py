"""The HTTP/1.1 messages of the opening handshake: headers, request and response (RFC 9110, RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qs

from everwire._core import http1

__all__ = ["Headers", "HeadersLike", "MultipleValuesError", "Request", "Response"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"[\x21\x22\x24-\x7e]+")


@runtime_checkable
class SupportsKeysAndGetItem(Protocol):
    """Something like a mapping."""

    def keys(self) -> Iterable[str]: ...
    def __getitem__(self, name: str, /) -> str: ...


HeadersLike = SupportsKeysAndGetItem | Iterable[tuple[str, str]]
"""What headers can be made of: :class:`Headers`, a mapping, or an iterable of ``(name, value)``."""


class MultipleValuesError(LookupError):
    """One value of a header was asked for, and it has several: use :meth:`Headers.get_all`."""

    def __str__(self) -> str:
        return f"the header {self.args[0]} has several values; read them with get_all()" if self.args else ""


class Headers(MutableMapping[str, str]):
    """The header fields of a message: ordered, case-insensitive, with as many values for a name as were sent.

    It is a mapping from names to values. ``headers[name] = value`` replaces all values of the name, and
    :meth:`add` adds one more. Names keep the case in which they came.

    Raises:
        ValueError: a name or a value that HTTP cannot carry (RFC 9110, sections 5.1 and 5.5). Line breaks
            are among these: no value can smuggle in a header of its own.

    >>> headers = Headers({"Set-Cookie": "a=1"}, Server="everwire")
    >>> headers.add("Set-Cookie", "b=2")
    >>> headers["SERVER"], headers.get_all("set-cookie")
    ('everwire', ['a=1', 'b=2'])
    """

    __slots__ = ("_index", "_items")

    def __init__(self, *args: HeadersLike, **kwargs: str) -> None:
        self._items: list[tuple[str, str]] = []
        self._index: dict[str, str | list[str]] | None = None
        for arg in args:
            for name, value in _pairs(arg):
                self.add(name, value)
        for name, value in kwargs.items():
            self.add(name, value)

    @classmethod
    def trusted(cls, items: list[tuple[str, str]]) -> Headers:
        """Headers of pairs that are known to be valid; the list is kept, not copied."""
        self = cls.__new__(cls)
        self._items = items
        self._index = None
        return self

    def by_name(self) -> dict[str, str | list[str]]:
        """The values by lower-case name: a string, or a list if there are several. It must not be changed."""
        index = self._index
        if index is None:
            index = self._index = http1.index(self._items)
        return index

    def scan(self) -> dict[str, str | list[str]]:
        """What :meth:`by_name` gives, without keeping it: an idle connection's headers need no index."""
        return http1.index(self._items) if self._index is None else self._index

    def __getitem__(self, name: str) -> str:
        value = self.by_name()[name.lower()]
        if type(value) is str:
            return value
        raise MultipleValuesError(name)

    def get_all(self, name: str) -> list[str]:
        """All values of a header, in the order in which they came; an empty list if there is none."""
        value = self.by_name().get(name.lower())
        if value is None:
            return []
        return [value] if isinstance(value, str) else value.copy()

    def add(self, name: str, value: str) -> None:
        """Add a value, keeping those that the name has.

        Raises:
            ValueError: HTTP cannot carry the name or the value.
        """
        _check_field(name, value)
        self._items.append((name, value))
        self._index = None

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """Every ``(name, value)``, repeated names included, in order."""
        return iter(self._items)

    def __setitem__(self, name: str, value: str) -> None:
        _check_field(name, value)
        key = name.lower()
        if key not in self.by_name():
            self.add(name, value)
            return
        # The new value takes the place of the first old one.
        place = next(i for i, (known, _) in enumerate(self._items) if known.lower() == key)
        rest = [item for item in self._items[place + 1 :] if item[0].lower() != key]
        self._items[place:] = [(name, value), *rest]
        self._index = None

    def __delitem__(self, name: str) -> None:
        key = name.lower()
        if key not in self.by_name():
            raise KeyError(name)
        self._items = [item for item in self._items if item[0].lower() != key]
        self._index = None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.by_name()

    def __iter__(self) -> Iterator[str]:
        first: dict[str, str] = {}
        for name, _ in self._items:
            first.setdefault(name.lower(), name)
        return iter(first.values())

    def __len__(self) -> int:
        return len(self.by_name())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self.by_name() == other.by_name()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"

    def __str__(self) -> str:
        return "".join([f"{name}: {value}\r\n" for name, value in self._items]) + "\r\n"

    def clear(self) -> None:
        """Remove every header."""
        self._items = []
        self._index = None

    def copy(self) -> Headers:
        """A copy that can be changed independently."""
        return Headers.trusted(self._items.copy())

    def update(self, other: HeadersLike = (), /, **kwargs: str) -> None:
        """Replace the values of every name in ``other`` by all the values that it has there.

        Raises:
            ValueError: HTTP cannot carry a name or a value.
        """
        new = Headers(other, **kwargs)
        for name in new:
            if name in self:
                del self[name]
        self._items.extend(new._items)
        self._index = None


def _pairs(source: HeadersLike) -> Iterable[tuple[str, str]]:
    if isinstance(source, Headers):
        return source.raw_items()
    if isinstance(source, SupportsKeysAndGetItem):
        return [(name, source[name]) for name in source.keys()]  # noqa: SIM118 (it need not be iterable)
    return source


def _check_field(name: str, value: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name: use letters, digits and hyphens")
    if not _VALUE.fullmatch(value):
        raise ValueError(
            f"the header {name} cannot have the value {value!r}: control characters, line breaks and "
            "characters beyond ISO 8859-1 are not allowed; encode it, for example with urllib.parse.quote"
        )


@dataclass(slots=True)
class Request:
    """An HTTP/1.1 request without a body, as it opens a WebSocket (RFC 6455, section 4.1).

    Attributes:
        method: the method, "GET" for a handshake.
        path: the request target as sent, query included: "/chat?room=1".
        headers: the header fields.
        version: "HTTP/1.1" or "HTTP/1.0".
        username: who sent it, if the server asked for a user name and a password; not sent by itself.
    """

    method: str
    path: str
    headers: Headers
    version: str = "HTTP/1.1"
    username: str | None = field(default=None, kw_only=True)

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """The request of a whole head, which ends in an empty line.

        Raises:
            InvalidMessage: with ``status`` 400, 414 (URI too long), 431 (headers too large), 501 (unknown
                transfer coding) or 505 (not HTTP/1.x).
        """
        method, path, minor, items = http1.parse_request(head)
        return cls(method, path, Headers.trusted(items), "HTTP/1.1" if minor else "HTTP/1.0")

    def serialize(self) -> bytes:
        """The bytes of the request.

        Raises:
            ValueError: the method, the target or the version cannot be sent.
        """
        if not _TOKEN.fullmatch(self.method):
            raise ValueError(f"{self.method!r} is not an HTTP method")
        if not _TARGET.fullmatch(self.path):
            raise ValueError(f"{self.path!r} cannot be a request target: percent-encode it")
        if self.version not in ("HTTP/1.1", "HTTP/1.0"):
            raise ValueError(f"{self.version!r} is not HTTP/1.1 or HTTP/1.0")
        return f"{self.method} {self.path} {self.version}\r\n{self.headers}".encode("latin-1")

    @property
    def pathname(self) -> str:
        """The path without the query, percent-encoded as it came: "/chat"."""
        path = self.path.partition("?")[0]
        if path.startswith("/") or "://" not in path:
            return path
        _, slash, rest = path.partition("://")[2].partition("/")
        return slash + rest or "/"

    @property
    def query(self) -> str:
        """The query without its question mark, percent-encoded as it came: "room=1"."""
        return self.path.partition("?")[2]

    @property
    def query_params(self) -> dict[str, list[str]]:
        """The query's fields, decoded: ``{"room": ["1"]}``."""
        return parse_qs(self.query, keep_blank_values=True)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies by name, as sent; of a repeated name the first, most specific one (RFC 6265, 5.4)."""
        found: dict[str, str] = {}
        for header in self.headers.get_all("Cookie"):
            for pair in header.split(";"):
                name, equals, value = pair.strip().partition("=")
                if equals:
                    found.setdefault(name, value)
        return found

    @property
    def host(self) -> str:
        """The host, with a port if one was sent: of an absolute target if there is one, else the Host header
        (RFC 9112, section 3.2.2). Empty if there is neither.
        """
        target = self.path.partition("?")[0]
        if target.startswith("/") or "://" not in target:
            return self.headers.get("Host", "")
        return target.partition("://")[2].partition("/")[0]


@dataclass(slots=True)
class Response:
    """An HTTP/1.1 response.

    Attributes:
        status: the status code: 101 accepts a WebSocket.
        reason: the reason phrase; it means nothing to a client.
        headers: the header fields.
        body: the body, in bytes.
    """

    status: int
    reason: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @classmethod
    def of(cls, status: int, body: str | bytes = b"", headers: HeadersLike = ()) -> Response:
        """A response with the usual reason phrase, and a Content-Type that fits the body unless one is given.

        >>> Response.of(404, "No such room")
        Response(status=404, reason='Not Found', ..., body=b'No such room')
        """
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = ""
        made = Headers(headers)
        if body and "Content-Type" not in made:
            text = isinstance(body, str)
            made["Content-Type"] = "text/plain; charset=utf-8" if text else "application/octet-stream"
        return cls(status, reason, made, body.encode() if isinstance(body, str) else body)

    @classmethod
    def parse(cls, head: bytes) -> Response:
        """The response of a whole head, which ends in an empty line; the body is for the caller to read.

        Raises:
            InvalidMessage: the head is not HTTP/1.x or over a limit.
        """
        status, reason, _, items = http1.parse_response(head)
        return cls(status, reason, Headers.trusted(items))

    def serialize(self) -> bytes:
        """The bytes of the response. A Content-Length is added where the message's end would not be clear.

        Raises:
            ValueError: the status or the reason cannot be sent.
        """
        if not 100 <= self.status <= 999:
            raise ValueError(f"{self.status} is not an HTTP status")
        if not _VALUE.fullmatch(self.reason):
            raise ValueError(f"{self.reason!r} cannot be a reason phrase")
        headers = self.headers
        bodiless = self.status < 200 or self.status in (204, 304)
        if not bodiless and "Content-Length" not in headers and "Transfer-Encoding" not in headers:
            headers = headers.copy()
            headers["Content-Length"] = str(len(self.body))
        head = f"HTTP/1.1 {self.status} {self.reason}\r\n{headers}".encode("latin-1")
        return head if bodiless else head + self.body
