"""What all connections of a server, or of a client's connect, have in common."""

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t


cdef class Settings:
    cdef readonly bint client
    cdef readonly size_t max_size, max_backlog
    cdef readonly uint32_t max_queue, high, low
    cdef uint32_t ping_interval, ping_timeout, idle_timeout, open_timeout, close_timeout  # ticks; 0: none
    cdef readonly bint overflow_closes
    cdef readonly int close_code             # of who is closed because of it
    cdef readonly str close_reason
    cdef readonly object handler, logger, open_seconds
    cdef readonly set tasks                  # of handlers that run
    cdef readonly object on_head, on_unopened, on_idle, parse_head
    cdef readonly object create_connection   # None: Connection itself
    cdef readonly object on_open, on_message, on_close, on_drain
    cdef readonly Py_ssize_t connections     # attached and not gone yet
    cdef readonly unsigned long long overflows
    cdef dict options
    cdef Settings parent                     # what these are derived from, and counted with; None: nothing

    cdef Settings base(self)
