"""The way of a client to a server: what to ask for, how to get there, and where redirects lead."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl as tls
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from everwire.errors import InvalidURI, RedirectError
from everwire.websocket.codec import as_deflate
from everwire.websocket.dial import connect_tcp, connect_unix
from everwire.websocket.extensions import Deflate
from everwire.websocket.messages import Headers, HeadersLike, Response
from everwire.websocket.opening import RequestTemplate, common_template, default_context
from everwire.websocket.proxy import (
    Proxy,
    connect_socks,
    connect_tunnel,
    connect_tunnel_tls,
    environment_proxy,
    parse_proxy,
)
from everwire.websocket.uri import WebSocketURI, parse_uri

__all__ = ["REDIRECTS", "Target", "Way"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})

PRIVATE_HEADERS = ("Authorization", "Cookie", "Host", "Proxy-Authorization")
"""Headers of the user that are for the server of the URI, and for no other one."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to, after so many redirects, and with which of the user's headers."""

    uri: WebSocketURI
    headers: HeadersLike
    foreign: bool = False
    """Whether a redirect has led to another origin than the one asked for."""

    def redirected(self, response: Response) -> Target:
        """Where the server sends us.

        Raises:
            RedirectError: nowhere, or from ``wss`` to ``ws``.
        """
        location = response.headers.get_all("Location")
        if len(location) != 1:
            raise RedirectError(
                f"{self.uri.without_query} answered {response.status} with no or several Location"
            )
        try:
            uri = self.uri.join(location[0])
        except InvalidURI as exc:
            raise RedirectError(f"{self.uri.without_query} redirects to {exc}") from exc
        if self.uri.secure and not uri.secure:
            raise RedirectError(
                f"{self.uri.without_query} redirects to {uri.without_query}: that would send in the clear "
                "what was to be encrypted"
            )
        if uri.origin == self.uri.origin:
            return replace(self, uri=uri)
        headers = Headers(self.headers)
        for name in PRIVATE_HEADERS:
            headers.pop(name, None)
        return Target(uri, headers, foreign=True)


