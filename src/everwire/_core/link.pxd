"""A connection's bytes, from and to a socket that the reactor polls, or one of asyncio's transports."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from .net cimport ew_address
from .outlet cimport DECIDING, DRAINING, FRAMES, GONE, HEAD, RAW, SECURING, STREAMING, Outlet

cdef enum:
    EARLY_MOST = 16384      # bytes taken from a peer that has nothing to say for now

cdef struct Rest:
    uint32_t start, size, room   # of the bytes behind this struct, what is still of use
    uint32_t scanned             # bytes of a head in which its end was looked for


cdef class Link(Outlet):
    cdef Rest* rest                    # bytes received that wait for more, or for somebody to resume; NULL if none do
    cdef ew_address peer
    cdef uint32_t seen                 # tick of the last bytes from the peer
    cdef readonly uint8_t reading_wanted   # nobody paused reading
    cdef uint8_t choked                # the peer does not read: we do not read either
    cdef uint8_t watching              # while the phase is DECIDING bytes are read, to notice the peer's end
    cdef uint8_t feeding               # feed() is under way, on the rest perhaps
    cdef uint8_t receiving             # what came last is still being used

    cdef int attach_fd(self, int fd, object tls_context, object server_hostname) except -1
    cdef int ready(self, int what) except -1
    cdef int receive(self) except -1
    cdef int consume(self, uint8_t* p, size_t n) except -1
    cdef bint reads(self) noexcept
    cdef int set_reading(self, bint wanted) except -1
    cdef int resume_rest(self) except -1
    cdef int shut(self) except -1
    cdef int drain_and_close(self) except -1
    cdef uint8_t* rest_bytes(self) noexcept
    cdef uint32_t rest_size(self) noexcept
    cdef void _free_rest(self) noexcept
    cdef int _keep_rest(self, const uint8_t* p, size_t n) except -1
    cdef int _input_done(self) except -1
    cdef int _received(self, size_t got) except -1
    cdef int _receive_tls(self, size_t got) except -1
    cdef int _end_of_input(self) except -1
    cdef int _head_in(self, uint8_t* p, size_t n) except -1
    cdef int _error(self, int number) except -1

    # What a subclass does about it
    cdef int start_input(self) except -1
    cdef int on_head(self, bytes head) except -1
    cdef int on_head_too_large(self) except -1
    cdef int on_gone(self, object error) except -1
    cdef int on_timer(self) except -1
    cdef int on_secured(self) except -1
    cdef int on_input(self) except -1
    cdef int on_raw(self, bytes data) except -1
    cdef int on_raw_end(self) except -1
    cdef int on_stray(self, size_t n) except -1
