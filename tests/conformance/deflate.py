"""permessage-deflate done by hand, for peers of what is under test (RFC 7692)."""

from __future__ import annotations

import zlib

from raw import BINARY, RSV1, TEXT, Peer

import everwire

PLAIN = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
"""What both ends agree on by default: messages that stand alone."""

KEEPING = everwire.Deflate(context_takeover=True, threshold=0)


def parameters(value: str) -> dict[str, str | None]:
    """The parameters of one permessage-deflate, each of which is there once."""
    name, *rest = (part.strip() for part in value.split(";"))
    assert name == "permessage-deflate"
    pairs = [part.partition("=") for part in rest]
    assert len({key for key, _, _ in pairs}) == len(pairs), value
    return {key: given if equals else None for key, equals, given in pairs}


class Codec:
    """The compression of one end, as agreed on: windows no larger, no context where there is to be none."""

    def __init__(self, agreed: dict[str, str | None], *, client: bool) -> None:
        ours, theirs = ("client", "server") if client else ("server", "client")
        self.out_bits = max(9, int(agreed.get(f"{ours}_max_window_bits") or 15))
        self.in_bits = int(agreed.get(f"{theirs}_max_window_bits") or 15)
        self.out_alone = f"{ours}_no_context_takeover" in agreed
        self.in_alone = f"{theirs}_no_context_takeover" in agreed
        self.deflater = zlib.compressobj(9, zlib.DEFLATED, -self.out_bits)
        self.inflater = zlib.decompressobj(-self.in_bits)

    def compress(self, data: bytes) -> bytes:
        """The payload of a message (section 7.2.1)."""
        if self.out_alone:
            self.deflater = zlib.compressobj(9, zlib.DEFLATED, -self.out_bits)
        compressed = self.deflater.compress(data) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        assert compressed.endswith(b"\x00\x00\xff\xff")
        return compressed[:-4]

    def decompress(self, payload: bytes) -> bytes:
        """The message of a payload (section 7.2.2)."""
        if self.in_alone:
            self.inflater = zlib.decompressobj(-self.in_bits)
        return self.inflater.decompress(payload + b"\x00\x00\xff\xff")


async def read(peer: Peer, codec: Codec) -> bytes:
    """Read a message: RSV1 of its first frame says whether it is compressed."""
    message = await peer.read_message()
    assert message.opcode in (TEXT, BINARY), message
    assert message.rsv in (0, RSV1)
    return codec.decompress(message.payload) if message.rsv else message.payload
