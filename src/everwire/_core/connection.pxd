"""A WebSocket connection as its users see it."""

from cpython.ref cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from .link cimport Link
from .reactor cimport Deferred
from .settings cimport Settings


cdef class Audience(Deferred):
    """Connections that get the same messages: what a Connection knows of a Topic."""

    cdef int catch_up(self, Connection connection) except -1
    cdef int drained(self, Connection connection) except -1
    cdef int leave(self, Connection connection) except -1


cdef class Receive:
    """What ``recv`` returns: a coroutine and the future that it waits for, in one object."""

    cdef Connection connection
    cdef object decode
    cdef object callback, context
    cdef bint iterating, blocking, waiting, cancelled

    cdef object step(self)
    cdef int wake(self, bint here) except -1


cdef class Extras:
    """What few connections need: made when it is needed, so that the others do not pay for it."""

    cdef object request                 # set by somebody, instead of what the head says
    cdef object response
    cdef list drain_waiters, close_waiters
    cdef dict pings
    cdef object fragmenting             # a future while a fragmented message is being sent
    cdef object delegate, facade        # the asyncio.Protocol of a connection that was handed over, and its transport
    cdef bytes late_pong


cdef class Connection(Link):
    cdef readonly Settings settings
    cdef object __weakref__
    cdef public object data
    cdef bytes head
    cdef readonly object subprotocol
    cdef readonly object task
    cdef Extras extras
    cdef list queue
    cdef Receive waiter
    cdef object topics                  # None, the one Audience, or a dict of them with their places
    cdef size_t queued_bytes
    cdef double ping_time
    cdef float last_latency
    cdef uint32_t place                 # in the one Audience
    cdef uint32_t queue_start
    cdef uint32_t since                 # tick at which the phase began
    cdef uint32_t heard                 # tick of the last message
    cdef uint32_t ping_tick, ping_key
    cdef uint8_t pinging, over_limit, failing
    cdef readonly bint opened

    cdef Extras more(self)
    cdef int join(self, Audience audience, uint32_t place) except -1
    cdef int64_t place_in(self, Audience audience) except? -2
    cdef int forget(self, Audience audience) except -1
    cdef int _catch_up(self) except -1
    cdef int start_timer(self) except -1
    cdef int report(self, str what) except -1
    cdef object next_message(self, object decode)
    cdef inline bint has_message(self) noexcept
    cdef inline bint is_fragmenting(self) noexcept
    cdef int finish_failing(self) except -1
    cdef bint is_over(self) noexcept
    cdef int transmit(self, object message, object text, bint compress) except -1
    cdef object _send(self, object message, object text, bint compress)
    cdef int _wake_receiver(self, bint here) except -1
    cdef int _start(self) except -1
    cdef int _resume(self) except -1
    cdef int _ping(self) except -1
