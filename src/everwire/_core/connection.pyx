"""A WebSocket connection as its users see it: messages in and out, pings, the close."""

import asyncio
import concurrent.futures
import os
import socket
import time

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.ref cimport Py_INCREF
from libc.string cimport memcpy

from .frames cimport BINARY, CONTINUATION, PING, PONG, TEXT, valid_close_code
from .link cimport *
from .net cimport ew_peer
from .protocol cimport CLOSED, CLOSING, CONNECTING, ENDED, OPEN, PAUSED, Codec, masking_key
from .reactor cimport reactor_of
from .settings cimport Settings

from everwire._core.status import SendStatus
from everwire.errors import ConcurrencyError, ConnectionClosedOK, InvalidState

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object o, Py_ssize_t* n) except NULL
    void PyErr_SetObject(object kind, object value)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    ctypedef PyObject* (*iternextfunc)(PyObject*)
    ctypedef struct PyTypeObject:
        iternextfunc tp_iternext
    void PyType_Modified(PyTypeObject*)


cdef object SENT = SendStatus.SENT
cdef object BUFFERED = SendStatus.BUFFERED
cdef object DROPPED = SendStatus.DROPPED


cdef class Done:
    """An awaitable that is ready: one object serves every ``send`` that need not wait."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration

    def send(self, value):
        raise StopIteration

    def throw(self, *error):
        raise error[0]

    def close(self):
        pass


cdef class Failed(Done):
    """An awaitable that raises."""

    cdef object error

    def __cinit__(self, error=None):
        self.error = error

    def __next__(self):
        raise self.error

    def send(self, value):
        raise self.error


cdef Done DONE = Done()


cdef class Closing:
    """What ``close`` returns: the close is under way; who awaits this waits for its end."""

    cdef Connection connection
    cdef object waiting

    def __cinit__(self, Connection connection=None):
        self.connection = connection

    def __iter__(self):
        return self

    cdef object wait(self):
        if self.waiting is None:
            self.waiting = self.connection.wait_closed()
        return self.waiting

    def __await__(self):
        return self.connection.wait_closed().__await__()

    def __next__(self):
        return self.wait().send(None)

    def send(self, value):
        return self.wait().send(value)

    def throw(self, *error):
        return self.wait().throw(*error)

    def close(self):
        if self.waiting is not None:
            self.waiting.close()


cdef class Receive:
    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef object outcome = self.step()
        if outcome is self:
            return self
        raise StopIteration(outcome)

    cdef object step(self):
        """Go on as a coroutine: answer the message, or self as the future to wait for."""
        cdef Connection c = self.connection
        if self.waiting:
            self.waiting = False
            if c.waiter is self:
                c.waiter = None
        if c.has_message():
            return c.next_message(self.decode)
        if c.is_over():
            c.finish_failing()
            error = c.closing_error()
            if self.iterating and isinstance(error, ConnectionClosedOK):
                raise StopAsyncIteration
            raise error
        if c.waiter is not None:
            raise ConcurrencyError("another coroutine is already waiting for a message of this connection")
        c.waiter = self
        self.waiting = self.blocking = True
        self.cancelled = False
        return self

    cdef int wake(self, bint here) except -1:
        """Have the waiting task go on; *here*: not in the loop's next turn but now."""
        callback, context = self.callback, self.context
        if self.connection.waiter is self:
            self.connection.waiter = None
        if callback is None:
            return 0
        self.callback = self.context = None
        if here:
            PyContext_Enter(context)
            try:
                callback(self)
            finally:
                PyContext_Exit(context)
        else:
            self.connection.reactor.loop.call_soon(callback, self, context=context)
        return 0

    # A coroutine's methods

    def send(self, value):
        return self.__next__()

    def throw(self, *error):
        self.close()
        if len(error) == 1:
            raise error[0]
        raise error[0](error[1]) if not isinstance(error[1], BaseException) else error[1]

    def close(self):
        self.waiting = False
        if self.connection.waiter is self:
            self.connection.waiter = None

    # A future's methods, as asyncio.Task uses them

    @property
    def _asyncio_future_blocking(self):
        return self.blocking

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, bint value):
        self.blocking = value

    def get_loop(self):
        return self.connection.reactor.loop

    def add_done_callback(self, callback, *, context=None):
        self.callback = callback
        self.context = context

    def cancel(self, msg=None):
        if not self.waiting or self.callback is None:
            return False
        self.cancelled = True
        self.wake(False)
        return True

    def result(self):
        if self.cancelled:
            raise asyncio.CancelledError

    def done(self):
        return not self.waiting


