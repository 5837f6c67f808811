"""Links over HTTP: cutting a stream into frames, wherever the network has cut it."""

from __future__ import annotations

import ssl
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.client.http import Events, Messages, Splitter, delimited, http_client, usual_context
from everwire.client.links import LinkClosed, LinkOptions
from everwire.errors import WireError
from everwire.wire.formats import codec

cuts = st.lists(st.integers(0, 400), max_size=12).map(sorted)


def fed(splitter: Splitter, data: bytes, at: list[int]) -> list[bytes]:
    """What a splitter makes of data that comes in pieces."""
    bounds = [0, *at, len(data)]
    pieces = [data[a:b] for a, b in pairwise(bounds)]
    return [frame for piece in pieces for frame in splitter.feed(piece)]


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b".") + b"x"), max_size=8), cuts)
def test_lines_are_whole(lines: list[bytes], at: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    assert b"".join(fed(Splitter(None), data, at)) == data


@given(st.lists(st.binary(max_size=200), max_size=8), cuts)
def test_messages_are_whole(messages: list[bytes], at: list[int]) -> None:
    data = b"".join(delimited(1, message)[1:] for message in messages)
    frames = fed(Messages(None), data, at)
    assert b"".join(frames) == data
    whole = {0}
    for message in messages:
        whole.add(max(whole) + len(delimited(1, message)) - 1)
    sizes = [len(frame) for frame in frames]
    assert {sum(sizes[: n + 1]) for n in range(len(sizes))} <= whole


@given(st.lists(st.text("ab: é\u2028", min_size=1), max_size=8), st.sampled_from(["\n", "\r\n"]), cuts)
def test_events_are_whole(texts: list[str], end: str, at: list[int]) -> None:
    parts = [end, f": a comment{end}{end}"]
    parts += [f"event: message{end}data: {text}{end}{end}" for text in texts]
    data = "".join(parts).encode()
    assert fed(Events(None), data, at) == [text.encode() for text in texts]


@pytest.mark.parametrize("kind", [Splitter, Events])
def test_a_frame_without_end_is_too_big(kind: type[Splitter]) -> None:
    splitter = kind(100)
    assert splitter.feed(b"data: " + b"x" * 90) == []
    with pytest.raises(LinkClosed) as caught:
        splitter.feed(b"x" * 11)
    assert caught.value.code == 1009


def test_authorities_are_read_once_however_often_a_client_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bool] = []

    def create(*, trust_env: bool) -> ssl.SSLContext:
        read.append(trust_env)
        return ssl.create_default_context()

    monkeypatch.setattr(httpx, "create_ssl_context", create)
    usual_context.cache_clear()
    for _ in range(3):
        http_client(LinkOptions(codec=codec("json"), connect={}))
    assert read == [False]
    usual_context.cache_clear()


def test_a_length_without_end_is_malformed() -> None:
    with pytest.raises(WireError, match="length"):
        Messages(100).feed(b"\xff" * 10)
