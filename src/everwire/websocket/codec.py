"""The compressor and decompressor of a connection, by what its handshake agreed on."""

from __future__ import annotations

from typing import Literal

from everwire._core.deflate import Deflater, Inflater, deflater, inflater
from everwire.websocket.extensions import Deflate, DeflateParams

__all__ = ["as_deflate", "codecs"]

_DEFAULT = Deflate()


def as_deflate(compression: Literal["deflate"] | Deflate | None) -> Deflate | None:
    """Return the parameters that an option ``compression`` stands for.

    Raises:
        ValueError, TypeError: it is none of ``"deflate"``, a :class:`Deflate` and None.
    """
    if compression is None or isinstance(compression, Deflate):
        return compression
    if compression == "deflate":
        return _DEFAULT
    raise ValueError(f"compression is 'deflate', a Deflate or None, not {compression!r}")


def codecs(params: DeflateParams, compression: Deflate, *, client: bool) -> tuple[Deflater, Inflater]:
    """Return what compresses the messages of this side, and what decompresses those of the other one."""
    mine = (params.client_max_window_bits, params.client_no_context_takeover)
    theirs = (params.server_max_window_bits, params.server_no_context_takeover)
    if not client:
        mine, theirs = theirs, mine
    return (
        deflater(mine[0], not mine[1], compression.level, compression.mem_level),
        inflater(theirs[0], not theirs[1]),
    )
