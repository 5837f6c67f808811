"""Frame heads of RFC 6455, section 5.2: read, checked and written."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10

cdef enum:
    HEAD_MAX = 14  # bytes of the longest frame head

cdef struct FrameHead:
    uint8_t first      # FIN, RSV and opcode, as on the wire
    bint masked
    uint32_t key       # the masking key, in memory order
    uint64_t length


cdef inline int read_head(const uint8_t* p, size_t n, FrameHead* head) noexcept nogil:
    """Read a frame head: its size in bytes, 0 if more are needed, -1 if the length is not minimal, -2 if it has 64 bits."""
    cdef size_t size = 2
    cdef uint64_t length
    cdef int i
    if n < 2:
        return 0
    head.first = p[0]
    head.masked = p[1] >> 7
    length = p[1] & 127
    if length == 126:
        size = 4
        if n < size:
            return 0
        length = <uint64_t>p[2] << 8 | p[3]
        if length < 126:
            return -1
    elif length == 127:
        size = 10
        if n < size:
            return 0
        length = 0
        for i in range(8):
            length = length << 8 | p[2 + i]
        if length >> 63:
            return -2
        if length < 65536:
            return -1
    head.length = length
    if head.masked:
        if n < size + 4:
            return 0
        memcpy(&head.key, p + size, 4)
        size += 4
    return <int>size


cdef inline int write_head(uint8_t* out, uint8_t first, uint64_t length, bint masked, uint32_t key) noexcept nogil:
    """Write a frame head of minimal length into *out*, which has room for HEAD_MAX bytes; answer its size."""
    cdef int size = 2, i
    out[0] = first
    if length < 126:
        out[1] = <uint8_t>length
    elif length < 65536:
        out[1] = 126
        out[2] = <uint8_t>(length >> 8)
        out[3] = <uint8_t>length
        size = 4
    else:
        out[1] = 127
        for i in range(8):
            out[2 + i] = <uint8_t>(length >> (8 * (7 - i)))
        size = 10
    if masked:
        out[1] |= 128
        memcpy(out + size, &key, 4)
        size += 4
    return size


cdef inline bint valid_close_code(int code) noexcept nogil:
    """Whether *code* may stand in a close frame (RFC 6455, section 7.4, and the IANA registry)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