# What Cython adds to a raised StopIteration costs more than the rest of recv(): the slots are set by hand.
cdef PyObject* receive_next(PyObject* self) noexcept:
    cdef object outcome
    try:
        outcome = (<Receive>self).step()
    except BaseException as exc:
        PyErr_SetObject(type(exc), exc)
        return NULL
    if <PyObject*>outcome == self:
        Py_INCREF(outcome)
        return self
    PyErr_SetObject(StopIteration, outcome)
    return NULL


cdef PyObject* done_next(PyObject* self) noexcept:
    return NULL


(<PyTypeObject*>Receive).tp_iternext = receive_next
(<PyTypeObject*>Done).tp_iternext = done_next
PyType_Modified(<PyTypeObject*>Receive)
PyType_Modified(<PyTypeObject*>Done)


cdef class Audience(Deferred):
    cdef int catch_up(self, Connection connection) except -1:
        return 0

    cdef int drained(self, Connection connection) except -1:
        return 0

    cdef int leave(self, Connection connection) except -1:
        return 0


cdef class Extras:
    pass


cdef class Connection(Link):
    """One WebSocket connection, of a server or a client.

    Iterate over it, or call :meth:`recv`, for the messages that come; :meth:`send` sends one. A connection is made by
    :func:`everwire.serve` and :func:`everwire.connect`, and belongs to the event loop that it was made in.
    """

    def __cinit__(self, Settings settings not None, loop=None):
        self.settings = settings
        self.client = settings.client
        self.max_size = settings.max_size
        self.high = settings.high
        self.low = settings.low
        self.reactor = reactor_of(asyncio.get_running_loop() if loop is None else loop)
        self.since = self.reactor.tick
        settings.connections += 1

    cdef Extras more(self):
        if self.extras is None:
            self.extras = Extras.__new__(Extras)
        return self.extras

    def __repr__(self):
        state = ("connecting", "open", "closing", "closed")[self.state]
        return f"<{'client' if self.client else 'server'} connection {self.id}, {state}>"

    # Beginning: for server and client

    def attach_socket(self, sock, *, ssl=None, server_hostname=None):
        """Run on a connected socket, which is detached from *sock*."""
        sock.setblocking(False)
        inet = sock.family in (socket.AF_INET, socket.AF_INET6)
        if inet:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cdef int fd = sock.detach()
        ew_peer(fd, &self.peer)
        self.attach_fd(fd, ssl, server_hostname)
        self.start_input()

    cdef int start_input(self) except -1:
        self.since = self.seen
        if self.settings.open_timeout and self.phase <= HEAD and not self.client:
            self.reactor.schedule(self.sid, self.since + self.settings.open_timeout)
        return 0

    def start(self, request: bytes):
        """Send a client's request; the settings' ``on_head`` gets the head of the response."""
        self.write(<uint8_t*>PyBytes_AS_STRING(request), PyBytes_GET_SIZE(request), <PyObject*>request)

    def open(self, response: bytes, subprotocol=None, deflater=None, inflater=None, threshold=0, answer=None):
        """The handshake is done: *response* is sent (by a server), then frames are read and sent."""
        if self.phase != DECIDING:
            return
        if response:
            self.write(<uint8_t*>PyBytes_AS_STRING(response), PyBytes_GET_SIZE(response), <PyObject*>response)
        self.subprotocol = subprotocol
        if deflater is not None:
            self.codec = Codec(deflater, inflater, threshold)
        if answer is not None:
            self.more().response = answer
        self.phase = FRAMES
        self.state = OPEN
        self.opened = True
        self.since = self.heard = self.seen = self.reactor.tick
        self.start_timer()
        self._start()
        self._interest()
        self.resume_rest()

    def reject(self, response: bytes):
        """Send an HTTP response instead of opening, and close."""
        if self.phase in (GONE, DRAINING):
            return
        self.write(<uint8_t*>PyBytes_AS_STRING(response), PyBytes_GET_SIZE(response), <PyObject*>response)
        self.since = self.reactor.now()
        self.drain_and_close()
        if self.phase != GONE:
            self.start_timer()

    def hand_over(self, protocol, facade=None):
        """Give the bytes after the head to an ``asyncio.Protocol``; *facade* is its transport."""
        self.more().delegate = protocol
        self.extras.facade = facade
        self.phase = RAW
        self.reactor.unschedule(self.sid)
        self._interest()

    def pause_raw(self):
        self.set_reading(False)

    def resume_raw(self):
        self.set_reading(True)

    def raw_write(self, data not None):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.write(<uint8_t*>view.buf, view.len, <PyObject*>data if type(data) is bytes else NULL)
        finally:
            PyBuffer_Release(&view)

    def raw_close(self):
        self.shut()

    def raw_eof(self):
        self.drain_when_sent = True
        if not self.corking:
            self._all_sent()

    def abort(self, error=None):
        """Drop the connection without a closing handshake; the peer sees 1006."""
        self.drop(error)

    cdef int _start(self) except -1:
        settings = self.settings
        if settings.handler is not None:
            try:
                started = settings.handler(self)
                if not asyncio.iscoroutine(started):
                    raise TypeError(f"the handler returned {started!r}, not a coroutine: define it with async def")
                self.task = self.reactor.loop.create_task(started)
            except Exception:
                return self.report("handler")
            settings.tasks.add(self.task)
            self.task.add_done_callback(self._handler_done)
        elif settings.on_open is not None:
            try:
                settings.on_open(self)
            except Exception:
                self.report("on_open")
        return 0

    def _handler_done(self, task):
        self.task = None
        self.settings.tasks.discard(task)
        self.finish_failing()
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            if not (self.is_over() and isinstance(error, type(self.closing_error()).__mro__[1])):
                self.settings.logger.error("connection handler failed", exc_info=error)
                if self.state == OPEN:
                    self.send_close(1011, "internal error")
                return
        if self.state == OPEN:
            self.send_close(1001 if task.cancelled() else 1000, "")

    cdef int report(self, str what) except -1:
        """An exception left a callback: log it, and close with 1011."""
        self.settings.logger.exception("%s failed", what)
        if self.state == OPEN:
            self.send_close(1011, "internal error")
        return 0

    # Messages in

    cdef int on_message(self, object message) except -1:
        cdef object callback = self.settings.on_message
        self.heard = self.reactor.tick
        if callback is not None:
            try:
                callback(self, message)
            except Exception:
                self.report("on_message")
            return 0
        if self.queue is None:
            self.queue = []
        self.queue.append(message)
        self.queued_bytes += len(message)
        if len(self.queue) - self.queue_start >= self.settings.max_queue or self.queued_bytes > self.max_size:
            self.halted |= PAUSED
            self.set_reading(False)
        return 0

    cdef inline bint has_message(self) noexcept:
        return self.queue is not None and self.queue_start < <size_t>len(self.queue)

    cdef bint is_over(self) noexcept:
        """Whether no message can come any more."""
        return self.state == CLOSED or self.received_code or self.failure is not None

    cdef object next_message(self, object decode):
        cdef list queue = self.queue
        cdef object message = queue[self.queue_start]
        queue[self.queue_start] = None
        self.queue_start += 1
        self.queued_bytes -= len(message)
        if self.queue_start == <size_t>len(queue):
            if self.queue_start > 256:
                self.queue = None
            else:
                queue.clear()
            self.queue_start = 0
            if self.halted & PAUSED:
                self._resume()
        if decode is not None:
            if decode and type(message) is bytes:
                return message.decode()
            if not decode and type(message) is str:
                return message.encode()
        return message

    cdef int _resume(self) except -1:
        self.halted &= ~PAUSED
        self.set_reading(True)
        return 0

    cdef int on_input(self) except -1:
        if self.waiter is not None and (self.has_message() or self.is_over()):
            self._wake_receiver(self.reactor.polling)
        return 0

    cdef int _wake_receiver(self, bint here) except -1:
        cdef Receive waiter = self.waiter
        if waiter is not None:
            waiter.wake(here)
        return 0

    def recv(self, decode=None):
        """Wait for the next message: text as ``str``, binary as ``bytes``.

        *decode* True gives binary messages as ``str`` too, False gives text as ``bytes``.

        It may be cancelled without losing a message. Only one coroutine may wait at a time.

        Raises:
            ConnectionClosed: the connection is closed, and all that came before was received.
            ConcurrencyError: another coroutine is waiting already.
        """
        cdef Receive receive = Receive.__new__(Receive)
        receive.connection = self
        receive.decode = decode
        return receive

    def __aiter__(self):
        return self

    def __anext__(self):
        cdef Receive receive = Receive.__new__(Receive)
        receive.connection = self
        receive.iterating = True
        return receive

    def pause_reading(self):
        """Stop taking bytes from the peer; what a listener's callbacks use against a peer that is too fast."""
        self.halted |= PAUSED
        self.set_reading(False)

    def resume_reading(self):
        """Take bytes from the peer again."""
        if self.halted & PAUSED:
            self._resume()

    # Messages out

    cdef inline bint is_fragmenting(self) noexcept:
        return self.extras is not None and self.extras.fragmenting is not None

    cdef int transmit(self, object message, object text, bint compress) except -1:
        """Send a whole message, without regard to what waits."""
        cdef Py_ssize_t n
        cdef const char* p
        cdef Py_buffer view
        if self.topics is not None:
            self._catch_up()
            if self.state != OPEN:
                raise self.closing_error()
        if type(message) is bytes:
            return self.send_data(TEXT if text else BINARY, <uint8_t*>PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message),
                                  <PyObject*>message, True, True, compress)
        if isinstance(message, str):
            p = PyUnicode_AsUTF8AndSize(message, &n)
            return self.send_data(BINARY if text is False else TEXT, <uint8_t*>p, n, <PyObject*>message, True, True, compress)
        PyObject_GetBuffer(message, &view, PyBUF_SIMPLE)
        try:
            return self.send_data(TEXT if text else BINARY, <uint8_t*>view.buf, view.len, NULL, True, True, compress)
        finally:
            PyBuffer_Release(&view)

    # Topics

    cdef int join(self, Audience audience, uint32_t place) except -1:
        """Note that this connection has *place* in *audience*, now or newly."""
        if self.topics is None or self.topics is audience:
            self.topics = audience
            self.place = place
        else:
            if not isinstance(self.topics, dict):
                self.topics = {self.topics: self.place}
            self.topics[audience] = place
        return 0

    cdef int64_t place_in(self, Audience audience) except? -2:
        """The place in *audience*, or -1."""
        if self.topics is audience:
            return self.place
        if isinstance(self.topics, dict):
            return self.topics.get(audience, -1)
        return -1

    cdef int forget(self, Audience audience) except -1:
        if self.topics is audience:
            self.topics = None
        elif isinstance(self.topics, dict):
            self.topics.pop(audience, None)
            if not self.topics:
                self.topics = None
        return 0

    cdef int _catch_up(self) except -1:
        """Topics publish at the end of the turn: what they published before comes before what is sent now."""
        if isinstance(self.topics, dict):
            for audience in list(self.topics):
                (<Audience>audience).catch_up(self)
            return 0
        return (<Audience>self.topics).catch_up(self)

    def _topics(self):
        if self.topics is None:
            return []
        return list(self.topics) if isinstance(self.topics, dict) else [self.topics]

    def send(self, message, *, text=None, compress=True):
        """Send a message; wait while more than ``write_limit`` bytes are unsent.

        A ``str`` goes as text, a bytes-like object as binary; *text* says otherwise (the bytes must then be UTF-8).
        An iterable or asynchronous iterable of either is sent as one message in fragments, one an item.
        *compress* False leaves it uncompressed. The message is taken when ``send`` is called, so the order of
        calls is the order of messages.

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
        kind = None
        finished = False
        try:
            async for fragment in each(message):
                if kind is not None and isinstance(fragment, str) != kind:
                    raise TypeError("the fragments of a message are all str, or all bytes-like")
                if self.state != OPEN:
                    raise self.closing_error()
                kind = isinstance(fragment, str)
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
        waiting = self.out.size
        if waiting and waiting + len(message) > self.settings.max_backlog:
            return self._overflow()
        self.transmit(message, text, compress)
        if self.out.size <= self.high:
            return SENT
        self.over_limit = True
        return BUFFERED

    def _overflow(self):
        self.settings.overflows += 1
        if self.settings.overflow_closes:
            self.settings.logger.info("closing a connection whose peer is more than max_backlog bytes behind")
            self.send_close(1013, "too slow")
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

    def ping(self, data=None):
        """Send a ping, and return an awaitable of the seconds until its pong.

        *data* is up to 125 bytes; by default a payload that no other ping under way has.

        Raises:
            ConnectionClosed: the connection is closed or closing; or (when awaited) it closes before the pong.
            ValueError: *data* is too long, or a ping with the same is under way.
        """
        if self.state != OPEN:
            raise self.closing_error()
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
        if self.state != OPEN:
            raise self.closing_error()
        payload = data.encode() if isinstance(data, str) else bytes(data)
        if len(payload) > 125:
            raise ValueError(f"a pong has at most 125 bytes of payload, not {len(payload)}")
        self.send_control(PONG, <uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))

    cdef int on_ping(self, bytes payload) except -1:
        if self.out.size > self.high:
            self.more().late_pong = payload    # only the last ping needs an answer (RFC 6455, section 5.5.3)
            return 0
        return Link.on_ping(self, payload)

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

    cdef int _ping(self) except -1:
        cdef uint32_t key = masking_key()
        self.pinging = True
        self.ping_key = key
        self.ping_tick = self.reactor.now()
        self.ping_time = time.perf_counter()
        return self.send_control(PING, <uint8_t*>&key, 4)

    cdef int fail(self, object error) except -1:
        if self.state == OPEN and self.has_message():
            # What came before the violation is good: the handler gets its turn on it, and recv() then closes.
            self.failing = True
            self.failure = error
            self.halted |= ENDED
            self._drop_incoming()
            self.since = self.reactor.now()
            return self.start_timer()
        return Link.fail(self, error)

    cdef int finish_failing(self) except -1:
        if self.failing:
            self.failing = False
            return Link.fail(self, self.failure)
        return 0

    # Time

    cdef int start_timer(self) except -1:
        """Ask for the next moment at which something may be due."""
        cdef Settings s = self.settings
        cdef uint32_t now = self.reactor.tick, due = 0, when
        if self.phase == DRAINING or (self.phase == FRAMES and (self.state != OPEN or self.failing)):
            if s.close_timeout:
                return self.reactor.schedule(self.sid, self.since + s.close_timeout)
            return 0
        if self.phase == FRAMES:
            if self.pinging and s.ping_timeout:
                due = self.ping_tick + s.ping_timeout
            elif s.ping_interval:
                due = (self.ping_tick if self.pinging else self.seen) + s.ping_interval
            if s.idle_timeout:
                when = self.heard + s.idle_timeout
                if not due or <int32_t>(when - due) < 0:
                    due = when
            if due:
                if <int32_t>(due - now) <= 0:
                    due = now + 1
                return self.reactor.schedule(self.sid, due)
        return 0

    cdef int on_timer(self) except -1:
        cdef Settings s = self.settings
        cdef uint32_t now = self.reactor.tick
        if self.phase <= DECIDING:
            if self.phase == HEAD and self.rest != NULL and self.rest.scanned and not self.client:
                self.reject(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            else:
                self.drop(TimeoutError(f"the opening handshake took more than open_timeout"))
            return 0
        if self.phase == DRAINING or self.state != OPEN:
            if s.close_timeout and now - self.since >= s.close_timeout:
                return self.drop(None)
            return self.start_timer()
        if self.failing:
            return self.finish_failing()
        if s.idle_timeout and now - self.heard >= s.idle_timeout:
            return self.send_close(1001, "idle timeout")
        if not self.reading_wanted:
            self.seen = now         # we do not listen: the peer cannot be blamed for its silence
        if self.pinging and <int32_t>(self.seen - self.ping_tick) > 0:
            self.pinging = False    # any bytes prove that the peer is there
        if self.pinging and s.ping_timeout:
            if now - self.ping_tick >= s.ping_timeout:
                self.send_close(1011, "keepalive ping timeout")
                self.flush()
                return self.drop(None)
        elif s.ping_interval and now - (self.ping_tick if self.pinging else self.seen) >= s.ping_interval:
            self._ping()
        return self.start_timer()

    # The end

    def close(self, int code=1000, str reason=""):
        """Begin the closing handshake; await the result to wait for its end, at most ``close_timeout`` seconds.

        *reason* is up to 123 bytes of UTF-8. Closing again does nothing.

        Raises:
            ValueError: the code may not be sent (RFC 6455, section 7.4), or the reason is too long.
        """
        check_close(code, reason)
        if self.state == OPEN:
            if self.topics is not None:
                self._catch_up()
            self.send_close(code, reason)
        elif self.state == CONNECTING:
            self.drop(None)
        return Closing(self)

    cdef int on_closing(self) except -1:
        if self.phase == GONE:
            return 0
        self.since = self.reactor.now()
        self.start_timer()
        if self.failure is not None:
            self.drain_and_close()
        elif self.sent_code and self.received_code:
            if self.client:
                self.phase = DRAINING      # the server closes first (RFC 6455, section 7.1.1)
                self._interest()
            else:
                self.shut()
        elif self.halted & PAUSED:
            self._resume()                 # the peer's close frame stands behind what was not read
        if self.is_over() and not self.corking:
            self._wake_receiver(False)
        return 0

    cdef int on_head(self, bytes head) except -1:
        self.head = head
        self.settings.on_head(self, head)
        return 0

    cdef int on_head_too_large(self) except -1:
        if self.client:
            return self.drop(ValueError("the head of the response is too large"))
        self.reject(b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        return 0

    cdef int on_raw(self, bytes data) except -1:
        self.extras.delegate.data_received(data)
        return 0

    cdef int on_raw_end(self) except -1:
        if not self.extras.delegate.eof_received():
            return self.shut()
        self.reading_wanted = False
        return self._interest()

    cdef int on_gone(self, object error) except -1:
        cdef Settings s = self.settings
        cdef Extras extras = self.extras
        loop = self.reactor.loop
        self.settings.connections -= 1
        self._wake_receiver(False)
        if extras is not None:
            release(extras.drain_waiters)
            release(extras.close_waiters)
            extras.drain_waiters = extras.close_waiters = None
            extras.facade = None
            if extras.pings is not None:
                for future, _ in extras.pings.values():
                    if not future.done():
                        future.set_exception(self.closing_error())
                        future.exception()      # nobody has to await it
                extras.pings = None
        for audience in self._topics():
            (<Audience>audience).leave(self)
        if extras is not None and extras.delegate is not None:
            delegate, extras.delegate = extras.delegate, None
            loop.call_soon(delegate.connection_lost, error)
        elif self.opened:
            if s.on_close is not None:
                try:
                    s.on_close(self, self.close_code, self.close_reason)
                except Exception:
                    self.report("on_close")
        elif s.on_unopened is not None:
            s.on_unopened(self, error)
        if not s.connections and s.on_idle is not None:
            s.on_idle()
        return 0

    async def wait_closed(self):
        """Wait until the connection is closed, for whatever reason, without receiving anything."""
        if self.phase == GONE:
            return
        waiter = self.reactor.loop.create_future()
        extras = self.more()
        if extras.close_waiters is None:
            extras.close_waiters = []
        extras.close_waiters.append(waiter)
        await waiter

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
        if self.transport is not None:
            return self.transport.get_extra_info("peername")
        if self.peer.family == socket.AF_INET:
            return socket.inet_ntop(socket.AF_INET, self.peer.bytes[:4]), self.peer.port
        if self.peer.family == socket.AF_INET6:
            return socket.inet_ntop(socket.AF_INET6, self.peer.bytes[:16]), self.peer.port, 0, self.peer.scope
        return "" if self.peer.family else None

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
        return self.fd


def check_close(int code, str reason):
    """Raise ValueError unless a close frame may have this code and reason."""
    if not valid_close_code(code):
        raise ValueError(f"{code} is not a close code that may be sent: 1000 to 1003, 1007 to 1014 or 3000 to 4999")
    if len(reason.encode()) > 123:
        raise ValueError(f"a close reason has at most 123 bytes, not {len(reason.encode())}")


cdef int release(list waiters) except -1:
    """Let those who wait go on."""
    if waiters is not None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
    return 0


cdef bint is_buffer(object o):
    cdef Py_buffer view
    try:
        PyObject_GetBuffer(o, &view, PyBUF_SIMPLE)
    except (TypeError, BufferError):
        return False
    PyBuffer_Release(&view)
    return True


async def each(fragments):
    if hasattr(fragments, "__aiter__"):
        async for fragment in fragments:
            yield fragment
    else:
        for fragment in fragments:
            yield fragment
