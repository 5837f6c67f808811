"""The bodies of refusals: their three framings, whole, in pieces, cut off, too long, malformed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.websocket.body import MAX_BODY, Body, BodyReader
from everwire.websocket.messages import Headers, Response


def response(*headers: tuple[str, str], status: int = 403) -> Response:
    return Response(status, "", Headers(headers))


CHUNKED = response(("Transfer-Encoding", "chunked"))


def chunks(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + end


@pytest.mark.parametrize(
    ("head", "data", "body", "done"),
    [
        (response(("Content-Length", "5")), b"hello", b"hello", True),
        (response(("Content-Length", "5")), b"hello world", b"hello", True),
        (response(("Content-Length", "5")), b"hell", b"hell", False),
        (response(("Content-Length", "0")), b"x", b"", True),
        (response(("Content-Length", "+5")), b"hello", b"hello", False),
        (response(("Content-Length", "5"), ("Content-Length", "6")), b"hello", b"hello", False),
        (response(), b"hello", b"hello", False),
        (response(status=204), b"hello", b"", True),
        (response(status=304), b"hello", b"", True),
        (response(status=100), b"hello", b"", True),
        (CHUNKED, chunks(b"hel", b"lo"), b"hello", True),
        (CHUNKED, chunks(b"hello")[:-1], b"hello", False),
        (CHUNKED, b"5;name=value\r\nhello\r\n0\r\nX: y\r\nZ: z\r\n\r\nmore", b"hello", True),
        (CHUNKED, b"A \r\n0123456789\r\n0\r\n\r\n", b"0123456789", True),
        (CHUNKED, b"hello", b"", False),
        (CHUNKED, b"hello\r\n", b"", True),
        (CHUNKED, b"-5\r\nhello\r\n", b"", True),
        (CHUNKED, b"5" * 2000, b"", True),
        (response(("Transfer-Encoding", "gzip, Chunked")), chunks(b"hello"), b"hello", True),
        (response(("Transfer-Encoding", "gzip")), b"hello", b"hello", False),
        (
            response(("Transfer-Encoding", "chunked"), ("Content-Length", "3")),
            chunks(b"hello"),
            b"hello",
            True,
        ),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 7, 10000])
def test_body(head: Response, data: bytes, body: bytes, done: bool, size: int) -> None:
    reading = Body(head)
    for at in range(0, len(data), size):
        if reading.feed(data[at : at + size]):
            break
    assert (reading.data, reading.done) == (body, done)


@pytest.mark.parametrize(
    ("head", "data"),
    [
        (response(("Content-Length", "1000000")), b"a" * 70000),
        (response(), b"a" * 70000),
        (CHUNKED, chunks(*[b"a" * 7000] * 10)),
        (CHUNKED, chunks(b"a" * 70000)),
    ],
)
def test_no_more_is_read_than_is_worth_it(head: Response, data: bytes) -> None:
    reading = Body(head)
    assert reading.feed(data)
    assert reading.data == b"a" * MAX_BODY


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10), st.integers(1, 50))
def test_chunks_in_pieces(parts: list[bytes], size: int) -> None:
    data = chunks(*parts)
    reading = Body(CHUNKED)
    done = [reading.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert done == [False] * (len(done) - 1) + [True]
    assert reading.data == b"".join(parts)


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes_are_read(pieces: list[bytes]) -> None:
    reading = Body(CHUNKED)
    for piece in pieces:
        reading.feed(piece)
    assert len(reading.data) <= sum(map(len, pieces))


@pytest.mark.parametrize("end", ["eof_received", "connection_lost", "finish"])
def test_reader_takes_what_has_come(end: str) -> None:
    async def main() -> None:
        dropped: list[bool] = []
        reader = BodyReader(response(), lambda: dropped.append(True))
        assert reader.needed
        reader.data_received(b"hel")
        reader.data_received(b"lo")
        assert not reader.done.done()
        getattr(reader, end)(*[None] * (end == "connection_lost"))
        reader.finish()
        await reader.done
        assert reader.response.body == b"hello"
        assert dropped == [True]

    asyncio.run(main())


def test_reader_without_body() -> None:
    async def main() -> None:
        assert not BodyReader(response(status=204), lambda: None).needed

    asyncio.run(main())
