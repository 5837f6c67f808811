"""What is fuzzed: functions that take the bytes of an input and raise if something is wrong with it.

The first bytes of an input choose the options; the rest is what a peer sends. Besides crashes the functions
look for answers that differ: by how the bytes are split, or from what must come out if the answer is right.
"""

from __future__ import annotations

import os
import string
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from everwire._core import fossil, http1
from everwire._core.connection import Connection
from everwire._core.deflate import deflater, inflater
from everwire._core.reactor import get_reactor
from everwire._core.sansio import SansIO
from everwire._core.settings import Settings
from everwire.errors import (
    ConnectionClosed,
    HandshakeError,
    InvalidMessage,
    InvalidPayload,
    MessageTooBig,
    WireError,
)
from everwire.websocket.body import Body
from everwire.websocket.extensions import Deflate
from everwire.websocket.handshake import ServerHandshake, error_response
from everwire.websocket.messages import Request, Response
from everwire.wire.formats import codec
from fuzz.seeds import REQUEST

SIZES = (0, 10, 125, 1000, 70000, 1 << 20, 1 << 62, 300000)
"""The limits of messages that are tried."""


def pieces(data: bytes, step: int) -> Iterator[bytes]:
    """The data in pieces of changing sizes, which follow from *step*."""
    at = 0
    while at < len(data):
        size = 1 + (step * 7 + at * 13) % (step + 1)
        yield data[at : at + size]
        at += size


def endpoint(flags: int) -> SansIO:
    """A side of the protocol with the options that *flags* stands for."""
    client = bool(flags & 1)
    size = SIZES[flags >> 3 & 7]
    if not flags & 2:
        return SansIO(client=client, max_size=size)
    takeover = bool(flags & 4)
    return SansIO(
        client=client,
        max_size=size,
        deflater=deflater(15, False, 1, 5),  # of no use here, and dear to make
        inflater=inflater(9 if flags & 64 else 15, takeover),
    )


def plain(event: tuple[Any, ...]) -> tuple[Any, ...]:
    """An event in a form that can be compared."""
    if event[0] != "close":
        return event
    error: ConnectionClosed = event[1]
    # What is said of text that is cut off depends on when it is seen.
    sent = error.sent and error.sent.code
    return "close", type(error), error.received, sent, error.received_first, type(error.__cause__)


def frames(data: bytes) -> None:
    """A stream of frames means the same however it is split; what is received is within the limits."""
    if len(data) < 2:
        return
    flags, step, stream = data[0], data[1], data[2:]
    whole, split = endpoint(flags), endpoint(flags)
    whole.receive_data(stream)
    for piece in pieces(stream, step):
        split.receive_data(piece)
    events = whole.events_received()
    if list(map(plain, events)) != list(map(plain, split.events_received())):
        raise AssertionError("the events depend on how the stream is split")
    if whole.failure is None and len(whole.data_to_send()) != len(split.data_to_send()):
        raise AssertionError("the answers depend on how the stream is split")
    limit = SIZES[flags >> 3 & 7]
    for kind, value in events:
        if kind == "message" and (len(value.encode()) if isinstance(value, str) else len(value)) > limit:
            raise AssertionError("a message is over the limit")
        if kind in ("ping", "pong") and len(value) > 125:
            raise AssertionError("the payload of a control frame is over the limit")
    if any(kind == "close" for kind, _ in events[:-1]):
        raise AssertionError("something came after the close")
    if whole.failure is not None and whole.failure.code not in (1002, 1007, 1009):
        raise AssertionError(f"failed with {whole.failure.code}")


BEGINNINGS = [bytes([c]) for c in b"\r\n!#$%&'*+-.^_`|~" + (string.digits + string.ascii_letters).encode()]
"""The first bytes of what may become a head: those of a token (RFC 9110, 5.6.2), and of empty lines."""


def no_head(data: bytes, end: int) -> None:
    """What begins like no head is whole at once, and refused."""
    if end != len(data) or http1.find_head_end(data[:1]) != 1:
        raise AssertionError("the end of what is no head is waited for")
    for parse in (Request.parse, Response.parse):
        try:
            parse(data)
        except InvalidMessage:
            continue
        raise AssertionError("what begins like no head is read as one")


