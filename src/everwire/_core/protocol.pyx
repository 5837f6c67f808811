"""The WebSocket protocol after the handshake (RFC 6455, sections 5 to 8; RFC 7692), without I/O.

:class:`Protocol` reads frames, checks them, puts messages together, answers pings and close frames, and writes frames.
What it finds it tells by calling the ``on_`` methods; what it writes goes to ``put``.
"""

import os

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcpy, memset

from .frames cimport *
from .kernels cimport ew_mask, ew_utf8_feed
from .spare cimport keep_alone, new_bytes

from everwire.errors import Close, ConnectionClosedError, ConnectionClosedOK, InvalidPayload, MessageTooBig, ProtocolError

cdef extern from "Python.h":
    int _PyBytes_Resize(PyObject** bytes, Py_ssize_t size) except -1
    const char* PyUnicode_AsUTF8AndSize(object o, Py_ssize_t* n) except NULL
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object o)
    const int PyBUF_READ

cdef enum:
    FIRST_ROOM = 1048576  # bytes set aside for a frame on the word of its head; more only as they come
    DIRECT = 32768       # bytes to come from which on reading goes straight into the message

# Masking keys come from the operating system's cryptographic source (RFC 6455, section 5.3), many at a time.
cdef bytes _keys = b""
cdef Py_ssize_t _keys_used = 0


cdef uint32_t masking_key() except? 0:
    global _keys, _keys_used
    cdef uint32_t key
    if _keys_used + 4 > len(_keys):
        _keys = os.urandom(8192)
        _keys_used = 0
    memcpy(&key, PyBytes_AS_STRING(_keys) + _keys_used, 4)
    _keys_used += 4
    return key


cdef object ascii_or_utf8(uint8_t* p, size_t n, uint32_t key):
    """The text of a masked payload; ASCII in a single pass. None if it is not UTF-8."""
    if n == 0:
        return ""
    text = PyUnicode_New(n, 127)
    if not ew_mask(<uint8_t*>PyUnicode_DATA(text), p, n, key, 0):
        return text
    if key:
        ew_mask(p, p, n, key, 0)
    return decode(<const char*>p, n)


cdef object decode(const char* p, size_t n):
    try:
        return PyUnicode_DecodeUTF8(p, n, NULL)
    except UnicodeDecodeError:
        return None


cdef bint is_buffer(object o):
    cdef Py_buffer view
    try:
        PyObject_GetBuffer(o, &view, PyBUF_SIMPLE)
    except (TypeError, BufferError):
        return False
    PyBuffer_Release(&view)
    return True


cdef class Codec:
    """permessage-deflate (RFC 7692) with the parameters that a handshake agreed on."""

    def __cinit__(self, deflater not None, inflater not None, threshold=0):
        self.deflater = deflater
        self.inflater = inflater
        self.threshold = threshold


