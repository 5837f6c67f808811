"""Awaitables that cost less than coroutines: ready, failed, or waiting for a close."""

from cpython.ref cimport PyObject

cdef extern from "Python.h":
    ctypedef PyObject* (*iternextfunc)(PyObject*)
    ctypedef struct PyTypeObject:
        iternextfunc tp_iternext
    void PyType_Modified(PyTypeObject*)


cdef class Done:
    """An awaitable that is ready: one object serves every ``send`` that need not wait."""

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration

    def send(self, value):
        raise StopIteration

    def throw(self, *error):
        raise error[0]

    def close(self):
        pass


cdef class Failed(Done):
    """An awaitable that raises."""

    def __cinit__(self, error=None):
        self.error = error

    def __next__(self):
        raise self.error

    def send(self, value):
        raise self.error


cdef class Closing:
    """What ``close`` returns: the close is under way; who awaits this waits for its end."""

    def __cinit__(self, connection=None):
        self.connection = connection

    def __iter__(self):
        return self

    cdef object wait(self):
        if self.waiting is None:
            self.waiting = self.connection.wait_closed()
        return self.waiting

    def __await__(self):
        return self.connection.wait_closed().__await__()

    def __next__(self):
        return self.wait().send(None)

    def send(self, value):
        return self.wait().send(value)

    def throw(self, *error):
        return self.wait().throw(*error)

    def close(self):
        if self.waiting is not None:
            self.waiting.close()


cdef PyObject* done_next(PyObject* self) noexcept:
    return NULL


# What Cython adds to a raised StopIteration costs more than all else here: the slot is set by hand.
(<PyTypeObject*>Done).tp_iternext = done_next
PyType_Modified(<PyTypeObject*>Done)

cdef Done DONE = Done()
