"""TLS on bytes, with any ``ssl.SSLContext``: ``ssl.SSLObject`` between two ``ssl.MemoryBIO``.

Python makes the connection, checks certificates and runs the handshake. The bytes behind it are encrypted and decrypted
by OpenSSL itself, called without Python's objects between, where its functions are found (see ``openssl.h``).
"""

import os
import ssl

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory

cdef extern from "Python.h":
    const int PyBUF_READ, PyBUF_WRITE

cdef extern from "openssl.h":
    enum:
        EW_SSL_WANT_READ, EW_SSL_ZERO_RETURN

    ctypedef struct ew_openssl:
        int (*read)(void*, void*, int) noexcept
        int (*write)(void*, const void*, int) noexcept
        int (*error)(const void*, int) noexcept
        void* (*input)(const void*) noexcept
        void* (*output)(const void*) noexcept
        int (*bio_read)(void*, void*, int) noexcept
        int (*bio_write)(void*, const void*, int) noexcept
        size_t (*bio_pending)(void*) noexcept
        void (*clear_errors)() noexcept
        unsigned long (*last_error)() noexcept
        const char* (*reason)(unsigned long) noexcept

    ew_openssl ew_ssl
    int ew_ssl_load(const char* path) noexcept
    void* ew_ssl_of(object inner, object context) noexcept
    int ew_ssl_some(size_t n) noexcept


cdef enum:
    RECORD = 16384   # bytes of payload in a record, at most (RFC 8446, section 5.1)
    SMALL = 4096     # bytes up to which a copy costs less than a memoryview


cdef bint load() except -1:
    """Find OpenSSL's functions."""
    import _ssl

    path = getattr(_ssl, "__file__", None)      # a module that is part of the interpreter has none
    return path is not None and ew_ssl_load(os.fsencode(path))


cdef bint LOADED = load()


cdef object borrowed(const uint8_t* p, size_t n):
    """The bytes at *p* as an object for one call."""
    if n <= SMALL:
        return PyBytes_FromStringAndSize(<char*>p, n)
    return PyMemoryView_FromMemory(<char*>p, n, PyBUF_READ)


cdef object failure():
    """The exception for what OpenSSL has just refused."""
    cdef const char* reason = ew_ssl.reason(ew_ssl.last_error())
    text = "the record layer failed" if reason == NULL else reason.decode("ascii", "replace")
    ew_ssl.clear_errors()
    return ssl.SSLError(ssl.SSL_ERROR_SSL, f"[SSL] {text}")


cdef class Tls:
    """One side of a TLS connection.

    Attributes:
        established: whether the handshake is done.
        direct: whether OpenSSL is called without Python's objects between; not with ``EVERWIRE_OPENSSL=off``.
    """

    def __init__(self, context, bint client, server_hostname=None):
        self.arrived = ssl.MemoryBIO()
        self.leaving = ssl.MemoryBIO()
        self.layer = context.wrap_bio(
            self.arrived, self.leaving, server_side=not client, server_hostname=server_hostname if client else None
        )
        self.inner = getattr(self.layer, "_sslobj", self.layer)
        self.waiting = b""
        if LOADED and os.environ.get("EVERWIRE_OPENSSL", "") != "off":
            self.ssl = ew_ssl_of(self.inner, context)
            if self.ssl != NULL:
                self.input = ew_ssl.input(self.ssl)
                self.output = ew_ssl.output(self.ssl)

    @property
    def direct(self):
        return self.ssl != NULL

    cdef int take(self, uint8_t* p, size_t n) except -1:
        """Take ciphertext from the peer."""
        cdef size_t done = 0
        cdef int some
        if self.ssl == NULL:
            self.arrived.write(borrowed(p, n))
            return 0
        while done < n:
            some = ew_ssl.bio_write(self.input, p + done, ew_ssl_some(n - done))
            if some <= 0:
                raise MemoryError
            done += some
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
        if self.ssl != NULL:
            return self._read_directly(p, room)
        if not self.arrived.pending:
            return -1 if self.ended else 0
        try:
            while room - got >= RECORD:
                if view is None or got:
                    view = PyMemoryView_FromMemory(<char*>p + got, room - got, PyBUF_WRITE)
                n = self.inner.read(room - got, view)
                if n == 0:
                    self.ended = True           # found again when what came before is used
                    return got if got else -1
                got += n
                # The error that says «no more» is dear: ask first.
                if not self.arrived.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
            return got if got else -1
        if self.leaving.pending:
            self.fresh = True
        return got

    cdef ssize_t _read_directly(self, uint8_t* p, size_t room) except -2:
        cdef size_t got = 0
        cdef int n
        while room - got >= RECORD and not self.ended and ew_ssl.bio_pending(self.input):
            ew_ssl.clear_errors()
            n = ew_ssl.read(self.ssl, p + got, ew_ssl_some(room - got))
            if n > 0:
                got += n
                continue
            n = ew_ssl.error(self.ssl, n)
            if n == EW_SSL_WANT_READ:
                break
            if n != EW_SSL_ZERO_RETURN:
                raise failure()
            self.ended = True
        self.fresh = True           # a record may have asked for an answer
        return -1 if self.ended and not got else got

    cdef int write(self, const uint8_t* p, size_t n) except -1:
        """Encrypt *n* bytes; the result waits in ciphertext()."""
        cdef size_t done = 0
        self.fresh = True
        if self.ssl != NULL:
            return self._write_directly(p, n)
        while done < n:
            done += self.inner.write(borrowed(p + done, n - done))
        return 0

    cdef int _write_directly(self, const uint8_t* p, size_t n) except -1:
        cdef size_t done = 0
        cdef int some
        ew_ssl.clear_errors()
        while done < n:
            some = ew_ssl.write(self.ssl, p + done, ew_ssl_some(n - done))
            if some <= 0:
                raise failure()
            done += some
        return 0

    cdef int shut(self) except -1:
        """Say that we will send no more (close_notify)."""
        self.fresh = True
        try:
            self.layer.unwrap()
        except (ssl.SSLError, OSError, ValueError):
            pass
        return 0

    cdef int _collect(self) except -1:
        """Take over what is encrypted."""
        cdef size_t n
        self.fresh = False
        self.waiting_start = 0
        if self.ssl == NULL:
            self.waiting = self.leaving.read()
            return 0
        n = ew_ssl_some(ew_ssl.bio_pending(self.output))
        if not n:
            self.waiting = b""
            return 0
        self.waiting = PyBytes_FromStringAndSize(NULL, n)
        if ew_ssl.bio_read(self.output, PyBytes_AS_STRING(self.waiting), <int>n) != <int>n:
            self.waiting = b""
            raise failure()
        return 0

    cdef size_t ciphertext(self, const uint8_t** where) except? 0:
        """Where the bytes for the socket are, and how many."""
        if self.fresh and self.waiting_start == <size_t>PyBytes_GET_SIZE(self.waiting):
            self._collect()
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