def heads(data: bytes) -> None:
    """A head is read or refused; what is read, written and read again is the same."""
    end = http1.find_head_end(data)
    if data and data[:1] not in BEGINNINGS:
        no_head(data, end)
        return
    place = data.find(b"\r\n\r\n")
    if end != (place + 4 if place >= 0 else -1):
        raise AssertionError("the end of the head is elsewhere")
    known = 0
    for at in range(0, len(data), 1 + len(data) // 8):
        found = http1.find_head_end(data[:at], known)
        if found >= 0 and found != end:
            raise AssertionError("the end of the head depends on how the bytes come")
        if found >= 0:
            break
        known = at
    head = data if end < 0 else data[:end]
    try:
        request = Request.parse(head)
    except InvalidMessage as exc:
        if exc.status not in (400, 414, 431, 501, 505):
            raise AssertionError(f"refused with {exc.status}") from exc
    else:
        again = Request.parse(request.serialize())
        if again.headers != request.headers or (again.method, again.path) != (request.method, request.path):
            raise AssertionError("a request that is written is read differently")
        handshake(request)
    try:
        response = Response.parse(head)
    except InvalidMessage:
        return
    fields = list(response.headers.raw_items())
    if list(Response.parse(response.serialize()).headers.raw_items())[: len(fields)] != fields:
        raise AssertionError("a response that is written is read differently")
    body = Body(response)
    for piece in pieces(data[end:] if end >= 0 else b"", 5):
        body.feed(piece)


HANDSHAKE = ServerHandshake(subprotocols=["chat", "superchat"], compression=Deflate())


def handshake(request: Request) -> None:
    """A request is accepted or refused, with a response that can be sent and read."""
    try:
        accepted = HANDSHAKE.accept(request)
    except HandshakeError as exc:
        if (
            Response.parse(error_response(exc).serialize().partition(b"\r\n\r\n")[0] + b"\r\n\r\n").status
            < 400
        ):
            raise AssertionError("refused with a status that does not refuse") from exc
        return
    if accepted.to_response().status != 101:
        raise AssertionError("accepted with another status than 101")


def compressed(data: bytes) -> None:
    """Data is decompressed or refused, within the limit; alone, in a stream, and compressed anew."""
    if not data:
        return
    limit, data = (0, 1, 100, 65536)[data[0] & 3], data[1:]
    outcomes: list[object] = []
    for reader in (inflater(15, False), inflater(15, True)):
        try:
            out = reader.decompress(data, limit)
        except (InvalidPayload, MessageTooBig) as exc:
            outcomes.append(type(exc))
        else:
            if len(out) > limit:
                raise AssertionError("more than the limit came out")
            outcomes.append(out)
    # Where a stream goes on, the last few bits of a message can be missing without being missed at once.
    if outcomes[0] != outcomes[1] and not (outcomes[0] is InvalidPayload and isinstance(outcomes[1], bytes)):
        raise AssertionError(f"alone and in a stream differ: {outcomes}")
    if isinstance(outcomes[0], bytes):
        for takeover in (False, True):
            again = deflater(15, takeover, 1, 5).compress(outcomes[0])
            if inflater(15, takeover).decompress(again, limit) != outcomes[0]:
                raise AssertionError("compressed anew it is something else")


class Future:
    """As much of a future as a connection needs."""

    def __init__(self) -> None:
        self.outcome: object = None

    def done(self) -> bool:
        """Whether it has an outcome."""
        return self.outcome is not None

    def set_result(self, result: object) -> None:
        """Give it an outcome."""
        self.outcome = result

    set_exception = set_result

    def exception(self) -> object:
        """The outcome."""
        return self.outcome


class Log:
    """A logger to which a callback's failure is not told in vain."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def exception(self, message: str, *values: object) -> None:
        """Keep the first exception."""
        self.error = self.error or sys.exc_info()[1]

    def info(self, message: str, *values: object) -> None:
        """Take no note."""


class Loop:
    """As much of an event loop as a connection needs, driven by hand."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def call_soon(self, callback: Callable[..., object], *args: object, context: object = None) -> None:
        """Note a call for the next turn."""
        self.calls.append((callback, args))

    def create_future(self) -> Future:
        """Something to wait for."""
        return Future()

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> Loop:
        """Note nothing: time stands still."""
        return self

    def cancel(self) -> None:
        """Cancel what call_later has returned."""

    def turn(self) -> None:
        """Do what was noted."""
        while self.calls:
            calls, self.calls = self.calls, []
            for callback, args in calls:
                callback(*args)


@cache
def the_loop() -> Loop:
    """The loop of all connections here, with a reactor that polls nothing."""
    loop = Loop()
    known = os.environ.get("EVERWIRE_REACTOR", "")
    os.environ["EVERWIRE_REACTOR"] = "off"
    try:
        get_reactor(loop)  # type: ignore[arg-type]
    finally:
        os.environ["EVERWIRE_REACTOR"] = known
    return loop


class Transport:
    """As much of a transport as a connection needs: keeps nothing, and takes what it is told to take."""

    def __init__(self) -> None:
        self.sent = 0
        self.waiting = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        """Send."""
        self.sent += len(data)

    def get_write_buffer_size(self) -> int:
        """How much waits."""
        return self.waiting

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Nothing is known of it."""
        return default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when there is too much."""

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self.closed

    def can_write_eof(self) -> bool:
        """Whether write_eof works."""
        return True

    def write_eof(self) -> None:
        """Send no more."""

    def close(self) -> None:
        """Close."""
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Read no more."""

    resume_reading = pause_reading


class Echo:
    """A listener that does to a connection what the messages say."""

    on_close = on_drain = on_open = None

    def on_message(self, ws: Connection, message: str | bytes) -> None:
        """Answer, or do what the first character says."""
        command = message[:1] if isinstance(message, str) else message[:1].decode("latin-1")
        if command == "c":
            ws.close(1000, "bye")
        elif command == "a":
            ws.abort()
        elif command == "p":
            ws.pause_reading()
        elif command == "i":
            ws.ping(b"x" * (len(message) & 63) + os.urandom(4))
        if ws.is_open:
            ws.send_nowait(message)


def connections(data: bytes) -> None:
    """A server's connection, from the head of its request on, takes whatever comes in whatever pieces."""
    if len(data) < 2:
        return
    flags, step, stream = data[0], data[1], data[2:]
    loop, transport, log = the_loop(), Transport(), Log()

    def on_head(connection: Connection, head: bytes) -> None:
        try:
            accepted = HANDSHAKE.accept(Request.parse(head))
        except HandshakeError as exc:
            connection.reject(error_response(exc).serialize())
            return
        if accepted.deflate is None:
            connection.open(accepted.response)
        else:
            connection.open(accepted.response, None, deflater(15, False, 1, 5), inflater(15, False), 8)

    settings = Settings(
        client=False,
        on_head=on_head,
        listener=Echo(),
        max_size=SIZES[flags & 7],
        write_limit=1024,
        logger=log,  # type: ignore[arg-type]
    )
    connection = Connection(settings, loop)  # type: ignore[arg-type]
    connection.attach_transport(transport)  # type: ignore[arg-type]
    if flags & 8:
        connection.transport_received(REQUEST)
    for number, piece in enumerate(pieces(stream, step)):
        if transport.closed:
            break
        if flags & 16:
            connection.transport_blocked(bool(number & 2))
        connection.transport_received(piece)
        loop.turn()
        if flags & 32 and number % 3 == 2:
            connection.resume_reading()
    if not transport.closed:
        connection.transport_ended()
    loop.turn()
    if not connection.closed:
        connection.transport_lost(None)
        loop.turn()
    if log.error is not None:
        raise AssertionError("a callback has failed") from log.error
    if settings.connections or get_reactor(loop).slots:  # type: ignore[arg-type]
        raise AssertionError("the connection is not gone")


def deltas(data: bytes) -> None:
    """A delta of anything is applied or refused; one that is made leads from one text to the other."""
    half = data[0] * (len(data) - 1) // 255 if data else 0
    source, delta = data[1 : 1 + half], data[1 + half :]
    try:
        made = fossil.apply(source, delta, 1 << 16)
    except WireError:
        pass
    else:
        if len(made) > 1 << 16:
            raise AssertionError("the result is over the limit")
    again = fossil.create(source, delta)
    if fossil.apply(source, again, len(delta)) != delta:
        raise AssertionError("the delta leads elsewhere")


def commands(data: bytes) -> None:
    """A frame of the client protocol is read or refused; what is read can be written, and read again."""
    format = codec("protobuf" if data[:1] < b"\x80" else "json")
    for decode, encode in (
        (format.decode_commands, format.encode_commands),
        (format.decode_replies, format.encode_replies),
    ):
        try:
            messages = decode(data[1:])
            written = encode(messages)  # type: ignore[arg-type]
        except WireError:
            continue
        if decode(written) != messages:  # not byte by byte: maps have no order
            raise AssertionError("what was written is read as something else")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "heads": heads,
    "compressed": compressed,
    "connections": connections,
    "deltas": deltas,
    "commands": commands,
}
