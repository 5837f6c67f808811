"""A WebSocket connection as its users see it."""

from libc.stdint cimport uint8_t

from .streaming cimport Streaming


cdef class Connection(Streaming):
    cdef float last_latency

    cdef bint is_fragmenting(self) noexcept
    cdef int transmit(self, object message, object text, bint compress) except -1
    cdef int check_pings(self) except -1
    cdef object _send(self, object message, object text, bint compress)
