"""The messages of ASGI on a connection."""

from .connection cimport Connection
from .receiver cimport Receive


cdef class ReceiveEvent(Receive):
    """What ``receive`` returns: it yields an event where ``recv`` yields a message."""

    cdef Exchange exchange


cdef class Exchange:
    """The two calls by which an ASGI application and its connection talk."""

    cdef object __weakref__
    cdef readonly Connection connection
    cdef readonly object farewell
    cdef bint greeted
