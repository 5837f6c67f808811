"""The protocol after the handshake, without I/O: any pieces, any fragments, every failure, and an oracle."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from fuzz.seeds import frame, pressed
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection as Oracle
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Message as OracleMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from everwire._core.deflate import deflater, inflater
from everwire._core.sansio import SansIO
from everwire.errors import (
    Close,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidPayload,
    MessageTooBig,
    ProtocolError,
)

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
FIN, RSV1 = 128, 64

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)
payloads = st.one_of(texts, st.binary(max_size=300))
controls = st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125))


def endpoint(
    *, client: bool, deflate: bool | None = None, max_size: int = 1 << 20, threshold: int = 0
) -> SansIO:
    """A side of the protocol; *deflate* True: compressed with context takeover, False: without, None: not."""
    if deflate is None:
        return SansIO(client=client, max_size=max_size)
    codecs = deflater(15, deflate, 6, 8), inflater(15, deflate)
    return SansIO(
        client=client, max_size=max_size, deflater=codecs[0], inflater=codecs[1], threshold=threshold
    )


def as_bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else message


def simple(events: Sequence[tuple[str, Any]]) -> list[tuple[Any, ...]]:
    """Events in a form that can be compared."""
    return [
        (kind, type(value), value.args, type(value.__cause__)) if kind == "close" else (kind, value)
        for kind, value in events
    ]


def read(endpoint: SansIO, stream: bytes, cuts: Sequence[int] = ()) -> list[tuple[str, Any]]:
    """The events of a stream that comes in pieces, which end at the cuts."""
    ends = sorted({min(cut, len(stream)) for cut in cuts})
    for start, end in zip([0, *ends], [*ends, len(stream)], strict=True):
        endpoint.receive_data(stream[start:end])
    return list(endpoint.events_received())


@dataclass(frozen=True)
class Sent:
    """A message in fragments, with control frames before each but the first of them."""

    message: str | bytes
    cuts: tuple[int, ...] = ()
    between: tuple[tuple[int, bytes], ...] = ()

    def fragments(self) -> list[bytes]:
        """The payloads of the frames; a cut may be inside a character."""
        data = as_bytes(self.message)
        ends = sorted(min(cut, len(data)) for cut in self.cuts)
        return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]

    def send(self, endpoint: SansIO) -> None:
        """Have it sent."""
        fragments = self.fragments()
        kind = TEXT if isinstance(self.message, str) else BINARY
        for number, fragment in enumerate(fragments):
            first, last = number == 0, number == len(fragments) - 1
            if not first:
                for opcode, payload in self.between:
                    endpoint.control(opcode, payload)
            endpoint.send(kind if first else CONTINUATION, fragment, first, last)

    def expected(self) -> list[tuple[str, str | bytes]]:
        """The events that it makes."""
        names = {PING: "ping", PONG: "pong"}
        rest: list[tuple[str, str | bytes]] = [(names[opcode], payload) for opcode, payload in self.between]
        return rest * len(self.cuts) + [("message", self.message)]


sent = st.builds(
    Sent,
    payloads,
    st.lists(st.integers(0, 300), max_size=4).map(tuple),
    st.lists(controls, max_size=2).map(tuple),
)
cuts = st.lists(st.integers(0, 3000), max_size=12)
deflates = st.sampled_from((None, False, True))


def stream_of(messages: Sequence[Sent], *, client: bool, deflate: bool | None, close: bool) -> bytes:
    """What a side sends."""
    sender = endpoint(client=client, deflate=deflate)
    for message in messages:
        message.send(sender)
    if close:
        sender.close(1001, "going")
    return sender.data_to_send()


class TestStreams:
    @given(st.lists(sent, max_size=5), cuts, st.booleans(), deflates, st.booleans())
    def test_any_split_means_the_same(
        self, messages: list[Sent], cuts: list[int], client: bool, deflate: bool | None, close: bool
    ) -> None:
        stream = stream_of(messages, client=client, deflate=deflate, close=close)
        expected = [event for message in messages for event in message.expected()]
        receivers = [endpoint(client=not client, deflate=deflate) for _ in range(2)]
        whole, split = read(receivers[0], stream), read(receivers[1], stream, cuts)
        assert simple(whole) == simple(split)
        assert [event for event in split if event[0] != "close"] == expected
        assert bool(split and split[-1][0] == "close") is close

    @settings(max_examples=30)
    @given(st.lists(sent, max_size=2), st.booleans(), deflates)
    def test_byte_by_byte(self, messages: list[Sent], client: bool, deflate: bool | None) -> None:
        stream = stream_of(messages, client=client, deflate=deflate, close=True)
        receiver = endpoint(client=not client, deflate=deflate)
        events = read(receiver, stream, range(len(stream)))
        assert events[:-1] == [event for message in messages for event in message.expected()]

    @given(st.lists(sent, max_size=4), cuts, deflates)
    def test_there_and_back(self, messages: list[Sent], cuts: list[int], deflate: bool | None) -> None:
        client, server = endpoint(client=True, deflate=deflate), endpoint(client=False, deflate=deflate)
        for message in messages:
            message.send(client)
        events = read(server, client.data_to_send(), cuts)
        assert events == [event for message in messages for event in message.expected()]
        pings = [event[1] for event in events if event[0] == "ping"]
        received = [event[1] for event in events if event[0] == "message"]
        for data in received:
            server.send(TEXT if isinstance(data, str) else BINARY, as_bytes(data))
        back = read(client, server.data_to_send(), cuts)
        assert back == [("pong", ping) for ping in pings] + [("message", data) for data in received]

    @pytest.mark.parametrize("message", ["é€\U0001f600", b"123456789"])
    def test_all_fragmentations_of_a_message(self, message: str | bytes) -> None:
        size = len(as_bytes(message))
        for number in range(1 << (size - 1)):
            cuts = tuple(at for at in range(1, size) if number & 1 << (at - 1))
            sent = Sent(message, cuts, ((PING, b""), (PONG, b"p")))
            client, server = endpoint(client=True), endpoint(client=False)
            sent.send(client)
            assert read(server, client.data_to_send()) == sent.expected()
            Sent(message, cuts).send(server)
            pongs = [("pong", b"")] * len(cuts)
            assert read(client, server.data_to_send()) == [*pongs, ("message", message)]

    @pytest.mark.parametrize("size", [125, 126, 127, 65535, 65536, 262144, 262145, 600_000])
    @pytest.mark.parametrize("client", [True, False])
    def test_sizes_at_which_something_changes(self, size: int, client: bool) -> None:
        data = os.urandom(size)
        sender, receiver = endpoint(client=client), endpoint(client=not client)
        sender.send(BINARY, data)
        sender.send(TEXT, b"x" * size)
        stream = sender.data_to_send()
        for step in (1 << 30, 65536, 4093):
            receiver = endpoint(client=not client)
            events = read(receiver, stream, range(0, len(stream), step))
            assert events == [("message", data), ("message", "x" * size)]

    def test_what_is_written_is_what_the_rfc_says(self) -> None:
        server = endpoint(client=False)
        server.send(TEXT, b"Hello")
        server.send(TEXT, b"Hel", True, False)
        server.send(CONTINUATION, b"lo", False, True)
        server.control(PING, b"Hello")
        server.send(BINARY, bytes(256))
        server.send(BINARY, bytes(65536))
        # The examples of RFC 6455, section 5.7.
        assert server.data_to_send() == (
            b"\x81\x05Hello" + b"\x01\x03Hel\x80\x02lo" + b"\x89\x05Hello"
            b"\x82\x7e\x01\x00" + bytes(256) + b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + bytes(65536)
        )
        assert server.data_to_send() == b""

    def test_a_masked_frame_of_the_rfc_is_read(self) -> None:
        server = endpoint(client=False)
        server.receive_data(bytes.fromhex("818537fa213d7f9f4d5158"))
        assert server.events_received() == [("message", "Hello")]
        assert server.events_received() == []

    def test_a_client_masks_with_keys_that_change(self) -> None:
        client = endpoint(client=True)
        keys = set()
        for _ in range(3000):
            client.send(BINARY, b"same")
            data = client.data_to_send()
            assert data[:2] == b"\x82\x84"
            keys.add(data[2:6])
            assert bytes(byte ^ data[2 + i % 4] for i, byte in enumerate(data[6:])) == b"same"
        assert len(keys) > 2990

    def test_compressed_messages_of_the_rfc_are_read(self) -> None:
        # RFC 7692, section 7.2.3: one block, fragments, the window kept, stored, a final block.
        client = endpoint(client=True, deflate=True)
        client.receive_data(bytes.fromhex("c107f248cdc9c90700"))
        client.receive_data(bytes.fromhex("4103f248cd8004c9c90700"))
        client.receive_data(bytes.fromhex("c105f200110000"))
        client.receive_data(bytes.fromhex("c10b000500faff48656c6c6f00"))
        client.receive_data(bytes.fromhex("c108f348cdc9c9070000"))
        assert client.events_received() == [("message", "Hello")] * 5

    def test_small_messages_and_fragments_are_not_compressed(self) -> None:
        server = endpoint(client=False, deflate=False, threshold=10)
        server.send(TEXT, b"a" * 9)
        server.send(TEXT, b"a" * 20, True, False)
        server.send(CONTINUATION, b"a" * 20, False, True)
        plain = server.data_to_send()
        assert plain == b"\x81\x09" + b"a" * 9 + b"\x01\x14" + b"a" * 20 + b"\x80\x14" + b"a" * 20
        server.send(TEXT, b"a" * 10)
        assert server.data_to_send()[0] == FIN | RSV1 | TEXT


def masked(first: int, payload: bytes = b"") -> bytes:
    """A frame of a client."""
    return frame(first, payload, masked=True)


def head(first: int, announced: bytes) -> bytes:
    """A frame's head of a client, with these length bytes."""
    return bytes((first, 128 | announced[0])) + announced[1:] + b"key!"


