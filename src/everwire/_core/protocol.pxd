"""The WebSocket protocol after the handshake, without I/O: bytes in, calls of the on_ methods and bytes out."""

from cpython.ref cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from .frames cimport FrameHead
from .kernels cimport ew_utf8

cdef enum:
    CONNECTING = 0  # the states of the WHATWG standard
    OPEN = 1
    CLOSING = 2
    CLOSED = 3

cdef enum:
    PAUSED = 1      # parsing stops until whoever paused resumes
    ENDED = 2       # nothing that comes in is looked at any more

cdef struct Incoming:
    # A message of which a part has come.
    PyObject* data      # a bytes object that is being filled; nobody else knows it yet
    size_t have         # bytes of it that are filled
    uint64_t left       # bytes still to come of the frame under way
    size_t phase        # bytes of that frame that have come
    uint32_t key
    uint8_t opcode
    bint compressed
    bint last           # the frame under way is the message's last
    bint in_frame
    ew_utf8 utf8


cdef class Codec:
    # How messages are compressed and decompressed.
    cdef readonly object deflater, inflater
    cdef readonly uint32_t threshold   # smaller messages are sent uncompressed


cdef class Protocol:
    cdef Incoming* incoming
    cdef Codec codec                   # None without permessage-deflate
    cdef object reasons                # the close frames' reasons (received, sent), once there are any
    cdef readonly object failure       # the ProtocolError that ended it, or None
    cdef size_t max_size
    cdef uint16_t received_code, sent_code   # 0: no close frame yet; 1005: one without a code
    cdef readonly uint8_t state
    cdef uint8_t halted
    cdef readonly bint client
    cdef uint8_t closed_by_peer           # its close frame came before ours was sent

    # For the I/O below
    cdef ssize_t feed(self, uint8_t* p, size_t n) except -1
    cdef size_t direct_room(self, uint8_t** where) except? 0
    cdef int direct_filled(self, size_t n) except -1

    # For the faces above
    cdef int send_data(self, uint8_t opcode, const uint8_t* p, size_t n, PyObject* owner, bint first, bint last,
                       bint compress) except -1
    cdef int send_message(self, object message, object text, bint compress) except -1
    cdef int send_control(self, uint8_t opcode, const uint8_t* p, size_t n) except -1
    cdef int send_close(self, int code, str reason) except -1
    cdef int fail(self, object error) except -1
    cdef object closing_error(self)

    # What a subclass does about it
    cdef int put(self, const uint8_t* head, size_t head_size, const uint8_t* body, size_t n, PyObject* owner,
                 uint32_t key) except -1
    cdef int on_message(self, object message) except -1
    cdef int on_ping(self, bytes payload) except -1
    cdef int on_pong(self, bytes payload) except -1
    cdef int on_closing(self) except -1

    cdef bint _accepts(self, FrameHead* head, int size) except? False
    cdef int _frame(self, uint8_t first, const uint8_t* p, size_t n, PyObject* owner) except -1
    cdef int _control(self, uint8_t opcode, uint8_t* p, size_t n) except -1
    cdef int _close_frame(self, uint8_t* p, size_t n) except -1
    cdef int _whole(self, uint8_t opcode, uint8_t* p, size_t n, uint32_t key, bint compressed) except -1
    cdef int _begin(self, uint8_t first, uint64_t length, uint32_t key) except -1
    cdef int _absorb(self, const uint8_t* p, size_t n) except -1
    cdef int _reserve(self, size_t room) except -1
    cdef int _filled(self, size_t n) except -1
    cdef int _frame_done(self) except -1
    cdef int _deliver_compressed(self, uint8_t opcode, object data) except -1
    cdef void _drop_incoming(self) noexcept

cdef uint32_t masking_key() except? 0
cdef bint is_buffer(object o)
