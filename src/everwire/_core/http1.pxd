"""HTTP/1.1 heads for the other parts of the core: where a head ends, and its limits."""

from libc.stdint cimport uint8_t

cdef enum:
    MAX_HEAD = 32768     # bytes of a whole head, its last CRLF CRLF included
    MAX_LINE = 8192      # bytes of a request line or status line, CRLF included
    MAX_HEADERS = 128    # header fields in one head

# The index just after the CRLF CRLF that ends the head at p, or -1 if it is not in the n bytes; n if its first byte can
# begin no head. The first `start` bytes are known to hold no whole CRLF CRLF (0 at first, then the n of the call before).
cdef ssize_t head_end(const uint8_t* p, size_t n, size_t start) noexcept nogil
