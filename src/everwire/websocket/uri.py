"""WebSocket URIs (RFC 6455, section 3; RFC 3986): reading them strictly, showing them without their secrets.

One reader serves the URIs of servers and of proxies. It refuses what other readers are known to understand
differently (backslashes, percent-encoded hosts, numbers that only some resolvers take for addresses), so that
the host that was checked is the host that is connected to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin

from everwire.errors import InvalidURI

__all__ = ["Authority", "WebSocketURI", "is_ip_address", "parse_authority", "parse_uri", "redact"]

DEFAULT_PORTS = {"ws": 80, "wss": 443}
SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}

MAX_URI = 8192
"""Length of the longest URI in characters: the longest request line that servers commonly read."""

# Printable ASCII without the delimiters of RFC 3986 goes as it is; "%" too, for it is encoded already.
PATH_SAFE = "!$%&'()*+,/:;=?@[]~"

_split = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_forbidden = re.compile(r"[\x00-\x20\x7f\\]")
_label = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_reg_name = re.compile(rf"(?=.{{1,254}}\Z){_label}(\.{_label})*\.?")
_number = re.compile(r"([0-9]+|0[xX][0-9a-fA-F]*)")
_zone = re.compile(r"[A-Za-z0-9._~-]+")
_percent = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Authority(NamedTuple):
    """The part of a URI that says where, and as whom, to connect (RFC 3986, section 3.2)."""

    host: str
    """A name in ASCII and lower case, or an IP address; an IPv6 address without brackets, with its zone."""

    port: int | None
    username: str | None
    password: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketURI:
    """The URI of a WebSocket server, taken apart.

    Neither ``str`` nor ``repr`` show the user name and the password.
    """

    secure: bool
    """Whether it is ``wss``: TLS."""

    host: str
    """A name in ASCII and lower case, or an IP address; an IPv6 address without brackets, with its zone."""

    port: int

    path: str
    """What to ask for: the path and the query, percent-encoded; never empty (RFC 6455: resource name)."""

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def scheme(self) -> str:
        """``"ws"`` or ``"wss"``."""
        return "wss" if self.secure else "ws"

    @property
    def host_header(self) -> str:
        """The value of the Host header, without the port if it is the scheme's own (RFC 9110, 7.2)."""
        host = bracketed(self.host)
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[bool, str, int]:
        """What two URIs must have in common for one to be given the other's secrets (RFC 6454, section 4)."""
        return self.secure, self.host, self.port

    @property
    def without_query(self) -> str:
        """The URI for errors and logs: a query may hold a token."""
        return str(self).partition("?")[0]

    @property
    def userinfo(self) -> tuple[str, str] | None:
        """The user name and the password, or None if the URI has neither."""
        if self.username is None:
            return None
        return self.username, self.password or ""

    def join(self, reference: str) -> WebSocketURI:
        """The URI that a Location header of this server's answer means (RFC 9110, section 10.2.2).

        The user name and password are kept only within the same origin; a fragment is dropped.

        Raises:
            InvalidURI: it is not a WebSocket URI.
        """
        target = parse_uri(urljoin(str(self), reference.partition("#")[0]))
        if target.origin != self.origin:
            return target.without_userinfo() if target.username is not None else target
        if target.username is None and self.username is not None:
            return target.with_userinfo(self.username, self.password)
        return target

    def without_userinfo(self) -> WebSocketURI:
        """The same URI for anyone."""
        return self.with_userinfo(None, None)

    def with_userinfo(self, username: str | None, password: str | None) -> WebSocketURI:
        """The same URI for another user."""
        return replace(self, username=username, password=password)

    def __str__(self) -> str:
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def parse_uri(uri: str) -> WebSocketURI:
    """Takes a URI of the scheme ``ws``, ``wss``, ``http`` (for ``ws``) or ``https`` (for ``wss``) apart.

    Names in other scripts are encoded as browsers do (UTS 46), spaces and non-ASCII characters of the path
    percent-encoded.

    Raises:
        InvalidURI: it has another scheme, a fragment, no host, or something that is not allowed in a URI.
    """
    # What holds a password is not kept.
    return _parse(uri) if "@" in uri else _parse_cached(uri)


