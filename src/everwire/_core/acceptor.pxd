from libc.stdint cimport int32_t

from .reactor cimport Reactor
from .settings cimport Settings


cdef class Acceptor:
    cdef Reactor reactor
    cdef Settings settings
    cdef readonly object sock
    cdef object tls_context
    cdef int32_t sid
    cdef bint inet, complained
    cdef readonly bint paused

    cdef int ready(self) except -1
    cdef int pause(self, int number) except -1
    cdef int resume(self) except -1
