"""The client protocol in Protobuf: as the official SDK reads and writes it, and as JSON has it."""

from __future__ import annotations

import json
from typing import Any

import centrifuge.protocol.client_pb2 as official
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from everwire.errors import WireError
from everwire.wire.formats import codec
from everwire.wire.json import JSON
from everwire.wire.messages import (
    ClientInfo,
    Command,
    ConnectRequest,
    EmulationRequest,
    FilterNode,
    Publication,
    PublishRequest,
    Push,
    Reply,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeResult,
)
from everwire.wire.protobuf import CLASSES, PROTOBUF, varint
from wire.examples import messages

MISSING = {
    ("SubRefreshRequest", "type"): (3, "int32"),
    ("PublishRequest", "type"): (3, "int32"),
    ("SubscribeRequest", "type"): (15, "int32"),
}
"""Fields that the official bindings do not have yet, with what ``client.proto`` says of them."""

TYPE_INT32 = 5


def publication(**fields: Any) -> Reply:
    return Reply(push=Push(channel="c", pub=Publication(**fields)))


def test_the_codec_has_a_name() -> None:
    assert codec("protobuf") is PROTOBUF
    assert (PROTOBUF.name, PROTOBUF.binary) == ("protobuf", True)


@pytest.mark.parametrize("message", CLASSES, ids=lambda message: message.__name__)
def test_the_fields_are_those_of_the_official_bindings(message: type) -> None:
    theirs = official.DESCRIPTOR.message_types_by_name[message.__name__]
    for field in CLASSES[message].DESCRIPTOR.fields:
        if (expected := MISSING.get((message.__name__, field.name))) is not None:
            assert (field.number, field.type) == (expected[0], TYPE_INT32)
            continue
        other = theirs.fields_by_name[field.name]
        assert (field.number, field.type) == (other.number, other.type), field.name
        assert field.is_repeated == other.is_repeated
        if field.message_type is not None:
            assert field.message_type.name == other.message_type.name


def parts(frame: bytes) -> list[bytes]:
    """The messages of a frame whose lengths are below 2 ** 14."""
    found: list[bytes] = []
    while frame:
        size, head = frame[0], 1
        if size >= 128:
            size, head = (size & 127) | frame[1] << 7, 2
        found.append(frame[head : head + size])
        frame = frame[head + size :]
    return found


def as_dict(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)


@given(messages(Reply))
def test_the_official_bindings_read_what_is_written(reply: Reply) -> None:
    (part,) = parts(PROTOBUF.encode_replies([reply]))
    theirs = official.Reply.FromString(part)
    assert as_dict(theirs) == as_dict(CLASSES[Reply].FromString(part))
    assert PROTOBUF.decode_replies(varint(len(part)) + part) == [reply]
    again = theirs.SerializeToString()
    assert PROTOBUF.decode_replies(varint(len(again)) + again) == [reply]


@given(messages(Command))
def test_commands_of_the_official_bindings_are_read(command: Command) -> None:
    (part,) = parts(PROTOBUF.encode_commands([command]))
    again = official.Command.FromString(part).SerializeToString()
    assert PROTOBUF.decode_commands(varint(len(again)) + again) == [command]


@given(st.lists(messages(Reply), max_size=1), st.lists(messages(Command), max_size=1))
def test_the_formats_agree(replies: list[Reply], commands: list[Command]) -> None:
    assert (
        PROTOBUF.decode_replies(PROTOBUF.encode_replies(replies))
        == JSON.decode_replies(JSON.encode_replies(replies))
        == replies
    )
    assert (
        PROTOBUF.decode_commands(PROTOBUF.encode_commands(commands))
        == JSON.decode_commands(JSON.encode_commands(commands))
        == commands
    )


