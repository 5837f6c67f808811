"""What a connection for threads reads and writes before there are frames: TLS, and the heads of HTTP."""

from cpython.pythread cimport PyThread_release_lock
from cpython.ref cimport PyObject
from libc.math cimport INFINITY
from libc.stdint cimport uint8_t

from .http1 cimport MAX_HEAD, head_end
from .locks cimport lock_take, until
from .outbox cimport outbox_keep
from .stream cimport Stream
from .tls cimport Tls


cdef class Preface(Stream):
    """A stream that an opening handshake is done on."""

    def secure(self, context, server_hostname, timeout):
        """Do the TLS handshake, in so many seconds.

        Raises:
            OSError: it failed (``ssl.SSLError`` is one), or took too long (``TimeoutError``).
        """
        cdef double deadline = until(timeout)
        cdef int done = 0
        self.tls = Tls(context, self.client, server_hostname)
        lock_take(self.reading, INFINITY)
        try:
            while True:
                try:
                    done = self.tls.handshake()
                finally:
                    self.flush(deadline)    # an alert, if it failed
                if done:
                    break
                if not self.fill(deadline):
                    raise TimeoutError("the TLS handshake took too long")
                if self.ended and not self.tls.arrived.pending:
                    raise self.lost or ConnectionResetError("the connection was closed during the TLS handshake")
            self._resume()
        finally:
            PyThread_release_lock(self.reading)

    def read_head(self, timeout):
        """Return the head of an HTTP message, its empty line included; all that came if it ends before, or is too long.

        Raises:
            TimeoutError: it has not come in so many seconds.
        """
        cdef double deadline = until(timeout)
        cdef ssize_t end = -1
        cdef size_t scanned = 0
        cdef uint8_t[::1] view
        lock_take(self.reading, INFINITY)
        try:
            while True:
                if self.rest:
                    view = self.rest
                    end = head_end(&view[0], view.shape[0], scanned)
                    scanned = view.shape[0]
                    view = None
                if end >= 0 or self.ended or scanned > MAX_HEAD:
                    break
                if not self.fill(deadline):
                    raise TimeoutError("the head of the message has not come in time")
            return self._cut(end if end >= 0 else len(self.rest))
        finally:
            PyThread_release_lock(self.reading)

    def read_raw(self, timeout):
        """Return bytes as they come; none at the end of the stream.

        Raises:
            TimeoutError: none came in so many seconds.
        """
        cdef double deadline = until(timeout)
        lock_take(self.reading, INFINITY)
        try:
            while not self.rest and not self.ended:
                if not self.fill(deadline):
                    raise TimeoutError("nothing has come in time")
            return self._cut(len(self.rest))
        finally:
            PyThread_release_lock(self.reading)

    def _cut(self, Py_ssize_t n):
        data = bytes(self.rest[:n])
        del self.rest[:n]
        return data

    def write_raw(self, data: bytes, timeout):
        """Send bytes as they are, in so many seconds.

        Raises:
            OSError: they could not be sent; ``TimeoutError``: not in time.
        """
        cdef const uint8_t[::1] view = data
        if view.shape[0]:
            outbox_keep(&self.out, &view[0], view.shape[0], <PyObject*>data)
        if not self.flush(until(timeout)):
            raise TimeoutError("the peer did not take what was sent in time")
        if self.broken:
            raise self.lost or ConnectionResetError("the connection is closed")

    def finish_raw(self, timeout):
        """Say that no more will be sent, and drop what comes until the peer says so too, for so many seconds."""
        cdef double deadline = until(timeout)
        lock_take(self.reading, INFINITY)
        try:
            self._shut_writing()
            while not self.ended and self.fill(deadline):
                self.rest.clear()
        finally:
            PyThread_release_lock(self.reading)