class Way:
    """The options of ``connect`` that say what to ask for and how to get there; its docstring tells them.

    Attributes:
        target: where to begin.
        max_redirects: how many redirects to follow.
        open_timeout: seconds for all until the connection is open, or None.

    Raises:
        InvalidURI: the URI is not one of a WebSocket server.
        ValueError, TypeError: options contradict each other or cannot be sent.
    """

    def __init__(
        self,
        uri: str,
        *,
        origin: str | None,
        subprotocols: Sequence[str] | None,
        compression: Deflate | Literal["deflate"] | None,
        additional_headers: HeadersLike | None,
        user_agent_header: str | None,
        max_redirects: int,
        ssl: tls.SSLContext | Literal[True] | None,
        server_hostname: str | None,
        host: str | None,
        port: int | None,
        sock: socket.socket | None,
        unix: str | os.PathLike[str] | None,
        local_addr: tuple[str, int] | None,
        proxy: str | Literal[True] | None,
        proxy_ssl: tls.SSLContext | None,
        open_timeout: float | None,
    ) -> None:
        target = parse_uri(uri)
        if ssl is not None:
            if not target.secure:
                raise ValueError("ssl is for wss:// and https://: change the URI, or leave ssl out")
            _check_context(ssl)
        if (sock is not None) + (unix is not None) + (host is not None or port is not None) > 1:
            raise ValueError("sock, unix and host/port exclude each other")
        if open_timeout is not None and not open_timeout > 0:
            raise ValueError(
                f"open_timeout must be more than 0 seconds, or None for no limit: {open_timeout!r}"
            )
        if max_redirects < 0:
            raise ValueError(f"max_redirects must be at least 0: {max_redirects!r}")
        self.target = Target(target, () if additional_headers is None else additional_headers)
        self._origin = origin
        if isinstance(subprotocols, str):
            raise TypeError(f"subprotocols is a list: [{subprotocols!r}]")
        self._subprotocols = tuple(subprotocols or ())
        self._compression = as_deflate(compression)
        self._user_agent = user_agent_header
        self._template = self._make_template(self.target)
        self.max_redirects = max_redirects
        self._ssl = None if ssl is True else ssl
        self._server_hostname = server_hostname
        self._host = host
        self._port = port
        self._sock = sock
        self._unix = unix
        self._local_addr = local_addr
        self._proxy: Proxy | bool = parse_proxy(proxy) if isinstance(proxy, str) else bool(proxy)
        self._proxy_ssl = proxy_ssl
        self.open_timeout = open_timeout

    def check_reusable(self) -> None:
        """Raise ValueError if it can be gone only once."""
        if self._sock is not None:
            raise ValueError(
                "sock can be used for one connection only: leave it out to connect again and again"
            )

    def log_again(self, logger: logging.Logger, seconds: float, why: Exception) -> None:
        """Log that it will be gone again, and why."""
        uri = self.target.uri.without_query
        logger.info("%s: %s; connecting again in %.1f seconds", uri, str(why) or type(why).__name__, seconds)

    def too_many_redirects(self) -> RedirectError:
        """The error that ends the following of redirects."""
        return RedirectError(f"{self.target.uri.without_query}: more than {self.max_redirects} redirects")

    def too_late(self, target: Target) -> TimeoutError:
        """The error when ``open_timeout`` has passed on the way to a target."""
        return TimeoutError(
            f"no connection to {target.uri.without_query} within {self.open_timeout:g} seconds (open_timeout)"
        )

    def template(self, target: Target) -> RequestTemplate:
        """The request to send to a target."""
        return self._template if target is self.target else self._make_template(target)

    def _make_template(self, target: Target) -> RequestTemplate:
        uri = target.uri
        if target.headers == () and uri.username is None:
            return common_template(uri, self._subprotocols, self._compression, self._origin, self._user_agent)
        return RequestTemplate(
            uri,
            subprotocols=self._subprotocols,
            compression=self._compression,
            origin=self._origin,
            additional_headers=target.headers,
            user_agent_header=self._user_agent,
        )

    def security(self, target: Target) -> tuple[tls.SSLContext | None, str | None]:
        """The context for TLS and the name that the certificate must have; None and None without TLS."""
        uri = target.uri
        if not uri.secure:
            return None, None
        hostname = self._server_hostname if not target.foreign else None
        return self._ssl or default_context(), hostname or uri.host.partition("%")[0].removesuffix(".")

    def redirected(self, target: Target, response: Response) -> Target:
        """Where a response leads.

        Raises:
            RedirectError: nowhere that one may go.
        """
        new = target.redirected(response)
        way = "sock" if self._sock is not None else None
        if new.uri.origin != target.uri.origin:
            way = way or ("unix" if self._unix is not None else None)
            way = way or ("host" if self._host is not None else "port" if self._port is not None else None)
        if way is not None:
            raise RedirectError(
                f"{target.uri.without_query} redirects to {new.uri.without_query}, but the option {way} says "
                "where to connect"
            )
        return new

    async def dial(self, uri: WebSocketURI) -> socket.socket | asyncio.Transport:
        """Connects to the server, in the way that the options say.

        Returns:
            A connected non-blocking socket; a transport for what goes through TLS to a proxy.

        Raises:
            OSError: the server cannot be reached.
            ProxyError: the proxy refused.
        """
        if self._sock is not None:
            return self._sock
        if self._unix is not None:
            return await connect_unix(self._unix)
        proxy = self._proxy
        if proxy is True:
            proxy = environment_proxy(uri) or False
        host = self._host or uri.host
        port = self._port or uri.port
        local_addr = self._local_addr
        if not isinstance(proxy, Proxy):
            return await connect_tcp(host, port, local_addr=local_addr)
        if proxy.is_socks:
            return await connect_socks(proxy, host, port, local_addr=local_addr)
        if proxy.scheme == "http":
            return await connect_tunnel(proxy, host, port, user_agent=self._user_agent, local_addr=local_addr)
        return await connect_tunnel_tls(
            proxy,
            host,
            port,
            context=self._proxy_ssl or default_context(),
            user_agent=self._user_agent,
            local_addr=local_addr,
        )


def _check_context(option: object) -> None:
    if option is not True and not isinstance(option, tls.SSLContext):
        raise TypeError(f"ssl must be an ssl.SSLContext, True or None, not {option!r}")
