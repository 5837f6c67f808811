"""TLS on bytes: what comes from the socket goes in, what goes to the socket comes out."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t


cdef class Tls:
    cdef object layer          # the ssl.SSLObject
    cdef object inner          # what it wraps, with the same methods
    cdef object arrived        # ssl.MemoryBIO: ciphertext from the peer
    cdef object leaving        # ssl.MemoryBIO: ciphertext for the peer
    cdef void* ssl             # OpenSSL's own handle of the layer and of the two, or NULL
    cdef void* input
    cdef void* output
    cdef readonly bint established
    cdef bint ended            # the peer said that it sends no more
    cdef bint fresh            # ciphertext may have come to be in leaving
    cdef bytes waiting         # ciphertext that the socket did not take yet
    cdef size_t waiting_start

    cdef int take(self, uint8_t* p, size_t n) except -1
    cdef int handshake(self) except -1
    cdef ssize_t read(self, uint8_t* p, size_t room, object view) except -2
    cdef ssize_t _read_directly(self, uint8_t* p, size_t room) except -2
    cdef int write(self, const uint8_t* p, size_t n) except -1
    cdef int _write_directly(self, const uint8_t* p, size_t n) except -1
    cdef int _collect(self) except -1
    cdef int shut(self) except -1
    cdef size_t ciphertext(self, const uint8_t** where) except? 0
    cdef int ciphertext_sent(self, size_t n) except -1
