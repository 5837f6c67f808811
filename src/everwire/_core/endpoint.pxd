"""A connection's life: the opening, the handler or listener, keepalive and other timers, the close."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from .link cimport Link
from .reactor cimport Deferred
from .settings cimport Settings


cdef class Audience(Deferred):
    """Connections that get the same messages: what an Endpoint knows of a Topic."""

    cdef int catch_up(self, Endpoint connection) except -1
    cdef int drained(self, Endpoint connection) except -1
    cdef int leave(self, Endpoint connection) except -1


cdef class Extras:
    """What few connections need: made when it is needed, so that the others do not pay for it."""

    cdef object request                 # set by somebody, instead of what the head says
    cdef object response
    cdef list drain_waiters, close_waiters
    cdef dict pings
    cdef object fragmenting             # a future while a fragmented message is being sent
    cdef object delegate, facade        # the asyncio.Protocol of a connection that was handed over, and its transport
    cdef bytes late_pong
    cdef size_t stray                   # bytes from the peer of a stream
    cdef object unsent                  # bytes that asyncio's transport held when the timer looked


cdef class Endpoint(Link):
    cdef readonly Settings settings
    cdef object __weakref__
    cdef public object data
    cdef bytes head
    cdef readonly object subprotocol
    cdef readonly object task
    cdef Extras extras
    cdef object topics                  # None, the one Audience, or a dict of them with their places
    cdef double ping_time
    cdef uint32_t place                 # in the one Audience
    cdef uint32_t since                 # tick at which the phase began
    cdef uint32_t heard                 # tick of the last message
    cdef uint32_t ping_tick, ping_key
    cdef uint8_t pinging, over_limit, failing, counted
    cdef uint8_t framing, chunked       # of a stream: see records.pxd; 0: a WebSocket
    cdef readonly bint opened
    cdef bint delegated

    cdef Extras more(self)
    cdef int adopt(self, Settings settings) except -1
    cdef int join(self, Audience audience, uint32_t place) except -1
    cdef int64_t place_in(self, Audience audience) except? -2
    cdef int forget(self, Audience audience) except -1
    cdef int catch_up(self) except -1
    cdef int start_timer(self) except -1
    cdef int report(self, str what) except -1
    cdef int finish_failing(self) except -1
    cdef bint is_over(self) noexcept
    cdef int _start(self) except -1
    cdef int _ping(self) except -1

    cdef bint has_message(self) noexcept
    cdef int resume(self) except -1
    cdef int wake_receiver(self, bint here) except -1

cdef int release(list waiters) except -1
