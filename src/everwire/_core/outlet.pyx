"""What a connection sends: corked, queued, encrypted, and handed to the socket or to asyncio's transport.

What is written while input is being read is corked: gathered and sent in one call when that input is done. What is
written at another time is sent at the end of the loop's turn. Bytes wait in memory only if the socket takes no more.
"""

import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.errno cimport errno
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from .kernels cimport ew_mask
from .net cimport *
from .outbox cimport *
from .protocol cimport Protocol
from .reactor cimport CORK, Reactor
from .tls cimport Tls


cdef class Outlet(Protocol):
    """The way out of one connection."""

    def __cinit__(self):
        self.sid = self.fd = -1
        self.phase = HEAD

    def __dealloc__(self):
        outbox_clear(&self.out)

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
            else:
                self.sent_some()
        return 0

    cdef int _uncork_bytes(self) except -1:
        cdef Reactor r = self.reactor
        cdef size_t n = r.cork_used
        r.cork_used = 0
        if not n or self.phase == GONE:
            return 0
        if self.tls is not None:
            if self.out.head != NULL or self.blocked:
                return outbox_copy(&self.out, r.cork, n, 0)
            self.tls.write(r.cork, n)
            return self.flush_tls()
        return self._send_one(r.cork, n, NULL)

    cdef int _send_one(self, const uint8_t* p, size_t n, PyObject* owner) except -1:
        """Send bytes, mostly whole, and queue what the socket does not take. Nothing else may be queued."""
        cdef iovec v
        cdef ssize_t sent
        if self.fd < 0:
            v.iov_base = <void*>p
            v.iov_len = n
            return self._send_now(&v, 1, owner, owner != NULL)
        sent = ew_send(self.fd, p, n)
        if sent == <ssize_t>n:
            return 0
        if sent < 0:
            if not ew_again(errno):
                return self.drop(OSError(errno, os.strerror(errno)))
            sent = 0
        outbox_hold(&self.out, p + sent, n - sent, owner)
        self.blocked = True
        return self.interest()

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
            outbox_hold(&self.out, <uint8_t*>v[i].iov_base + sent, v[i].iov_len - sent,
                        owner if last_is_owned and i == n - 1 else NULL)
            sent = 0
        if self.out.head:
            self.blocked = True
            self.interest()
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
                if n >= LARGE and not key and self.tls is None:
                    v[0].iov_base = r.cork
                    v[0].iov_len = r.cork_used
                    pieces = 1 if r.cork_used else 0
                    r.cork_used = 0
                else:
                    self._uncork_bytes()
                    if self.phase == GONE:
                        return 0
            if n >= LARGE and not key and self.tls is None and not self.blocked:
                v[pieces].iov_base = <void*>head
                v[pieces].iov_len = head_size
                v[pieces + 1].iov_base = <void*>body
                v[pieces + 1].iov_len = n
                return self._send_now(v, pieces + 2, owner, True)
        outbox_copy(&self.out, head, head_size, 0)
        if key:
            outbox_copy(&self.out, body, n, key)
        else:
            outbox_hold(&self.out, body, n, owner)
        if not self.blocked and not self.corking:
            self.reactor.mark(self.sid)
        return 0

    cdef int write(self, const uint8_t* p, size_t n, PyObject* owner) except -1:
        """Send bytes as they are."""
        return self.put(p, 0, p, n, owner, 0)

    cdef int share(self, const uint8_t* p, size_t n, PyObject* owner) except -1:
        """Send bytes that many connections send: at once if nothing waits, and many never from a copy."""
        if self.phase == GONE or self.eof_sent:
            return 0
        if self.out.head != NULL or self.blocked or self.tls is not None or self.corking:
            if self.corking:
                self._uncork_bytes()
                if self.phase == GONE:
                    return 0
            outbox_hold(&self.out, p, n, owner)
            if not self.blocked:
                self.reactor.mark(self.sid)
            return 0
        return self._send_one(p, n, owner)

    cdef int flush(self) except -1:
        """Send what waits, as far as the socket takes it."""
        cdef iovec v[PIECES]
        cdef ssize_t sent
        cdef size_t total
        cdef int n, i
        if self.phase == GONE or self.blocked:
            return 0
        if self.tls is not None:
            return self.flush_tls()
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
        self.interest()
        return self.sent_some()

    cdef int flush_tls(self) except -1:
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
        self.interest()
        return self.sent_some()

    cdef int sent_some(self) except -1:
        """Some of what waited is sent: go on with what waited for that."""
        cdef size_t left = self.buffered()
        if self.awaited and left <= self.low:
            self.awaited = False
            self.on_sent()
        if left or self.phase == GONE or self.corking:
            return 0
        if self.close_when_sent:
            return self.drop(None)
        if not self.drain_when_sent:
            return 0
        if not self.eof_sent:
            self.eof_sent = True
            if self.tls is not None:
                self.tls.shut()
                self.flush_tls()
            if self.fd >= 0:
                ew_shutdown_write(self.fd)
            elif self.transport is not None and self.transport.can_write_eof():
                self.transport.write_eof()
            elif self.transport is not None:
                return self.drop(None)      # asyncio's TLS cannot close one direction
        return self.on_finished()

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

    # For subclasses

    cdef int interest(self) except -1:
        """Have the reactor wait for what is waited for."""
        return 0

    cdef int drop(self, object error) except -1:
        """The end, now."""
        return 0

    cdef int on_finished(self) except -1:
        """All is sent, the end of the stream too."""
        return 0

    cdef int on_sent(self) except -1:
        """What waits to be sent is below the lower watermark."""
        return 0
