"""The protocol without I/O, from the handshake on: servers and clients that talk in memory."""

from __future__ import annotations

import dataclasses
import doctest
import random
from collections.abc import Callable
from typing import Any

import pytest
from fuzz.seeds import REQUEST, frame
from hypothesis import given
from hypothesis import strategies as st

import everwire.websocket.protocol
from everwire import (
    Close,
    ConnectionClosedError,
    ConnectionClosedOK,
    Deflate,
    HandshakeError,
    InvalidHeader,
    InvalidMessage,
    InvalidOrigin,
    InvalidState,
    InvalidStatus,
    InvalidURI,
    MessageTooBig,
    NegotiationError,
)
from everwire.websocket.protocol import (
    ClientProtocol,
    Closed,
    Event,
    HandshakeFailed,
    Message,
    Ping,
    Pong,
    RequestReceived,
    ResponseReceived,
    ServerProtocol,
    State,
)

URI = "ws://example.com/chat?room=1"
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
"""The answer to REQUEST, without compression."""


def pair(
    *, server: dict[str, Any] | None = None, client: dict[str, Any] | None = None
) -> tuple[ServerProtocol, ClientProtocol]:
    """A server and a client that have shaken hands."""
    ours, theirs = ServerProtocol(**(server or {})), ClientProtocol(URI, **(client or {}))
    ours.receive_data(theirs.data_to_send())
    assert [type(event) for event in ours.events()] == [RequestReceived]
    assert ours.accept().status == 101
    theirs.receive_data(ours.data_to_send())
    assert [type(event) for event in theirs.events()] == [ResponseReceived]
    assert (ours.state, theirs.state) == (State.OPEN, State.OPEN)
    return ours, theirs


def opened(**options: Any) -> ServerProtocol:
    """A server with a connection, without compression."""
    server = ServerProtocol(compression=None, **options)
    server.receive_data(REQUEST)
    server.accept()
    server.data_to_send()
    server.events()
    return server


def masked(first: int, payload: bytes = b"") -> bytes:
    return frame(first, payload, masked=True)


def failure(events: list[Event]) -> HandshakeError:
    """The error of the handshake, which is the last event."""
    assert isinstance(events[-1], HandshakeFailed)
    return events[-1].error


def move(source: ServerProtocol | ClientProtocol, target: ServerProtocol | ClientProtocol) -> list[Event]:
    """Bring what one has to send to the other one; the events there."""
    target.receive_data(source.data_to_send())
    return target.events()


def test_the_example_of_the_module() -> None:
    failed, tried = doctest.testmod(everwire.websocket.protocol, raise_on_error=True)
    assert (failed, tried > 5) == (0, True)


