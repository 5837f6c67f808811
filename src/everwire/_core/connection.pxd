"""A WebSocket connection as its users see it."""

from libc.stdint cimport uint8_t

from .receiver cimport Receiver


cdef class Connection(Receiver):
    cdef float last_latency

    cdef bint is_fragmenting(self) noexcept
    cdef int transmit(self, object message, object text, bint compress) except -1
    cdef object _send(self, object message, object text, bint compress)