@given(messages(Publication), st.text("abc\u20ac", max_size=200), st.integers(0, 2**63 - 1))
def test_publications_by_hand_are_as_those_of_the_library(pub: Publication, channel: str, id_: int) -> None:
    pub.info = None
    pub.tags = {}
    push = Push(id=id_, channel=channel, pub=pub)
    (part,) = parts(PROTOBUF.encode_replies([Reply(push=push)]))
    assert official.Reply.FromString(part).SerializeToString(deterministic=True) == part
    (alone,) = parts(PROTOBUF.encode_push(push))
    assert official.Push.FromString(alone) == official.Reply.FromString(part).push


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 1 << 21])
def test_payloads_of_any_bytes_and_size(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    frame = PROTOBUF.encode_replies([publication(data=Raw(data)), Reply(id=1)])
    first, second = PROTOBUF.decode_replies(frame)
    assert first.push is not None and first.push.pub is not None
    assert bytes(first.push.pub.data) == data
    assert second == Reply(id=1)


def test_ping_and_pong_are_empty() -> None:
    assert PROTOBUF.encode_replies([Reply()]) == PROTOBUF.ping
    assert PROTOBUF.encode_commands([Command()]) == PROTOBUF.pong
    assert PROTOBUF.decode_replies(PROTOBUF.ping) == [Reply()]
    assert PROTOBUF.decode_commands(PROTOBUF.pong * 3) == [Command()] * 3


def test_an_empty_message_is_there() -> None:
    frame = PROTOBUF.encode_replies([Reply(id=3, unsubscribe=UnsubscribeResult())])
    assert PROTOBUF.decode_replies(frame) == [Reply(id=3, unsubscribe=UnsubscribeResult())]


def test_fields_not_known_are_ignored() -> None:
    request = official.Command(id=1, connect=official.ConnectRequest(token="t")).SerializeToString()
    request += b"\xfa\x07\x03abc"  # field 127, of bytes
    assert PROTOBUF.decode_commands(varint(len(request)) + request) == [
        Command(id=1, connect=ConnectRequest(token="t"))
    ]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ("text", "binary"),
        (b"\x05\x08", "1 bytes are left of a message of 5"),
        (b"\x80", "length"),
        (b"\xff" * 5, "length"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "length"),
        (b"\xff\xff\xff\xff\x0f", "left"),
        (b"\x02\x08\x80", "malformed"),
        (b"\x02\xff\xff", "malformed"),
        (b"\x05\x22\x03\x0a\x01\xff", "malformed"),  # a token that is not UTF-8
        (b"\x0d\x2a\x0b\x38" + b"\xff" * 9 + b"\x01", "over the limit"),  # an offset of 2 ** 64 - 1
    ],
)
def test_malformed_frames_are_refused(frame: bytes | str, message: str) -> None:
    with pytest.raises(WireError, match=message):
        PROTOBUF.decode_commands(frame)


@pytest.mark.parametrize("depth", [150, 5000])
def test_deep_nesting_is_refused(depth: int) -> None:
    node = b""
    for _ in range(depth):
        node = b"\x32" + varint(len(node)) + node
    request = b"\x6a" + varint(len(node)) + node
    command = b"\x2a" + varint(len(request)) + request
    with pytest.raises(WireError):
        PROTOBUF.decode_commands(varint(len(command)) + command)


def test_deep_nesting_is_not_written() -> None:
    tree = FilterNode()
    for _ in range(5000):
        tree = FilterNode(nodes=[tree])
    with pytest.raises(WireError):
        PROTOBUF.encode_commands([Command(subscribe=SubscribeRequest(tf=tree))])


@given(st.binary(max_size=60))
def test_any_input_is_read_or_refused(data: bytes) -> None:
    for frame in (data, varint(len(data)) + data):
        try:
            PROTOBUF.decode_commands(frame)
            PROTOBUF.decode_replies(frame)
        except WireError:
            pass


@pytest.mark.parametrize(
    "command",
    [
        Command(id=-1),
        Command(id=1 << 32),
        Command(subscribe=SubscribeRequest(offset=-1)),
        Command(connect=ConnectRequest(token="\ud800")),
        Command(publish=PublishRequest(type=1 << 31)),
    ],
)
def test_values_out_of_bounds_are_not_written(command: Command) -> None:
    with pytest.raises(WireError, match="cannot be written"):
        PROTOBUF.encode_commands([command])


@pytest.mark.parametrize(
    "reply",
    [
        publication(offset=-1),
        publication(offset=1 << 64),
        publication(channel="\ud800"),
        Reply(push=Push(id=1 << 63, pub=Publication())),
        publication(info=ClientInfo(user="\udfff")),
    ],
)
def test_publications_out_of_bounds_are_not_written(reply: Reply) -> None:
    with pytest.raises(WireError, match="cannot be written"):
        PROTOBUF.encode_replies([reply])


def test_times_before_1970() -> None:
    reply = publication(time=-5)
    assert PROTOBUF.decode_replies(PROTOBUF.encode_replies([reply])) == [reply]


def test_what_carries_commands_of_a_session() -> None:
    request = EmulationRequest(node="n", session="s", data=Raw(b"\x00\xff"))
    assert (
        PROTOBUF.decode_emulation(
            official.EmulationRequest(node="n", session="s", data=b"\x00\xff").SerializeToString()
        )
        == request
    )
    text = EmulationRequest(node="n", session="s", data=Raw(b'"{}"'))
    assert JSON.decode_emulation(json.dumps({"node": "n", "session": "s", "data": "{}"})) == text
    for bad in (b"{", b"\xff", b"[]"):
        with pytest.raises(WireError):
            JSON.decode_emulation(bad)
    with pytest.raises(WireError):
        PROTOBUF.decode_emulation(b"\xff")


def test_positions_are_messages() -> None:
    assert CLASSES[StreamPosition].DESCRIPTOR.full_name == "centrifugal.centrifuge.protocol.StreamPosition"
