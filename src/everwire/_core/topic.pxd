"""Topics: messages that are framed once and sent to many connections."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from .endpoint cimport Audience, Endpoint
from .reactor cimport Reactor

cdef struct Member:
    uint32_t variant   # which form it gets
    uint32_t cursor    # bytes of this turn's messages that it has
    uint32_t taken     # how many messages those are
    bint lagging       # over the limit: gets the latest message when it has caught up


cdef class Variant:
    """The messages of one turn in one form: plain, or compressed with certain parameters."""

    cdef object deflater
    cdef bytes chunk
    cdef size_t used, last_start
    cdef uint32_t messages, members, threshold
    cdef uint8_t framing, chunked      # of streams: see records.pxd
    cdef bytes latest

    cdef int append(self, int opcode, object data, bint compress) except -1
    cdef uint8_t* room_for(self, size_t n) except NULL
    cdef int append_record(self, bytes data) except -1
    cdef int appended(self, uint8_t* end) except -1
    cdef int next_turn(self, bint keep_latest) except -1


cdef class Topic(Audience):
    cdef Reactor reactor
    cdef list connections, variants, late
    cdef Member* members
    cdef uint32_t room, holes
    cdef size_t max_backlog
    cdef int policy, close_code
    cdef str close_reason
    cdef bint running
    cdef readonly unsigned long long published, delivered, dropped, disconnected

    cdef int deliver(self, Endpoint connection, Py_ssize_t place) except -1
    cdef int fall_behind(self, Endpoint connection, Member* member, uint32_t messages) except -1
    cdef uint32_t variant_of(self, Endpoint connection) except? 0
    cdef int compact(self) except -1