class TestServerHandshake:
    def test_accepts(self) -> None:
        server = ServerProtocol(compression=None)
        assert (server.state, server.request, server.response) == (State.CONNECTING, None, None)
        server.receive_data(REQUEST)
        [event] = server.events()
        assert isinstance(event, RequestReceived)
        assert event.request is server.request
        assert (event.request.method, event.request.path) == ("GET", "/chat")
        assert server.state is State.CONNECTING
        assert server.data_to_send() == b""
        response = server.accept()
        assert response is server.response
        assert server.data_to_send() == ACCEPTED
        assert server.data_to_send() == b""
        assert (server.state, server.should_close) == (State.OPEN, False)

    @pytest.mark.parametrize("step", [1, 7, 100])
    def test_the_request_may_come_in_pieces(self, step: int) -> None:
        server = ServerProtocol(compression=None)
        for at in range(0, len(REQUEST), step):
            assert server.events() == []
            server.receive_data(REQUEST[at : at + step])
        assert [type(event) for event in server.events()] == [RequestReceived]

    def test_frames_behind_the_request_wait_for_the_answer(self) -> None:
        server = ServerProtocol(compression=None)
        server.receive_data(REQUEST + masked(0x81, b"early")[:3])
        server.receive_data(masked(0x81, b"early")[3:])
        assert [type(event) for event in server.events()] == [RequestReceived]
        server.accept()
        assert server.events() == [Message("early")]

    def test_options(self) -> None:
        server, client = pair(
            server={
                "subprotocols": ["b", "a"],
                "origins": ["https://example.com"],
                "additional_headers": {"X-More": "1"},
                "server_header": "everwire",
            },
            client={"subprotocols": ["a", "b"], "origin": "https://example.com"},
        )
        assert (server.subprotocol, client.subprotocol) == ("b", "b")
        assert client.response is not None
        assert (client.response.headers["X-More"], client.response.headers["Server"]) == ("1", "everwire")
        server, client = pair(
            server={"select_subprotocol": lambda request, offered: offered[-1]},
            client={"subprotocols": ["x", "y"]},
        )
        assert (server.subprotocol, client.subprotocol) == ("y", "y")

    @pytest.mark.parametrize(
        ("old", "new", "status", "kind"),
        [
            (b"GET", b"POST", 405, HandshakeError),
            (b"HTTP/1.1", b"HTTP/1.0", 505, InvalidMessage),
            (b"Upgrade: websocket\r\n", b"", 426, InvalidHeader),
            (b"Version: 13", b"Version: 8", 426, InvalidHeader),
            (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", 400, InvalidHeader),
            (b"\r\n\r\n", b"\r\nOrigin: https://evil.example\r\n\r\n", 403, InvalidOrigin),
        ],
    )
    def test_a_request_that_is_not_accepted(
        self, old: bytes, new: bytes, status: int, kind: type[Exception]
    ) -> None:
        server = ServerProtocol()
        server.receive_data(REQUEST.replace(old, new, 1))
        assert [type(event) for event in server.events()] == [RequestReceived]
        response = server.accept()
        error = failure(server.events())
        assert isinstance(error, kind)
        assert (response.status, error.status) == (status, status)
        assert server.data_to_send().startswith(b"HTTP/1.1 %d " % status)
        assert (server.state, server.should_close) == (State.CLOSED, True)

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\n\r\n", 505),
            (b"GET /" + b"x" * 40000, 414),
            (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10000, 431),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ],
    )
    def test_what_is_not_a_request(self, data: bytes, status: int) -> None:
        server = ServerProtocol()
        server.receive_data(data)
        [event] = server.events()
        assert isinstance(event, HandshakeFailed)
        assert isinstance(event.error, InvalidMessage)
        assert event.error.status == status
        assert server.data_to_send().startswith(b"HTTP/1.1 %d " % status)
        assert server.should_close
        with pytest.raises(InvalidState):
            server.accept()

    def test_reject(self) -> None:
        server = ServerProtocol()
        server.receive_data(REQUEST)
        with pytest.raises(ValueError, match="101"):
            server.reject(101)
        response = server.reject(404, "No such room\n", {"X-Why": "because"})
        assert response is server.response
        data = server.data_to_send()
        assert data.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert data.endswith(b"\r\n\r\nNo such room\n")
        assert b"\r\nX-Why: because\r\n" in data
        assert b"\r\nConnection: close\r\n" in data
        assert (server.state, server.should_close) == (State.CLOSED, True)
        for again in (server.accept, lambda: server.reject(500)):
            with pytest.raises(InvalidState):
                again()
        server.receive_data(b"ignored")
        server.close()
        assert server.data_to_send() == b""

    def test_reject_head(self) -> None:
        server = ServerProtocol()
        server.receive_data(b"HEAD / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        server.reject(200, "a page")
        data = server.data_to_send()
        assert b"\r\nContent-Length: 6\r\n" in data
        assert data.endswith(b"\r\n\r\n")

    @pytest.mark.parametrize("data", [b"", REQUEST[:50], REQUEST])
    def test_the_client_goes_away(self, data: bytes) -> None:
        server = ServerProtocol()
        server.receive_data(data)
        server.receive_eof()
        server.receive_eof()
        assert isinstance(failure(server.events()), InvalidMessage)
        assert server.events() == []
        assert (server.state, server.should_close) == (State.CLOSED, True)
        with pytest.raises(InvalidState):
            server.accept()

    def test_nothing_can_be_done_before_a_request(self) -> None:
        server = ServerProtocol()
        calls: list[Callable[[], object]] = [
            server.accept,
            lambda: server.reject(400),
            lambda: server.send("x"),
            server.ping,
            server.pong,
            server.close,
        ]
        for call in calls:
            with pytest.raises(InvalidState):
                call()

    @pytest.mark.parametrize(
        ("options", "kind"),
        [
            ({"max_size": -1}, ValueError),
            ({"compression": "gzip"}, ValueError),
            ({"subprotocols": "chat"}, TypeError),
            ({"origins": ["no origin"]}, ValueError),
        ],
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any], kind: type[Exception]) -> None:
        with pytest.raises(kind):
            ServerProtocol(**options)


