"""The loops over payload bytes, as Python functions: for tests and for those who build a protocol of their own."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

ew_kernels_choose()
KERNEL = ew_kernel_name.decode()
"""The form in use: ``avx2``, ``sse2``, ``neon`` or ``words``."""


def mask(data not None, bytes key not None, size_t phase=0):
    """Return *data* masked with the 4 bytes of *key* (RFC 6455, section 5.3).

    *phase* is the offset of the first byte in the payload. Masking twice gives the data back.
    """
    cdef const uint8_t[::1] view = data
    cdef uint32_t k
    if len(key) != 4:
        raise ValueError(f"a masking key has 4 bytes, not {len(key)}")
    memcpy(&k, PyBytes_AS_STRING(key), 4)
    out = PyBytes_FromStringAndSize(NULL, view.shape[0])
    if view.shape[0]:
        ew_mask(<uint8_t*>PyBytes_AS_STRING(out), &view[0], view.shape[0], k, phase)
    return out


def is_ascii(data not None):
    """Return whether all bytes of *data* are below 0x80, as masking finds out on its way."""
    return not data or bytes(data) and _high(bytearray(data)) == 0


cdef uint8_t _high(bytearray data):
    cdef uint8_t[::1] view = data
    return ew_copy(&view[0], &view[0], view.shape[0])


cdef class Utf8Validator:
    """Checks UTF-8 piece by piece (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF."""

    cdef ew_utf8 state

    def __cinit__(self):
        self.state.due = 0

    def feed(self, data not None) -> bool:
        """Return whether *data* may follow what was fed before; after False the validator is of no more use."""
        cdef const uint8_t[::1] view = data
        if view.shape[0] == 0:
            return True
        return ew_utf8_feed(&self.state, &view[0], view.shape[0]) == 1

    @property
    def complete(self) -> bool:
        """Whether what was fed ends at the end of a character."""
        return self.state.due == 0
