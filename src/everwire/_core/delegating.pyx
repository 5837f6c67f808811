"""Connections that are handed over to an ``asyncio.Protocol``: their bytes go from and to it as they are."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t

from .link cimport DECIDING, GONE, RAW


cdef class Delegating(Endpoint):
    """An endpoint that somebody else can have."""

    def hand_over(self, protocol, facade=None):
        """Give the bytes after the head to an ``asyncio.Protocol``; *facade* is its transport."""
        self.more().delegate = protocol
        self.delegated = True
        self.extras.facade = facade
        self.phase = RAW
        self.reactor.unschedule(self.sid)
        self.interest()

    @property
    def handed_over(self) -> bool:
        """Whether an ``asyncio.Protocol`` has it."""
        return self.delegated

    def take_back(self, head: bytes):
        """The protocol gives the connection back with the head of a request: it is decided about anew."""
        if self.phase == RAW:
            self.extras.delegate = self.extras.facade = None
            self.delegated = False
            self.phase = DECIDING
            self.interest()
            self.on_head(head)

    def pause_raw(self):
        """Take no more bytes for the protocol that the connection was handed over to."""
        self.set_reading(False)

    def resume_raw(self):
        """Take bytes for the protocol again."""
        self.set_reading(True)

    def raw_write(self, data not None):
        """Send bytes as they are, for the protocol."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.write(<uint8_t*>view.buf, view.len, <PyObject*>data if type(data) is bytes else NULL)
            self.awaited = True
        finally:
            PyBuffer_Release(&view)

    def raw_close(self):
        """Send what is left to send, then close."""
        self.since = self.reactor.now()
        self.drain_and_close()
        if self.phase != GONE:
            self.start_timer()

    def raw_eof(self):
        """Send what waits, then the end of the stream."""
        self.drain_when_sent = True
        if not self.corking:
            self.sent_some()

    cdef int on_raw(self, bytes data) except -1:
        # Tasks that this wakes run before a flush that is asked for now, and need no turn of the loop for their own.
        self.reactor.expecting = self.reactor.polling
        try:
            self.extras.delegate.data_received(data)
        except Exception as exc:
            self.settings.logger.exception("data_received failed")
            return self.drop(exc)
        return 0

    cdef int on_raw_end(self) except -1:
        if not self.extras.delegate.eof_received():
            return self.shut()
        self.reading_wanted = False
        return self.interest()
