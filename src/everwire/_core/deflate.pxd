"""Messages compressed and decompressed for permessage-deflate (RFC 7692, section 7.2)."""

cimport cython


@cython.final
cdef class Deflater:
    cdef object stream
    cdef object pack             # the stream's methods
    cdef object flush
    cdef readonly int window_bits
    cdef readonly int level
    cdef readonly int mem_level
    cdef readonly bint context_takeover
    cdef bint stale              # a message of another compressor was sent: the stream's past is not the peer's
    cdef bint busy

    cpdef bytes compress(self, object data)
    cpdef int foreign(self) except -1
    cdef int start(self) except -1


@cython.final
cdef class Inflater:
    cdef object stream           # None without context takeover
    cdef readonly int window_bits
    cdef readonly bint context_takeover

    cpdef bytes decompress(self, object data, Py_ssize_t max_size)
    cdef bytes after_end(self, object data, Py_ssize_t at, bytes out, Py_ssize_t max_size)


cpdef Deflater deflater(int window_bits, bint context_takeover, int level, int mem_level)
cpdef Inflater inflater(int window_bits, bint context_takeover)