def _parse(uri: str) -> WebSocketURI:
    if len(uri) > MAX_URI:
        raise InvalidURI(redact(uri)[:64] + "...", f"it is longer than {MAX_URI} characters")
    match = _split.match(uri)
    scheme = SCHEMES.get(match["scheme"].lower()) if match is not None else None
    if match is None or scheme is None:
        raise InvalidURI(redact(uri), "it must begin with ws://, wss://, http:// or https://")
    try:
        host, port, username, password = parse_authority(match["authority"])
        path = _resource_name(match["rest"])
    except ValueError as exc:
        raise InvalidURI(redact(uri), str(exc)) from None
    return WebSocketURI(
        secure=scheme == "wss",
        host=host,
        port=DEFAULT_PORTS[scheme] if port is None else port,
        path=path,
        username=username,
        password=password,
    )


_parse_cached = lru_cache(maxsize=64)(_parse)


def parse_authority(authority: str) -> Authority:
    """Takes ``user:password@host:port`` apart.

    Raises:
        ValueError: it is malformed. The message does not quote it, for it may hold a password.
    """
    userinfo, at, hostport = authority.rpartition("@")
    if hostport.startswith("["):
        literal, bracket, rest = hostport[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("its IPv6 address is not between [ and ]")
        host, port = _ipv6(literal), rest[1:]
    else:
        name, _, port = hostport.partition(":")
        if ":" in port:
            raise ValueError("it has too many colons: an IPv6 address is written between [ and ]")
        host = _host(name)
    username, colon, password = userinfo.partition(":")
    return Authority(
        host,
        _port(port) if port else None,
        _unquote(username) if at else None,
        _unquote(password) if colon else None,
    )


def _host(name: str) -> str:
    if not name:
        raise ValueError("it has no host")
    if not name.isascii():
        name = _idna(name)
    name = name.lower()
    labels = name.removesuffix(".").split(".")
    if _number.fullmatch(labels[-1]):
        try:
            return str(IPv4Address(name))
        except AddressValueError:
            raise ValueError("its host is a number but not an IPv4 address of the form 192.0.2.1") from None
    if not _reg_name.fullmatch(name):
        raise ValueError("its host is not a valid name")
    return name


def _ipv6(literal: str) -> str:
    # RFC 6874 writes the zone's % as %25; a bare % is common too.
    address, percent, zone = literal.partition("%")
    zone = zone.removeprefix("25")
    try:
        address = str(IPv6Address(address))
    except AddressValueError:
        raise ValueError("there is no IPv6 address between [ and ]") from None
    if percent and not _zone.fullmatch(zone):
        raise ValueError("the zone of its IPv6 address is not valid")
    return f"{address}%{zone}" if percent else address


def _idna(name: str) -> str:
    try:
        import idna
    except ImportError:
        raise ValueError("its host is not ASCII; to connect to it, install the package idna") from None
    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as exc:
        raise ValueError(f"its host is not a valid international name: {exc}") from None


def _port(port: str) -> int:
    if port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536:
        return int(port)
    raise ValueError("its port is not a number from 1 to 65535")


def _unquote(text: str) -> str:
    if _forbidden.search(text) or _percent.search(text):
        raise ValueError("its user name or password has a character that must be percent-encoded")
    try:
        text = unquote(text, errors="strict")
        text.encode()
    except UnicodeError:
        raise ValueError("its user name or password is not percent-encoded UTF-8") from None
    if any(ord(char) < 32 or char == "\x7f" for char in text):
        raise ValueError("its user name or password has a control character")
    return text


def _resource_name(rest: str) -> str:
    if "#" in rest:
        raise ValueError("it has a fragment, which has no meaning here; a # of the path is written %23")
    if any(char < " " or char == "\x7f" for char in rest):
        raise ValueError("it has a control character")
    if not rest.startswith("/"):
        rest = "/" + rest
    return quote(rest, safe=PATH_SAFE)


def bracketed(host: str) -> str:
    """A host as the Host header writes it: an IPv6 address in brackets, without its zone (RFC 6874)."""
    return f"[{host.partition('%')[0]}]" if ":" in host else host


@lru_cache(maxsize=64)
def is_ip_address(host: str) -> bool:
    """Whether a host as of :class:`WebSocketURI` is an IP address rather than a name."""
    if ":" in host:
        return True
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def redact(uri: str) -> str:
    """A URI, well-formed or not, without anything that may be a user name or a password."""
    head, at, tail = uri.rpartition("@")
    if not at:
        return uri
    scheme, separator, _ = head.partition("://")
    return f"{scheme}://***@{tail}" if separator and scheme.isalnum() else f"***@{tail}"
