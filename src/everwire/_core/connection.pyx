"""A WebSocket connection as its users see it: messages in and out, pings, the close."""

import asyncio
import concurrent.futures
import os
import socket
import time

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from .awaitables cimport DONE, Failed
from .endpoint cimport Audience, Extras, release
from .frames cimport BINARY, CONTINUATION, PING, PONG, TEXT
from .link cimport GONE
from .protocol cimport CLOSED, CLOSING, OPEN, is_buffer
from .settings cimport Settings
from .streaming cimport Streaming

from everwire._core.status import SendStatus
from everwire.errors import InvalidState

cdef object SENT = SendStatus.SENT
cdef object BUFFERED = SendStatus.BUFFERED
cdef object DROPPED = SendStatus.DROPPED


cdef class Connection(Streaming):
    """One WebSocket connection, of a server or a client.

    Iterate over it, or call :meth:`recv`, for the messages that come; :meth:`send` sends one. A connection is made by
    :func:`everwire.serve` and :func:`everwire.connect`, and belongs to the event loop that it was made in.

    Attributes:
        data: whatever you want to keep with the connection; None at first.
        subprotocol: the one that was agreed on, or None.
        client: whether this is the client's end.
        opened: whether the opening handshake was completed, even if the connection is closed by now.
        reading_wanted: whether bytes are taken from the peer: False after ``pause_reading``, and while the queue is full.
        settings: the limits and counters that it shares with the other connections of its server.
        task: the task of its handler, until that ends; None without a handler.
        failure: the :class:`ProtocolError` that ended it, or None.
        state: 0 connecting, 1 open, 2 closing, 3 closed (``readyState`` of the WHATWG standard).
        phase: what the core takes the bytes that come for; for its own modules.
        transport: the transport of asyncio's that it runs on; None on a socket of its own.
    """

    def __repr__(self):
        state = ("connecting", "open", "closing", "closed")[self.state]
        return f"<{'client' if self.client else 'server'} connection {self.id}, {state}>"

    # Messages out

    cdef inline bint is_fragmenting(self) noexcept:
        return self.extras is not None and self.extras.fragmenting is not None

    cdef int transmit(self, object message, object text, bint compress) except -1:
        """Send a whole message, without regard to what waits."""
        if self.topics is not None:
            self.catch_up()
            if self.state != OPEN:
                raise self.closing_error()
        return self.send_message(message, text, compress)

    def send(self, message, *, text=None, compress=True):
        """Send a message; wait while more than ``write_limit`` bytes are unsent.

        A ``str`` goes as text, a bytes-like object as binary; *text* says otherwise (the bytes must then be UTF-8).
        An iterable or asynchronous iterable of either is sent as one message in fragments, one an item.
        *compress* False leaves it uncompressed. A message is taken when ``send`` is called, so the order of
        calls is the order of messages; an iterable is taken when the result is first awaited.

        Raises (when awaited):
            ConnectionClosed: the connection is closed or closing.
            TypeError: the message is of none of these types.
        """
        if self.state != OPEN:
            return Failed(self.closing_error())
        try:
            return self._send(message, text, compress)
        except Exception as exc:
            return Failed(exc)

    cdef object _send(self, object message, object text, bint compress):
        if not self.is_fragmenting() and isinstance(message, (str, bytes, bytearray, memoryview)):
            self.transmit(message, text, compress)
        elif isinstance(message, dict) or not (hasattr(message, "__iter__") or hasattr(message, "__aiter__") or is_buffer(message)):
            raise TypeError(f"a message is str, bytes-like or an iterable of them, not {type(message).__name__}")
        elif not self.is_fragmenting() and is_buffer(message):
            self.transmit(message, text, compress)
        else:
            return self._send_in_turn(message, text, compress)
        if self.buffered() > self.high:
            return self.drain()
        return DONE

    async def _send_in_turn(self, message, text, compress):
        """Send a fragmented message, or any message after the one that is being sent in fragments."""
        while self.is_fragmenting():
            await asyncio.shield(self.extras.fragmenting)
        if self.state != OPEN:
            raise self.closing_error()
        if is_buffer(message) or isinstance(message, str):
            self.transmit(message, text, compress)
            await self.drain()
            return
        self.more().fragmenting = self.reactor.loop.create_future()
        try:
            await self._send_fragments(message, text)
        finally:
            done, self.extras.fragmenting = self.extras.fragmenting, None
            done.set_result(None)

    async def _send_fragments(self, message, text):
        cdef bint first = True
        if self.framing:
            raise TypeError(f"a message of a stream is str or bytes-like, not {type(message).__name__}")
        kind = None
        finished = False
        try:
            async for fragment in each(message):
                if kind is not None and isinstance(fragment, str) != kind:
                    raise TypeError("the fragments of a message are all str, or all bytes-like")
                if self.state != OPEN:
                    raise self.closing_error()
                kind = isinstance(fragment, str)
                if not kind and not is_buffer(fragment):
                    raise TypeError(f"a fragment is str or bytes-like, not {type(fragment).__name__}")
                data = fragment.encode() if kind else bytes(fragment)
                opcode = (TEXT if (kind if text is None else text) else BINARY) if first else CONTINUATION
                self.send_data(opcode, <uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), <PyObject*>data, first, False, False)
                first = False
                await self.drain()
            finished = True
        finally:
            if not first and self.state == OPEN:
                if finished:
                    self.send_data(CONTINUATION, NULL, 0, NULL, False, True, False)
                else:   # half a message cannot be taken back
                    self.send_close(1011, "a fragmented message was not completed")
        if first:
            raise ValueError("an iterable of fragments was empty: nothing was sent")
        await self.drain()

    async def drain(self):
        """Wait until what is unsent is within ``write_limit``."""
        while self.state != CLOSED and self.buffered() > self.high:
            extras = self.more()
            if extras.drain_waiters is None:
                extras.drain_waiters = []
            waiter = self.reactor.loop.create_future()
            extras.drain_waiters.append(waiter)
            self.awaited = True
            await waiter
        if self.state == CLOSED:
            raise self.closing_error()

    def send_nowait(self, message, *, text=None, compress=True):
        """Send a message without waiting, and say what became of it: see :class:`SendStatus`.

        With more than ``max_backlog`` bytes unsent the message is not taken, and by default (``overflow="close"``) the
        connection is closed with 1013.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            InvalidState: a message is being sent in fragments.
        """
        cdef size_t waiting
        if self.state != OPEN:
            raise self.closing_error()
        if self.is_fragmenting():
            raise InvalidState("a message is being sent in fragments: use send")
        if self.out.head == NULL and self.tls is None and self.transport is None:
            # The usual case: nothing waits, but for what is corked.
            self.transmit(message, text, compress)
            if self.out.size <= self.high:
                return SENT
            self.over_limit = self.awaited = True
            return BUFFERED
        waiting = self.buffered()
        if waiting and waiting + len(message) > self.settings.max_backlog:
            return self._overflow()
        self.transmit(message, text, compress)
        if self.buffered() <= self.high:
            return SENT
        self.over_limit = self.awaited = True
        return BUFFERED

    def _overflow(self):
        (<Settings>self.settings.base()).overflows += 1
        if self.settings.overflow_closes:
            self.settings.logger.info("closing a connection whose peer is more than max_backlog bytes behind")
            self.send_close(self.settings.close_code, self.settings.close_reason)
        return DROPPED

    def send_threadsafe(self, message, *, text=None, compress=True):
        """Send a message from another thread than the event loop's.

        Returns:
            A ``concurrent.futures.Future`` of the :class:`SendStatus`, or of the exception of ``send_nowait``.
        """
        future = concurrent.futures.Future()
        self.reactor.loop.call_soon_threadsafe(self._send_for_thread, future, message, text, compress)
        return future

    def _send_for_thread(self, future, message, text, compress):
        if not future.set_running_or_notify_cancel():
            return
        try:
            status = self.send_nowait(message, text=text, compress=compress)
        except Exception as exc:
            future.set_exception(exc)
        else:
            future.set_result(status)

    cdef int on_sent(self) except -1:
        cdef Extras extras = self.extras
        Streaming.on_sent(self)
        if extras is not None:
            if extras.drain_waiters is not None and self.buffered() <= self.low:
                waiters, extras.drain_waiters = extras.drain_waiters, None
                release(waiters)
            if extras.late_pong is not None and self.state == OPEN:
                payload, extras.late_pong = extras.late_pong, None
                self.send_control(PONG, <uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
            if extras.facade is not None:
                extras.facade._sent()
        if self.over_limit:
            self.over_limit = False
            if self.settings.on_drain is not None and self.state == OPEN:
                try:
                    self.settings.on_drain(self)
                except Exception:
                    self.report("on_drain")
        if self.topics is not None and self.state == OPEN:
            for audience in self._topics():
                (<Audience>audience).drained(self)
        return 0

    # Pings

    cdef int check_pings(self) except -1:
        if self.state != OPEN:
            raise self.closing_error()
        if self.framing:
            raise InvalidState("a stream has no pings")
        return 0

    def ping(self, data=None):
        """Send a ping, and return an awaitable of the seconds until its pong.

        *data* is up to 125 bytes; by default a payload that no other ping under way has.

        Raises:
            ConnectionClosed: the connection is closed or closing; or (when awaited) it closes before the pong.
            InvalidState: it is a stream over HTTP.
            ValueError: *data* is too long, or a ping with the same is under way.
        """
        self.check_pings()
        extras = self.more()
        if extras.pings is None:
            extras.pings = {}
        if data is None:
            data = os.urandom(4)
            while data in extras.pings:
                data = os.urandom(4)
        payload = data.encode() if isinstance(data, str) else bytes(data)
        if len(payload) > 125:
            raise ValueError(f"a ping has at most 125 bytes of payload, not {len(payload)}")
        if payload in extras.pings:
            raise ValueError("a ping with the same payload is under way")
        future = self.reactor.loop.create_future()
        extras.pings[payload] = future, time.perf_counter()
        self.send_control(PING, <uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        return future

    def pong(self, data=b""):
        """Send a pong that nobody asked for (RFC 6455, section 5.5.3); *data* is up to 125 bytes.

        Raises:
            ConnectionClosed: the connection is closed or closing.
        """
        self.check_pings()
        payload = data.encode() if isinstance(data, str) else bytes(data)
        if len(payload) > 125:
            raise ValueError(f"a pong has at most 125 bytes of payload, not {len(payload)}")
        self.send_control(PONG, <uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))

    cdef int on_ping(self, bytes payload) except -1:
        if self.out.size > self.high:
            self.awaited = True
            self.more().late_pong = payload    # only the last ping needs an answer (RFC 6455, section 5.5.3)
            return 0
        return Streaming.on_ping(self, payload)

    cdef int on_pong(self, bytes payload) except -1:
        cdef uint32_t key
        cdef dict pings = self.extras.pings if self.extras is not None else None
        if self.pinging and len(payload) == 4:
            memcpy(&key, PyBytes_AS_STRING(payload), 4)
            if key == self.ping_key:
                self.pinging = False
                self.last_latency = time.perf_counter() - self.ping_time
                return self.start_timer()
        if pings is None or payload not in pings:
            return 0
        now = time.perf_counter()
        for sent in list(pings):       # a pong answers the pings before it as well
            future, started = pings.pop(sent)
            if not future.done():
                future.set_result(now - started)
            if sent == payload:
                self.last_latency = now - started
                break
        return 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, trace):
        await self.close(1000 if kind is None else 1011)

    # What is known of it

    @property
    def id(self):
        """A number that tells the connections of this process apart, for logs."""
        return f"{<size_t><void*>self:x}"

    @property
    def request(self):
        """The request of the opening handshake: path, headers. A server reads it anew at each use: keep it."""
        if self.extras is not None and self.extras.request is not None:
            return self.extras.request
        if self.head is not None and self.settings.parse_head is not None:
            return self.settings.parse_head(self.head)
        return None

    @request.setter
    def request(self, value):
        self.more().request = value

    @property
    def response(self):
        """The response of the opening handshake; None for a server's connection."""
        return self.extras.response if self.extras is not None else None

    @property
    def latency(self):
        """Seconds that the last ping took, 0 before the first."""
        return self.last_latency

    @property
    def closed(self):
        """Whether the connection is over."""
        return self.phase == GONE

    @property
    def is_open(self):
        """Whether messages can be sent."""
        return self.state == OPEN

    @property
    def close_code(self):
        """The peer's close code, 1005 if it sent none, 1006 if the connection was lost; None before the end."""
        if self.received_code:
            return self.received_code
        return 1006 if self.state == CLOSED else None

    @property
    def close_reason(self):
        """The peer's close reason; None before the end."""
        if self.received_code:
            return self.reasons[0]
        return "" if self.state == CLOSED else None

    @property
    def close_error(self):
        """The exception that says how the connection ended; None while it is open."""
        return self.closing_error() if self.state >= CLOSING else None

    @property
    def buffered_amount(self):
        """Bytes that were sent but not taken by the operating system yet."""
        return self.buffered()

    @property
    def remote_address(self):
        """The peer's address: (host, port), with flow and scope for IPv6; an empty string for a Unix socket."""
        if self.peer.family == socket.AF_INET:
            return socket.inet_ntop(socket.AF_INET, self.peer.bytes[:4]), self.peer.port
        if self.peer.family == socket.AF_INET6:
            return socket.inet_ntop(socket.AF_INET6, self.peer.bytes[:16]), self.peer.port, 0, self.peer.scope
        if self.transport is not None:
            return self.transport.get_extra_info("peername")
        return "" if self.peer.family else None

    def set_remote_address(self, str host, int port):
        """Take the word of a proxy for who the peer is; what is no IP address is nobody's."""
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                packed = socket.inet_pton(family, host)
            except (OSError, ValueError):
                continue
            memcpy(self.peer.bytes, PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
            self.peer.family = family
            self.peer.port = port if 0 < port < 65536 else 0
            self.peer.scope = 0

    @property
    def local_address(self):
        """The address of this end, as of ``socket.getsockname``; None when the connection is closed."""
        if self.transport is not None:
            return self.transport.get_extra_info("sockname")
        if self.fd < 0:
            return None
        sock = socket.socket(fileno=os.dup(self.fd))
        try:
            return sock.getsockname()
        finally:
            sock.close()

    @property
    def ssl_object(self):
        """The ``ssl.SSLObject`` of a TLS connection, or None."""
        if self.tls is not None:
            return self.tls.object
        return self.transport.get_extra_info("ssl_object") if self.transport is not None else None

    @property
    def peercert(self):
        """The peer's certificate as ``ssl.SSLSocket.getpeercert`` gives it, or None."""
        layer = self.ssl_object
        return layer.getpeercert() or None if layer is not None else None

    @property
    def fileno(self):
        """The descriptor of the socket; -1 when the connection is closed, and on one of asyncio's transports."""
        return self.fd


async def each(fragments):
    if hasattr(fragments, "__aiter__"):
        async for fragment in fragments:
            yield fragment
    else:
        for fragment in fragments:
            yield fragment
