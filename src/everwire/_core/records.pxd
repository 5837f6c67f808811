"""How the messages of a stream stand in the body of an HTTP response, chunked (RFC 9112, section 7.1) or not."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

cdef enum:
    WEBSOCKET = 0   # no stream: frames of RFC 6455
    LINES = 1       # a message and a newline
    EVENTS = 2      # a message as the data of a server-sent event (WHATWG HTML, section 9.2.5)
    PLAIN = 3       # a message as it is

cdef enum:
    BEFORE_MOST = 24    # bytes before a message at most: a chunk's size, CR LF, a field's name
    AFTER_MOST = 4      # bytes behind it at most


cdef inline int write_before(uint8_t* out, int framing, bint chunked, size_t n) noexcept nogil:
    """Write what stands before a message of *n* bytes into *out*, which has room for BEFORE_MOST; answer its size."""
    cdef int size = 0, shift = 60
    cdef size_t length = n + (1 if framing == LINES else 8 if framing == EVENTS else 0)
    if chunked:
        while shift and not length >> shift:
            shift -= 4
        while shift >= 0:
            out[size] = b"0123456789abcdef"[length >> shift & 15]
            size += 1
            shift -= 4
        out[size] = 13
        out[size + 1] = 10
        size += 2
    if framing == EVENTS:
        memcpy(out + size, b"data: ", 6)
        size += 6
    return size


cdef inline int write_after(uint8_t* out, int framing, bint chunked) noexcept nogil:
    """Write what stands behind a message into *out*, which has room for AFTER_MOST; answer its size."""
    cdef int size = 0
    if framing != PLAIN:
        out[0] = 10
        size = 1
    if framing == EVENTS:
        out[1] = 10
        size = 2
    if chunked:
        out[size] = 13
        out[size + 1] = 10
        size += 2
    return size
