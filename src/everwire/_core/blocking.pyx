"""Messages for threads: each waits for what it asks for, and nothing else runs."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.pythread cimport PyThread_allocate_lock, PyThread_free_lock, PyThread_get_thread_ident, PyThread_release_lock
from cpython.ref cimport PyObject
from libc.math cimport INFINITY
from libc.stdint cimport uint8_t

from .frames cimport BINARY, CONTINUATION, PING, PONG, TEXT
from .locks cimport lock_hold, lock_take, lock_try, until
from .net cimport ew_seconds
from .protocol cimport CLOSED, CLOSING, ENDED, OPEN, PAUSED, Codec, Protocol, is_buffer
from .preface cimport Preface
from .stream cimport Stream

from everwire._core.protocol import check_close
from everwire.errors import ConcurrencyError, ConnectionClosedOK, InvalidState

cdef enum:
    BEHIND = 65536      # unsent bytes from which on only the last ping is answered
    GLANCES = 16        # reads in one look at a connection

cdef double LAST_WORDS = 1.0    # seconds in which another thread has read what the peer said before it left


cdef class Blocking(Preface):
    """A connection whose methods block the thread that calls them."""

    def __cinit__(self):
        self.queue = []
        self.pongs = []
        self.turn = PyThread_allocate_lock()
        if not self.turn:
            raise MemoryError

    def __init__(self, *, bint client, max_size=1 << 20, max_queue=64):
        self.client = client
        self.max_size = <size_t>1 << 62 if max_size is None else max_size
        self.max_queue = <size_t>1 << 62 if max_queue is None else max_queue

    def __dealloc__(self):
        if self.turn:
            PyThread_free_lock(self.turn)

    def open(self, deflater=None, inflater=None, threshold=0):
        """The opening handshake is done: what comes from now on are frames, and so is what came after its head."""
        lock_take(self.reading, INFINITY)
        try:
            if deflater is not None:
                self.codec = Codec(deflater, inflater, threshold)
            self.raw = False
            self.state = CLOSED if self.ended and not self.rest else OPEN
            self.seen = self.heard = ew_seconds()
            self._resume()
            self.on_filled()
            self.state = CLOSED if self.ended else self.state
        finally:
            PyThread_release_lock(self.reading)

    # Messages in

    cdef int on_message(self, object message) except -1:
        self.heard = self.seen
        self.queue.append(message)
        self.queued_bytes += len(message)
        if len(self.queue) - self.queue_start >= self.max_queue or self.queued_bytes > self.max_size:
            self.halted |= PAUSED
        return 0

    cdef bint wants_input(self) noexcept:
        return not self.has_message() or self.state != OPEN

    cdef inline bint has_message(self) noexcept:
        return self.queue_start < <size_t>len(self.queue)

    cdef object next_message(self, object decode):
        cdef list queue = self.queue
        cdef object message = queue[self.queue_start]
        queue[self.queue_start] = None
        self.queue_start += 1
        self.queued_bytes -= len(message)
        if self.queue_start == <size_t>len(queue):
            queue.clear()
            self.queue_start = 0
        if decode is not None:
            if decode and type(message) is bytes:
                return message.decode()
            if not decode and type(message) is str:
                return message.encode()
        return message

    cdef int fail(self, object error) except -1:
        if self.state == OPEN and self.has_message():
            # What came before the violation is good: who receives gets its turn on it, and then the connection fails.
            self.failing = True
            self.failure = error
            self.halted |= ENDED
            self._drop_incoming()
            self.closing_since = ew_seconds()
            return 0
        return Preface.fail(self, error)

    def finish_failing(self):
        """Fail the connection, if that was put off because messages waited."""
        if self.failing:
            self.failing = False
            lock_hold(self.using)
            try:
                Preface.fail(self, self.failure)
            finally:
                PyThread_release_lock(self.using)
            self.flush(0)

    cdef bint is_over(self) noexcept:
        """Whether no message can come any more."""
        return self.ended or self.received_code or self.failure is not None

    cdef object end_error(self):
        """What to raise when the connection is over, or nothing can be sent any more."""
        self.on_over()
        return self._why_over()

    cdef object _why_over(self):
        error = self.closing_error()
        if error.__cause__ is None:
            error.__cause__ = self.lost
        return error

    cdef int _break(self, int number) except -1:
        # Messages from before may wait still: the connection is over when they are received, or after close_timeout.
        self.on_closing()
        return Preface._break(self, number)

    def recv(self, timeout=None, decode=None):
        """Wait for the next message: text as ``str``, binary as ``bytes``.

        *timeout* is in seconds; None: as long as it takes, 0: not at all. *decode* True gives binary messages as ``str``
        too, False gives text as ``bytes``. Several threads may wait: each message goes to one of them.

        Raises:
            TimeoutError: no message came in time. None is lost: the next call gets it.
            UnicodeDecodeError: *decode* is True, and the message is not UTF-8: it is the exception's ``object``.
            ConnectionClosed: the connection is closed, and all that came before was received.
            ConcurrencyError: a signal's handler calls it while its thread waits in the same connection.
        """
        cdef double deadline
        if self.has_message():
            return self.next_message(decode)
        deadline = until(timeout)
        if self.reader == PyThread_get_thread_ident():
            raise ConcurrencyError("this thread waits for the same connection already: a signal's handler cannot receive")
        self.receivers += 1
        try:
            if lock_take(self.reading, deadline):
                self.reader = PyThread_get_thread_ident()
                try:
                    while True:
                        if self.has_message():
                            return self.next_message(decode)
                        if self.is_over():
                            self.finish_failing()
                            raise self.end_error()
                        if self.raw:
                            raise InvalidState("the opening handshake is not done")
                        if not self.fill(deadline) and ew_seconds() >= deadline:
                            break
                        if self.pongs:
                            self.on_pongs()
                finally:
                    self.reader = 0
                    PyThread_release_lock(self.reading)
        finally:
            self.receivers -= 1
        raise TimeoutError(f"no message within {timeout:g} seconds")

    def __iter__(self):
        return self

    def __next__(self):
        if self.has_message():
            return self.next_message(None)
        try:
            return self.recv()
        except ConnectionClosedOK:
            raise StopIteration from None

    # Messages out

    def send(self, message, *, text=None, compress=True):
        """Send a message; wait until the operating system has taken it.

        A ``str`` goes as text, a bytes-like object as binary; *text* says otherwise (the bytes must then be UTF-8).
        An iterable of either is sent as one message in fragments, one an item; messages of other threads come after
        it. *compress* False leaves it uncompressed. Any thread may send at any time. If a signal's handler
        raises (Ctrl-C) while it waits, the message is sent nevertheless, later.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            TypeError: the message is of none of these types.
            ConcurrencyError: the thread is sending another one already: an iterable of fragments, or a signal's
                handler, sends on the connection itself.
        """
        cdef bint whole = isinstance(message, (str, bytes, bytearray, memoryview)) or is_buffer(message)
        if not whole and (isinstance(message, dict) or not hasattr(message, "__iter__")):
            raise TypeError(f"a message is str, bytes-like or an iterable of them, not {type(message).__name__}")
        if self.talker == PyThread_get_thread_ident():
            raise ConcurrencyError(
                "this thread is sending a message on the same connection already: an iterable of fragments, "
                "or a signal's handler, cannot send another one meanwhile"
            )
        lock_take(self.turn, INFINITY)
        self.talker = PyThread_get_thread_ident()
        try:
            if self.broken and self.state == OPEN:
                self._look_back()       # it was another thread that found out
            if not whole:
                self._send_fragments(message, text)
            else:
                lock_hold(self.using)
                try:
                    self._check_open()
                    self.send_message(message, text, compress)
                finally:
                    PyThread_release_lock(self.using)
                self.flush(INFINITY)
        finally:
            self.talker = 0
            PyThread_release_lock(self.turn)
        if self.broken:
            self._check_sent()

    def _check_open(self):
        if self.state != OPEN or self.broken:
            if self.raw:
                raise InvalidState("the opening handshake is not done")
            raise self.end_error()

    cdef int _check_sent(self) except -1:
        """Writing failed: see what the peer said before, then raise."""
        if self.shut_down:
            return 0        # it was sent, and the end came right after it
        self._look_back()
        raise self.end_error()

    cdef int _look_back(self) except -1:
        """Writing failed: see what the peer said before. Another thread may be about to read it: it does not take long,
        as a connection that is broken keeps nobody waiting."""
        if self.reader == PyThread_get_thread_ident():
            return 0        # a signal's handler, in the middle of it
        if lock_take(self.reading, ew_seconds() + LAST_WORDS):
            try:
                while self.fill(0) and not self.ended:
                    pass
            finally:
                PyThread_release_lock(self.reading)
        return 0

    cdef int _send_fragments(self, object message, object text) except -1:
        cdef bint first = True, finished = False
        cdef bytes data
        kind = None
        try:
            for fragment in message:
                if kind is not None and isinstance(fragment, str) != kind:
                    raise TypeError("the fragments of a message are all str, or all bytes-like")
                kind = isinstance(fragment, str)
                if not kind and not is_buffer(fragment):
                    raise TypeError(f"a fragment is str or bytes-like, not {type(fragment).__name__}")
                data = fragment.encode() if kind else bytes(fragment)
                self._fragment((TEXT if (kind if text is None else text) else BINARY) if first else CONTINUATION, data, first, False)
                first = False
                self.flush(INFINITY)
            finished = True
        finally:
            if not first and self.state == OPEN and not self.broken:
                if finished:
                    self._fragment(CONTINUATION, b"", False, True)
                else:   # half a message cannot be taken back
                    self.begin_close(1011, "a fragmented message was not completed", 0)
        if first:
            raise ValueError("an iterable of fragments was empty: nothing was sent")
        self.flush(INFINITY)
        return 0

    def _fragment(self, int opcode, bytes data, bint first, bint last):
        lock_hold(self.using)
        try:
            self._check_open()
            self.send_data(opcode, <uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), <PyObject*>data, first, last, False)
        finally:
            PyThread_release_lock(self.using)

    # Control frames

    cdef int _control_out(self, int opcode, bytes payload) except -1:
        if len(payload) > 125:
            raise ValueError(f"a {'ping' if opcode == PING else 'pong'} has at most 125 bytes of payload, not {len(payload)}")
        lock_hold(self.using)
        try:
            self._check_open()
            self.send_control(opcode, <uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        finally:
            PyThread_release_lock(self.using)
        return self.flush(0)

    def send_ping(self, payload: bytes):
        """Send a ping, without waiting."""
        self._control_out(PING, payload)

    def pong(self, data=b""):
        """Send a pong that nobody asked for (RFC 6455, section 5.5.3); *data* is up to 125 bytes.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            ValueError: *data* is too long.
        """
        self._control_out(PONG, data.encode() if isinstance(data, str) else bytes(data))

    cdef int on_ping(self, bytes payload) except -1:
        if self.out.size > BEHIND:
            self.late_pong = payload    # only the last ping needs an answer (RFC 6455, section 5.5.3)
            return 0
        self.late_pong = None
        return Protocol.on_ping(self, payload)

    cdef int flush(self, double deadline) except -1:
        cdef int done = Stream.flush(self, deadline)
        if self.late_pong is not None and self.out.size <= BEHIND and self.state == OPEN:
            payload, self.late_pong = self.late_pong, None
            self._control_out(PONG, payload)
        return done

    cdef int on_filled(self) except -1:
        if self.late_pong is not None:
            self.flush(0)
        return Stream.on_filled(self)

    cdef int on_pong(self, bytes payload) except -1:
        self.pongs.append((payload, ew_seconds()))
        return 0

    def on_over(self):
        """Somebody was told that the connection is over."""

    def on_pongs(self):
        """Pongs have come: see :meth:`pongs_received`."""

    def pongs_received(self):
        """Return the payloads of the pongs that came since the last call, and the time at which each did."""
        pongs, self.pongs = self.pongs, []
        return pongs

    # The end

    def begin_close(self, code, str reason, timeout=None):
        """Send a close frame, waiting for so many seconds if the peer is behind. Closing again does nothing.

        Raises:
            ValueError: the code may not be sent (RFC 6455, section 7.4), or the reason is too long.
        """
        cdef int number = check_close(code, reason)
        self.finish_failing()
        lock_hold(self.using)
        try:
            if self.state == OPEN:
                self.send_close(number, reason)
        finally:
            PyThread_release_lock(self.using)
        self.flush(0 if timeout == 0 else until(timeout))

    cdef int on_closing(self) except -1:
        if not self.closing_since:
            self.closing_since = ew_seconds()
        return 0

    def is_busy_here(self):
        """Whether the calling thread reads or writes at the moment: then it is a signal's handler, or a callback."""
        cdef unsigned long me = PyThread_get_thread_ident()
        return self.reader == me or self.sender == me

    def wait_end(self, timeout=None):
        """Read, and drop what comes, until the stream ends; whether it did in so many seconds."""
        cdef double deadline = until(timeout)
        while not self.ended:
            if not lock_take(self.reading, deadline):
                return False
            self.reader = PyThread_get_thread_ident()
            try:
                while not self.ended and self.fill(deadline):
                    if self.pongs:
                        self.on_pongs()
            finally:
                self.reader = 0
                PyThread_release_lock(self.reading)
            if not self.ended and ew_seconds() >= deadline:
                return False
        return True

    def help_reading(self, timeout):
        """Read once, waiting for at most so many seconds, if no thread is reading; whether none was."""
        if self.receivers or self.ended or self.paused or not lock_try(self.reading):
            return False
        self.reader = PyThread_get_thread_ident()
        try:
            self.fill(until(timeout))
            if self.pongs:
                self.on_pongs()
        finally:
            self.reader = 0
            PyThread_release_lock(self.reading)
        return True

    def look(self):
        """Read what there is, and send what waits, without waiting; for when no thread may do so."""
        cdef int i
        if not self.receivers and not self.ended and lock_try(self.reading):
            self.reader = PyThread_get_thread_ident()
            try:
                for i in range(GLANCES):
                    if not self.fill(0) or self.ended:
                        break
                if self.pongs:
                    self.on_pongs()
            finally:
                self.reader = 0
                PyThread_release_lock(self.reading)
        if self.has_unsent() or self.late_pong is not None:
            self.flush(0)

    # What is known of it

    @property
    def buffered_amount(self):
        """Bytes that were sent but not taken by the operating system yet."""
        return self.out.size + (len(self.tls.waiting) - self.tls.waiting_start if self.tls is not None else 0)

    @property
    def paused(self):
        """Whether nothing is read, because ``max_queue`` messages wait."""
        return bool(self.halted & PAUSED) and self.has_message()

    @property
    def is_open(self):
        """Whether messages can be sent."""
        return self.state == OPEN and not self.broken

    @property
    def close_code(self):
        """The peer's close code, 1005 if it sent none, 1006 if the connection was lost; None before the end."""
        if self.received_code:
            return self.received_code
        return 1006 if self.ended else None

    @property
    def close_reason(self):
        """The peer's close reason; None before the end."""
        if self.received_code:
            return self.reasons[0]
        return "" if self.ended else None

    @property
    def close_error(self):
        """The exception that says how the connection ended; None while it is open."""
        return self._why_over() if self.state >= CLOSING or self.broken or self.aborted else None

    @property
    def ssl_object(self):
        """The ``ssl.SSLObject`` of a TLS connection, or None."""
        return self.tls.object if self.tls is not None else None
