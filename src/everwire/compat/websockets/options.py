"""What the options of ``websockets`` mean to everwire."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence

from everwire.compat.websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from everwire.websocket.codec import as_deflate
from everwire.websocket.extensions import Deflate

__all__ = [
    "Limit",
    "as_compression",
    "as_max_queue",
    "as_max_size",
    "as_write_limit",
    "check_unknown",
    "unix_path",
]

Limit = int | tuple[int | None, int | None] | None
"""A limit; a pair of limits; None for none."""

UNSUPPORTED = {
    "family": "give an address of that family as host",
    "flags": "leave it out",
    "proto": "leave it out",
    "happy_eyeballs_delay": "addresses are always tried 0.25 seconds apart",
    "interleave": "addresses are always interleaved",
    "all_errors": "leave it out",
    "keep_alive": "set SO_KEEPALIVE on a socket of your own and give it as sock",
    "ssl_handshake_timeout": "open_timeout includes the TLS handshake",
    "ssl_shutdown_timeout": "close_timeout bounds the end of a connection",
    "proxy_server_hostname": "name the proxy as in its certificate",
    "proxy_ssl_handshake_timeout": "open_timeout includes the proxy's TLS handshake",
    "proxy_ssl_shutdown_timeout": "close_timeout bounds the end of a connection",
}
"""Options of ``websockets``, or of asyncio below it, that are not taken, and what to do about it."""


def check_unknown(options: Iterable[str], function: str) -> None:
    """Refuse options that are left over.

    Raises:
        TypeError: there are any; the message says what to do instead.
    """
    for name in options:
        if name in UNSUPPORTED:
            raise TypeError(
                f"{function} of everwire.compat.websockets has no option {name}: {UNSUPPORTED[name]}"
            )
        raise TypeError(f"{function} got an unexpected keyword argument {name!r}")


def unix_path(
    unix: bool, path: str | os.PathLike[str] | None, sock: socket.socket | None
) -> str | os.PathLike[str] | None:
    """The path of a Unix socket, if that is the way.

    Raises:
        ValueError: it is, and there is neither a path nor a socket.
    """
    if unix and path is None and sock is None:
        raise ValueError("a Unix socket needs a path, or a socket of your own as sock")
    return path if unix else None


def as_compression(compression: str | None, extensions: Sequence[object] | None) -> Deflate | None:
    """The option ``compression`` of everwire for ``compression`` and ``extensions`` of ``websockets``.

    Raises:
        ValueError: the compression is neither ``"deflate"`` nor None.
        TypeError: there is another extension than permessage-deflate.
    """
    for extension in extensions or ():
        if not isinstance(extension, ServerPerMessageDeflateFactory):
            raise TypeError(
                f"the extension {extension!r} is not supported: everwire speaks permessage-deflate alone, "
                "by the factories of everwire.compat.websockets.extensions.permessage_deflate"
            )
        return extension.deflate()
    if compression not in ("deflate", None):
        raise ValueError(f"compression is 'deflate' or None, not {compression!r}")
    return as_deflate("deflate") if compression else None


def as_max_size(max_size: Limit) -> int | None:
    """The limit for a message; of a pair (message, fragment) the first, for a fragment is never larger.

    Raises:
        ValueError: the pair limits fragments alone, which everwire does not.
    """
    if not isinstance(max_size, tuple):
        return max_size
    message, fragment = max_size
    if message is None and fragment is not None:
        raise ValueError(
            f"max_size is {max_size}: everwire limits messages, not fragments alone; give the first one, too"
        )
    return message


def as_max_queue(max_queue: Limit) -> int | None:
    """The number of messages from which on reading pauses; of a pair (high, low) the first."""
    return max_queue[0] if isinstance(max_queue, tuple) else max_queue


def as_write_limit(write_limit: int | tuple[int, int | None]) -> int | tuple[int, int]:
    """The bytes from which on ``send`` waits, and those from which on it goes on."""
    if not isinstance(write_limit, tuple):
        return write_limit
    high, low = write_limit
    return high if low is None else (high, low)
