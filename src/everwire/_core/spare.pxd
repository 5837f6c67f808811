"""Memory for large messages, used again."""

from cpython.ref cimport PyObject
from libc.stddef cimport size_t

cdef PyObject* new_bytes(size_t n) except NULL
cdef int keep_alone(PyObject* data) except -1
