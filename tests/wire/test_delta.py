"""Publications as differences: what the official SDK makes of them is what was published."""

from __future__ import annotations

import json

import pytest
from centrifuge.fossil import apply_delta
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from everwire.errors import WireError
from everwire.wire.codec import Codec
from everwire.wire.delta import apply_difference, difference, full_as_string
from everwire.wire.json import JSON
from everwire.wire.messages import Publication, Push, Reply
from everwire.wire.protobuf import PROTOBUF

OLD = Raw(
    json.dumps({"text": "a piece of text that stays as it is \u20ac", "n": 1}, ensure_ascii=False).encode()
)
NEW = Raw(
    json.dumps({"text": "a piece of text that stays as it is \u20ac", "n": 22}, ensure_ascii=False).encode()
)

payloads = st.lists(
    st.sampled_from(["the same text again ", "\u20ac" * 9, "x", "{", '"', "\n"]), max_size=9
).map("".join)


def test_a_payload_for_json_is_in_a_string() -> None:
    pub = full_as_string(JSON, Publication(data=NEW, offset=2, tags={"a": "b"}))
    assert json.loads(bytes(pub.data)) == bytes(NEW).decode()
    assert (pub.delta, pub.offset, pub.tags) == (False, 2, {"a": "b"})
    assert apply_difference(JSON, b"", pub) == Publication(data=NEW, offset=2, tags={"a": "b"})


@pytest.mark.parametrize("codec", [JSON, PROTOBUF], ids=lambda codec: codec.name)
def test_a_difference_is_shorter(codec: Codec) -> None:
    pub = difference(codec, Publication(data=OLD), Publication(data=NEW, offset=2))
    assert (pub.delta, pub.offset) == (True, 2)
    assert len(bytes(pub.data)) < len(bytes(NEW))
    assert apply_difference(codec, bytes(OLD), pub) == Publication(data=NEW, offset=2)


@pytest.mark.parametrize("codec", [JSON, PROTOBUF], ids=lambda codec: codec.name)
def test_what_shares_nothing_goes_whole(codec: Codec) -> None:
    pub = difference(codec, Publication(data=OLD), Publication(data=Raw(b'"other"')))
    assert not pub.delta
    assert bytes(pub.data) == (b'"\\"other\\""' if codec is JSON else b'"other"')


@given(payloads, payloads)
def test_the_official_sdk_reads_differences(old: str, new: str) -> None:
    pub = difference(JSON, Publication(data=Raw(old.encode())), Publication(data=Raw(new.encode())))
    JSON.encode_replies([Reply(push=Push(pub=pub))])
    read: str = json.loads(bytes(pub.data))
    made = apply_delta(old.encode(), read.encode()) if pub.delta else read.encode()
    assert bytes(made) == new.encode()


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_differences_of_any_bytes(old: bytes, new: bytes) -> None:
    pub = difference(PROTOBUF, Publication(data=Raw(old * 3)), Publication(data=Raw(new + old * 3)))
    assert apply_difference(PROTOBUF, old * 3, pub) == Publication(data=Raw(new + old * 3))


def test_what_is_no_text_is_not_for_json() -> None:
    with pytest.raises(WireError, match="UTF-8"):
        full_as_string(JSON, Publication(data=Raw(b"\xff")))
    with pytest.raises(WireError, match="UTF-8"):
        difference(JSON, Publication(data=OLD), Publication(data=Raw(b"\xff" + bytes(OLD))))


@pytest.mark.parametrize("data", [b"{}", b"1", b'"\\ud800"', b"", b"[" * 9])
def test_data_that_is_not_a_string_is_refused(data: bytes) -> None:
    with pytest.raises(WireError, match="not a string"):
        apply_difference(JSON, b"", Publication(data=Raw(data)))


def test_a_difference_may_not_make_more_than_the_limit() -> None:
    pub = difference(PROTOBUF, Publication(data=OLD), Publication(data=NEW))
    with pytest.raises(WireError, match="over the limit of 10"):
        apply_difference(PROTOBUF, bytes(OLD), pub, max_size=10)
    with pytest.raises(WireError):
        apply_difference(PROTOBUF, b"", pub)
