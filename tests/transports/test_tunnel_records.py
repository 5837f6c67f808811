"""Records of tunnels: what was written is read again, in whatever pieces it comes; nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.errors import MessageTooBig, ProtocolError
from everwire.transports.tunnel.records import BINARY, CLOSE, TEXT, Reader, Record, as_bytes, close_record

records = st.builds(Record, st.sampled_from([TEXT, BINARY, CLOSE]), st.binary(max_size=50))


def read(
    pieces: list[bytes], *, max_line: int = 100, max_size: int = 50
) -> tuple[bytes | None, list[Record]]:
    """What a reader makes of a body that comes in these pieces."""
    reader = Reader(max_line=max_line, max_size=max_size)
    found: list[Record] = []
    for piece in pieces:
        reader.feed(piece)
        found += reader.records()
    reader.finish()
    return reader.line, found


@given(st.lists(records, max_size=8), st.lists(st.integers(1, 40), max_size=30))
def test_records_come_back_in_whatever_pieces(sent: list[Record], sizes: list[int]) -> None:
    body = b'{"op": "send"}\n' + b"".join(map(as_bytes, sent))
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(body[:size])
        body = body[size:]
    assert read([*pieces, body]) == (b'{"op": "send"}', sent)


@given(st.lists(st.binary(max_size=120), max_size=6))
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    try:
        line, found = read(pieces)
    except ProtocolError:
        return
    assert line is not None
    assert len(line) <= 100
    assert all(len(record.payload) <= 50 for record in found)


@given(st.binary(max_size=130))
def test_any_close_is_read_or_refused(payload: bytes) -> None:
    try:
        code, reason = Record(CLOSE, payload).close_frame()
    except ProtocolError:
        return
    assert close_record(code, reason) == Record(CLOSE, payload)
    assert code == 1005 or 1000 <= code <= 4999


def test_a_large_record_is_refused_before_it_has_come() -> None:
    reader = Reader(max_line=100, max_size=50)
    reader.feed(b"{}\nb" + (51).to_bytes(4, "big"))
    with pytest.raises(MessageTooBig, match="51 bytes is over the limit of 50"):
        list(reader.records())


def test_a_body_that_ends_too_early() -> None:
    with pytest.raises(ProtocolError, match="within a record"):
        read([b"{}\n", as_bytes(Record(TEXT, b"abc"))[:-1]])
