"""Which pages may open a WebSocket: the check of the Origin header (RFC 6455, section 10.2; RFC 6454).

Browsers let any page open a WebSocket to any server, and send the user's cookies along. The Origin header,
which a page cannot forge, says where the page is from; a server that ignores it serves every page there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

from everwire.errors import InvalidOrigin

__all__ = ["Origins", "origin_check"]

Origins = Literal["same"] | Sequence[str | re.Pattern[str] | None] | None
"""The option ``origins``: what the Origin of a request may be.

- ``"same"``: the origin has the host and the port of the request's own Host header, or there is no Origin,
  since then no browser's page is behind it.
- a sequence, any of: ``"https://example.com"``; a compiled pattern, which must match the whole origin;
  ``"same"``; None, for a request without an Origin.
- None: anything.
"""

OriginCheck = Callable[[str | None, str], None]
"""Takes the value of the Origin header, or None, and that of the Host header; raises InvalidOrigin."""

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@\s\\]+)")
_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


def origin_check(origins: Origins) -> OriginCheck | None:
    """The check for an option ``origins``; None if anything passes.

    Raises:
        ValueError: an entry is no origin.
        TypeError: an entry is neither a string, nor a pattern, nor None.
    """
    if origins is None:
        return None
    if origins == "same":
        return _check_same
    if isinstance(origins, str):
        raise TypeError(f"origins is a list: [{origins!r}]")
    names: set[str] = set()
    patterns: list[re.Pattern[str]] = []
    same = False
    for entry in origins:
        if entry == "same":
            same = True
        elif isinstance(entry, str):
            names.add(_listed(entry))
        elif isinstance(entry, re.Pattern):
            patterns.append(entry)
        elif entry is not None:
            raise TypeError(f"an entry of origins is a string, a pattern or None, not {entry!r}")
    absent = same or None in origins

    def check(origin: str | None, host: str) -> None:
        if origin is None:
            if absent:
                return
        elif (
            _normal(origin) in names
            or any(pattern.fullmatch(origin) for pattern in patterns)
            or (same and is_same_origin(origin, host))
        ):
            return
        raise InvalidOrigin(origin)

    return check


def _check_same(origin: str | None, host: str) -> None:
    if origin is not None and not is_same_origin(origin, host):
        raise InvalidOrigin(origin)


def is_same_origin(origin: str, host: str) -> bool:
    """Whether an origin has the host and port of a Host header.

    The schemes are not compared, because a proxy may have taken off the TLS; a port that is not given is the
    default one of the origin's scheme.
    """
    scheme, separator, authority = origin.partition("://")
    if not separator or not authority:
        return False
    if authority == host:
        return True
    default = _PORTS.get(scheme.lower())
    authority, host = authority.lower(), host.lower()
    if authority == host:
        return True
    if default is None:
        return False
    return authority.removesuffix(default) == host.removesuffix(default)


def _normal(origin: str) -> str:
    """An origin in lower case and without a port that is its scheme's default (RFC 6454, section 6.2)."""
    origin = origin.lower()
    default = _PORTS.get(origin.partition("://")[0])
    return origin if default is None else origin.removesuffix(default)


def _listed(entry: str) -> str:
    normal = _normal(entry)
    if normal != "null" and not _ORIGIN.fullmatch(normal):
        raise ValueError(
            f"{entry!r} in origins is no origin: write scheme://host or scheme://host:port, without a path"
        )
    return normal
