"""How often durations of each length occurred, in bounded memory and to a stated precision."""

from libc.stdint cimport int64_t, uint64_t


cdef class Histogram:
    cdef uint64_t* cells
    cdef readonly uint64_t count
    cdef readonly int64_t minimum, maximum
    cdef double total

    cdef void add(self, int64_t value, uint64_t times) noexcept nogil
    cdef int64_t value_at(self, uint64_t rank) noexcept nogil
