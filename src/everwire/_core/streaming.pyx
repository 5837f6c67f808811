"""Connections whose messages go into the body of an HTTP response that does not end.

The head of such a response takes the place of the 101 of a WebSocket. What is sent then is written as the stream's
framing says; nothing is expected of the peer but that it is there.
"""

import re

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.string cimport memchr

from .endpoint cimport Extras
from .link cimport DECIDING, EARLY_MOST, GONE, RAW, STREAMING
from .net cimport EW_TICKS_A_SECOND, ew_user_timeout
from .protocol cimport CLOSING, OPEN
from .records cimport *
from .settings cimport Settings

from everwire.errors import InvalidState

FRAMINGS = {"lines": LINES, "events": EVENTS, "raw": PLAIN}
NEWLINE = re.compile(rb"\r\n|\r|\n")


cdef bytes event_data(const uint8_t* p, size_t n):
    """What a message with newlines is as the data of an event, without the first field's name; None: as it is."""
    if memchr(p, 10, n) == NULL and memchr(p, 13, n) == NULL:
        return None
    return b"\ndata: ".join(NEWLINE.split(PyBytes_FromStringAndSize(<char*>p, n)))


cdef class Streaming(Receiver):
    """A receiver that can be a stream instead of a WebSocket."""

    def open_stream(self, head: bytes, str framing, *, bint chunked=True, Settings settings=None):
        """Go on as a stream: *head* is sent, if there is one, and then each message as *framing* says.

        ``"lines"``: the message and a newline; ``"events"``: the message as the data of a server-sent event; ``"raw"``:
        the message as it is. Each is a chunk of the body (RFC 9112, section 7.1), unless *chunked* is False. A protocol
        that the connection was handed over to is told that its connection is lost. *settings* replace the connection's.

        Raises:
            ValueError: there is no such framing.
            InvalidState: no request waits for its response.
        """
        if framing not in FRAMINGS:
            raise ValueError(f"the framing of a stream is one of {', '.join(FRAMINGS)}, not {framing!r}")
        if self.phase not in (DECIDING, RAW) or self.drain_when_sent:
            raise InvalidState("there is no request that waits for its response: its connection is open already, or gone")
        if head:
            self.write(<uint8_t*>PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head), <PyObject*>head)
            if self.phase == GONE:
                return
        if self.delegated:
            self.delegated = False
            self._delegate_done(None)
            if self.extras.request is None and self.extras.close_waiters is None:
                self.extras = None
        if settings is not None:
            self.adopt(settings)
        self.framing = FRAMINGS[framing]
        self.chunked = chunked
        self.phase = STREAMING
        self.state = OPEN
        self.opened = True
        self.reading_wanted = True
        self._free_rest()
        self.reactor.unschedule(self.sid)
        self.watch_peer()
        self._start()
        self.interest()

    cdef int watch_peer(self) except -1:
        """There are no pings: it is the system that finds out when a peer is gone without a word (Linux)."""
        cdef Settings s = self.settings
        cdef int fd = self.fd
        if not s.ping_interval or not s.ping_timeout:
            return 0
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            fd = -1 if sock is None else sock.fileno()
        if fd >= 0:
            ew_user_timeout(fd, <unsigned>((s.ping_interval + s.ping_timeout) * 1000.0 / EW_TICKS_A_SECOND))
        return 0

    cdef int send_data(self, uint8_t opcode, const uint8_t* p, size_t n, PyObject* owner, bint first, bint last,
                       bint compress) except -1:
        cdef uint8_t before[BEFORE_MOST]
        cdef uint8_t after[AFTER_MOST]
        cdef bytes lines
        if not self.framing:
            return Receiver.send_data(self, opcode, p, n, owner, first, last, compress)
        if self.framing == EVENTS:
            lines = event_data(p, n)
            if lines is not None:
                p = <uint8_t*>PyBytes_AS_STRING(lines)
                n = PyBytes_GET_SIZE(lines)
                owner = <PyObject*>lines
        elif self.framing == PLAIN and not n:
            return 0        # a chunk of no bytes would end the body
        self.put(before, write_before(before, self.framing, self.chunked, n), p, n, owner, 0)
        n = write_after(after, self.framing, self.chunked)
        return self.put(after, n, after, 0, NULL, 0)

    cdef int send_control(self, uint8_t opcode, const uint8_t* p, size_t n) except -1:
        if not self.framing:
            return Receiver.send_control(self, opcode, p, n)
        return 0

    cdef int send_close(self, int code, str reason) except -1:
        """End the body. The peer sees no code: it stands for both sides'."""
        if not self.framing:
            return Receiver.send_close(self, code, reason)
        if self.sent_code:
            return 0
        self.sent_code = self.received_code = code
        self.reasons = (reason, reason)
        self.state = CLOSING
        if self.chunked:
            self.write(<uint8_t*>b"0\r\n\r\n", 5, NULL)
        self.since = self.reactor.now()
        self.drain_and_close()
        if self.phase != GONE:
            self.start_timer()
            if not self.corking:
                self.wake_receiver(False)
        return 0

    cdef int on_stray(self, size_t n) except -1:
        """The peer sends something, though there is nothing that it could say."""
        cdef Extras extras = self.more()
        extras.stray += n
        if extras.stray > EARLY_MOST:
            return self.send_close(1008, "input to a stream")
        return 0
