"""Bytes that wait to be sent: a chain of pieces, each owned or borrowed from an object that is kept."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport PyObject, Py_XDECREF, Py_XINCREF
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from .kernels cimport ew_mask
from .net cimport iovec

cdef struct Piece:
    Piece* next
    PyObject* owner    # keeps the bytes at `data`; NULL: they stand right behind this struct
    uint8_t* data
    size_t start, end  # what of `data` is still to be sent
    size_t room

cdef struct Outbox:
    Piece* head
    Piece* tail
    size_t size

cdef enum:
    PIECES = 64     # pieces sent in one call
    WORTH_KEEPING = 2048    # bytes from which on they are not copied
    SMALLEST = 208  # room of an owned piece: with the struct, a size that allocators hand out without waste


cdef inline int outbox_copy(Outbox* box, const uint8_t* p, size_t n, uint32_t key) except -1:
    """Append a copy of *n* bytes, masked with *key*."""
    cdef Piece* piece = box.tail
    cdef size_t room
    if n == 0:
        return 0
    if not piece or piece.owner or piece.room - piece.end < n:
        room = max(n, min(box.size, <size_t>65536), <size_t>SMALLEST)
        piece = <Piece*>PyMem_Malloc(sizeof(Piece) + room)
        if not piece:
            raise MemoryError
        piece.next = NULL
        piece.owner = NULL
        piece.data = <uint8_t*>piece + sizeof(Piece)
        piece.start = piece.end = 0
        piece.room = room
        outbox_link(box, piece)
    if key:
        ew_mask(piece.data + piece.end, p, n, key, 0)
    else:
        memcpy(piece.data + piece.end, p, n)
    piece.end += n
    box.size += n
    return 0


cdef inline int outbox_keep(Outbox* box, const uint8_t* p, size_t n, PyObject* owner) except -1:
    """Append *n* bytes at *p* without a copy: *owner* keeps them."""
    cdef Piece* piece
    if n == 0:
        return 0
    piece = <Piece*>PyMem_Malloc(sizeof(Piece))
    if not piece:
        raise MemoryError
    piece.next = NULL
    piece.owner = owner
    Py_XINCREF(owner)
    piece.data = <uint8_t*>p
    piece.start = 0
    piece.end = piece.room = n
    outbox_link(box, piece)
    box.size += n
    return 0


cdef inline int outbox_hold(Outbox* box, const uint8_t* p, size_t n, PyObject* owner) except -1:
    """Append *n* bytes that *owner* keeps, if it is not NULL: few as a copy, for they might keep much more alive."""
    if owner and n >= WORTH_KEEPING:
        return outbox_keep(box, p, n, owner)
    return outbox_copy(box, p, n, 0)


cdef inline void outbox_link(Outbox* box, Piece* piece) noexcept:
    if box.tail:
        box.tail.next = piece
    else:
        box.head = piece
    box.tail = piece


cdef inline int outbox_vector(Outbox* box, iovec* v) noexcept:
    """Describe up to PIECES pieces for a gathering write; answer how many."""
    cdef Piece* piece = box.head
    cdef int n = 0
    while piece and n < PIECES:
        v[n].iov_base = piece.data + piece.start
        v[n].iov_len = piece.end - piece.start
        n += 1
        piece = piece.next
    return n


cdef inline void outbox_sent(Outbox* box, size_t n) noexcept:
    """Forget the first *n* bytes."""
    cdef Piece* piece
    box.size -= n
    while n:
        piece = box.head
        if n < piece.end - piece.start:
            piece.start += n
            return
        n -= piece.end - piece.start
        box.head = piece.next
        if not box.head:
            box.tail = NULL
        Py_XDECREF(piece.owner)
        PyMem_Free(piece)


cdef inline void outbox_clear(Outbox* box) noexcept:
    outbox_sent(box, box.size)
