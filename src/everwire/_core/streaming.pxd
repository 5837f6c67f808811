"""Connections whose messages go into the body of an HTTP response that does not end."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from .receiver cimport Receiver


cdef class Streaming(Receiver):
    cdef int watch_peer(self) except -1

cdef bytes event_data(const uint8_t* p, size_t n)
