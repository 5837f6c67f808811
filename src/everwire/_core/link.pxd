"""A Protocol bound to a socket, or to one of asyncio's transports."""

from cpython.ref cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t

from .net cimport ew_address, iovec
from .outbox cimport Outbox, Piece
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
    DRAINING = 5    # ours to ignore until the peer is done, too
    GONE = 6

cdef enum:
    LARGE = 16384   # bytes of payload from which on it is sent from where it is


cdef struct Rest:
    uint32_t start, size, room   # of the bytes behind this struct, what is still of use
    uint32_t scanned             # bytes of a head in which its end was looked for

cdef class Link(Protocol):
    cdef Reactor reactor
    cdef readonly object transport     # asyncio's, where there is no descriptor
    cdef Tls tls
    cdef Outbox out
    cdef Rest* rest                    # bytes received that wait for more, or for somebody to resume; NULL if none do
    cdef int32_t sid, fd
    cdef ew_address peer
    cdef readonly uint8_t phase
    cdef readonly uint8_t reading_wanted           # nobody paused reading
    cdef uint8_t choked                   # the peer does not read: we do not read either
    cdef uint8_t blocked                  # the socket takes no more for now
    cdef uint8_t corking
    cdef uint8_t feeding                  # feed() is under way, on the rest perhaps
    cdef uint8_t close_when_sent
    cdef uint8_t drain_when_sent
    cdef uint8_t eof_sent
    cdef uint32_t seen                 # tick of the last bytes from the peer
    cdef uint32_t high, low            # watermarks of unsent bytes

    cdef int attach_fd(self, int fd, object tls_context, object server_hostname) except -1
    cdef int start_input(self) except -1
    cdef size_t buffered(self) except? 0

    cdef int ready(self, int what) except -1
    cdef int receive(self) except -1
    cdef int consume(self, uint8_t* p, size_t n) except -1
    cdef int set_reading(self, bint wanted) except -1
    cdef int resume_rest(self) except -1
    cdef int flush(self) except -1
    cdef int write(self, const uint8_t* p, size_t n, PyObject* owner) except -1
    cdef int share(self, const uint8_t* p, size_t n, PyObject* owner) except -1
    cdef int shut(self) except -1
    cdef int drain_and_close(self) except -1
    cdef int drop(self, object error) except -1
    cdef int begin_cork(self) except -1
    cdef int end_cork(self) except -1

    # What a subclass does about it
    cdef int on_head(self, bytes head) except -1
    cdef int on_head_too_large(self) except -1
    cdef int on_sent(self) except -1
    cdef int on_gone(self, object error) except -1
    cdef int on_timer(self) except -1
    cdef int on_secured(self) except -1
    cdef int on_input(self) except -1
    cdef int on_raw(self, bytes data) except -1
    cdef int on_raw_end(self) except -1

    cdef int _interest(self) except -1
    cdef uint8_t* rest_bytes(self) noexcept
    cdef uint32_t rest_size(self) noexcept
    cdef int _keep_rest(self, const uint8_t* p, size_t n) except -1
    cdef int _received(self, size_t got) except -1
    cdef int _receive_tls(self, size_t got) except -1
    cdef void _free_rest(self) noexcept
    cdef int _end_of_input(self) except -1
    cdef int _head_in(self, uint8_t* p, size_t n) except -1
    cdef ssize_t _send_vector(self, iovec* v, int n) except -2
    cdef int _send_now(self, iovec* v, int n, PyObject* owner, bint last_is_owned) except -1
    cdef int _flush_tls(self) except -1
    cdef int _all_sent(self) except -1
    cdef int _uncork_bytes(self) except -1
    cdef int _error(self, int number) except -1
