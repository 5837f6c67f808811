"""What a connection for threads reads and writes before there are frames."""

from .stream cimport Stream

cdef class Preface(Stream):
    pass
