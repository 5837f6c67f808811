"""Messages that came, for coroutines: the queue, and ``recv``."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from .delegating cimport Delegating


cdef class Receive:
    """What ``recv`` returns: a coroutine and the future that it waits for, in one object."""

    cdef Receiver connection
    cdef object decode
    cdef object callback, context
    cdef bint iterating, blocking, waiting, cancelled

    cdef object step(self)
    cdef object ended(self)
    cdef object wait(self)
    cdef int wake(self, bint here) except -1


cdef class Receiver(Delegating):
    cdef list queue
    cdef Receive waiter
    cdef size_t queued_bytes
    cdef uint32_t queue_start
    cdef uint8_t at_once            # messages taken without a wait between

    cdef object next_message(self, object decode)
