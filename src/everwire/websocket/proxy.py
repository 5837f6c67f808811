"""Connecting through proxies: HTTP and HTTPS (CONNECT, RFC 9110, section 9.3.6) and SOCKS (RFC 1928).

Also which proxy the environment names, and which hosts it exempts (NO_PROXY).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import cast

from everwire._core.http1 import find_head_end
from everwire.errors import InvalidMessage, InvalidStatus, ProxyError
from everwire.websocket.auth import basic_authorization
from everwire.websocket.dial import connect_tcp
from everwire.websocket.messages import Headers, Request, Response
from everwire.websocket.uri import WebSocketURI, bracketed, is_ip_address, parse_authority, redact

__all__ = [
    "Proxy",
    "connect_socks",
    "connect_tunnel",
    "connect_tunnel_tls",
    "environment_proxy",
    "is_exempt",
    "parse_proxy",
]

DEFAULT_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}

WS_VARIABLES = ("ws_proxy", "socks_proxy", "https_proxy", "http_proxy", "all_proxy")
WSS_VARIABLES = ("wss_proxy", "socks_proxy", "https_proxy", "all_proxy")

NO_BRACKETS = str.maketrans("", "", "[]")

MAX_HEAD = 32 * 1024
"""Bytes: the longest head of a proxy's answer."""

