"""The client protocol in JSON: what is written can be read, and nothing malformed gets past."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from everwire.errors import WireError
from everwire.wire.formats import codec
from everwire.wire.json import JSON
from everwire.wire.messages import (
    Command,
    ConnectRequest,
    Publication,
    PublishRequest,
    Push,
    Reply,
    SubscribeResult,
)
from wire.examples import messages


def publication(data: bytes, offset: int = 0) -> Reply:
    return Reply(push=Push(channel="c", pub=Publication(data=Raw(data), offset=offset)))


def test_the_codec_has_a_name() -> None:
    assert codec("json") is JSON
    assert (JSON.name, JSON.binary) == ("json", False)
    with pytest.raises(ValueError, match="no format 'xml'"):
        codec("xml")


def test_a_message_a_line() -> None:
    frame = JSON.encode_replies([publication(b'{"a": 1}', 7), Reply(id=2, subscribe=SubscribeResult())])
    assert frame == (b'{"push":{"channel":"c","pub":{"data":{"a": 1},"offset":7}}}\n{"id":2,"subscribe":{}}')
    first, second = JSON.decode_replies(frame)
    assert first.push is not None and first.push.pub is not None
    assert bytes(first.push.pub.data) == b'{"a": 1}'
    assert second == Reply(id=2, subscribe=SubscribeResult())


def test_a_push_alone() -> None:
    push = publication(b"1").push
    assert push is not None
    assert JSON.encode_push(push) == b'{"channel":"c","pub":{"data":1}}'


def test_ping_and_pong_are_empty() -> None:
    assert JSON.encode_replies([Reply()]) == JSON.ping
    assert JSON.encode_commands([Command()]) == JSON.pong
    assert JSON.decode_replies(JSON.ping) == [Reply()]
    assert JSON.decode_commands(JSON.pong) == [Command()]


@pytest.mark.parametrize(
    "frame", ['{"id":1}\n{"id":2}', '{"id":1}\n\n{"id":2}\n', '\r\n{"id":1}\r\n{"id":2}']
)
def test_empty_lines_are_passed_over(frame: str) -> None:
    for form in (frame, frame.encode()):
        assert [command.id for command in JSON.decode_commands(form)] == [1, 2]


def test_a_frame_without_messages() -> None:
    assert JSON.decode_commands(b"") == JSON.decode_commands("\n") == []
    assert JSON.encode_replies([]) == b""


def test_fields_not_known_are_ignored() -> None:
    (command,) = JSON.decode_commands('{"id":1,"connect":{"token":"t","dict":{"a":[1]}},"later":null}')
    assert command == Command(id=1, connect=ConnectRequest(token="t"))


@given(st.lists(messages(Reply), max_size=3))
def test_replies_come_back(replies: list[Reply]) -> None:
    frame = JSON.encode_replies(replies)
    assert JSON.decode_replies(frame) == JSON.decode_replies(frame.decode()) == replies
    assert len([json.loads(line) for line in frame.split(b"\n") if line]) == len(replies)


@given(st.lists(messages(Command), max_size=3))
def test_commands_come_back(commands: list[Command]) -> None:
    assert JSON.decode_commands(JSON.encode_commands(commands)) == commands


@pytest.mark.parametrize(
    "frame",
    [
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"id":1}{"id"',
        b'{"id":-1}',
        b'{"id":4294967296}',
        b'{"id":1.5}',
        b'{"id":1e400}',
        b'{"id":' + b"9" * 100_000 + b"}",
        b'{"id":"1"}',
        b'{"id":NaN}',
        b'{"id":true}',
        b'{"connect":[]}',
        b'{"connect":{"token":1}}',
        b'{"connect":{"headers":{"a":1}}}',
        b'{"subscribe":{"offset":-1}}',
        b'{"subscribe":{"offset":18446744073709551616}}',
        b'{"subscribe":{"tf":' + b'{"nodes":[' * 20_000 + b"]}" * 20_000 + b"}}",
        b'{"publish":{"data":NaN}}',
        b'{"publish":{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"publish":{"data":"\xff"}}',
        b'{"unknown":"\xff"}',
        b'{"publish":{"channel":"\xc3"}}',
        b'{"publish":{"data":"a\nb"}}',
        "\ud800",
    ],
    ids=lambda frame: repr(frame[:40]),
)
def test_malformed_frames_are_refused(frame: bytes | str) -> None:
    with pytest.raises(WireError):
        JSON.decode_commands(frame)


@given(
    st.binary(max_size=40) | st.text(max_size=40) | st.text('{}[]":,\\ \ntruefalsn0123.e-ud8', max_size=60)
)
def test_any_input_is_read_or_refused(frame: bytes | str) -> None:
    try:
        JSON.decode_replies(frame)
        JSON.decode_commands(frame)
    except WireError:
        pass


def test_the_last_of_a_name_twice_counts() -> None:
    assert JSON.decode_commands('{"id":1,"id":2}') == [Command(id=2)]


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"1,2",
        b"'a'",
        b'"\xff"',
        b"\x00\x01",
        b"nan",
        b'1},"channel":"other","x":{"y":2',
        b"[" * 100_000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_payloads_that_are_no_json_are_refused(data: bytes) -> None:
    with pytest.raises(WireError, match="data of a Publication"):
        JSON.encode_replies([publication(data)])
    push = publication(data).push
    assert push is not None
    with pytest.raises(WireError, match="data of a Publication"):
        JSON.encode_push(push)
    with pytest.raises(WireError, match="data of a PublishRequest"):
        JSON.encode_commands([Command(publish=PublishRequest(data=Raw(data)))])


def test_payloads_on_several_lines_come_out_on_one() -> None:
    pretty = b'{\n  "a": [\r\n    1,\n    "b  c"\n  ]\n}\n'
    result = SubscribeResult(publications=[Publication(data=Raw(pretty)), Publication(data=Raw(b"[ ]"))])
    frame = JSON.encode_replies([Reply(id=1, subscribe=result), Reply(id=2)])
    assert frame == (
        b'{"id":1,"subscribe":{"publications":[{"data":{"a":[1,"b  c"]}},{"data":[]}]}}\n{"id":2}'
    )


def test_an_empty_payload_is_left_out() -> None:
    assert JSON.encode_replies([publication(b"")]) == b'{"push":{"channel":"c","pub":{}}}'


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (rb'"a\ud83d"', rb'"a\ufffd"'),
        (rb'"\uDE00a"', rb'"\ufffda"'),
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"\\ud83d"', rb'"\\ud83d"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
    ],
)
def test_half_a_surrogate_pair_is_replaced(written: bytes, kept: bytes) -> None:
    """Browsers write it for an emoji that was cut in two; the client must not be cut off for that."""
    (command,) = JSON.decode_commands(b'{"publish":{"data":' + written + b"}}")
    assert command.publish is not None
    assert bytes(command.publish.data) == kept
    assert kept in JSON.encode_replies([publication(written)])


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(WireError):
        JSON.encode_commands([Command(connect=ConnectRequest(token="\ud800"))])


@given(st.binary(max_size=30) | st.text('{}[]":,\\ \ntruefalsn0123.e-ud8', max_size=40).map(str.encode))
def test_whatever_the_payload_a_frame_is_valid(data: bytes) -> None:
    try:
        frame = JSON.encode_replies([publication(data), Reply(id=1)])
    except WireError:
        return
    first, second = frame.decode().split("\n")
    read: Any = json.loads(first)
    assert read["push"].keys() == {"channel", "pub"}
    assert read["push"]["pub"].keys() <= {"data"}
    assert json.loads(second) == {"id": 1}
