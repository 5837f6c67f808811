"""TLS on bytes, with any ``ssl.SSLContext``: ``ssl.SSLObject`` between two ``ssl.MemoryBIO``."""

import ssl

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory

cdef extern from "Python.h":
    const int PyBUF_READ, PyBUF_WRITE


cdef enum:
    RECORD = 16384   # bytes of payload in a record, at most (RFC 8446, section 5.1)
    SMALL = 4096     # bytes up to which a copy costs less than a memoryview


cdef object borrowed(const uint8_t* p, size_t n):
    """The bytes at *p* as an object for one call."""
    if n <= SMALL:
        return PyBytes_FromStringAndSize(<char*>p, n)
    return PyMemoryView_FromMemory(<char*>p, n, PyBUF_READ)


cdef class Tls:
    """One side of a TLS connection."""

    def __init__(self, context, bint client, server_hostname=None):
        self.arrived = ssl.MemoryBIO()
        self.leaving = ssl.MemoryBIO()
        self.layer = context.wrap_bio(
            self.arrived, self.leaving, server_side=not client, server_hostname=server_hostname if client else None
        )
        self.inner = getattr(self.layer, "_sslobj", self.layer)
        self.waiting = b""

    cdef int take(self, uint8_t* p, size_t n) except -1:
        """Take ciphertext from the peer."""
        self.arrived.write(borrowed(p, n))
        return 0

    cdef int handshake(self) except -1:
        """Go on with the TLS handshake: 1 if it is complete, 0 if the peer must say more."""
        self.fresh = True
        try:
            self.layer.do_handshake()
        except ssl.SSLWantReadError:
            return 0
        self.established = True
        return 1

    cdef ssize_t read(self, uint8_t* p, size_t room, object view) except -2:
        """Decrypt up to *room* bytes to *p*: how many, 0 if there are none now, -1 if the peer is done.

        *view* is a memoryview of the *room* bytes, or None. There is room for a record, 16 KiB, at least: so no
        record is left decrypted in part.
        """
        cdef size_t got = 0, n
        if not self.arrived.pending:
            return -1 if self.arrived.eof else 0
        try:
            while room - got >= RECORD:
                if view is None or got:
                    view = PyMemoryView_FromMemory(<char*>p + got, room - got, PyBUF_WRITE)
                n = self.inner.read(room - got, view)
                if n == 0:
                    self.arrived.write_eof()    # found again when what came before is used
                    return got if got else -1
                got += n
                # The error that says «no more» is dear: ask first.
                if not self.arrived.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.arrived.write_eof()
            return got if got else -1
        if self.leaving.pending:
            self.fresh = True
        return got

    cdef int write(self, const uint8_t* p, size_t n) except -1:
        """Encrypt *n* bytes; the result waits in ciphertext()."""
        cdef size_t done = 0
        self.fresh = True
        while done < n:
            done += self.inner.write(borrowed(p + done, n - done))
        return 0

    cdef int shut(self) except -1:
        """Say that we will send no more (close_notify)."""
        self.fresh = True
        try:
            self.layer.unwrap()
        except (ssl.SSLError, OSError, ValueError):
            pass
        return 0

    cdef size_t ciphertext(self, const uint8_t** where) except? 0:
        """Where the bytes for the socket are, and how many."""
        if self.fresh and self.waiting_start == <size_t>PyBytes_GET_SIZE(self.waiting):
            self.fresh = False
            self.waiting = self.leaving.read()
            self.waiting_start = 0
        where[0] = <uint8_t*>PyBytes_AS_STRING(self.waiting) + self.waiting_start
        return PyBytes_GET_SIZE(self.waiting) - self.waiting_start

    cdef int ciphertext_sent(self, size_t n) except -1:
        self.waiting_start += n
        if self.waiting_start == <size_t>PyBytes_GET_SIZE(self.waiting):
            self.waiting = b""
            self.waiting_start = 0
        return 0

    @property
    def object(self):
        """The ``ssl.SSLObject``, for what the certificate says."""
        return self.layer
