"""The bytes of a connection whose users' threads read and write the socket themselves."""

from cpython.pythread cimport PyThread_type_lock
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from .outbox cimport Outbox
from .protocol cimport Protocol
from .tls cimport Tls

cdef class Stream(Protocol):
    cdef Outbox out                     # bytes to be sent; plaintext with TLS
    cdef Tls tls
    cdef bytearray rest                 # bytes read but not used yet; with raw, all that came
    cdef PyThread_type_lock reading     # held by who reads, and waits to do so
    cdef PyThread_type_lock writing     # held by who writes, and waits to do so
    cdef PyThread_type_lock using       # held while the protocol's state, or TLS, is used; never while waiting
    cdef unsigned long reader           # the thread that holds reading and waits in the system; 0: none
    cdef unsigned long sender           # the same of writing
    cdef int fd
    cdef int receivers                  # threads that want to read most of all: the others give way to them
    cdef readonly bint raw              # the handshake is not done: bytes are kept as they are
    cdef readonly bint ended            # nothing more will come
    cdef readonly bint broken           # nothing more can be sent
    cdef bint aborted
    cdef bint shut_down
    cdef bint writer                    # somebody is writing, and waits if need be
    cdef readonly double seen           # when the peer was last known to be there
    cdef readonly object lost           # the OSError that ended it, or None

    cdef int fill(self, double deadline) except -1
    cdef int flush(self, double deadline) except -1
    cdef int end(self, object error) except -1
    cdef bint has_unsent(self) except? False
    cdef bint wants_input(self) noexcept
    cdef int on_filled(self) except -1
    cdef bint all_said(self) noexcept
    cdef int _resume(self) except -1
    cdef int _await_input(self, double deadline) except -1
    cdef int _receive(self, bint waits) except -1
    cdef int _used_input(self, uint8_t* p, size_t n) except -1
    cdef int _decrypt(self, uint8_t* buffer) except -1
    cdef int _write(self, double deadline) except -1
    cdef int _await_output(self, double deadline) except -1
    cdef int _break(self, int number) except -1
    cdef int _shut_writing(self) except -1
