"""A connection's life: the opening, the handler or listener, keepalive and other timers, the close."""

import asyncio
import socket
import time

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from .awaitables cimport Closing
from .frames cimport PING
from .link cimport *
from .net cimport ew_peer
from .protocol cimport CLOSED, CLOSING, CONNECTING, ENDED, OPEN, PAUSED, Codec, masking_key
from .reactor cimport reactor_of
from .settings cimport Settings

from everwire._core.protocol import check_close
from everwire.errors import ConnectionClosed


cdef class Audience(Deferred):
    cdef int catch_up(self, Endpoint connection) except -1:
        return 0

    cdef int drained(self, Endpoint connection) except -1:
        return 0

    cdef int leave(self, Endpoint connection) except -1:
        return 0


cdef class Extras:
    pass


cdef class Endpoint(Link):
    """A link with a handler: what happens to a connection, and when."""

    def __cinit__(self, Settings settings not None, loop=None):
        self.client = settings.client
        self.adopt(settings)
        self.reactor = reactor_of(asyncio.get_running_loop() if loop is None else loop)
        self.since = self.reactor.tick

    cdef int adopt(self, Settings settings) except -1:
        """Be under these limits, and tell these callbacks, from now on."""
        self.settings = settings
        self.max_size = settings.max_size
        self.high = settings.high
        self.low = settings.low
        return 0

    cdef Extras more(self):
        if self.extras is None:
            self.extras = Extras.__new__(Extras)
        return self.extras

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
        if not self.counted:
            self.counted = True
            (<Settings>self.settings.base()).connections += 1
        if self.settings.open_timeout and self.phase <= HEAD and not self.client:
            self.reactor.schedule(self.sid, self.since + self.settings.open_timeout)
        return 0

    def start(self, request: bytes):
        """Send a client's request; the settings' ``on_head`` gets the head of the response."""
        self.write(<uint8_t*>PyBytes_AS_STRING(request), PyBytes_GET_SIZE(request), <PyObject*>request)

    def open(self, response: bytes, subprotocol=None, deflater=None, inflater=None, threshold=0, answer=None, *,
             Settings settings=None):
        """The handshake is done: *response* is sent (by a server), then frames are read and sent, under *settings*."""
        if self.phase != DECIDING:
            return
        if response:
            self.write(<uint8_t*>PyBytes_AS_STRING(response), PyBytes_GET_SIZE(response), <PyObject*>response)
        self.subprotocol = subprotocol
        if settings is not None:
            self.adopt(settings)
        if deflater is not None:
            self.codec = Codec(deflater, inflater, threshold)
        if answer is not None:
            self.more().response = answer
        self.phase = FRAMES
        self.state = OPEN
        self.opened = True
        self.since = self.heard = self.seen = self.reactor.now()
        self.start_timer()
        self._start()
        self.interest()
        self.resume_rest()

    def deliberate(self):
        """The decision about the head takes as long as it takes: ``open_timeout`` is over, and the peer is watched.

        A peer that goes away meanwhile ends the connection; what it sends already waits, up to a bound.
        """
        if self.phase == DECIDING:
            self.watching = True
            self.reactor.unschedule(self.sid)
            self.interest()

    def next_head(self):
        """The head was not the last one (RFC 9110, section 15.2): wait for another."""
        if self.phase == DECIDING:
            self.phase = HEAD
            self.interest()

    def reject(self, response: bytes):
        """Send an HTTP response instead of opening, and close."""
        if self.phase in (GONE, DRAINING):
            return
        self.write(<uint8_t*>PyBytes_AS_STRING(response), PyBytes_GET_SIZE(response), <PyObject*>response)
        self.since = self.reactor.now()
        self.drain_and_close()
        if self.phase != GONE:
            self.start_timer()

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
            if not (self.state >= CLOSING and isinstance(error, ConnectionClosed)):
                self.settings.logger.error("connection handler failed", exc_info=error)
                if self.state == OPEN:
                    self.send_close(1011, "internal error")
                return
        if self.state == OPEN:
            self.send_close(1001 if task.cancelled() else 1000, "")

    cdef bint is_over(self) noexcept:
        """Whether no message can come any more."""
        return self.state == CLOSED or self.received_code or self.failure is not None

    cdef int report(self, str what) except -1:
        """An exception left a callback: log it, and close with 1011."""
        self.settings.logger.exception("%s failed", what)
        if self.state == OPEN:
            self.send_close(1011, "internal error")
        return 0

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

    cdef int catch_up(self) except -1:
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

    cdef int _ping(self) except -1:
        cdef uint32_t key = masking_key()
        self.pinging = True
        self.ping_key = key
        self.ping_tick = self.reactor.now()
        self.ping_time = time.perf_counter()
        return self.send_control(PING, <uint8_t*>&key, 4)

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
        if self.transport is not None and self.blocked:
            unsent = self.transport.get_write_buffer_size()
            if unsent != self.more().unsent:
                self.extras.unsent = unsent
                self.seen = now     # it takes bytes: it is there
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

    def close(self, code=1000, str reason=""):
        """Begin the closing handshake; await the result to wait for its end, at most ``close_timeout`` seconds.

        *code* None sends a close frame without one, which the peer sees as 1005; *reason* is up to 123 bytes of UTF-8.
        Closing again does nothing.

        Raises:
            ValueError: the code may not be sent (RFC 6455, section 7.4), or the reason is too long or has no code.
        """
        cdef int number = check_close(code, reason)
        if self.state == OPEN:
            if self.topics is not None:
                self.catch_up()
            self.send_close(number, reason)
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
                self.interest()
            else:
                self.shut()
        elif self.halted & PAUSED:
            self.resume()                 # the peer's close frame stands behind what was not read
        if self.is_over() and not self.corking:
            self.wake_receiver(False)
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

    cdef int on_finished(self) except -1:
        # The socket lingers until the peer is done, too; whom it was handed over to need not wait for that.
        if self.phase == DRAINING:
            self._delegate_done(None)
        return 0

    def _delegate_done(self, error):
        if self.extras is not None and self.extras.delegate is not None:
            delegate, self.extras.delegate = self.extras.delegate, None
            self.extras.facade = None
            self.reactor.loop.call_soon(delegate.connection_lost, error)

    cdef int on_gone(self, object error) except -1:
        cdef Settings s = self.settings
        cdef Extras extras = self.extras
        if self.counted:
            (<Settings>s.base()).connections -= 1
        self.wake_receiver(False)
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
        if self.delegated:
            self._delegate_done(error)
        elif self.opened:
            if s.on_close is not None:
                try:
                    s.on_close(self, self.close_code, self.close_reason)
                except Exception:
                    self.report("on_close")
        elif s.on_unopened is not None:
            s.on_unopened(self, error)
        if not (<Settings>s.base()).connections and s.on_idle is not None:
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

    # For subclasses

    cdef bint has_message(self) noexcept:
        return False

    cdef int resume(self) except -1:
        self.halted &= ~PAUSED
        return self.set_reading(True)

    cdef int wake_receiver(self, bint here) except -1:
        return 0


cdef int release(list waiters) except -1:
    """Let those who wait go on."""
    if waiters is not None:
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
    return 0
