"""Where fuzzing begins: inputs of each kind that reach far into the code."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import product

from msgspec import Raw

from everwire._core import fossil
from everwire.wire.formats import codec
from everwire.wire.messages import (
    ClientInfo,
    Command,
    ConnectRequest,
    Error,
    FilterNode,
    Publication,
    PublishRequest,
    Push,
    Reply,
    SubscribeRequest,
    SubscribeResult,
)

KEY = b"\x37\xfa\x21\x3d"

REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)


def frame(first: int, payload: bytes, *, masked: bool, key: bytes = KEY) -> bytes:
    """A frame with this first byte."""
    size = len(payload)
    if size < 126:
        head = bytes((first, masked << 7 | size))
    elif size < 65536:
        head = struct.pack("!BBH", first, masked << 7 | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked << 7 | 127, size)
    if not masked:
        return head + payload
    return head + key + bytes(byte ^ key[i & 3] for i, byte in enumerate(payload))


def pressed(data: bytes) -> bytes:
    """A message compressed (RFC 7692, section 7.2.1)."""
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def streams(*, masked: bool) -> Iterator[bytes]:
    """Streams of frames, good and bad."""

    def make(*parts: tuple[int, bytes]) -> bytes:
        return b"".join(frame(first, payload, masked=masked) for first, payload in parts)

    yield make((0x81, b"hello"))
    yield make((0x82, bytes(range(256))), (0x89, b"ping"), (0x8A, b"pong"), (0x88, b"\x03\xe8bye"))
    yield make((0x81, "κόσμε \U0001f600".encode()))
    yield make((0x01, b"\xce"), (0x00, b"\xba"), (0x89, b""), (0x80, b"\xe1\xbd\xb9"))
    yield make((0x02, b"a" * 300), (0x00, b""), (0x80, b"b" * 70000), (0x88, b""))
    yield make((0xC1, pressed(b"hello hello hello")), (0x81, b"plain"), (0xC2, pressed(bytes(5000))))
    yield make((0x41, pressed(b"in fragments")[:5]), (0x80, pressed(b"in fragments")[5:]))
    yield make((0x81, b"\xed\xa0\x80"))
    yield make((0x81, b"\xff"))
    yield make((0x88, b"\x03"))
    yield make((0x88, b"\x03\xed"))
    yield make((0x88, b"\x0f\xa0\xff"))
    yield make((0x80, b"nothing to continue"))
    yield make((0x01, b"a"), (0x81, b"b"))
    yield make((0x09, b""))
    yield make((0x89, b"x" * 126))
    yield make((0xA1, b"reserved"))
    yield make((0x83, b""))
    yield make((0xC1, b"\xff\xff\xff"))
    yield frame(0x81, b"masked or not", masked=not masked)
    yield bytes((0x81, masked << 7 | 126, 0, 5)) + KEY + b"hello"
    yield bytes((0x82, masked << 7 | 127, 0x80, 0, 0, 0, 0, 0, 0, 0)) + KEY
    yield bytes((0x82, masked << 7 | 127, 0, 0, 0, 1, 0, 0, 0, 0)) + KEY + b"much is announced"
    yield make((0x82, b"c"), (0x82, b"p" * 40), (0x82, b"i" * 20), (0x81, b"a"))


def frames() -> Iterator[bytes]:
    """Both roles, with and without compression, all limits."""
    for number, (client, deflate) in enumerate(product((0, 1), (0, 2, 6))):
        for place, stream in enumerate(streams(masked=not client)):
            yield (
                bytes((client | deflate | (5 - place % 2 * 2) << 3, (number * 31 + place * 17) % 256))
                + stream
            )


def heads() -> Iterator[bytes]:
    """Requests and responses."""
    yield REQUEST
    yield REQUEST.replace(
        b"\r\n\r\n", b"\r\nOrigin: https://example.com\r\nSec-WebSocket-Protocol: chat, x\r\n\r\n"
    )
    offer = b'permessage-deflate; server_max_window_bits="10"; client_max_window_bits=8, permessage-deflate'
    yield REQUEST.replace(b"permessage-deflate; client_max_window_bits", offer)
    yield b"GET http://example.com:80/a?b HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n"
    yield b"POST / HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    yield b"OPTIONS * HTTP/1.0\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\nA : b\r\n\r\n"
    yield b"HTTP/1.1 101 Welcome\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello"
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n"
    yield b"HTTP/1.1 404 \r\nContent-Length: 3\r\n\r\nno!"
    yield b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\nuntil the end"


def compressed() -> Iterator[bytes]:
    """Compressed messages, whole and cut off."""
    for size in (b"\x02", b"\x03"):
        for data in (b"", b"hello " * 20, bytes(range(256)) * 4, bytes(70000)):
            yield size + pressed(data)
            yield size + pressed(data)[: len(data) // 2]
        yield size + zlib.compress(b"a whole stream", wbits=-15)
        yield size + zlib.compress(b"one", wbits=-15) + pressed(b"two") + b"\0"
        yield size + b"\x00\x05\x00\xfa\xffhello\x00"


def connections() -> Iterator[bytes]:
    """Requests with frames behind them."""
    for place, stream in enumerate(streams(masked=True)):
        options = (place % 8) | (place * 16 & 48)
        yield bytes((options | 8, place * 11)) + stream
        yield bytes((options, 255 - place)) + REQUEST + stream


def deltas() -> Iterator[bytes]:
    """Where the two texts part, and both; and a text with what is a delta of it."""
    texts = (b"", b"a" * 40, b"a" * 40 + b"b", b'{"x":[1,2,3],"text":"some more of the same, and on"}' * 4)
    for source in texts:
        for target in texts:
            for second in (target, fossil.create(source, target)):
                parts = source + second
                if len(source) <= 255 * len(parts):
                    yield bytes((255 * len(source) // max(len(parts), 1),)) + parts


def commands() -> Iterator[bytes]:
    """The format, and a frame in it: of commands, and of replies."""
    payload = Raw(b'{"a":1}')
    publication = Publication(data=payload, offset=7, tags={"k": "v"}, info=ClientInfo(user="u", client="c"))
    subscribe = SubscribeRequest(
        channel="a", recover=True, offset=3, epoch="e", tf=FilterNode(key="k", cmp="ex")
    )
    frames_of_commands = (
        [
            Command(id=1, connect=ConnectRequest(token="t", subs={"a": subscribe})),
            Command(id=2, subscribe=subscribe),
        ],
        [Command(id=3, publish=PublishRequest(channel="a", data=payload)), Command()],
    )
    frames_of_replies = (
        [Reply(id=1, subscribe=SubscribeResult(publications=[publication], epoch="e")), Reply()],
        [Reply(push=Push(channel="a", pub=publication)), Reply(id=2, error=Error(code=103, message="no"))],
    )
    for name, first in (("json", b"\xff"), ("protobuf", b"\0")):
        for each in frames_of_commands:
            yield first + codec(name).encode_commands(each)
        for answers in frames_of_replies:
            yield first + codec(name).encode_replies(answers)


SEEDS = {
    "frames": frames,
    "heads": heads,
    "compressed": compressed,
    "connections": connections,
    "deltas": deltas,
    "commands": commands,
}
