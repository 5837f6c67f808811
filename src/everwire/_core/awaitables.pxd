"""Awaitables that cost less than coroutines."""


cdef class Done:
    """An awaitable that is ready."""


cdef class Failed(Done):
    """An awaitable that raises."""

    cdef object error


cdef class Closing:
    """What ``close`` returns: the close is under way; who awaits this waits for its end."""

    cdef object connection, waiting

    cdef object wait(self)

cdef Done DONE
