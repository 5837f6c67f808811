"""The protocol for programs that do their own I/O."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t

from .kernels cimport ew_mask
from .protocol cimport CLOSING, OPEN, Codec, Protocol


cdef class SansIO(Protocol):
    """The protocol for programs that do their own I/O: see :mod:`everwire.websocket.protocol`."""

    cdef bytearray out
    cdef bytearray rest
    cdef list events

    def __init__(self, *, bint client, max_size=1 << 20, deflater=None, inflater=None, threshold=0):
        self.client = client
        self.max_size = max_size
        if deflater is not None:
            self.codec = Codec(deflater, inflater, threshold)
        self.out = bytearray()
        self.rest = bytearray()
        self.events = []
        self.state = OPEN

    def receive_data(self, data not None) -> None:
        """Take bytes from the peer; what they mean is in :meth:`events_received`."""
        cdef size_t used
        cdef uint8_t[::1] view
        if self.halted:
            return
        self.rest += data
        if not self.rest:
            return
        view = self.rest
        used = self.feed(&view[0], view.shape[0])
        view = None
        del self.rest[:used]

    def data_to_send(self) -> bytes:
        """Return the bytes that are to be sent to the peer."""
        data = bytes(self.out)
        self.out.clear()
        return data

    def events_received(self) -> list:
        """Return what has come: (kind, value) with the kinds message, ping, pong and close."""
        events = self.events
        self.events = []
        return events

    def send(self, uint8_t opcode, data: bytes, bint first=True, bint last=True) -> None:
        self.send_data(opcode, <uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), <PyObject*>data, first, last, True)

    def control(self, uint8_t opcode, data: bytes) -> None:
        self.send_control(opcode, <uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    def close(self, int code=1000, str reason="") -> None:
        self.send_close(code, reason)

    @property
    def close_error(self):
        """The exception that says how the connection ended, or None while it is open."""
        return self.closing_error() if self.state >= CLOSING else None

    cdef int put(self, const uint8_t* head, size_t head_size, const uint8_t* body, size_t n, PyObject* owner,
                 uint32_t key) except -1:
        cdef bytes masked
        self.out += head[:head_size]
        if n and key:
            masked = PyBytes_FromStringAndSize(NULL, n)
            ew_mask(<uint8_t*>PyBytes_AS_STRING(masked), body, n, key, 0)
            self.out += masked
        elif n:
            self.out += body[:n]
        return 0

    cdef int on_message(self, object message) except -1:
        self.events.append(("message", message))
        return 0

    cdef int on_ping(self, bytes payload) except -1:
        self.events.append(("ping", payload))
        return Protocol.on_ping(self, payload)

    cdef int on_pong(self, bytes payload) except -1:
        self.events.append(("pong", payload))
        return 0

    cdef int on_closing(self) except -1:
        if self.received_code or self.failure is not None:
            self.events.append(("close", self.closing_error()))
        return 0