cdef class Protocol:
    """A peer's side of the protocol, server or client, from the end of the handshake on."""

    # What says how it ended; a subclass may have its own kinds.
    closed_ok = ConnectionClosedOK
    closed_error = ConnectionClosedError

    def __cinit__(self):
        self.state = CONNECTING
        self.max_size = 1 << 20

    def __dealloc__(self):
        self._drop_incoming()

    # Frames in

    cdef ssize_t feed(self, uint8_t* p, size_t n) except -1:
        """Read the frames in the *n* bytes at *p*, which are overwritten. Answer how many bytes were used.

        The rest, at most a frame's head and a control frame, is to come again with what follows it; if halted is
        set meanwhile, the rest may be anything.
        """
        cdef size_t used = 0, take
        cdef FrameHead head
        cdef int size
        cdef uint8_t opcode
        while not self.halted:
            if self.incoming and self.incoming.in_frame:
                take = n - used
                if take > self.incoming.left:
                    take = <size_t>self.incoming.left
                if take:
                    self._absorb(p + used, take)
                    used += take
                if self.halted or self.incoming.left:
                    break
                self._frame_done()
                continue
            size = read_head(p + used, n - used, &head)
            if size == 0:
                # A frame's first byte can be wrong before the rest has come, but nothing is lost by waiting.
                break
            if not self._accepts(&head, size):
                break
            opcode = head.first & 15
            if not head.masked:
                head.key = 0
            if opcode >= CLOSE:
                if n - used - size < head.length:
                    break
                if head.key:
                    ew_mask(p + used + size, p + used + size, <size_t>head.length, head.key, 0)
                used += size + <size_t>head.length
                self._control(opcode, p + used - head.length, <size_t>head.length)
            elif head.first & 128 and opcode and n - used - size >= head.length:
                used += size + <size_t>head.length
                self._whole(opcode, p + used - head.length, <size_t>head.length, head.key, head.first & 64)
            else:
                used += size
                self._begin(head.first, head.length, head.key)
        return used

    cdef bint _accepts(self, FrameHead* head, int size) except? False:
        """Check a frame's head (RFC 6455, section 5.2); fail the connection if it is wrong."""
        cdef uint8_t opcode
        cdef size_t have, most = self.max_size
        if size < 0:
            self.fail(ProtocolError("a frame's length is not in its shortest form" if size == -1 else "a frame's length has 64 bits"))
            return False
        opcode = head.first & 15
        if head.first & 48 or (head.first & 64 and (self.codec is None or opcode not in (TEXT, BINARY))):
            self.fail(ProtocolError(f"reserved bits {head.first >> 4 & 7:03b} are set in a frame with opcode {opcode}"))
            return False
        if opcode > PONG or BINARY < opcode < CLOSE:
            self.fail(ProtocolError(f"opcode {opcode} is reserved"))
            return False
        if head.masked == self.client:
            self.fail(ProtocolError("a server masked a frame" if self.client else "a client did not mask a frame"))
            return False
        if opcode >= CLOSE:
            if not head.first & 128:
                self.fail(ProtocolError("a control frame is fragmented"))
                return False
            if head.length > 125:
                self.fail(ProtocolError(f"a control frame has {head.length} bytes of payload, more than 125"))
                return False
            return True
        if (opcode == CONTINUATION) != (self.incoming != NULL):
            self.fail(ProtocolError("a new message began inside a fragmented one" if opcode else "a continuation frame continues nothing"))
            return False
        have = self.incoming.have if self.incoming else 0
        if head.first & 64 or self.incoming and self.incoming.compressed:
            most += (most >> 3) + 64    # what does not compress grows a little; the message's own size is checked later
        if head.length > most or have + head.length > most:
            self.fail(MessageTooBig(f"a message of {have + head.length} bytes or more is over max_size, {self.max_size} bytes"))
            return False
        return True

    cdef int _whole(self, uint8_t opcode, uint8_t* p, size_t n, uint32_t key, bint compressed) except -1:
        """Deliver a message that is one frame, all of it at hand."""
        cdef object message
        cdef PyObject* raw
        if compressed:
            if key:
                ew_mask(p, p, n, key, 0)
            return self._deliver_compressed(opcode, PyMemoryView_FromMemory(<char*>p, n, PyBUF_READ))
        if opcode == TEXT:
            message = ascii_or_utf8(p, n, key)
            if message is None:
                return self.fail(InvalidPayload("a text message is not UTF-8"))
        else:
            raw = new_bytes(n)
            message = <object>raw
            Py_XDECREF(raw)
            if n:
                if key:
                    ew_mask(<uint8_t*>PyBytes_AS_STRING(message), p, n, key, 0)
                else:
                    memcpy(PyBytes_AS_STRING(message), p, n)
        if self.state == OPEN:
            self.on_message(message)
        return 0

    cdef int _begin(self, uint8_t first, uint64_t length, uint32_t key) except -1:
        """Begin a frame of a message that is not whole yet."""
        cdef Incoming* m = self.incoming
        if not m:
            m = <Incoming*>PyMem_Malloc(sizeof(Incoming))
            if not m:
                raise MemoryError
            memset(m, 0, sizeof(Incoming))
            self.incoming = m
            m.opcode = first & 15
            m.compressed = first & 64
        m.last = first & 128
        m.left = length
        m.phase = 0
        m.key = key
        m.in_frame = True
        if length:
            self._reserve(m.have + <size_t>min(length, <uint64_t>FIRST_ROOM))
        return 0

    cdef int _reserve(self, size_t room) except -1:
        """Have room for *room* bytes in the message under way."""
        cdef Incoming* m = self.incoming
        cdef size_t now
        if not m.data:
            m.data = new_bytes(room)
            return 0
        now = PyBytes_GET_SIZE(<object>m.data)
        if now < room:
            # Doubling, but never past what the frame under way can fill: what is announced may never come.
            now = max(room, min(now * 2, m.have + <size_t>m.left))
            keep_alone(m.data)
            _PyBytes_Resize(&m.data, now)
        return 0

    cdef int _absorb(self, const uint8_t* p, size_t n) except -1:
        """Take *n* bytes of the frame under way."""
        cdef Incoming* m = self.incoming
        cdef uint8_t* target
        self._reserve(m.have + n)
        target = <uint8_t*>PyBytes_AS_STRING(<object>m.data) + m.have
        if m.key:
            ew_mask(target, p, n, m.key, m.phase)
        else:
            memcpy(target, p, n)
        return self._filled(n)

    cdef int _filled(self, size_t n) except -1:
        """Account for *n* bytes that stand unmasked behind those that the message has."""
        cdef Incoming* m = self.incoming
        if m.opcode == TEXT and not m.compressed:
            if not ew_utf8_feed(&m.utf8, <uint8_t*>PyBytes_AS_STRING(<object>m.data) + m.have, n):
                return self.fail(InvalidPayload("a text message is not UTF-8"))
        m.have += n
        m.phase += n
        m.left -= n
        return 0

    cdef size_t direct_room(self, uint8_t** where) except? 0:
        """Where bytes of a large frame can be read to directly, and how many; 0 if it is not worth it."""
        cdef Incoming* m = self.incoming
        cdef size_t room
        if not m or not m.in_frame or m.left < DIRECT or self.halted:
            return 0
        self._reserve(m.have + DIRECT)
        room = PyBytes_GET_SIZE(<object>m.data) - m.have
        where[0] = <uint8_t*>PyBytes_AS_STRING(<object>m.data) + m.have
        return room if room < m.left else <size_t>m.left

    cdef int direct_filled(self, size_t n) except -1:
        """Take *n* bytes that were read to where direct_room said."""
        cdef Incoming* m = self.incoming
        cdef uint8_t* target = <uint8_t*>PyBytes_AS_STRING(<object>m.data) + m.have
        if m.key:
            ew_mask(target, target, n, m.key, m.phase)
        self._filled(n)
        if not self.halted and not m.left:
            self._frame_done()
        return 0

    cdef int _frame_done(self) except -1:
        """A frame's payload is complete: deliver the message if it was the last."""
        cdef Incoming* m = self.incoming
        cdef object data, message
        cdef PyObject* raw
        cdef uint8_t opcode = m.opcode
        cdef bint compressed = m.compressed
        m.in_frame = False
        if not m.last:
            return 0
        if opcode == TEXT and not compressed and m.utf8.due:
            return self.fail(InvalidPayload("a text message ends inside a character"))
        if not m.data:
            data = b""
        else:
            if <size_t>PyBytes_GET_SIZE(<object>m.data) != m.have:
                keep_alone(m.data)
                _PyBytes_Resize(&m.data, m.have)
            raw = m.data
            m.data = NULL
            data = <object>raw
            Py_XDECREF(raw)
        self._drop_incoming()
        if compressed:
            return self._deliver_compressed(opcode, data)
        if opcode == TEXT:
            message = ascii_or_utf8(<uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), 0)
        else:
            message = data
        if self.state == OPEN:
            self.on_message(message)
        return 0

    cdef int _deliver_compressed(self, uint8_t opcode, object data) except -1:
        cdef object message
        try:
            message = self.codec.inflater.decompress(data, self.max_size)
        except ProtocolError as exc:
            return self.fail(exc)
        if opcode == TEXT:
            message = decode(PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
            if message is None:
                return self.fail(InvalidPayload("a text message is not UTF-8"))
        if self.state == OPEN:
            self.on_message(message)
        return 0

    cdef void _drop_incoming(self) noexcept:
        if self.incoming:
            Py_XDECREF(self.incoming.data)
            PyMem_Free(self.incoming)
            self.incoming = NULL

    cdef int _control(self, uint8_t opcode, uint8_t* p, size_t n) except -1:
        if opcode == CLOSE:
            return self._close_frame(p, n)
        payload = PyBytes_FromStringAndSize(<char*>p, n)
        if opcode == PING:
            return self.on_ping(payload)
        return self.on_pong(payload)

    cdef int _close_frame(self, uint8_t* p, size_t n) except -1:
        """Read a close frame (RFC 6455, section 5.5.1) and answer it if ours was not sent yet."""
        cdef int code = 1005
        cdef object reason = ""
        if n == 1:
            return self.fail(ProtocolError("a close frame has a payload of 1 byte"))
        if n >= 2:
            code = p[0] << 8 | p[1]
            if not valid_close_code(code):
                return self.fail(ProtocolError(f"close code {code} may not be sent"))
            reason = decode(<char*>p + 2, n - 2)
            if reason is None:
                return self.fail(InvalidPayload("a close reason is not UTF-8"))
        self.received_code = code
        self.reasons = (reason, self.reasons[1] if self.reasons is not None else None)
        self.halted |= ENDED
        self._drop_incoming()
        if not self.sent_code:
            self.closed_by_peer = True
            self.send_close(code, reason)
        else:
            self.on_closing()
        return 0

    cdef int fail(self, object error) except -1:
        """Fail the connection (RFC 6455, section 7.1.7): say why, and look at nothing more."""
        self.halted |= ENDED
        self._drop_incoming()
        if self.failure is None:
            self.failure = error
        if self.state == OPEN:
            return self.send_close(error.code, clip(str(error)))
        self.state = CLOSING
        return self.on_closing()

    # Frames out

    cdef int _frame(self, uint8_t first, const uint8_t* p, size_t n, PyObject* owner) except -1:
        cdef uint8_t head[HEAD_MAX]
        cdef uint32_t key = masking_key() if self.client else 0
        return self.put(head, write_head(head, first, n, self.client, key), p, n, owner, key)

    cdef int send_data(self, uint8_t opcode, const uint8_t* p, size_t n, PyObject* owner, bint first, bint last,
                       bint compress) except -1:
        """Send a message, or with *first* or *last* unset a fragment of one.

        *owner* is the object that keeps the bytes at *p* as they are, NULL if they may change after the call.
        Only whole messages are compressed.
        """
        cdef bytes data
        cdef uint8_t start = 128 | opcode if last else opcode
        if compress and first and last and self.codec is not None and n >= self.codec.threshold:
            data = self.codec.deflater.compress(PyMemoryView_FromMemory(<char*>p, n, PyBUF_READ))
            # What does not become smaller goes as it is, unless the compressor's window has it already.
            if <size_t>PyBytes_GET_SIZE(data) < n or self.codec.deflater.context_takeover:
                return self._frame(start | 64, <uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), <PyObject*>data)
        return self._frame(start, p, n, owner)

    cdef int send_message(self, object message, object text, bint compress) except -1:
        """Send a whole message: a ``str`` as text, a bytes-like object as binary; *text* says otherwise."""
        cdef Py_ssize_t n
        cdef const char* p
        cdef Py_buffer view
        if type(message) is bytes:
            return self.send_data(TEXT if text else BINARY, <uint8_t*>PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message),
                                  <PyObject*>message, True, True, compress)
        if isinstance(message, str):
            p = PyUnicode_AsUTF8AndSize(message, &n)
            return self.send_data(BINARY if text is False else TEXT, <uint8_t*>p, n, <PyObject*>message, True, True, compress)
        PyObject_GetBuffer(message, &view, PyBUF_SIMPLE)
        try:
            return self.send_data(TEXT if text else BINARY, <uint8_t*>view.buf, view.len, NULL, True, True, compress)
        finally:
            PyBuffer_Release(&view)

    cdef int send_control(self, uint8_t opcode, const uint8_t* p, size_t n) except -1:
        return self._frame(128 | opcode, p, n, NULL)

    cdef int send_close(self, int code, str reason) except -1:
        """Send our close frame, once; *code* 1005 sends one without a code."""
        cdef bytes payload
        if self.sent_code:
            return 0
        self.sent_code = code
        self.reasons = (self.reasons[0] if self.reasons is not None else None, reason)
        payload = b"" if code == 1005 else bytes((code >> 8, code & 255)) + reason.encode()
        self.send_control(CLOSE, <uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        self.state = CLOSING
        return self.on_closing()

    cdef object closing_error(self):
        """The exception that says how the connection ended."""
        received = Close(self.received_code, self.reasons[0]) if self.received_code else None
        sent = Close(self.sent_code, self.reasons[1]) if self.sent_code else None
        first = bool(self.closed_by_peer) if received is not None and sent is not None else None
        fine = received is not None and sent is not None and received[0] in OK_CODES and sent[0] in OK_CODES
        error = (self.closed_ok if fine else self.closed_error)(received, sent, first)
        error.__cause__ = self.failure
        return error

    # For subclasses

    cdef int put(self, const uint8_t* head, size_t head_size, const uint8_t* body, size_t n, PyObject* owner,
                 uint32_t key) except -1:
        """Write *head*, then *body* masked with *key*."""
        return 0

    cdef int on_message(self, object message) except -1:
        return 0

    cdef int on_ping(self, bytes payload) except -1:
        if self.state == OPEN:
            return self.send_control(PONG, <uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        return 0

    cdef int on_pong(self, bytes payload) except -1:
        return 0

    cdef int on_closing(self) except -1:
        """A close frame was sent or received, or the connection failed."""
        return 0


OK_CODES = frozenset((1000, 1001, 1005))


def clip(reason: str) -> str:
    """Return *reason* cut to the 123 bytes that a close frame has room for, at a character's end."""
    return reason.encode()[:123].decode(errors="ignore")


def check_close(code, str reason):
    """Return the code, 1005 for None; raise ValueError unless a close frame may have this code and reason."""
    if code is None:
        if reason:
            raise ValueError("a close reason needs a close code")
        return 1005
    if not valid_close_code(code):
        raise ValueError(f"{code} is not a close code that may be sent: 1000 to 1003, 1007 to 1014 or 3000 to 4999")
    if len(reason.encode()) > 123:
        raise ValueError(f"a close reason has at most 123 bytes, not {len(reason.encode())}")
    return code
