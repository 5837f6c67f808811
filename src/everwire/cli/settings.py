"""What ``everwire serve`` is told, read and checked."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from typer import BadParameter

__all__ = [
    "DEFAULT_HOST",
    "DEFAULT_PORT",
    "Loop",
    "Settings",
    "load_tls",
    "parse_address",
    "parse_duration",
    "parse_origins",
    "parse_size",
    "pick_loop",
]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080
UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Loop(StrEnum):
    """Which event loop runs the server."""

    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to serve.

    Attributes:
        host: the interface to listen on.
        port: the port; 0 is any free one.
        unix: the Unix socket to listen on instead of host and port.
        tls: for https and wss; None serves in the clear.
        origins: the web origins whose pages may connect, as everwire.serve() takes them.
        compression: whether permessage-deflate is negotiated.
        max_size: the largest message taken, in bytes; None is without a limit.
        loop: the name of the event loop.
    """

    host: str
    port: int
    unix: Path | None
    tls: ssl.SSLContext | None
    origins: list[str] | None
    compression: bool
    max_size: int | None
    loop: str

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach what is served so."""
        if self.unix is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(
    address: str | None, host: str | None, port: int | None, unix: Path | None
) -> tuple[str, int]:
    """The host and the port of ``HOST:PORT``, ``HOST``, ``PORT`` or ``[IPv6]:PORT``, or of the options.

    Raises:
        BadParameter: it is none of these, or it is said twice where to listen.
    """
    if unix is not None and (address, host, port) != (None, None, None):
        raise BadParameter("--unix takes the place of a host and a port; give one or the other")
    if address is None:
        return host or DEFAULT_HOST, DEFAULT_PORT if port is None else port
    if (host, port) != (None, None):
        raise BadParameter("give the address once: as HOST:PORT, or with --host and --port")
    if address.isdecimal():
        return DEFAULT_HOST, _port(address)
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]/]*))(?::(\d+))?", address)
    if found is None:
        example = (
            f"[{address}]:{DEFAULT_PORT}" if address.count(":") > 1 else f"{DEFAULT_HOST}:{DEFAULT_PORT}"
        )
        raise BadParameter(f"{address!r} is not an address; write it like {example}")
    bracketed, plain, number = found.groups()
    return bracketed or plain or DEFAULT_HOST, DEFAULT_PORT if number is None else _port(number)


def _port(digits: str) -> int:
    if (port := int(digits)) > 65535:
        raise BadParameter(f"{port} is not a port; ports go from 0 to 65535")
    return port


def parse_duration(text: str | None) -> float | None:
    """Seconds: ``30``, ``30s``, ``5m``, ``1h30m``; None: nothing was said.

    Raises:
        BadParameter: it is no duration.
    """
    from everwire.channels.config import Duration

    if text is None:
        return None
    try:
        return float(Duration.parse(text))
    except ValueError as error:
        raise BadParameter(str(error)) from None


def parse_size(size: str) -> int | None:
    """A number of bytes like ``65536``, ``64k`` or ``1MiB``; ``none`` is no limit.

    Raises:
        BadParameter: it is no such number.
    """
    if size.lower() == "none":
        return None
    found = re.fullmatch(r"(\d+) ?([kmg]?)(?:i?b)?", size.lower())
    if found is None or int(found[1]) == 0:
        raise BadParameter(f"{size!r} is not a size; write it like 65536, 64KiB, 1MiB or none")
    return int(found[1]) * UNITS[found[2]]


def parse_origins(origins: list[str]) -> list[str] | None:
    """The server's own origin and these; None is any.

    Raises:
        BadParameter: one is not an origin: it lacks the scheme or has a path.
    """
    for origin in origins:
        if origin not in ("*", "null") and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+", origin, re.I):
            raise BadParameter(
                f"{origin!r} is not an origin; write it like https://example.com, without a path, or '*'"
            )
    return None if "*" in origins else ["same", *origins]


def load_tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """The TLS settings of a certificate's files; None without one.

    Raises:
        BadParameter: there is a key without a certificate, or a file that cannot be used.
    """
    if cert is None:
        if key is not None:
            raise BadParameter("--ssl-key needs --ssl-cert, the file of the certificate")
        return None
    for path in (cert, key):
        if path is not None and not path.is_file():
            raise BadParameter(f"there is no file {path}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        files = f"{cert} and {key}" if key else f"{cert}"
        why = (error.reason or "no PEM file").replace("_", " ").lower()
        raise BadParameter(f"{files} cannot be used as a certificate and its private key: {why}") from error
    return context


def pick_loop(loop: Loop) -> tuple[str, Callable[[], asyncio.AbstractEventLoop] | None]:
    """The name of the event loop and what makes it.

    Raises:
        BadParameter: uvloop was asked for and is not installed.
    """
    if loop is not Loop.ASYNCIO:
        try:
            import uvloop
        except ImportError:
            if loop is Loop.UVLOOP:
                raise BadParameter('uvloop is not installed: pip install "everwire[uvloop]"') from None
        else:
            return "uvloop", uvloop.new_event_loop
    return "asyncio", None
