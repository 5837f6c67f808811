"""Locks for native code whose threads wait without holding the interpreter, and can be interrupted by signals."""

from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport NOWAIT_LOCK, PyThread_acquire_lock, PyThread_release_lock, PyThread_type_lock, WAIT_LOCK

from libc.math cimport INFINITY

from .net cimport ew_seconds

cdef extern from "pythread.h" nogil:
    int PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds, int interruptible)

cdef enum:
    INTERRUPTED = 2       # PY_LOCK_INTR
    LONGEST = 1000000     # microseconds waited in one go: what is waited for may have no end


cdef inline double until(object seconds) except? -1:
    """The time in so many seconds; None: never."""
    return INFINITY if seconds is None else ew_seconds() + <double>seconds


cdef inline bint lock_try(PyThread_type_lock lock) noexcept:
    """Take the lock if it is free."""
    return PyThread_acquire_lock(lock, NOWAIT_LOCK)


cdef inline int lock_take(PyThread_type_lock lock, double deadline) except -1:
    """Take the lock, waiting until the time *deadline*: 1 if it was taken. A signal's handler may raise instead."""
    cdef double left
    cdef long long most
    cdef int status
    if lock_try(lock):
        return 1
    while True:
        left = deadline - ew_seconds()
        if left <= 0:
            return 0
        most = LONGEST if left > 1 else <long long>(left * 1e6) + 1
        with nogil:
            status = PyThread_acquire_lock_timed(lock, most, 1)
        if status == 1:
            return 1
        if status == INTERRUPTED:
            PyErr_CheckSignals()


cdef inline void lock_hold(PyThread_type_lock lock) noexcept:
    """Take a lock that nobody holds for long."""
    if not lock_try(lock):
        with nogil:
            PyThread_acquire_lock(lock, WAIT_LOCK)
