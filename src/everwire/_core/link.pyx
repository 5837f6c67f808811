"""A connection's bytes, from and to a socket that the reactor polls, or one of asyncio's transports.

Input is read into the reactor's one buffer and used in place; only what is not whole yet is kept.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.errno cimport errno
from libc.string cimport memcpy, memmove, memset

from .http1 cimport MAX_HEAD, head_end
from .net cimport *
from .outbox cimport outbox_clear
from .outlet cimport *
from .protocol cimport CLOSED, ENDED, PAUSED
from .reactor cimport INBOX, Ops, Reactor
from .tls cimport Tls

cdef enum:
    DIRECT_MOST = 1 << 20   # bytes of a large frame read in one go


cdef int link_ready(object owner, int what) except -1:
    return (<Link>owner).ready(what)


cdef int link_timer(object owner) except -1:
    return (<Link>owner).on_timer()


cdef int link_flush(object owner) except -1:
    cdef Link link = <Link>owner
    try:
        return link.flush()
    except Exception as exc:
        return link.drop(exc)


cdef Ops LINK_OPS
LINK_OPS.ready = link_ready
LINK_OPS.timer = link_timer
LINK_OPS.flush = link_flush


cdef class Link(Outlet):
    """The bytes of one connection."""

    def __cinit__(self):
        self.reading_wanted = True

    def __dealloc__(self):
        if self.fd >= 0:
            ew_close(self.fd)
        PyMem_Free(self.rest)

    # Beginning

    cdef int attach_fd(self, int fd, object tls_context, object server_hostname) except -1:
        """Take over a connected, non-blocking socket."""
        self.fd = fd
        self.sid = self.reactor.add(self, &LINK_OPS, fd)
        self.seen = self.reactor.now()
        if tls_context is not None:
            self.tls = Tls(tls_context, self.client, server_hostname)
            self.phase = SECURING
        try:
            self.reactor.want(self.sid, EW_READ)
        except OSError:
            self.reactor.remove(self.sid)
            self.sid = -1
            raise
        if self.tls is not None and self.client:
            self.tls.handshake()
            self.flush()
        return 0

    def attach_transport(self, transport):
        """Run on one of asyncio's transports: see :class:`everwire.websocket.fallback.Adapter`."""
        self.transport = transport
        # It is to say at once when it takes no more, and when it does again; asyncio's TLS compares with «at least».
        transport.set_write_buffer_limits(high=0 if transport.get_extra_info("sslcontext") is None else 1)
        self.sid = self.reactor.add(self, &LINK_OPS, -1)
        self.seen = self.reactor.now()
        self.start_input()
        self.on_secured()

    cdef int start_input(self) except -1:
        return 0

    # Input

    cdef int ready(self, int what) except -1:
        try:
            if what & EW_WRITE and self.blocked:
                self.blocked = False
                self.seen = self.reactor.tick       # the peer has taken bytes: it is there
                self.flush()
            if what & EW_READ and self.phase != GONE:
                if self.reads():
                    self.receive()
                else:
                    self.interest()
        except Exception as exc:
            self.drop(exc)
        return 0

    cdef inline bint reads(self) noexcept:
        """Whether bytes are taken from the peer now."""
        if self.phase == DECIDING and (not self.watching or self.rest_size() >= EARLY_MOST):
            return False
        return self.reading_wanted and not self.choked

    cdef int interest(self) except -1:
        if self.phase == GONE:
            return 0
        if self.fd >= 0:
            return self.reactor.want(self.sid, (EW_READ if self.reads() else 0) | (EW_WRITE if self.blocked else 0))
        if self.transport is not None and not self.transport.is_closing():
            if self.reads():
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()
        return 0

    cdef int receive(self) except -1:
        """Read what the socket has, once."""
        cdef Reactor r = self.reactor
        cdef uint8_t* where
        cdef size_t room = 0
        cdef ssize_t got
        self.begin_cork()
        self.receiving = True
        try:
            if self.phase == FRAMES and self.tls is None:
                room = self.direct_room(&where)
            if room:
                room = min(room, <size_t>DIRECT_MOST)
                got = ew_recv2(self.fd, where, room, r.inbox, INBOX)
                if got > 0:
                    self.seen = r.tick
                    self.direct_filled(min(<size_t>got, room))
                    if <size_t>got > room and not self.halted & ENDED:
                        self.consume(r.inbox, got - room)
            elif self.tls is not None:
                got = ew_recv(self.fd, r.inbox, INBOX)
                if got > 0:
                    self.seen = r.tick
                    self._receive_tls(got)
            else:
                room = self.rest_size()
                if room:
                    memcpy(r.inbox, self.rest_bytes(), room)
                got = ew_recv(self.fd, r.inbox + room, INBOX - room)
                if got > 0:
                    self._received(got)
            if got == 0:
                self._end_of_input()
            elif got < 0 and not ew_again(errno):
                self._error(errno)
            self.receiving = False
            self.on_input()
        finally:
            self.receiving = False
            self.end_cork()
            self._input_done()
        return 0

    cdef int _input_done(self) except -1:
        """Give back what the rest does not need, and see whether the peer is too far behind to be listened to."""
        if self.rest and not self.rest.size and not self.feeding:
            self._free_rest()
        if not self.client and not self.choked and self.buffered() > self.high:
            self.choked = self.awaited = True
        return 0

    cdef int _received(self, size_t got) except -1:
        """Use *got* bytes that stand in the inbox behind a copy of the rest."""
        cdef size_t before = self.rest_size()
        self.seen = self.reactor.tick
        if before:
            self.rest.size = self.rest.start = 0
        return self.consume(self.reactor.inbox, before + got)

    cdef int _receive_tls(self, size_t got) except -1:
        """Decrypt what came and use it; with *got* 0, what came before."""
        cdef Reactor r = self.reactor
        cdef ssize_t n
        cdef size_t before
        if got:
            self.tls.take(r.inbox, got)
        if self.phase == SECURING:
            try:
                if not self.tls.handshake():
                    return self.flush_tls()
            except OSError as exc:      # ssl.SSLError is one
                self.flush_tls()
                return self.drop(exc)
            self.phase = HEAD
            self.flush_tls()
            self.start_input()
            self.on_secured()
        while self.phase != GONE and not self.halted & PAUSED and (self.phase != DECIDING or self.reads()):
            before = self.rest_size()
            if before:
                memcpy(r.inbox, self.rest_bytes(), before)
            n = self.tls.read(r.inbox + before, INBOX - before, None if before else r.inbox_view)
            if n < 0:
                return self._end_of_input()
            if n == 0:
                break
            self._received(n)
        return 0

    def transport_received(self, data: bytes) -> None:
        """Use bytes that asyncio's transport has read."""
        cdef Reactor r = self.reactor
        r.now()
        cdef size_t n = PyBytes_GET_SIZE(data), used = 0, take, before
        cdef uint8_t* p = <uint8_t*>PyBytes_AS_STRING(data)
        self.begin_cork()
        self.receiving = True
        try:
            while used < n and self.phase != GONE:
                if self.halted & PAUSED or self.phase == DECIDING or (self.phase == RAW and not self.reading_wanted):
                    self._keep_rest(p + used, n - used)
                    break
                before = self.rest_size()
                if before:
                    memcpy(r.inbox, self.rest_bytes(), before)
                take = min(n - used, INBOX - before)
                memcpy(r.inbox + before, p + used, take)
                used += take
                self._received(take)
            self.receiving = False
            self.on_input()
        except Exception as exc:
            self.drop(exc)
        finally:
            self.receiving = False
            self.end_cork()
        self._input_done()
        self.interest()

    def transport_ended(self) -> bool:
        """asyncio's transport has read the end of the stream."""
        self._end_of_input()
        self.on_input()
        return self.phase == RAW and not self.close_when_sent

    def transport_lost(self, error) -> None:
        """asyncio's transport is gone, with an exception or None."""
        self.drop(error)

    def transport_blocked(self, bint blocked) -> None:
        """asyncio's transport has enough for now, or takes more."""
        self.blocked = blocked
        if not blocked and self.phase != GONE:
            self.reactor.mark(self.sid)     # not at once: a transport is in the midst of its own affairs here

    cdef int consume(self, uint8_t* p, size_t n) except -1:
        """Use bytes by what they are now; keep what is not used yet."""
        cdef size_t used
        if self.phase == FRAMES:
            self.feeding = True
            try:
                used = self.feed(p, n)
            finally:
                self.feeding = False
            if used < n and self.phase == FRAMES and not self.halted & ENDED:
                self._keep_rest(p + used, n - used)
        elif self.phase == RAW:
            if self.reading_wanted:
                self.on_raw(PyBytes_FromStringAndSize(<char*>p, n))
            else:
                self._keep_rest(p, n)
        elif self.phase == HEAD:
            self._head_in(p, n)
        elif self.phase == DECIDING:
            self._keep_rest(p, n)
        elif self.phase == STREAMING:
            self.on_stray(n)
        return 0

    cdef int _head_in(self, uint8_t* p, size_t n) except -1:
        cdef ssize_t end = head_end(p, n, self.rest.scanned if self.rest else 0)
        if end < 0 and n < MAX_HEAD:
            self._keep_rest(p, n)
            self.rest.scanned = n
            return 0
        if self.rest:
            self.rest.scanned = 0
        self.phase = DECIDING
        if end < 0 or end > MAX_HEAD:
            return self.on_head_too_large()
        self.on_head(PyBytes_FromStringAndSize(<char*>p, end))
        if <size_t>end < n and self.phase not in (DRAINING, GONE):
            return self.consume(p + end, n - end)
        return 0

    cdef inline uint8_t* rest_bytes(self) noexcept:
        return <uint8_t*>self.rest + sizeof(Rest) + self.rest.start

    cdef inline uint32_t rest_size(self) noexcept:
        return self.rest.size if self.rest else 0

    cdef int _keep_rest(self, const uint8_t* p, size_t n) except -1:
        """Append to the rest."""
        cdef Rest* rest = self.rest
        cdef uint32_t size = self.rest_size()
        if rest and rest.start:
            memmove(<uint8_t*>rest + sizeof(Rest), self.rest_bytes(), size)
            rest.start = 0
        if not rest or size + n > rest.room:
            rest = <Rest*>PyMem_Realloc(self.rest, sizeof(Rest) + size + n)
            if not rest:
                raise MemoryError
            if not self.rest:
                rest.start = rest.size = rest.scanned = 0
            rest.room = size + n
            self.rest = rest
        memcpy(<uint8_t*>rest + sizeof(Rest) + size, p, n)
        rest.size = size + n
        return 0

    cdef int set_reading(self, bint wanted) except -1:
        """Pause or resume reading. The poller is asked to stop only if more comes meanwhile."""
        self.reading_wanted = wanted
        if wanted:
            self.interest()
            self.resume_rest()
        elif self.fd < 0:
            self.interest()
        return 0

    cdef int resume_rest(self) except -1:
        """Use input that has waited for reading to be resumed."""
        cdef size_t used
        cdef Rest* rest
        if self.receiving or self.phase == GONE or self.halted or not self.reading_wanted:
            return 0
        if not self.rest_size() and self.tls is None:
            return 0
        self.reactor.now()
        self.begin_cork()
        self.receiving = True
        try:
            if self.rest_size() and self.phase == FRAMES:
                self.feeding = True
                try:
                    used = self.feed(self.rest_bytes(), self.rest.size)
                finally:
                    self.feeding = False
                self.rest.start += used
                self.rest.size -= used
            elif self.rest_size():
                rest = self.rest
                self.rest = NULL
                try:
                    self.consume(<uint8_t*>rest + sizeof(Rest) + rest.start, rest.size)
                finally:
                    PyMem_Free(rest)
            if self.phase == GONE or self.halted & ENDED or not self.rest_size():
                self._free_rest()
            if self.tls is not None and self.phase not in (SECURING, GONE) and not self.halted:
                self._receive_tls(0)
        except Exception as exc:
            self.drop(exc)
        finally:
            self.receiving = False
            self.end_cork()
        if self.phase != GONE:
            self._input_done()
        return 0

    cdef void _free_rest(self) noexcept:
        if self.feeding:
            if self.rest:
                self.rest.start = self.rest.size = 0
        else:
            PyMem_Free(self.rest)
            self.rest = NULL

    cdef int _end_of_input(self) except -1:
        if self.phase == RAW:
            return self.on_raw_end()
        return self.drop(None)

    # The end

    cdef int shut(self) except -1:
        """Close when all is sent."""
        self.close_when_sent = True
        if self.phase != GONE and not self.corking and not self.buffered():
            return self.drop(None)
        return 0

    cdef int drain_and_close(self) except -1:
        """Send all, say that no more comes, and ignore what comes until the peer is done: a socket that is closed
        with unread input is reset, and the peer might lose what was sent last."""
        if self.phase == GONE:
            return 0
        self.halted |= ENDED
        self.phase = DRAINING
        self.reading_wanted = True
        self.choked = False
        self.drain_when_sent = True
        self._free_rest()
        self.interest()
        if not self.corking:
            self.sent_some()
        return 0

    cdef int drop(self, object error) except -1:
        """The end, now: give the socket back and say so, once."""
        cdef int32_t sid = self.sid
        cdef int fd = self.fd
        if self.phase == GONE:
            return 0
        if self.tls is not None and error is None and not self.eof_sent and not self.blocked and self.phase != SECURING:
            self.eof_sent = True
            self.tls.shut()
            self.flush_tls()
            if self.phase == GONE:
                return 0
        self.phase = GONE
        self.state = CLOSED
        self.halted |= ENDED
        outbox_clear(&self.out)
        self._free_rest()
        if self.corking:
            self.reactor.cork_used = 0
        if not self.feeding:
            self._drop_incoming()
        self.sid = self.fd = -1
        if sid >= 0:
            self.reactor.remove(sid)
        if fd >= 0:
            ew_close(fd)
        if self.transport is not None:
            # A transport that holds unsent bytes would stay until they are taken, for ever perhaps.
            if error is None and not self.transport.get_write_buffer_size():
                self.transport.close()
            else:
                self.transport.abort()
        return self.on_gone(error)

    cdef int _error(self, int number) except -1:
        return self.drop(OSError(number, os.strerror(number)))

    # For subclasses

    cdef int on_head(self, bytes head) except -1:
        return 0

    cdef int on_head_too_large(self) except -1:
        return self.drop(None)

    cdef int on_sent(self) except -1:
        if self.choked:
            self.choked = False
            self.interest()
            self.resume_rest()
        return 0

    cdef int on_gone(self, object error) except -1:
        return 0

    cdef int on_timer(self) except -1:
        return 0

    cdef int on_secured(self) except -1:
        return 0

    cdef int on_input(self) except -1:
        return 0

    cdef int on_raw(self, bytes data) except -1:
        return 0

    cdef int on_raw_end(self) except -1:
        return self.shut()

    cdef int on_stray(self, size_t n) except -1:
        return 0
