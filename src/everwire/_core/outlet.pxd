"""What a connection sends: corked, queued, encrypted, and handed to the socket or to asyncio's transport."""

from cpython.ref cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t

from .net cimport iovec
from .outbox cimport Outbox
from .protocol cimport Protocol
from .reactor cimport Reactor
from .tls cimport Tls

cdef enum:
    # What the bytes that come in are.
    SECURING = 0    # the TLS handshake
    HEAD = 1        # an HTTP head
    DECIDING = 2    # nothing is read: somebody makes up their mind about the head
    FRAMES = 3      # WebSocket frames
    RAW = 4         # the delegate's
    STREAMING = 5   # nothing that counts: the response to the request has begun, and does not end
    DRAINING = 6    # ours to ignore until the peer is done, too
    GONE = 7

cdef enum:
    LARGE = 16384   # bytes of payload from which on it is sent from where it is



cdef class Outlet(Protocol):
    cdef Reactor reactor
    cdef readonly object transport     # asyncio's, where there is no descriptor
    cdef Tls tls
    cdef Outbox out
    cdef int32_t sid, fd
    cdef uint32_t high, low            # watermarks of unsent bytes
    cdef readonly uint8_t phase
    cdef uint8_t blocked               # the socket takes no more for now
    cdef uint8_t corking
    cdef uint8_t awaited               # somebody waits for what is unsent to become less: on_sent() tells them
    cdef uint8_t close_when_sent
    cdef uint8_t drain_when_sent
    cdef uint8_t eof_sent

    cdef int begin_cork(self) except -1
    cdef int end_cork(self) except -1
    cdef int write(self, const uint8_t* p, size_t n, PyObject* owner) except -1
    cdef int share(self, const uint8_t* p, size_t n, PyObject* owner) except -1
    cdef int flush(self) except -1
    cdef int flush_tls(self) except -1
    cdef int sent_some(self) except -1
    cdef size_t buffered(self) except? 0
    cdef ssize_t _send_vector(self, iovec* v, int n) except -2
    cdef int _send_one(self, const uint8_t* p, size_t n, PyObject* owner) except -1
    cdef int _send_now(self, iovec* v, int n, PyObject* owner, bint last_is_owned) except -1
    cdef int _uncork_bytes(self) except -1

    cdef int interest(self) except -1
    cdef int drop(self, object error) except -1
    cdef int on_sent(self) except -1
    cdef int on_finished(self) except -1
