"""Messages that came, for coroutines: the queue, and ``recv``."""

import asyncio

from cpython.ref cimport Py_INCREF, PyObject

from .endpoint cimport Endpoint
from .protocol cimport PAUSED

from everwire.errors import ConcurrencyError, ConnectionClosedOK

cdef extern from "Python.h":
    void PyErr_SetObject(object kind, object value)
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1
    ctypedef PyObject* (*iternextfunc)(PyObject*)
    ctypedef struct PyTypeObject:
        iternextfunc tp_iternext
    void PyType_Modified(PyTypeObject*)

cdef enum:
    AT_ONCE = 128   # messages that a coroutine gets until others have a turn of the loop

cdef object TURN = object()     # what step() answers to give others a turn


cdef class Receive:
    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef object outcome = self.step()
        if outcome is self:
            return self
        if outcome is TURN:
            return None         # a task goes on in the loop's next turn
        raise StopIteration(outcome)

    cdef object step(self):
        """Go on as a coroutine: answer the message, or self as the future to wait for."""
        cdef Receiver c = self.connection
        if self.waiting:
            self.waiting = False
            if c.waiter is self:
                c.waiter = None
        if c.has_message():
            c.at_once += 1
            if c.at_once > AT_ONCE:
                c.at_once = 0
                return TURN
            return c.next_message(self.decode)
        if c.is_over():
            c.finish_failing()
            return self.ended()
        return self.wait()

    cdef object ended(self):
        """No message comes any more."""
        error = self.connection.closing_error()
        if self.iterating and isinstance(error, ConnectionClosedOK):
            raise StopAsyncIteration
        raise error

    cdef object wait(self):
        """Be the future of the next message."""
        cdef Receiver c = self.connection
        if c.waiter is not None:
            raise ConcurrencyError("another coroutine is already waiting for a message of this connection")
        c.waiter = self
        c.at_once = 0
        self.waiting = self.blocking = True
        self.cancelled = False
        return self

    cdef int wake(self, bint here) except -1:
        """Have the waiting task go on; *here*: not in the loop's next turn but now."""
        callback, context = self.callback, self.context
        if self.connection.waiter is self:
            self.connection.waiter = None
        if callback is None:
            return 0
        self.callback = self.context = None
        if here:
            PyContext_Enter(context)
            try:
                callback(self)
            finally:
                PyContext_Exit(context)
        else:
            self.connection.reactor.loop.call_soon(callback, self, context=context)
        return 0

    # A coroutine's methods

    def send(self, value):
        return self.__next__()

    def throw(self, *error):
        self.close()
        if len(error) == 1:
            raise error[0]
        raise error[0](error[1]) if not isinstance(error[1], BaseException) else error[1]

    def close(self):
        self.waiting = False
        if self.connection.waiter is self:
            self.connection.waiter = None

    # A future's methods, as asyncio.Task uses them

    @property
    def _asyncio_future_blocking(self):
        # None says that this is no future: what was not awaited yet is a coroutine.
        return self.blocking if self.waiting else None

    @_asyncio_future_blocking.setter
    def _asyncio_future_blocking(self, bint value):
        self.blocking = value

    def get_loop(self):
        return self.connection.reactor.loop

    def add_done_callback(self, callback, *, context=None):
        self.callback = callback
        self.context = context

    def cancel(self, msg=None):
        if not self.waiting or self.callback is None:
            return False
        self.cancelled = True
        self.wake(False)
        return True

    def result(self):
        if self.cancelled:
            raise asyncio.CancelledError

    def done(self):
        return not self.waiting


# What Cython adds to a raised StopIteration costs more than the rest of recv(): the slots are set by hand.
cdef PyObject* receive_next(PyObject* self) noexcept:
    cdef object outcome
    try:
        outcome = (<Receive>self).step()
    except BaseException as exc:
        PyErr_SetObject(type(exc), exc)
        return NULL
    if <PyObject*>outcome == self:
        Py_INCREF(outcome)
        return self
    if outcome is TURN:
        Py_INCREF(None)
        return <PyObject*>None
    PyErr_SetObject(StopIteration, outcome)
    return NULL


(<PyTypeObject*>Receive).tp_iternext = receive_next
PyType_Modified(<PyTypeObject*>Receive)


cdef class Receiver(Delegating):
    """An endpoint whose messages wait for ``recv``, unless a listener takes them."""

    cdef int on_message(self, object message) except -1:
        cdef object callback = self.settings.on_message
        self.heard = self.reactor.tick
        if callback is not None:
            try:
                callback(self, message)
            except Exception:
                self.report("on_message")
            return 0
        if self.queue is None:
            self.queue = []
        self.queue.append(message)
        self.queued_bytes += len(message)
        if len(self.queue) - self.queue_start >= self.settings.max_queue or self.queued_bytes > self.max_size:
            self.halted |= PAUSED
            self.set_reading(False)
        return 0

    cdef bint has_message(self) noexcept:
        return self.queue is not None and self.queue_start < <size_t>len(self.queue)

    cdef object next_message(self, object decode):
        cdef list queue = self.queue
        cdef object message = queue[self.queue_start]
        queue[self.queue_start] = None
        self.queue_start += 1
        self.queued_bytes -= len(message)
        if self.queue_start == <size_t>len(queue):
            if self.queue_start > 256:
                self.queue = None
            else:
                queue.clear()
            self.queue_start = 0
            if self.halted & PAUSED:
                self.resume()
        if decode is not None:
            if decode and type(message) is bytes:
                return message.decode()
            if not decode and type(message) is str:
                return message.encode()
        return message

    cdef int on_input(self) except -1:
        if self.waiter is not None and (self.has_message() or self.is_over()):
            self.wake_receiver(self.reactor.polling)
        return 0

    cdef int wake_receiver(self, bint here) except -1:
        cdef Receive waiter = self.waiter
        if waiter is not None:
            waiter.wake(here)
        return 0

    def recv(self, decode=None):
        """Wait for the next message: text as ``str``, binary as ``bytes``.

        *decode* True gives binary messages as ``str`` too, False gives text as ``bytes``.

        It may be cancelled without losing a message. Only one coroutine may wait at a time.

        Raises:
            ConnectionClosed: the connection is closed, and all that came before was received.
            ConcurrencyError: another coroutine is waiting already.
            UnicodeDecodeError: *decode* is True, and the message is not UTF-8: it is the exception's ``object``.
        """
        cdef Receive receive = Receive.__new__(Receive)
        receive.connection = self
        receive.decode = decode
        return receive

    def __aiter__(self):
        return self

    def __anext__(self):
        cdef Receive receive = Receive.__new__(Receive)
        receive.connection = self
        receive.iterating = True
        return receive

    def pause_reading(self):
        """Stop taking bytes from the peer; what a listener's callbacks use against a peer that is too fast."""
        self.halted |= PAUSED
        self.set_reading(False)

    def resume_reading(self):
        """Take bytes from the peer again."""
        if self.halted & PAUSED:
            self.resume()
