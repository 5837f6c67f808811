"""Messages compressed and decompressed for permessage-deflate (RFC 7692, section 7.2)."""

from typing import Literal, final

from typing_extensions import Buffer

BACKEND: Literal["zlib", "zlib_ng"]
"""The module that does the work."""

@final
class Deflater:
    """Compresses whole messages. :func:`deflater` makes it."""

    window_bits: int
    level: int
    mem_level: int
    context_takeover: bool
    def compress(self, data: Buffer) -> bytes: ...
    def foreign(self) -> int: ...

@final
class Inflater:
    """Decompresses whole messages. :func:`inflater` makes it."""

    window_bits: int
    context_takeover: bool
    def decompress(self, data: Buffer, max_size: int) -> bytes: ...

def deflater(window_bits: int, context_takeover: bool, level: int, mem_level: int) -> Deflater: ...
def inflater(window_bits: int, context_takeover: bool) -> Inflater: ...
