"""The bytes of a connection whose users' threads read and write the socket themselves.

There is no thread for a connection. Whoever waits for a message reads the socket, whoever sends writes it, and both wait
in the system, without the interpreter's lock. Who finds somebody else writing leaves its bytes to that one. Nothing is
lost when a signal's handler raises: what was read was used, and what was not sent yet waits, whole.
"""

import os
import ssl

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pythread cimport PyThread_allocate_lock, PyThread_free_lock, PyThread_get_thread_ident, PyThread_release_lock
from libc.errno cimport EINTR, errno
from libc.math cimport INFINITY
from libc.string cimport memcpy

from .locks cimport lock_hold, lock_take, lock_try
from .net cimport *
from .outbox cimport *
from .protocol cimport CLOSED, ENDED, OPEN, PAUSED

cdef enum:
    BUFFER = 65536          # bytes read in one go
    DIRECT_MOST = 1 << 20   # the same for a large frame
    KEPT = 2048             # bytes from which on what is sent is referred to instead of copied


def monotonic() -> float:
    """Return the time in seconds that ``seen`` and its like are in."""
    return ew_seconds()


cdef class Stream(Protocol):
    """The bytes of one connection."""

    def __cinit__(self):
        self.fd = -1
        self.raw = True
        self.rest = bytearray()
        self.reading = PyThread_allocate_lock()
        self.writing = PyThread_allocate_lock()
        self.using = PyThread_allocate_lock()
        if not self.reading or not self.writing or not self.using:
            raise MemoryError

    def __dealloc__(self):
        outbox_clear(&self.out)
        for lock in (<size_t>self.reading, <size_t>self.writing, <size_t>self.using):
            if lock:
                PyThread_free_lock(<void*><size_t>lock)

    def attach(self, int fd):
        """Use a connected, blocking socket, which stays its owner's."""
        if not EW_POLLER:
            raise OSError("connections of threads need Linux, macOS or a BSD")
        ew_no_sigpipe(fd)
        self.fd = fd
        self.seen = ew_seconds()

    # In

    cdef int fill(self, double deadline) except -1:
        """Read once, and use what came: 1 if there was anything new, 0 if not until *deadline*.

        The caller holds ``reading``. Sets ``ended`` at the end of the stream.
        """
        cdef int new
        if self.ended:
            return 1
        if self.aborted:
            return 1 + self.end(None)
        if self.halted & PAUSED:
            if not self.wants_input():
                return 0
            self.halted &= ~PAUSED
            if self._resume():
                self.on_filled()
                return 1
        if deadline != INFINITY or self.has_unsent():
            if not self._await_input(deadline):
                return 1 if self.ended else 0
            new = self._receive(False)
        else:
            new = self._receive(True)
        if new:
            self.on_filled()
        return new

    cdef bint wants_input(self) noexcept:
        """Whether more may be read, although that was paused."""
        return True

    cdef int on_filled(self) except -1:
        """Send what reading has brought up, without waiting for it; say that there is no more if so."""
        if self.has_unsent():
            self.flush(0)
        if self.all_said():
            self._shut_writing()
            if self.shut_down and self.failure is None:
                self.end(None)
        return 0

    cdef bint all_said(self) noexcept:
        """Whether nothing is to be sent any more: the server closes first, at once (RFC 6455, section 7.1.1), since after
        its close frame the client sends nothing; so does who fails the connection."""
        return (self.failure is not None and self.state != OPEN) or (not self.client and self.sent_code and self.received_code)

    cdef int _resume(self) except -1:
        """Use what was read and not used, because reading was paused: 1 if there was anything."""
        cdef bytearray rest = self.rest
        cdef uint8_t[::1] view
        cdef uint8_t* buffer
        cdef int new = 0
        if self.raw or not rest:
            new = 0
        else:
            new = 1
            self.rest = bytearray()
            view = rest
            lock_hold(self.using)
            try:
                self._used_input(&view[0], view.shape[0])
            finally:
                PyThread_release_lock(self.using)
        if self.tls is not None and self.tls.established and self.tls.arrived.pending and not self.halted:
            new = 1
            buffer = <uint8_t*>PyMem_RawMalloc(BUFFER)
            if not buffer:
                raise MemoryError
            lock_hold(self.using)
            try:
                self._decrypt(buffer)
            finally:
                PyThread_release_lock(self.using)
                PyMem_RawFree(buffer)
        return new

    cdef int _await_input(self, double deadline) except -1:
        """Wait until there is something to read: 1 if so. What could not be sent before is sent meanwhile."""
        cdef int fd = self.fd, what, ready
        cdef double left
        while True:
            left = deadline - ew_seconds()
            what = EW_READ
            if not self.writer and not self.broken and self.has_unsent():
                what |= EW_WRITE
            with nogil:
                ready = ew_wait(fd, what, left)
            if ready < 0:
                PyErr_CheckSignals()
                continue
            if ready & EW_WRITE:
                self.flush(0)
            if ready & EW_READ:
                return 1
            if left <= 0 or self.aborted:
                if self.aborted:
                    self.end(None)
                return 0

    cdef int _receive(self, bint waits) except -1:
        """Read once: 1 if anything came."""
        cdef int fd = self.fd, error
        cdef uint8_t* where = NULL
        cdef uint8_t* buffer = NULL
        cdef size_t room = 0, before = 0
        cdef ssize_t got
        if self.tls is None and not self.raw:
            room = min(self.direct_room(&where), <size_t>DIRECT_MOST)
        if not room:
            buffer = where = <uint8_t*>PyMem_RawMalloc(BUFFER)
            if not buffer:
                raise MemoryError
            room = BUFFER
            if self.tls is None and not self.raw:
                before = len(self.rest)     # a head and a control frame at most
        try:
            while True:
                with nogil:
                    got = ew_recv_waiting(fd, where + before, room - before) if waits else ew_recv_now(fd, where + before, room - before)
                    error = errno
                if got >= 0 or error != EINTR:
                    break
                PyErr_CheckSignals()
            if got <= 0:
                if got == 0:
                    self.end(None)
                elif ew_again(error):
                    return 0
                else:
                    self.end(OSError(error, os.strerror(error)))
                return 1
            self.seen = ew_seconds()
            lock_hold(self.using)
            try:
                if not buffer:
                    self.direct_filled(got)
                elif self.tls is not None:
                    self.tls.take(buffer, got)
                    if self.tls.established:
                        self._decrypt(buffer)
                else:
                    if before:
                        memcpy(buffer, <char*>self.rest, before)
                        self.rest.clear()
                    self._used_input(buffer, before + got)
            finally:
                PyThread_release_lock(self.using)
        finally:
            PyMem_RawFree(buffer)
        return 1

    cdef int _decrypt(self, uint8_t* buffer) except -1:
        """Use what the ciphertext that came says; *buffer* has room for BUFFER bytes."""
        cdef size_t before
        cdef ssize_t n
        while not self.halted & PAUSED:
            before = 0 if self.raw else len(self.rest)
            if before:
                memcpy(buffer, <char*>self.rest, before)
            try:
                n = self.tls.read(buffer + before, BUFFER - before, None)
            except ssl.SSLError as exc:
                outbox_clear(&self.out)     # it cannot be encrypted any more
                self.tls.fresh = True       # the alert goes out when what was read is used: see on_filled()
                return self.end(exc)
            if n < 0:
                return self.end(None)
            if n == 0:
                break
            if before:
                self.rest.clear()
            self._used_input(buffer, before + n)
        return 0

    cdef int _used_input(self, uint8_t* p, size_t n) except -1:
        cdef size_t used = 0
        if not self.raw:
            used = self.feed(p, n)
        if used < n and not self.halted & ENDED:
            self.rest += (<char*>p)[used:n]
        return 0

    cdef int end(self, object error) except -1:
        """Nothing more will come. The caller holds ``reading``."""
        if self.ended:
            return 0
        self.ended = True
        self.state = CLOSED
        self.halted |= ENDED
        if self.lost is None:
            self.lost = error
        self._drop_incoming()
        return 0

    # Out

    cdef int put(self, const uint8_t* head, size_t head_size, const uint8_t* body, size_t n, PyObject* owner,
                 uint32_t key) except -1:
        if self.broken:
            return 0
        outbox_copy(&self.out, head, head_size, 0)
        if owner and n >= KEPT and not key:
            return outbox_keep(&self.out, body, n, owner)
        return outbox_copy(&self.out, body, n, key)

    cdef bint has_unsent(self) except? False:
        return self.out.size or (self.tls is not None and (self.tls.fresh or self.tls.waiting))

    cdef int flush(self, double deadline) except -1:
        """Send what is to be sent, waiting for the peer until *deadline*: 1 if all is sent, or left to who is sending."""
        cdef int done
        while self.has_unsent() and not self.broken:
            if deadline <= 0:
                if not lock_try(self.writing):
                    return 1    # who writes looks again before it is done
            elif not lock_take(self.writing, deadline):
                return 0
            self.writer = deadline > 0
            self.sender = PyThread_get_thread_ident()
            try:
                done = self._write(deadline)
            finally:
                self.sender = 0
                self.writer = False
                PyThread_release_lock(self.writing)
            if not done:
                return 0
        if self.all_said():
            self._shut_writing()    # whoever read the last words may have found us writing
        return 1

    cdef int _write(self, double deadline) except -1:
        """Send all that there is: 1, or 0 if the peer does not take it until *deadline*."""
        cdef iovec v[PIECES]
        cdef const uint8_t* p
        cdef int fd = self.fd, count, error, i
        cdef ssize_t sent
        while not self.broken:
            if self.tls is None:
                count = outbox_vector(&self.out, v)
            else:
                lock_hold(self.using)
                try:
                    while self.out.size:
                        count = outbox_vector(&self.out, v)
                        for i in range(count):
                            self.tls.write(<uint8_t*>v[i].iov_base, v[i].iov_len)
                            outbox_sent(&self.out, v[i].iov_len)
                    v[0].iov_len = self.tls.ciphertext(&p)
                    v[0].iov_base = <void*>p
                    count = 1 if v[0].iov_len else 0
                except ssl.SSLError as exc:
                    if self.lost is None:
                        self.lost = exc
                    return 1 + self._break(0)
                finally:
                    PyThread_release_lock(self.using)
            if not count:
                return 1
            if fd < 0 or self.aborted:
                return 1 + self._break(0)
            with nogil:
                sent = ew_sendv_now(fd, v, count)
                error = errno
            if sent >= 0:
                if self.tls is None:
                    outbox_sent(&self.out, sent)
                else:
                    self.tls.ciphertext_sent(sent)
            elif ew_again(error):
                if deadline <= 0 or not self._await_output(deadline):
                    return 0
            elif error != EINTR:
                self._break(error)
        return 1

    cdef int _await_output(self, double deadline) except -1:
        """Wait until the socket takes more: 1 if it does. What comes meanwhile is read, unless somebody else does so."""
        cdef int fd = self.fd, ready
        cdef double left
        cdef bint reads
        while not self.aborted:
            left = deadline - ew_seconds()
            if left <= 0:
                return 0
            reads = False
            if not self.raw and not self.receivers and not self.halted and not self.ended:
                reads = lock_try(self.reading)
            if reads:
                self.reader = PyThread_get_thread_ident()
            try:
                with nogil:
                    ready = ew_wait(fd, EW_READ | EW_WRITE if reads else EW_WRITE, min(left, 0.05 if reads else 1.0))
                if ready < 0:
                    PyErr_CheckSignals()
                    continue
                if ready & EW_READ and self._receive(False):
                    self.on_filled()
            finally:
                if reads:
                    self.reader = 0
                    PyThread_release_lock(self.reading)
            if ready & EW_WRITE:
                self.seen = ew_seconds()    # the peer has taken bytes: it is there
                return 1
        return 1

    cdef int _break(self, int number) except -1:
        """Nothing more can be sent."""
        self.broken = True
        outbox_clear(&self.out)
        if number and self.lost is None:
            self.lost = OSError(number, os.strerror(number))
        return 0

    cdef int _shut_writing(self) except -1:
        """Say that no more will be sent, once all is: what the peer sends still is to be read, or it could lose our last
        words."""
        if self.shut_down or self.out.size or self.broken or not lock_try(self.writing):
            return 0
        try:
            self.shut_down = True
            if self.tls is not None:
                lock_hold(self.using)
                try:
                    self.tls.shut()
                finally:
                    PyThread_release_lock(self.using)
                self._write(0)
            self._break(0)
            if self.fd >= 0:
                ew_shutdown_write(self.fd)
        finally:
            PyThread_release_lock(self.writing)
        return 0

    # The end

    def abort(self):
        """Drop the connection: who waits for it is woken."""
        self.aborted = True
        if self.fd >= 0:
            ew_shutdown(self.fd)
        if lock_try(self.reading):
            try:
                self.end(None)
            finally:
                PyThread_release_lock(self.reading)

    def detach(self) -> bool:
        """Use the socket no more, if the connection is over and no thread is using it; whether so."""
        if self.fd < 0:
            return True
        if not self.ended or not lock_try(self.reading):
            return False
        try:
            if not lock_try(self.writing):
                return False
            try:
                if self.tls is not None and not self.shut_down and not self.aborted:
                    self.tls.shut()
                    self._write(0)
                self._break(0)
                self.fd = -1
            finally:
                PyThread_release_lock(self.writing)
        finally:
            PyThread_release_lock(self.reading)
        return True