UTF8_CUT = "€".encode()[:2]
FAILURES: dict[str, tuple[bytes, int, str]] = {
    "reserved bit 1": (masked(FIN | 64 | TEXT), 1002, "reserved bits 100"),
    "reserved bit 2": (masked(FIN | 32 | TEXT), 1002, "reserved bits 010"),
    "reserved bit 3": (masked(FIN | 16 | TEXT), 1002, "reserved bits 001"),
    "reserved bit of a ping": (masked(FIN | 64 | PING), 1002, "reserved bits"),
    **{
        f"opcode {n}": (masked(FIN | n), 1002, f"opcode {n} is reserved")
        for n in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "not masked": (frame(FIN | TEXT, b"hi", masked=False), 1002, "did not mask"),
    "fragmented ping": (masked(PING, b"x"), 1002, "fragmented"),
    "fragmented close": (masked(CLOSE, b"\x03\xe8"), 1002, "fragmented"),
    "long ping": (masked(FIN | PING, bytes(126)), 1002, "126 bytes"),
    "long close": (masked(FIN | CLOSE, b"\x03\xe8" + b"x" * 124), 1002, "126 bytes"),
    "very long pong": (head(FIN | PONG, b"\x7f" + struct.pack("!Q", 1 << 40)), 1002, "more than 125"),
    "nothing to continue": (masked(FIN | CONTINUATION, b"x"), 1002, "continues nothing"),
    "nothing to continue after a message": (
        masked(FIN | TEXT) + masked(CONTINUATION),
        1002,
        "continues nothing",
    ),
    "text in a fragmented message": (
        masked(TEXT, b"a") + masked(FIN | TEXT, b"b"),
        1002,
        "inside a fragmented",
    ),
    "binary in a fragmented message": (
        masked(TEXT, b"a") + masked(BINARY, b"b"),
        1002,
        "inside a fragmented",
    ),
    "16 bits for a short length": (head(FIN | BINARY, b"\x7e\x00\x7d") + bytes(125), 1002, "shortest form"),
    "64 bits for a short length": (
        head(FIN | BINARY, b"\x7f" + struct.pack("!Q", 65535)),
        1002,
        "shortest form",
    ),
    "64 bits for a length": (head(FIN | BINARY, b"\x7f" + struct.pack("!Q", 1 << 63)), 1002, "64 bits"),
    "close with 1 byte": (masked(FIN | CLOSE, b"\x03"), 1002, "1 byte"),
    **{
        f"close code {code}": (masked(FIN | CLOSE, struct.pack("!H", code)), 1002, f"close code {code}")
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
    "close reason not UTF-8": (masked(FIN | CLOSE, b"\x03\xe8\xff"), 1007, "close reason"),
    "close reason cut off": (masked(FIN | CLOSE, b"\x03\xe8" + UTF8_CUT), 1007, "close reason"),
    "text not UTF-8": (masked(FIN | TEXT, b"\xff"), 1007, "not UTF-8"),
    "text with a surrogate": (masked(FIN | TEXT, b"\xed\xa0\x80"), 1007, "not UTF-8"),
    "text cut off": (masked(FIN | TEXT, UTF8_CUT), 1007, "a text message"),
    "fragmented text not UTF-8": (masked(TEXT, b"a") + masked(CONTINUATION, b"\xc0\x80"), 1007, "not UTF-8"),
    "fragmented text cut off": (masked(TEXT, b"a") + masked(FIN, UTF8_CUT), 1007, "inside a character"),
    "too big": (masked(FIN | BINARY, bytes(1001)), 1009, "max_size"),
    "too big by its head": (head(FIN | TEXT, b"\x7f" + struct.pack("!Q", 1 << 62)), 1009, "max_size"),
    "too big in fragments": (masked(TEXT, bytes(600)) + masked(FIN, bytes(401)), 1009, "max_size"),
}


class TestFailures:
    @pytest.mark.parametrize(("stream", "code", "why"), FAILURES.values(), ids=FAILURES.keys())
    def test_code_and_reason(self, stream: bytes, code: int, why: str) -> None:
        for cuts in ((), range(len(stream))):
            server = endpoint(client=False, max_size=1000)
            events = read(server, stream + masked(FIN | TEXT, b"never seen"), cuts)
            kind, error = events[-1]
            assert (kind, type(error)) == ("close", ConnectionClosedError)
            assert all(event == ("message", "") for event in events[:-1])
            failure = error.__cause__
            assert isinstance(failure, ProtocolError)
            assert (failure.code, server.failure) == (code, failure)
            assert why in str(failure)
            assert error.received is None
            assert error.sent is not None
            assert error.sent.code == code
            said = server.data_to_send()
            assert said[:1] == b"\x88"
            assert int.from_bytes(said[2:4], "big") == code
            assert why in said[4:].decode() or len(said) == 127

    def test_the_kinds_of_failures(self) -> None:
        kinds = {1002: ProtocolError, 1007: InvalidPayload, 1009: MessageTooBig}
        for stream, code, _ in FAILURES.values():
            server = endpoint(client=False, max_size=1000)
            server.receive_data(stream)
            assert type(server.failure) is kinds[code]

    def test_text_is_refused_as_soon_as_it_is_wrong(self) -> None:
        server = endpoint(client=False)
        server.receive_data(masked(FIN | TEXT, b"a" * 100 + b"\xff" + b"b" * 1000)[:120])
        assert isinstance(server.failure, InvalidPayload)

    def test_a_message_that_is_too_big_is_refused_by_its_head(self) -> None:
        server = endpoint(client=False, max_size=10)
        server.receive_data(head(FIN | TEXT, b"\x0b"))
        assert isinstance(server.failure, MessageTooBig)

    def test_a_message_of_the_largest_size_is_taken(self) -> None:
        for stream in (masked(FIN | TEXT, b"a" * 10), masked(TEXT, b"a" * 4) + masked(FIN, b"a" * 6)):
            server = endpoint(client=False, max_size=10)
            assert read(server, stream) == [("message", "a" * 10)]

    def test_a_server_may_not_mask(self) -> None:
        client = endpoint(client=True)
        client.receive_data(masked(FIN | TEXT, b"x"))
        assert client.failure is not None
        assert "masked" in str(client.failure)

    @pytest.mark.parametrize("deflate", [False, True])
    def test_compressed_messages(self, deflate: bool) -> None:
        for payload, kind in (
            (b"\xff\xff\xff", InvalidPayload),
            (pressed(b"\xff\xfe"), InvalidPayload),
            (pressed(bytes(2000)), MessageTooBig),
            (bytes(5000), MessageTooBig),
        ):
            server = endpoint(client=False, deflate=deflate, max_size=1000)
            server.receive_data(masked(FIN | RSV1 | TEXT, payload))
            assert type(server.failure) is kind, payload
        server = endpoint(client=False, deflate=deflate, max_size=1000)
        assert read(server, masked(FIN | RSV1 | BINARY, pressed(bytes(1000)))) == [("message", bytes(1000))]

    def test_the_reserved_bit_of_a_continuation(self) -> None:
        server = endpoint(client=False, deflate=False)
        server.receive_data(masked(RSV1 | TEXT, b"") + masked(FIN | RSV1 | CONTINUATION, b""))
        assert server.failure is not None
        assert server.failure.code == 1002

    @pytest.mark.parametrize("first", [RSV1 | TEXT, RSV1 | BINARY])
    def test_a_compressed_message_in_fragments_that_are_too_much(self, first: int) -> None:
        server = endpoint(client=False, deflate=False, max_size=100)
        server.receive_data(masked(first, os.urandom(100)) + masked(0, os.urandom(100)) * 50)
        assert isinstance(server.failure, MessageTooBig)

    def test_nothing_is_set_aside_for_what_is_only_announced(self) -> None:
        import tracemalloc

        tracemalloc.start()
        try:
            server = endpoint(client=False, max_size=1 << 40)
            server.receive_data(head(FIN | BINARY, b"\x7f" + struct.pack("!Q", 1 << 39)) + b"x" * 1000)
            assert tracemalloc.get_traced_memory()[1] < 2 << 20
        finally:
            tracemalloc.stop()
        assert server.failure is None


class TestClosing:
    def test_the_peer_closes(self) -> None:
        client, server = endpoint(client=True), endpoint(client=False)
        client.close(1001, "leaving")
        assert client.state == 2
        assert client.events_received() == []
        [(kind, error)] = read(server, client.data_to_send())
        assert kind == "close"
        assert type(error) is ConnectionClosedOK
        assert (error.received, error.sent, error.received_first) == (
            Close(1001, "leaving"),
            Close(1001, "leaving"),
            True,
        )
        [(kind, error)] = read(client, server.data_to_send())
        assert (error.received, error.sent, error.received_first) == (
            Close(1001, "leaving"),
            Close(1001, "leaving"),
            False,
        )

    def test_both_close_at_once(self) -> None:
        client, server = endpoint(client=True), endpoint(client=False)
        client.close(3000, "c")
        server.close(4999, "s")
        ours, theirs = client.data_to_send(), server.data_to_send()
        [(_, error)] = read(client, theirs)
        assert (error.received, error.sent, type(error)) == (
            Close(4999, "s"),
            Close(3000, "c"),
            ConnectionClosedError,
        )
        [(_, error)] = read(server, ours)
        assert (error.received, error.sent) == (Close(3000, "c"), Close(4999, "s"))
        assert client.data_to_send() == server.data_to_send() == b""

    @pytest.mark.parametrize(
        "code", [1000, 1001, 1002, 1003, 1007, 1008, 1011, 1012, 1014, 3000, 3999, 4000, 4999]
    )
    def test_codes_that_may_be_sent(self, code: int) -> None:
        server = endpoint(client=False)
        [(_, error)] = read(server, masked(FIN | CLOSE, struct.pack("!H", code) + "é".encode()))
        assert error.received == Close(code, "é")
        assert isinstance(error, ConnectionClosedOK) is (code in (1000, 1001))
        assert server.data_to_send() == b"\x88\x04" + struct.pack("!H", code) + "é".encode()

    def test_a_close_frame_without_a_code(self) -> None:
        server = endpoint(client=False)
        [(_, error)] = read(server, masked(FIN | CLOSE))
        assert error.received == Close(1005, "")
        assert isinstance(error, ConnectionClosedOK)
        assert server.data_to_send() == b"\x88\x00"

    def test_closing_again_does_nothing(self) -> None:
        server = endpoint(client=False)
        server.close(1000)
        server.close(1001)
        assert server.data_to_send() == b"\x88\x02\x03\xe8"

    def test_after_our_close_frame_pings_are_not_answered_and_messages_dropped(self) -> None:
        server = endpoint(client=False)
        server.close()
        server.data_to_send()
        events = read(server, masked(FIN | PING, b"x") + masked(FIN | TEXT, b"x") + masked(FIN | CLOSE))
        assert [kind for kind, _ in events] == ["ping", "close"]
        assert server.data_to_send() == b""

    def test_after_its_close_frame_nothing_is_looked_at(self) -> None:
        server = endpoint(client=False)
        events = read(server, masked(FIN | CLOSE) + b"\xff" * 100 + masked(FIN | TEXT))
        assert [kind for kind, _ in events] == ["close"]
        server.receive_data(masked(FIN | TEXT))
        assert server.events_received() == []
        assert server.failure is None

    def test_what_is_wrong_after_our_close_frame_is_a_failure_too(self) -> None:
        server = endpoint(client=False)
        server.close(1000)
        server.data_to_send()
        [(_, error)] = read(server, masked(FIN | 3))
        assert isinstance(error.__cause__, ProtocolError)
        assert error.sent == Close(1000, "")
        assert server.data_to_send() == b""


# Against wsproto


def with_masks(stream: bytes) -> bytes:
    """A server's frames as a client sends them, with the same key always."""
    out, at = b"", 0
    while at < len(stream):
        size, begin = stream[at + 1], at + 2
        if size == 126:
            size, begin = int.from_bytes(stream[begin : begin + 2], "big"), begin + 2
        out += masked(stream[at], stream[begin : begin + size])
        at = begin + size
    return out


def oracle_extensions(*, client: bool, deflate: bool) -> list[PerMessageDeflate]:
    """permessage-deflate as wsproto does it, agreed on with a window for either side."""
    if not deflate:
        return []
    extension = PerMessageDeflate()
    if client:
        extension.finalize("permessage-deflate")
    else:
        extension.accept("permessage-deflate")
    return [extension]


def oracle(*, client: bool, deflate: bool) -> Oracle:
    """wsproto's side of a connection."""
    kind = ConnectionType.CLIENT if client else ConnectionType.SERVER
    return Oracle(kind, list(oracle_extensions(client=client, deflate=deflate)))


def oracle_events(stream: bytes, *, client: bool, deflate: bool) -> tuple[list[tuple[str, Any]], int]:
    """What wsproto makes of a stream: whole messages and control frames, and the code it fails with or 0."""
    found: list[tuple[str, Any]] = []
    parts: list[Any] = []
    protocol = FrameProtocol(client, list(oracle_extensions(client=client, deflate=deflate)))
    protocol.receive_bytes(stream)
    names = {Opcode.PING: "ping", Opcode.PONG: "pong", Opcode.CLOSE: "close"}
    try:
        for received in protocol.received_frames():
            payload: Any = received.payload
            if received.opcode is Opcode.CLOSE:
                found.append(("close", (int(payload[0]), payload[1])))
            elif received.opcode in names:
                found.append((names[received.opcode], bytes(payload)))
            else:
                parts.append(payload)
                if received.message_finished:
                    found.append(("message", ("" if received.opcode is Opcode.TEXT else b"").join(parts)))
                    parts = []
    except ParseFailed as exc:
        return found, int(exc.code)
    return found, 0


def our_events(endpoint: SansIO, stream: bytes) -> tuple[list[tuple[str, Any]], int]:
    """The same of ours."""
    events: list[tuple[str, Any]] = []
    for kind, value in read(endpoint, stream):
        if kind != "close":
            events.append((kind, value))
        elif value.received is not None:
            events.append(("close", tuple(value.received)))
    return events, 0 if endpoint.failure is None else endpoint.failure.code


def merged(sender: Callable[[OracleMessage], bytes], message: Sent) -> bytes:
    """The bytes of a message in fragments as wsproto sends it."""
    kind: Any = TextMessage if isinstance(message.message, str) else BytesMessage
    data = message.message
    ends = sorted(min(cut, len(data)) for cut in message.cuts)
    pieces = [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]
    return b"".join(
        sender(kind(data=piece, message_finished=number == len(pieces) - 1))
        for number, piece in enumerate(pieces)
    )


class TestOracle:
    @given(st.lists(sent, max_size=4), st.booleans(), st.booleans(), st.booleans())
    def test_it_reads_what_we_write(
        self, messages: list[Sent], client: bool, deflate: bool, close: bool
    ) -> None:
        stream = stream_of(messages, client=client, deflate=deflate or None, close=close)
        events, code = oracle_events(stream, client=not client, deflate=deflate)
        assert code == 0
        expected: list[tuple[str, Any]] = [event for message in messages for event in message.expected()]
        assert events == expected + [("close", (1001, "going"))] * close

    @given(st.lists(sent, max_size=4), st.booleans(), st.booleans(), cuts)
    def test_we_read_what_it_writes(
        self, messages: list[Sent], client: bool, deflate: bool, cuts: list[int]
    ) -> None:
        sender = oracle(client=client, deflate=deflate)
        stream = b"".join(merged(sender.send, message) for message in messages)
        stream += sender.send(CloseConnection(code=1000, reason="bye"))
        receiver = endpoint(client=not client, deflate=deflate or None)
        events = read(receiver, stream, cuts)
        assert events[:-1] == [("message", message.message) for message in messages]
        assert events[-1][1].received == Close(1000, "bye")

    @settings(max_examples=300)
    @given(
        st.lists(sent, min_size=1, max_size=3),
        st.booleans(),
        st.booleans(),
        st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3),
    )
    def test_damage_is_judged_alike(
        self, messages: list[Sent], client: bool, deflate: bool, changes: list[tuple[int, int]]
    ) -> None:
        plain = stream_of(messages, client=False, deflate=deflate or None, close=True)
        stream = bytearray(with_masks(plain) if client else plain)
        for place, value in changes:
            stream[place % len(stream)] = value
        # What is cut off is judged when it is complete: with something behind it, every head is.
        judged = bytes(stream) + bytes(2000)
        theirs, their_code = oracle_events(judged, client=not client, deflate=deflate)
        judge = endpoint(client=not client, deflate=deflate or None, max_size=1 << 62)
        ours, our_code = our_events(judge, judged)
        if deflate and 1007 in (our_code, their_code):
            # Of data that does not decompress wsproto takes more (what is cut off) and less (final blocks).
            return
        if ("close", 1014) in [(kind, value[0]) for kind, value in ours if kind == "close"]:
            # wsproto does not know this code, which was registered after RFC 6455.
            assert their_code == 1002
            return
        if our_code == 1009:
            # wsproto has no limit: it waits for the rest of what is announced.
            assert their_code == 0
            return
        assert our_code == their_code
        if not deflate:
            assert ours == theirs

    def test_it_is_not_blind(self) -> None:
        for name, (stream, code, _) in FAILURES.items():
            if code != 1009:
                _, theirs = oracle_events(stream + bytes(2000), client=False, deflate=False)
                assert theirs == code, name