class TestClientHandshake:
    def test_asks(self) -> None:
        client = ClientProtocol(
            "wss://user:secret@example.com:8443/a%20b?c",
            origin="https://example.com",
            subprotocols=["chat"],
            additional_headers={"Cookie": "a=1"},
            user_agent_header="tests",
        )
        data = client.data_to_send()
        assert data.startswith(b"GET /a%20b?c HTTP/1.1\r\nHost: example.com:8443\r\n")
        headers = client.request.headers
        assert headers["Authorization"] == "Basic dXNlcjpzZWNyZXQ="
        assert (headers["Origin"], headers["Cookie"]) == ("https://example.com", "a=1")
        assert (headers["Sec-WebSocket-Protocol"], headers["User-Agent"]) == ("chat", "tests")
        assert headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
        assert data == client.request.serialize()
        assert client.data_to_send() == b""
        assert (client.state, client.response, client.should_close) == (State.CONNECTING, None, False)

    def test_frames_behind_the_response(self) -> None:
        server, client = ServerProtocol(), ClientProtocol(URI)
        server.receive_data(client.data_to_send())
        server.accept()
        server.send("early")
        data = server.data_to_send()
        for at in range(len(data)):
            client.receive_data(data[at : at + 1])
        response, message = client.events()
        assert isinstance(response, ResponseReceived)
        assert response.response.status == 101
        assert message == Message("early")

    @pytest.mark.parametrize(
        ("head", "rest", "body", "eof"),
        [
            (b"Content-Length: 5\r\n", b"sorry", b"sorry", False),
            (b"Content-Length: 5\r\n", b"sor", b"sor", True),
            (b"Transfer-Encoding: chunked\r\n", b"3\r\nsor\r\n2\r\nry\r\n0\r\n\r\n", b"sorry", False),
            (b"", b"sorry", b"sorry", True),
            (b"Content-Length: 0\r\n", b"", b"", False),
        ],
    )
    @pytest.mark.parametrize("step", [1, 1000])
    def test_a_refusal_with_its_body(
        self, head: bytes, rest: bytes, body: bytes, eof: bool, step: int
    ) -> None:
        client = ClientProtocol(URI)
        data = b"HTTP/1.1 503 Busy\r\n" + head + b"\r\n" + rest
        for at in range(0, len(data), step):
            assert client.events() == []
            client.receive_data(data[at : at + step])
        if eof:
            assert client.events() == []
            client.receive_eof()
        response, failed = client.events()
        assert isinstance(response, ResponseReceived)
        assert (response.response.status, response.response.body) == (503, body)
        assert isinstance(failed, HandshakeFailed)
        assert isinstance(failed.error, InvalidStatus)
        assert failed.error.response is response.response is client.response
        assert (client.state, client.should_close) == (State.CLOSED, True)
        client.receive_eof()
        assert client.events() == []
        with pytest.raises(InvalidState, match="failed"):
            client.send("x")

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            ((b"Upgrade: websocket\r\n", b""), InvalidHeader),
            ((b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: x"), InvalidHeader),
            ((b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: other\r\n\r\n"), NegotiationError),
            ((b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: other\r\n\r\n"), NegotiationError),
            ((b"HTTP/1.1 101", b"HTTP/1.1 1x1"), InvalidMessage),
            ((b"HTTP/1.1", b"FTP"), InvalidMessage),
        ],
    )
    def test_a_response_that_is_wrong(self, change: tuple[bytes, bytes], kind: type[Exception]) -> None:
        server, client = ServerProtocol(), ClientProtocol(URI)
        server.receive_data(client.data_to_send())
        server.accept()
        client.receive_data(server.data_to_send().replace(*change))
        client.receive_eof()
        assert isinstance(failure(client.events()), kind)
        assert client.state is State.CLOSED

    def test_the_server_goes_away(self) -> None:
        client = ClientProtocol(URI)
        client.receive_data(b"HTTP/1.1 101 Sw")
        client.receive_eof()
        assert isinstance(failure(client.events()), InvalidMessage)

    def test_a_uri_that_is_none(self) -> None:
        with pytest.raises(InvalidURI):
            ClientProtocol("ftp://example.com/")


class TestMessages:
    @pytest.mark.parametrize("form", [None, "deflate", Deflate(context_takeover=True, threshold=0)])
    def test_both_ways(self, form: Any) -> None:
        server, client = pair(server={"compression": form}, client={"compression": form})
        messages = ["", "text", b"", b"bytes", "é" * 1000, bytes(100_000)]
        for source, target in ((server, client), (client, server)):
            for message in messages:
                source.send(message)
            assert move(source, target) == [Message(message) for message in messages]
            # What can be compressed is.
            source.send(bytes(50_000))
            assert (len(source.data_to_send()) < 1000) is (form is not None)

    def test_buffers_and_kinds(self) -> None:
        server, client = pair()
        server.send(bytearray(b"array"))
        server.send(memoryview(b"view"))
        server.send(b"as text", text=True)
        server.send("as binary", text=False)
        expected = [Message(b"array"), Message(b"view"), Message("as text"), Message(b"as binary")]
        assert move(server, client) == expected
        with pytest.raises(TypeError):
            server.send(5)  # type: ignore[arg-type]
        assert server.data_to_send() == b""

    @given(st.lists(st.text(max_size=20), min_size=2, max_size=6), st.booleans())
    def test_fragments(self, fragments: list[str], to_server: bool) -> None:
        server, client = pair()
        source, target = (client, server) if to_server else (server, client)
        for fragment in fragments[:-1]:
            source.send(fragment, fin=False)
            source.ping(b"between")
        source.send(fragments[-1])
        events = move(source, target)
        assert events[-1] == Message("".join(fragments))
        assert events[:-1] == [Ping(b"between")] * (len(fragments) - 1)
        source.send(b"the next one")
        assert move(source, target) == [Message(b"the next one")]

    def test_fragments_are_of_one_kind(self) -> None:
        server, _ = pair()
        server.send("a", fin=False)
        with pytest.raises(TypeError, match="all str"):
            server.send(b"b")
        server.send("c")
        assert server.data_to_send() == b"\x01\x01a\x80\x01c"

    def test_any_split_of_a_conversation(self) -> None:
        for seed in range(30):
            chance = random.Random(seed)
            server, client = pair(server={"compression": Deflate(threshold=0)})
            expected: list[Event] = []
            for number in range(20):
                message = f"{number} " * chance.randrange(200)
                client.send(message)
                expected.append(Message(message))
            data, events = client.data_to_send(), []
            while data:
                size = chance.randrange(1, 2000)
                server.receive_data(memoryview(data)[:size])
                events += server.events()
                data = data[size:]
            assert events == expected


class TestControl:
    def test_pings_are_answered(self) -> None:
        server, client = pair()
        server.ping(b"data")
        server.ping()
        assert move(server, client) == [Ping(b"data"), Ping(b"")]
        assert move(client, server) == [Pong(b"data"), Pong(b"")]
        client.pong(memoryview(b"unasked"))
        assert move(client, server) == [Pong(b"unasked")]
        assert server.data_to_send() == b""

    @pytest.mark.parametrize("name", ["ping", "pong"])
    def test_payloads_are_limited(self, name: str) -> None:
        server, client = pair()
        getattr(server, name)(b"x" * 125)
        with pytest.raises(ValueError, match="125"):
            getattr(server, name)(b"x" * 126)
        assert [len(event.payload) for event in move(server, client) if isinstance(event, Ping | Pong)] == [
            125
        ]


class TestClosing:
    def test_the_client_closes(self) -> None:
        server, client = pair()
        client.close(4000, "bye")
        assert (client.state, client.should_close) == (State.CLOSING, False)
        assert client.events() == []
        [closed] = move(client, server)
        assert isinstance(closed, Closed)
        assert (closed.code, closed.reason, type(closed.error)) == (4000, "bye", ConnectionClosedError)
        assert closed.error.received == Close(4000, "bye")
        assert (server.state, server.should_close) == (State.CLOSING, True)
        [closed] = move(server, client)
        assert isinstance(closed, Closed)
        assert closed.error.sent == Close(4000, "bye")
        # The server closes first (RFC 6455, section 7.1.1).
        assert not client.should_close
        client.receive_eof()
        server.receive_eof()
        assert (client.state, client.should_close, server.state) == (State.CLOSED, True, State.CLOSED)
        assert client.events() == server.events() == []

    def test_the_server_closes(self) -> None:
        server, client = pair()
        server.close()
        assert not server.should_close
        [closed] = move(server, client)
        assert isinstance(closed, Closed)
        assert (closed.code, type(closed.error)) == (1000, ConnectionClosedOK)
        assert not client.should_close
        move(client, server)
        assert server.should_close

    def test_closing_again_does_nothing(self) -> None:
        server, client = pair()
        server.close(1001)
        first = server.data_to_send()
        server.close(1000)
        assert server.data_to_send() == b""
        client.receive_data(first)
        client.close()
        assert client.data_to_send()[:2] == b"\x88\x82"
        server.receive_eof()
        server.close()
        assert server.data_to_send() == b""

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])
    def test_codes_that_may_not_be_sent(self, code: int) -> None:
        server, _ = pair()
        with pytest.raises(ValueError, match=str(code)):
            server.close(code)
        assert server.state is State.OPEN

    def test_a_close_without_a_code(self) -> None:
        server, client = pair()
        client.close(None)
        [closed] = move(client, server)
        assert isinstance(closed, Closed)
        assert (closed.code, closed.reason, closed.error.received) == (1005, "", Close(1005, ""))
        with pytest.raises(ValueError, match="needs a close code"):
            client.close(None, "bye")

    def test_the_reason_is_limited(self) -> None:
        server, _ = pair()
        with pytest.raises(ValueError, match="124"):
            server.close(1000, "é" * 62)
        server.close(1000, "é" * 61 + "x")
        assert len(server.data_to_send()) == 127

    def test_nothing_can_be_sent_then(self) -> None:
        server, client = pair()
        server.close()
        client.receive_data(server.data_to_send())
        for protocol in (server, client):
            for call in (lambda: protocol.send("x"), protocol.ping, protocol.pong):  # noqa: B023
                with pytest.raises(ConnectionClosedOK if protocol is client else ConnectionClosedError):
                    call()

    def test_the_connection_is_lost(self) -> None:
        server, client = pair()
        client.send("last")
        server.receive_data(client.data_to_send())
        server.receive_eof()
        server.receive_eof()
        server.receive_data(b"ignored")
        message, closed = server.events()
        assert message == Message("last")
        assert isinstance(closed, Closed)
        assert (closed.code, closed.reason, type(closed.error)) == (1006, "", ConnectionClosedError)
        assert (server.state, server.should_close) == (State.CLOSED, True)
        assert server.events() == []
        with pytest.raises(ConnectionClosedError):
            server.send("x")

    def test_the_connection_is_lost_while_closing(self) -> None:
        server, _ = pair()
        server.close(1001, "bye")
        server.receive_eof()
        [closed] = server.events()
        assert isinstance(closed, Closed)
        assert (closed.error.received, closed.error.sent) == (None, Close(1001, "bye"))

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (masked(0x83), 1002),
            (masked(0x81, b"\xff"), 1007),
            (masked(0x82, bytes(101)), 1009),
            (frame(0x81, b"", masked=False), 1002),
        ],
    )
    def test_the_peer_breaks_the_protocol(self, data: bytes, code: int) -> None:
        server = opened(max_size=100)
        server.receive_data(masked(0x81, b"fine") + data)
        message, closed = server.events()
        assert message == Message("fine")
        assert isinstance(closed, Closed)
        assert closed.error.sent is not None
        assert (closed.code, closed.error.sent.code) == (1006, code)
        assert getattr(closed.error.__cause__, "code", None) == code
        assert server.data_to_send()[:1] == b"\x88"
        assert server.should_close
        server.receive_eof()
        assert server.events() == []

    def test_max_size(self) -> None:
        server = opened(max_size=None)
        server.receive_data(masked(0x82, bytes(2 << 20)))
        assert server.events() == [Message(bytes(2 << 20))]
        server = opened(max_size=0)
        server.receive_data(masked(0x82) + masked(0x82, b"x"))
        message, closed = server.events()
        assert message == Message(b"")
        assert isinstance(closed, Closed)
        assert isinstance(closed.error.__cause__, MessageTooBig)


def test_events_cannot_be_changed() -> None:
    for event in (Message("x"), Ping(b""), Pong(b""), Closed(ConnectionClosedOK(None, None))):
        [field] = dataclasses.fields(event)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, field.name, "y")
        match event:
            case Message(data):
                assert data == "x"
            case Ping(payload) | Pong(payload):
                assert payload == b""
            case Closed(error):
                assert error.code == 1006
