"""Connections that are handed over to an ``asyncio.Protocol``: their bytes go from and to it as they are."""

from .endpoint cimport Endpoint


cdef class Delegating(Endpoint):
    pass
