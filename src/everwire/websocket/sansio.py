"""What a server and a client have in common: see :mod:`everwire.websocket.protocol`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from everwire._core.http1 import MAX_HEAD, find_head_end, over_limit
from everwire._core.protocol import check_close
from everwire._core.sansio import SansIO
from everwire.errors import (
    ConnectionClosedError,
    HandshakeError,
    InvalidMessage,
    InvalidState,
)
from everwire.websocket.codec import codecs
from everwire.websocket.events import (
    Closed,
    Event,
    HandshakeFailed,
    Message,
    Ping,
    Pong,
    State,
)
from everwire.websocket.extensions import Deflate, DeflateParams
from everwire.websocket.messages import Response

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BaseProtocol"]

_CONTINUATION, _TEXT, _BINARY, _PING, _PONG = 0, 1, 2, 9, 10


class BaseProtocol:
    """What server and client have in common.

    Attributes:
        response: the response of the opening handshake, None before there is one.
        subprotocol: the subprotocol agreed on, or None.
    """

    def __init__(self, *, client: bool, compression: Deflate | None, max_size: int | None) -> None:
        if max_size is not None and max_size < 0:
            raise ValueError(
                f"max_size is a number of bytes, 0 or more, or None for no limit, not {max_size}"
            )
        self.response: Response | None = None
        self.subprotocol: str | None = None
        self._client = client
        self._compression = compression
        self._max_size = 1 << 62 if max_size is None else max_size
        self._frames: SansIO | None = None
        self._incoming = bytearray()
        self._scanned = 0
        self._outgoing = bytearray()
        self._events: list[Event] = []
        self._failed = False
        self._eof = False
        self._closed = False
        self._sending: bool | None = None

    # In

    def receive_data(self, data: Buffer) -> None:
        """Take bytes that came from the peer. What comes after the end is ignored.

        What stands behind a request is kept until the server has answered: read no more meanwhile.
        """
        if self._eof:
            return
        if self._frames is not None:
            self._frames.receive_data(data)
        elif not self._failed:
            self._incoming += data
            self._handshake_data()

    def receive_eof(self) -> None:
        """Take note that the peer sends no more, or that the connection is lost."""
        if self._eof:
            return
        self._eof = True
        if self._frames is None:
            self._handshake_eof()
            return
        self._collect()
        if not self._closed:
            self._closed = True
            self._events.append(Closed(self._frames.close_error or ConnectionClosedError(None, None)))

    def events(self) -> list[Event]:
        """Return what has happened since the last call, in order."""
        self._collect()
        events, self._events = self._events, []
        return events

    def _collect(self) -> None:
        """Take over what the frames meant."""
        for event in () if self._frames is None else self._frames.events_received():
            match event:
                case ("message", data):
                    self._events.append(Message(data))
                case ("ping", payload):
                    self._events.append(Ping(payload))
                case ("pong", payload):
                    self._events.append(Pong(payload))
                case ("close", error):
                    self._closed = True
                    self._events.append(Closed(error))

    # Out

    def data_to_send(self) -> bytes:
        """Return the bytes to send to the peer; they are returned once."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        return data if self._frames is None else data + self._frames.data_to_send()

    def send(self, message: str | Buffer, *, text: bool | None = None, fin: bool = True) -> None:
        """Send a message: a ``str`` as text, a bytes-like object as binary; *text* says otherwise.

        With *fin* False this is a fragment (RFC 6455, section 5.4): the next call sends the next one, of
        the same type, and the message ends with the first one that has *fin* True. Fragments are not
        compressed.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            InvalidState: the opening handshake is not done, or it failed.
            TypeError: the message is neither text nor bytes-like, or not of the type of the fragment before.
        """
        frames = self._open_frames()
        kind = isinstance(message, str)
        data = message.encode() if isinstance(message, str) else bytes(memoryview(message))
        opcode = _TEXT if (kind if text is None else text) else _BINARY
        first = self._sending is None
        if not first:
            if kind is not self._sending:
                raise TypeError("the fragments of a message are all str, or all bytes-like")
            opcode = _CONTINUATION
        frames.send(opcode, data, first, fin)
        self._sending = None if fin else kind

    def ping(self, payload: Buffer = b"") -> None:
        """Send a ping with up to 125 bytes of payload, which the pong to it will have, too.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            InvalidState: the opening handshake is not done, or it failed.
            ValueError: the payload is too long.
        """
        self._control(_PING, payload)

    def pong(self, payload: Buffer = b"") -> None:
        """Send a pong that nobody asked for, with up to 125 bytes of payload (RFC 6455, section 5.5.3).

        Raises:
            ConnectionClosed: the connection is closed or closing.
            InvalidState: the opening handshake is not done, or it failed.
            ValueError: the payload is too long.
        """
        self._control(_PONG, payload)

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake. Closing again does nothing.

        A *code* of None sends a close frame without one, which the peer sees as 1005. Messages that come from
        now on are dropped; :class:`Closed` says when the peer has answered.

        Raises:
            InvalidState: the opening handshake is not done; a server can ``reject`` it.
            ValueError: the code may not be sent (RFC 6455, section 7.4), or *reason* is over 123 bytes, or
                without a code.
        """
        number = check_close(code, reason)
        if self._failed:
            return
        if self._frames is None:
            raise InvalidState("the opening handshake is not done")
        if not self._eof:
            self._frames.close(number, reason)

    def _control(self, opcode: int, payload: Buffer) -> None:
        frames = self._open_frames()
        data = bytes(memoryview(payload))
        if len(data) > 125:
            raise ValueError(f"a control frame has at most 125 bytes of payload, not {len(data)}")
        frames.control(opcode, data)

    def _open_frames(self) -> SansIO:
        """What reads and writes frames, if they may be sent now."""
        if self._failed:
            raise InvalidState("the opening handshake failed")
        if self._frames is None:
            raise InvalidState("the opening handshake is not done")
        error = self._frames.close_error
        if error is not None:
            raise error
        if self._eof:
            raise ConnectionClosedError(None, None)
        return self._frames

    # State

    @property
    def state(self) -> State:
        """Where the connection is between its beginning and its end."""
        if self._failed or self._eof:
            return State.CLOSED
        return State.CONNECTING if self._frames is None else State(self._frames.state)

    @property
    def should_close(self) -> bool:
        """Whether to close the connection below as soon as :meth:`data_to_send` is sent.

        A server closes it when close frames were sent and received; a client waits for the server to do so,
        for some seconds (RFC 6455, section 7.1.1). Who broke the protocol is not waited for.
        """
        if self._failed or self._eof:
            return True
        if self._frames is None or self._frames.state < State.CLOSING:
            return False
        if self._frames.failure is not None:
            return True
        error = self._frames.close_error
        return not self._client and error is not None and error.received is not None

    # The opening handshake

    def _head(self) -> bytes | None:
        """The head of the message that is coming, None until it has come.

        Raises:
            InvalidMessage: it is longer than it may be.
        """
        end = find_head_end(self._incoming, self._scanned)
        if end < 0 and len(self._incoming) < MAX_HEAD:
            self._scanned = len(self._incoming)
            return None
        if not 0 <= end <= MAX_HEAD:
            raise over_limit(self._incoming)
        head = bytes(self._incoming[:end])
        del self._incoming[:end]
        self._scanned = 0
        return head

    def _begin(self, params: DeflateParams | None) -> None:
        """The opening handshake is done: what came after it are frames."""
        if params is None or self._compression is None:
            self._frames = SansIO(client=self._client, max_size=self._max_size)
        else:
            deflater, inflater = codecs(params, self._compression, client=self._client)
            self._frames = SansIO(
                client=self._client,
                max_size=self._max_size,
                deflater=deflater,
                inflater=inflater,
                threshold=self._compression.threshold,
            )
        rest, self._incoming = self._incoming, bytearray()
        if rest:
            self._frames.receive_data(rest)

    def _fail(self, error: HandshakeError) -> None:
        self._failed = True
        self._incoming.clear()
        self._events.append(HandshakeFailed(error))

    def _handshake_data(self) -> None:
        raise NotImplementedError

    def _handshake_eof(self) -> None:
        if not self._failed:
            self._fail(InvalidMessage("the connection ended before the opening handshake was done"))
