"""Memory for large messages, used again.

An allocator takes memory for a large object from the system and gives it back when the object dies. The system hands it
out again page by page, each page cleared at its first touch: for a message of 1 MiB that costs as much as receiving it.
So a few large bytes objects are kept here. One that nobody else refers to any more is made the next message.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.ref cimport Py_INCREF, Py_XDECREF

cdef extern from "Python.h":
    PyObject* PyBytes_FromStringAndSize(const char* v, Py_ssize_t n) except NULL
    Py_ssize_t Py_REFCNT(PyObject* o)
    void Py_SET_SIZE(PyObject* o, Py_ssize_t n)
    ctypedef struct PyBytesObject:
        Py_hash_t ob_shash

cdef enum:
    SPARES = 4
    LEAST = 65536        # bytes; smaller objects are the allocator's trade
    MOST = 2097152       # bytes; so no more than 8 MiB are held

cdef PyObject* spares[SPARES]
cdef size_t rooms[SPARES]


cdef PyObject* new_bytes(size_t n) except NULL:
    """A bytes object of *n* bytes that are to be filled in: a new reference."""
    cdef int i
    cdef PyObject* data
    if n < LEAST or n > MOST:
        return PyBytes_FromStringAndSize(NULL, n)
    for i in range(SPARES):
        data = spares[i]
        if data != NULL and Py_REFCNT(data) == 1 and n <= rooms[i] <= 4 * n:
            Py_INCREF(<object>data)
            Py_SET_SIZE(data, n)
            (<PyBytesObject*>data).ob_shash = -1
            PyBytes_AS_STRING(<object>data)[n] = 0
            return data
    data = PyBytes_FromStringAndSize(NULL, n)
    for i in range(SPARES):
        if spares[i] == NULL or Py_REFCNT(spares[i]) == 1:
            Py_XDECREF(spares[i])
            Py_INCREF(<object>data)
            spares[i] = data
            rooms[i] = n
            break
    return data


cdef int keep_alone(PyObject* data) except -1:
    """Forget *data*, which is to change its size: that takes the only reference."""
    cdef int i
    for i in range(SPARES):
        if spares[i] == data:
            spares[i] = NULL
            Py_XDECREF(data)
    return 0
