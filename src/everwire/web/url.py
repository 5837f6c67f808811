"""The URLs of the browser's API (URL standard): read generously, and written as browsers write them."""

from __future__ import annotations

import re
from urllib.parse import quote

from everwire.errors import InvalidURI
from everwire.web.exceptions import DOMException
from everwire.web.idl import scalar_values
from everwire.websocket.uri import WebSocketURI, parse_uri

__all__ = ["read_url", "write_origin", "write_url"]

BLANK = "".join(map(chr, range(0x21)))
"""Characters that do not count at either end: C0 controls and space."""

_start = re.compile(r"(wss?|https?):/*([^/?#]*)", re.IGNORECASE)
_ignored = re.compile(r"[\t\n\r]")
_control = re.compile(r"[\x00-\x1f\x7f]")


def read_url(url: object) -> WebSocketURI:
    """Reads a URL, or anything whose ``str()`` is one, as browsers do: generously, but for the host.

    What is blank around it is ignored, the slashes before the host may be missing, backslashes in the path
    are slashes, ``.`` and ``..`` are resolved. A host that others might read as another one is refused.

    Raises:
        DOMException: ``SyntaxError``: it is not an absolute URL of the scheme ws, wss, http or https, or
            has a fragment.
    """
    text = _ignored.sub("", scalar_values(str(url)).strip(BLANK))
    match = _start.match(text)
    if match is not None:
        path, mark, query = text[match.end() :].partition("?")
        if "#" not in path:
            path = _control.sub(_encode, _without_dots(path.replace("\\", "/")))
        query = _control.sub(_encode, query).replace("'", "%27")
        text = f"{match[1]}://{match[2]}{path}{mark}{query}"
    try:
        return parse_uri(text)
    except InvalidURI as exc:
        raise DOMException(str(exc), "SyntaxError") from exc


def write_url(uri: WebSocketURI) -> str:
    """The URL as browsers write it, with the user name and the password."""
    scheme, _, rest = str(uri).partition("://")
    if uri.userinfo is None:
        return f"{scheme}://{rest}"
    username, password = (quote(each, safe="") for each in uri.userinfo)
    return f"{scheme}://{username}{f':{password}' if password else ''}@{rest}"


def write_origin(uri: WebSocketURI) -> str:
    """The origin of a server: scheme, host, and the port if it is not the scheme's own."""
    return str(uri).removesuffix(uri.path)


def _encode(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}"


def _without_dots(path: str) -> str:
    """A path without the segments ``.`` and ``..``."""
    kept: list[str] = []
    _, *segments = path.split("/")
    for segment in segments:
        plain = segment.lower().replace("%2e", ".")
        if plain == ".." and kept:
            kept.pop()
        if plain not in (".", ".."):
            kept.append(segment)
    if segments and segments[-1].lower().replace("%2e", ".") in (".", ".."):
        kept.append("")
    return "".join(f"/{segment}" for segment in kept)
