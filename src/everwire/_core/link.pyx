"""A Protocol bound to a socket that the reactor polls, or to one of asyncio's transports.

What is written while input is being read is corked: gathered and sent in one call when that input is done. What is
written at another time is sent at the end of the loop's turn. Memory is held only for what waits: unsent bytes, and
input that is not whole yet.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.errno cimport errno
from libc.string cimport memcpy, memmove, memset

from .http1 cimport MAX_HEAD, head_end
from .kernels cimport ew_mask
from .net cimport *
from .outbox cimport *
from .protocol cimport CLOSED, CLOSING, ENDED, OPEN, PAUSED, Protocol
from .reactor cimport CORK, INBOX, Ops, Reactor
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


cdef class Link(Protocol):
    """The bytes of one connection."""

    def __cinit__(self):
        self.sid = self.fd = -1
        self.phase = HEAD
        self.reading_wanted = True

    def __dealloc__(self):
        if self.fd >= 0:
            ew_close(self.fd)
        outbox_clear(&self.out)
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
        self.reactor.want(self.sid, EW_READ)
        if self.tls is not None and self.client:
            self.tls.handshake()
            self.flush()
        return 0

    def attach_transport(self, transport):
        """Run on one of asyncio's transports: see :class:`everwire.websocket.fallback.Adapter`."""
        self.transport = transport
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
                if self.reading_wanted and not self.choked and self.phase != DECIDING:
                    self.receive()
                else:
                    self._interest()
        except Exception as exc:
            self.drop(exc)
        return 0

    cdef int _interest(self) except -1:
        cdef bint reads = self.reading_wanted and not self.choked and self.phase != DECIDING
        if self.phase == GONE:
            return 0
        if self.fd >= 0:
            return self.reactor.want(self.sid, (EW_READ if reads else 0) | (EW_WRITE if self.blocked else 0))
        if self.transport is not None and not self.transport.is_closing():
            if reads:
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
            self.on_input()
        finally:
            self.end_cork()
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
                    return self._flush_tls()
            except OSError as exc:      # ssl.SSLError is one
                self._flush_tls()
                return self.drop(exc)
            self.phase = HEAD
            self._flush_tls()
            self.start_input()
            self.on_secured()
        while self.phase != GONE and not self.halted & PAUSED and self.phase != DECIDING:
            before = self.rest_size()
            if before:
                memcpy(r.inbox, self.rest_bytes(), before)
            n = self.tls.read(r.inbox + before, INBOX - before)
            if n < 0:
                return self._end_of_input()
            if n == 0:
                break
            self._received(n)
        return 0

    def transport_received(self, data: bytes) -> None:
        """Use bytes that asyncio's transport has read."""
        cdef Reactor r = self.reactor
        cdef size_t n = PyBytes_GET_SIZE(data), used = 0, take, before
        cdef uint8_t* p = <uint8_t*>PyBytes_AS_STRING(data)
        self.begin_cork()
        try:
            while used < n and self.phase != GONE:
                if self.halted & PAUSED or self.phase == DECIDING:
                    self._keep_rest(p + used, n - used)
                    break
                before = self.rest_size()
                if before:
                    memcpy(r.inbox, self.rest_bytes(), before)
                take = min(n - used, INBOX - before)
                memcpy(r.inbox + before, p + used, take)
                used += take
                self._received(take)
            self.on_input()
            self._interest()
        except Exception as exc:
            self.drop(exc)
        finally:
            self.end_cork()

    def transport_ended(self) -> bool:
        """asyncio's transport has read the end of the stream."""
        self._end_of_input()
        self.on_input()
        return self.phase == RAW and not self.close_when_sent

    def transport_lost(self, error) -> None:
        self.drop(error)

    def transport_blocked(self, bint blocked) -> None:
        self.blocked = blocked
        if not blocked:
            self.flush()

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
            self.on_raw(PyBytes_FromStringAndSize(<char*>p, n))
        elif self.phase == HEAD:
            self._head_in(p, n)
        elif self.phase == DECIDING:
            self._keep_rest(p, n)
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
            self._interest()
            self.resume_rest()
        elif self.fd < 0:
            self._interest()
        return 0

    cdef int resume_rest(self) except -1:
        """Use input that has waited for reading to be resumed."""
        cdef size_t used
        cdef Rest* rest
        if self.feeding or self.phase == GONE or self.halted or not self.reading_wanted:
            return 0
        if not self.rest_size() and self.tls is None:
            return 0
        self.begin_cork()
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
            self.end_cork()
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

    # Output

    cdef int begin_cork(self) except -1:
        if not self.reactor.corked:
            self.reactor.corked = <PyObject*>self
            self.reactor.cork_used = 0
            self.corking = True
        return 0

    cdef int end_cork(self) except -1:
        """Send what was corked; go on with what waited for it."""
        if self.corking:
            self._uncork_bytes()
            self.corking = False
            self.reactor.corked = NULL
            if self.out.head != NULL and not self.blocked and self.phase != GONE:
                self.reactor.mark(self.sid)
            elif self.close_when_sent or self.drain_when_sent:
                self._all_sent()
        if not self.client and not self.choked and self.buffered() > self.high:
            self.choked = True
        if self.rest and not self.rest.size and not self.feeding:
            self._free_rest()
        return 0

    cdef int _uncork_bytes(self) except -1:
        cdef Reactor r = self.reactor
        cdef iovec v
        cdef size_t n = r.cork_used
        r.cork_used = 0
        if not n or self.phase == GONE:
            return 0
        if self.tls is not None:
            if self.out.head != NULL or self.blocked:
                return outbox_copy(&self.out, r.cork, n, 0)
            self.tls.write(r.cork, n)
            return self._flush_tls()
        v.iov_base = r.cork
        v.iov_len = n
        return self._send_now(&v, 1, NULL, False)

    cdef ssize_t _send_vector(self, iovec* v, int n) except -2:
        """Send; answer the bytes taken, or -1 if the socket takes none now."""
        cdef ssize_t sent
        cdef size_t total = 0
        cdef int i
        if self.fd >= 0:
            sent = ew_send(self.fd, v[0].iov_base, v[0].iov_len) if n == 1 else ew_sendv(self.fd, v, n)
            if sent >= 0:
                return sent
            if ew_again(errno):
                return -1
            raise OSError(errno, os.strerror(errno))
        if self.blocked:
            return -1
        for i in range(n):
            total += v[i].iov_len
        if n == 1:
            data = PyBytes_FromStringAndSize(<char*>v[0].iov_base, total)
        else:
            data = b"".join([PyBytes_FromStringAndSize(<char*>v[i].iov_base, v[i].iov_len) for i in range(n)])
        self.transport.write(data)
        return total

    cdef int _send_now(self, iovec* v, int n, PyObject* owner, bint last_is_owned) except -1:
        """Send what is in *v*, and queue what the socket does not take. Nothing else may be queued."""
        cdef ssize_t sent
        cdef int i
        try:
            sent = self._send_vector(v, n)
        except OSError as exc:
            return self.drop(exc)
        if sent < 0:
            sent = 0
        for i in range(n):
            if <size_t>sent >= v[i].iov_len:
                sent -= v[i].iov_len
                continue
            if owner and last_is_owned and i == n - 1:
                outbox_keep(&self.out, <uint8_t*>v[i].iov_base + sent, v[i].iov_len - sent, owner)
            else:
                outbox_copy(&self.out, <uint8_t*>v[i].iov_base + sent, v[i].iov_len - sent, 0)
            sent = 0
        if self.out.head:
            self.blocked = True
            self._interest()
        return 0

    cdef int put(self, const uint8_t* head, size_t head_size, const uint8_t* body, size_t n, PyObject* owner,
                 uint32_t key) except -1:
        cdef Reactor r = self.reactor
        cdef iovec v[3]
        cdef int pieces = 0
        if self.phase == GONE or self.eof_sent:
            return 0
        if not self.out.head:
            if self.corking:
                if n < LARGE and r.cork_used + head_size + n <= CORK:
                    memcpy(r.cork + r.cork_used, head, head_size)
                    r.cork_used += head_size
                    if key:
                        ew_mask(r.cork + r.cork_used, body, n, key, 0)
                    elif n:
                        memcpy(r.cork + r.cork_used, body, n)
                    r.cork_used += n
                    return 0
                if n >= LARGE and not key and self.tls is None and self.fd >= 0:
                    v[0].iov_base = r.cork
                    v[0].iov_len = r.cork_used
                    pieces = 1 if r.cork_used else 0
                    r.cork_used = 0
                else:
                    self._uncork_bytes()
                    if self.phase == GONE:
                        return 0
            if n >= LARGE and not key and self.tls is None and self.fd >= 0 and not self.blocked:
                v[pieces].iov_base = <void*>head
                v[pieces].iov_len = head_size
                v[pieces + 1].iov_base = <void*>body
                v[pieces + 1].iov_len = n
                return self._send_now(v, pieces + 2, owner, True)
        outbox_copy(&self.out, head, head_size, 0)
        if owner and n >= 2048 and not key:
            outbox_keep(&self.out, body, n, owner)
        else:
            outbox_copy(&self.out, body, n, key)
        if not self.blocked and not self.corking:
            self.reactor.mark(self.sid)
        return 0

    cdef int write(self, const uint8_t* p, size_t n, PyObject* owner) except -1:
        """Send bytes as they are."""
        return self.put(p, 0, p, n, owner, 0)

    cdef int share(self, const uint8_t* p, size_t n, PyObject* owner) except -1:
        """Send bytes that many connections send: at once if nothing waits, and never from a copy."""
        cdef iovec v
        if self.phase == GONE or self.eof_sent:
            return 0
        if self.out.head != NULL or self.blocked or self.tls is not None or self.corking:
            if self.corking:
                self._uncork_bytes()
                if self.phase == GONE:
                    return 0
            outbox_keep(&self.out, p, n, owner)
            if not self.blocked:
                self.reactor.mark(self.sid)
            return 0
        v.iov_base = <void*>p
        v.iov_len = n
        return self._send_now(&v, 1, owner, True)

    cdef int flush(self) except -1:
        """Send what waits, as far as the socket takes it."""
        cdef iovec v[PIECES]
        cdef ssize_t sent
        cdef size_t total
        cdef int n, i
        if self.phase == GONE or self.blocked:
            return 0
        if self.tls is not None:
            return self._flush_tls()
        while self.out.head:
            n = outbox_vector(&self.out, v)
            total = 0
            for i in range(n):
                total += v[i].iov_len
            try:
                sent = self._send_vector(v, n)
            except OSError as exc:
                return self.drop(exc)
            if sent > 0:
                outbox_sent(&self.out, sent)
            if sent < <ssize_t>total:
                self.blocked = True
                break
        self._interest()
        return self._all_sent()

    cdef int _flush_tls(self) except -1:
        cdef const uint8_t* where
        cdef size_t n
        cdef iovec v
        cdef ssize_t sent
        if self.blocked or self.phase == GONE:
            return 0
        try:
            while True:
                n = self.tls.ciphertext(&where)
                if not n:
                    if not self.out.head or self.phase == SECURING:
                        break
                    n = min(self.out.head.end - self.out.head.start, <size_t>CORK)
                    self.tls.write(self.out.head.data + self.out.head.start, n)
                    outbox_sent(&self.out, n)
                    continue
                v.iov_base = <void*>where
                v.iov_len = n
                sent = self._send_vector(&v, 1)
                if sent > 0:
                    self.tls.ciphertext_sent(sent)
                if sent < <ssize_t>n:
                    self.blocked = True
                    break
        except OSError as exc:
            return self.drop(exc)
        self._interest()
        return self._all_sent()

    cdef int _all_sent(self) except -1:
        """Some of what waited is sent: go on with what waited for that."""
        cdef size_t left = self.buffered()
        if left <= self.low:
            if self.choked:
                self.choked = False
                self._interest()
                self.resume_rest()
            self.on_sent()
        if left or self.phase == GONE or self.corking:
            return 0
        if self.close_when_sent:
            return self.drop(None)
        if self.drain_when_sent and not self.eof_sent:
            self.eof_sent = True
            if self.tls is not None:
                self.tls.shut()
                self._flush_tls()
            if self.fd >= 0:
                ew_shutdown_write(self.fd)
            elif self.transport is not None and self.transport.can_write_eof():
                self.transport.write_eof()
        return 0

    cdef size_t buffered(self) except? 0:
        """Bytes that are not handed to the operating system yet."""
        cdef size_t n = self.out.size
        if self.corking:
            n += self.reactor.cork_used
        if self.tls is not None:
            n += PyBytes_GET_SIZE(self.tls.waiting) - self.tls.waiting_start
        if self.transport is not None:
            n += self.transport.get_write_buffer_size()
        return n

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
        self._interest()
        if not self.corking:
            self._all_sent()
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
            self._flush_tls()
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
            # close(), not abort(): what the transport holds was accepted as sent
            self.transport.close() if error is None else self.transport.abort()
        return self.on_gone(error)

    cdef int _error(self, int number) except -1:
        return self.drop(OSError(number, os.strerror(number)))

    # For subclasses

    cdef int on_head(self, bytes head) except -1:
        return 0

    cdef int on_head_too_large(self) except -1:
        return self.drop(None)

    cdef int on_sent(self) except -1:
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
