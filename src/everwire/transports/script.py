"""The JavaScript module ``everwire.js``, and its delivery."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["answer_script", "script"]


@cache
def script() -> tuple[bytes, bytes]:
    """The module and its entity tag."""
    source = resources.files("everwire").joinpath("js", "everwire.js").read_bytes()
    return source, b'"%b"' % hashlib.sha256(source).hexdigest()[:32].encode()


async def answer_script(scope: MutableMapping[str, Any], send: Callable[[Any], Awaitable[None]]) -> None:
    """Answer an HTTP request for the module: any page may import it, from any origin."""
    source, tag = script()
    method = scope["method"]
    headers = [
        (b"content-type", b"text/javascript; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"etag", tag),
        (b"access-control-allow-origin", b"*"),
        (b"cross-origin-resource-policy", b"cross-origin"),
        (b"x-content-type-options", b"nosniff"),
    ]
    status, body = 200, source
    if method not in ("GET", "HEAD"):
        status, body = 405, b"This is a file: GET it.\n"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"allow", b"GET, HEAD")]
    elif tag in dict(scope["headers"]).get(b"if-none-match", b""):
        status, body = 304, b""
    if status != 304:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