# The replies that mean the same as an error of the network (RFC 1928, section 6).
SOCKS_ERRORS = {
    3: errno.ENETUNREACH,
    4: errno.EHOSTUNREACH,
    5: errno.ECONNREFUSED,
    6: errno.ETIMEDOUT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Where a proxy is and how to speak to it; neither ``str`` nor ``repr`` show user name and password."""

    scheme: str
    """``http``, ``https``, ``socks4``, ``socks4a``, ``socks5`` or ``socks5h``.

    With ``socks4a`` and ``socks5h`` the proxy resolves names, with ``socks4`` and ``socks5`` this side does.
    """

    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def is_socks(self) -> bool:
        """Whether it is a SOCKS proxy."""
        return self.scheme.startswith("socks")

    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


def parse_proxy(uri: str) -> Proxy:
    """Takes the URI of a proxy apart.

    Raises:
        ProxyError: it has another scheme, no host, or more than user name, password, host and port.
    """
    scheme, separator, rest = uri.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in DEFAULT_PORTS:
        known = ", ".join(DEFAULT_PORTS)
        raise ProxyError(f"{redact(uri)!r} is not the URI of a proxy: its scheme must be one of {known}")
    authority, _, path = rest.partition("/")
    try:
        if path or "?" in authority or "#" in authority:
            raise ValueError("there is something after the port")
        host, port, username, password = parse_authority(authority)
    except ValueError as exc:
        raise ProxyError(f"{redact(uri)!r} is not the URI of a proxy: {exc}") from None
    return Proxy(
        scheme=scheme,
        host=host,
        port=DEFAULT_PORTS[scheme] if port is None else port,
        username=username,
        password=password,
    )


def environment_proxy(uri: WebSocketURI, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy that the environment names for a server, or None.

    Asked in this order, in lower and then in upper case: ``wss_proxy`` or ``ws_proxy``, ``socks_proxy``,
    ``https_proxy``, for ``ws`` also ``http_proxy``, and ``all_proxy`` (RFC 6455, section 4.1, prefers SOCKS
    to HTTPS to HTTP). An empty value means no proxy. ``no_proxy`` exempts hosts, see :func:`is_exempt`; this
    machine (``localhost`` and the loopback addresses) is always exempt.

    Raises:
        ProxyError: the variable that applies does not hold the URI of a proxy.
    """
    if _is_local(uri.host):
        return None
    for name in WSS_VARIABLES if uri.secure else WS_VARIABLES:
        value = environ.get(name)
        # A CGI server puts a request's Proxy header into HTTP_PROXY.
        if value is None and not (name == "http_proxy" and "REQUEST_METHOD" in environ):
            value = environ.get(name.upper())
        if value is not None:
            break
    else:
        return None
    value = value.strip()
    if not value or is_exempt(uri.host, uri.port, environ.get("no_proxy", environ.get("NO_PROXY", ""))):
        return None
    if "://" not in value:
        value = f"{'socks5h' if name == 'socks_proxy' else 'http'}://{value}"
    try:
        return parse_proxy(value)
    except ProxyError as exc:
        raise ProxyError(f"the environment variable {name}: {exc}") from None


def is_exempt(host: str, port: int, no_proxy: str) -> bool:
    """Whether a list in the form of NO_PROXY names a host, so that no proxy is to be used for it.

    Its entries are separated by commas or spaces. ``example.com``, ``.example.com`` and ``*.example.com`` all
    mean that name and those below it; an IP address means itself, ``10.0.0.0/8`` the addresses of that
    network, ``*`` everything. All but networks may end in ``:port``, which then is to match too. Names are
    not resolved.
    """
    host = host.lower().removesuffix(".")
    address = ip_address(host.partition("%")[0]) if is_ip_address(host) else None
    return any(_matches(entry, host, address, port) for entry in no_proxy.lower().replace(",", " ").split())


def _matches(entry: str, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
    if entry == "*":
        return True
    try:
        if "/" in entry:
            return address is not None and address in ip_network(entry.translate(NO_BRACKETS), strict=False)
        name, entry_port = _split_port(entry)
        if entry_port is not None and entry_port != str(port):
            return False
        if address is not None:
            return address == ip_address(name)
    except ValueError:
        return False
    name = name.removeprefix("*").removeprefix(".").removesuffix(".")
    return bool(name) and (host == name or host.endswith("." + name))


def _split_port(entry: str) -> tuple[str, str | None]:
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest[1:] or None
    name, colon, port = entry.partition(":")
    if ":" in port:
        return entry, None
    return name, port if colon else None


@lru_cache(maxsize=64)
def _is_local(host: str) -> bool:
    if is_ip_address(host):
        return ip_address(host.partition("%")[0]).is_loopback
    name = host.removesuffix(".")
    return name == "localhost" or name.endswith(".localhost")


async def connect_tunnel(
    proxy: Proxy,
    host: str,
    port: int,
    *,
    user_agent: str | None = None,
    local_addr: tuple[str, int] | None = None,
) -> socket.socket:
    """Connects to a server through an HTTP proxy and returns the non-blocking socket.

    Raises:
        ProxyError: the proxy cannot be reached or refuses.
    """
    sock = await _connect_to(proxy, local_addr)
    try:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, connect_request(proxy, host, port, user_agent))
        answer = ConnectAnswer(proxy)
        while not answer.feed(await loop.sock_recv(sock, 4096)):
            pass
    except OSError as exc:
        sock.close()
        raise ProxyError(f"the connection to the proxy {proxy} was lost: {exc}") from exc
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_tunnel_tls(
    proxy: Proxy,
    host: str,
    port: int,
    *,
    context: ssl.SSLContext,
    user_agent: str | None = None,
    local_addr: tuple[str, int] | None = None,
) -> asyncio.Transport:
    """Connects to a server through an HTTPS proxy and returns the transport, whose protocol is to be set.

    Raises:
        ProxyError: the proxy cannot be reached or refuses.
    """
    sock = await _connect_to(proxy, local_addr)
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.create_connection(
            lambda: _ConnectProtocol(
                proxy, connect_request(proxy, host, port, user_agent), loop.create_future()
            ),
            sock=sock,
            ssl=context,
            server_hostname=proxy.host,
        )
    except OSError as exc:
        sock.close()
        raise ProxyError(f"no TLS connection to the proxy {proxy}: {exc}") from exc
    except BaseException:
        sock.close()
        raise
    try:
        await protocol.done
    except BaseException:
        transport.abort()
        raise
    return transport


async def connect_socks(
    proxy: Proxy, host: str, port: int, *, local_addr: tuple[str, int] | None = None
) -> socket.socket:
    """Connects to a server through a SOCKS proxy and returns the non-blocking socket.

    Raises:
        ProxyError: the proxy cannot be reached or refuses, or the extra ``socks`` is not installed.
    """
    try:
        from python_socks import ProxyError as SocksError
        from python_socks import ProxyType
        from python_socks.async_.asyncio import Proxy as SocksProxy
    except ImportError as exc:
        raise ProxyError(
            f"the SOCKS proxy {proxy} needs the package python-socks: pip install everwire[socks]"
        ) from exc
    client = SocksProxy(
        ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        username=proxy.username,
        password=proxy.password,
        rdns=proxy.scheme in ("socks4a", "socks5h"),
        loop=asyncio.get_running_loop(),
    )
    try:
        # The caller's deadline is the one that counts; the library's default is a minute.
        sock = await client.connect(host, port, timeout=86400, local_addr=local_addr)
    except SocksError as exc:
        cause: Exception = exc
        if exc.error_code in SOCKS_ERRORS and proxy.scheme.startswith("socks5"):
            cause = OSError(SOCKS_ERRORS[exc.error_code], str(exc))
        raise ProxyError(f"the proxy {proxy} refused: {exc}") from cause
    except OSError as exc:
        raise ProxyError(f"cannot connect through the proxy {proxy}: {exc}") from exc
    except ValueError:
        # The reason would show the password.
        raise ProxyError(
            f"the user name and the password for {proxy} must each be ASCII of at most 255 bytes"
        ) from None
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def _connect_to(proxy: Proxy, local_addr: tuple[str, int] | None) -> socket.socket:
    try:
        return await connect_tcp(proxy.host, proxy.port, local_addr=local_addr)
    except OSError as exc:
        raise ProxyError(f"cannot connect to the proxy {proxy}: {exc}") from exc


def connect_request(proxy: Proxy, host: str, port: int, user_agent: str | None) -> bytes:
    """What asks an HTTP proxy for a tunnel (RFC 9110, section 9.3.6)."""
    target = f"{bracketed(host)}:{port}"
    headers = Headers([("Host", target)])
    if user_agent is not None:
        headers.add("User-Agent", user_agent)
    if proxy.username is not None:
        headers.add("Proxy-Authorization", basic_authorization(proxy.username, proxy.password or ""))
    return Request("CONNECT", target, headers).serialize()


class ConnectAnswer:
    """Reads a proxy's answer to CONNECT, without I/O."""

    __slots__ = ("_data", "_proxy")

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._data = b""

    def feed(self, data: bytes) -> bool:
        """Takes what was received, nothing for the end of the stream; whether the tunnel stands.

        Raises:
            ProxyError: it does not.
        """
        if not data:
            raise ProxyError(f"the proxy {self._proxy} closed the connection without an answer")
        self._data += data
        end = find_head_end(self._data)
        if end < 0:
            if len(self._data) > MAX_HEAD:
                raise ProxyError(
                    f"the proxy {self._proxy} answered with a head of more than {MAX_HEAD} bytes"
                )
            return False
        try:
            response = Response.parse(self._data[:end])
        except InvalidMessage as exc:
            raise ProxyError(f"the proxy {self._proxy} did not answer in HTTP/1.1: {exc}") from exc
        if not 200 <= response.status < 300:
            raise ProxyError(
                f"the proxy {self._proxy} answered {response.status} {response.reason}"
            ) from InvalidStatus(response)
        if len(self._data) > end:
            # Both TLS and WebSocket clients speak first: these bytes are not the server's.
            raise ProxyError(f"the proxy {self._proxy} sent data before the server could have")
        return True


class _ConnectProtocol(asyncio.Protocol):
    """CONNECT inside TLS to the proxy."""

    def __init__(self, proxy: Proxy, request: bytes, done: asyncio.Future[None]) -> None:
        self._answer = ConnectAnswer(proxy)
        self._request = request
        self._proxy = proxy
        self.done = done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of other loops are no subclasses.
        cast("asyncio.WriteTransport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def eof_received(self) -> None:
        self._feed(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            error = ProxyError(
                f"the connection to the proxy {self._proxy} was lost" + (f": {exc}" if exc else "")
            )
            error.__cause__ = exc
            self.done.set_exception(error)

    def _feed(self, data: bytes) -> None:
        if self.done.done():
            return
        try:
            if self._answer.feed(data):
                self.done.set_result(None)
        except ProxyError as exc:
            self.done.set_exception(exc)
