"""The inner loop of a load generator: client connections that send one message again and again, and count what comes back.

What is done for each message is done here, without a Python object; all else is its user's, in Python. Incoming frames are
checked as on any connection, but whether text is UTF-8 is left out: *check* compares it with what was sent instead.
"""

import asyncio

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.time cimport PyTime_MonotonicRaw
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from .connection cimport Connection
from .deflate cimport Deflater
from .frames cimport BINARY, TEXT
from .histogram cimport Histogram
from .protocol cimport OPEN, Protocol
from .settings cimport Settings

cdef extern from "timer.h":
    int ew_timer_open()
    int ew_timer_set(int fd, int64_t when)
    void ew_timer_close(int fd)

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object o, Py_ssize_t* n) except NULL

cdef enum:
    # What is done with a message that comes.
    ECHO = 0        # it answers the oldest one under way on its connection
    FANOUT = 1      # it is the next one that the sender has sent to all
    PUSH = 2        # the server sends as it likes

cdef enum:
    # Where the load is.
    OPENING = 0     # connections open; what comes is a greeting, and does not count
    RUNNING = 1
    ENDING = 2      # nothing is sent any more; answers still count

cdef enum:
    STAMP = 16      # characters of a message by which it is told from all others
    SHOWN = 60      # bytes of a wrong message that are kept as an example
    MOST_DEPTH = 1 << 20
    BOARD_CELLS = 1 << 16

MODES = {"echo": ECHO, "fanout": FANOUT, "push": PUSH, "idle": PUSH}
BOARD_SIZE = 2 * BOARD_CELLS + 1
"""Numbers on the board of a fan-out: for each of the last 65,536 messages its own and when it was sent, and how many
there were in all, once the sender has stopped; -1 for what is not known yet."""


cdef inline void write_hex(uint8_t* out, uint32_t number) noexcept nogil:
    cdef int i
    for i in range(8):
        out[i] = b"0123456789abcdef"[number >> (28 - 4 * i) & 15]


cdef class Load:
    """A load: the message, how it is sent, and what was counted since the last :meth:`take`.

    Parameters:
        mode: ``"echo"``: each message that comes answers the oldest one under way; ``"fanout"``: the sender's messages
            come back to all connections; ``"push"`` and ``"idle"``: nothing is sent, what comes is counted.
        message: the message; ``str`` is sent as text, ``bytes`` as binary.
        depth: messages that a connection has under way at most, 1 to 1,048,576.
        rate: messages a second of all connections together, sent when they are due whether answers came or not, as far as
            *depth* allows; what is sent late counts from when it was due. None: each answer is followed by the next message.
        check: compare each answer with what was sent, byte for byte.
        stamp: make each message unique, by its first 16 characters; for a *message* of that size at least.
        board: for ``"fanout"``: memory for BOARD_SIZE numbers of 64 bits, all -1 at first, in which the sender notes what
            it has sent and when; processes share it.

    Raises:
        ValueError: a parameter is out of its range.
    """

    cdef int mode, phase
    cdef bytes payload, scratch
    cdef size_t size
    cdef uint8_t opcode
    cdef bint check, stamp
    cdef uint32_t depth
    cdef double period                  # nanoseconds from one message to the next; 0: no rate
    cdef int64_t base                   # when the first is due
    cdef uint64_t next_due              # number of the message that is due next, of all connections
    cdef int timer
    cdef list drivers
    cdef Driver sender
    cdef bint leads                     # there was a sender, at least
    cdef uint64_t members, deliveries
    cdef int64_t[::1] board
    cdef int64_t clock                  # when the input under way came; 0: not asked yet
    cdef Deflater deflater              # that made the message's compressed form
    cdef bytes deflated
    cdef uint64_t sent, received, received_bytes
    cdef Histogram times
    cdef dict mistakes

    def __cinit__(self, mode, message, *, depth=1, rate=None, bint check=False, bint stamp=False, board=None):
        self.timer = -1     # before anything can fail: an object that was not made is deallocated, too
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
        if not 1 <= depth <= MOST_DEPTH:
            raise ValueError(f"depth is a number of messages from 1 to {MOST_DEPTH}, not {depth!r}")
        if rate is not None and not rate > 0:
            raise ValueError(f"rate is a number of messages a second above 0, not {rate!r}")
        self.mode = MODES[mode]
        self.payload = message.encode() if isinstance(message, str) else bytes(message)
        self.opcode = TEXT if isinstance(message, str) else BINARY
        self.size = PyBytes_GET_SIZE(self.payload)
        if stamp and self.size < STAMP:
            raise ValueError(f"a stamp takes {STAMP} bytes, and the message has {self.size}")
        if self.mode == FANOUT:
            if board is None or len(board) != BOARD_SIZE:
                raise ValueError(f"a fan-out needs a board of {BOARD_SIZE} numbers")
            if depth > BOARD_CELLS:
                raise ValueError(f"depth is at most {BOARD_CELLS} for a fan-out, not {depth}")
            self.board = board
        self.scratch = PyBytes_FromStringAndSize(PyBytes_AS_STRING(self.payload), self.size)
        self.check, self.stamp, self.depth = check, stamp, depth
        self.period = 1e9 / rate if rate is not None else 0
        self.drivers = []
        self.times = Histogram()
        self.mistakes = {}

    def __dealloc__(self):
        if self.timer >= 0:
            ew_timer_close(self.timer)

    def connection(self, Settings settings not None) -> Driver:
        """Make a connection of this load, for ``connect(create_connection=...)``. It counts from :meth:`add` on."""
        cdef Driver driver = Driver.__new__(Driver, settings)
        driver.load = self
        return driver

    def add(self, Driver driver not None, uint32_t number):
        """Have an open connection take part. *number* tells it from all others.

        Raises:
            ValueError: the connection is not of this load, or takes part already.
        """
        if driver.load is not self or driver.member:
            raise ValueError("the connection is of another load, or takes part already")
        if self.mode == ECHO:
            driver.mask = 1
            while driver.mask < self.depth:
                driver.mask *= 2
            PyMem_Free(driver.stamps)
            driver.stamps = <int64_t*>PyMem_Malloc(driver.mask * sizeof(int64_t))
            if not driver.stamps:
                raise MemoryError
            driver.mask -= 1
        driver.member = True
        driver.number = number
        driver.place = len(self.drivers)
        driver.sends = self.mode == ECHO
        self.drivers.append(driver)
        self.members += 1

    def remove(self, Driver driver not None):
        """A connection is lost: go on without it. A fan-out whose sender is lost is at its end."""
        if driver.load is not self or not driver.member:
            return
        driver.member = False
        self.members -= 1
        if self.sender is driver:
            self.sender = None
        elif self.mode == FANOUT:
            self.next_round()

    @property
    def alive(self) -> bool:
        """Whether there is a connection to go on with."""
        return self.members > 0 and (not self.leads or self.sender is not None)

    def start(self, int64_t at, int64_t offset=0, int64_t share=1):
        """Begin to send. *at* is when the first message is due, in nanoseconds of the monotonic clock.

        Of a load that several processes share, each sends every *share*-th message, beginning with the one after *offset*
        others. Of a fan-out the first connection sends.
        """
        cdef Driver driver
        self.phase = RUNNING
        if self.mode == PUSH:
            return
        self.clock = 0
        if self.mode == FANOUT:
            for driver in self.drivers:
                if driver.member:
                    self.sender = driver
                    self.leads = driver.sends = True
                    break
        self.base = at + <int64_t>(offset * self.period)
        self.period *= share
        if self.period:
            self._open_timer()
            self.send_what_is_due()
            return
        for driver in self.drivers:
            if driver.sends:
                driver.due = self.depth
                driver.send_due(PyTime_MonotonicRaw())

    def listen(self):
        """Count what comes, from now on: for a process of a fan-out in which nobody sends."""
        self.phase = RUNNING

    def stop(self):
        """Send nothing any more."""
        self.phase = ENDING
        if self.sender is not None:
            self.board[2 * BOARD_CELLS] = self.sender.sent
        if self.timer >= 0:
            asyncio.get_running_loop().remove_reader(self.timer)
            ew_timer_close(self.timer)
            self.timer = -1

    def _open_timer(self):
        self.timer = ew_timer_open()
        if self.timer >= 0:
            asyncio.get_running_loop().add_reader(self.timer, self.send_what_is_due)

    def send_what_is_due(self):
        """With a rate: send the messages whose time has come, and see to it that this is called again in time."""
        cdef int64_t now = PyTime_MonotonicRaw()
        cdef uint64_t senders = 1 if self.mode == FANOUT else len(self.drivers)
        cdef Driver driver
        if self.phase != RUNNING or not senders:
            return
        while self.due_at(self.next_due) <= now:
            driver = self.sender if self.mode == FANOUT else <Driver>self.drivers[self.next_due % senders]
            self.next_due += 1
            if driver is not None:
                driver.send_due(now)
        if self.timer < 0:
            delay = max(self.due_at(self.next_due) - now, 0) / 1e9
            asyncio.get_running_loop().call_later(delay, self.send_what_is_due)
        elif ew_timer_set(self.timer, self.due_at(self.next_due)) < 0:
            raise OSError("the timer could not be set")

    cdef inline int64_t due_at(self, uint64_t message) noexcept:
        return self.base + <int64_t>(message * self.period)

    @property
    def under_way(self) -> int:
        """Messages that this load has sent and that are not answered yet; of a fan-out, not received by all of its own."""
        cdef Driver driver
        cdef int64_t total = 0
        for driver in self.drivers:
            total += driver.under_way()
        return total

    @property
    def behind(self) -> int:
        """Connections that not all messages of the fan-out have reached; all while the sender may send more."""
        cdef Driver driver
        cdef int64_t last
        cdef Py_ssize_t found = 0
        if self.mode != FANOUT:
            return 0
        last = self.board[2 * BOARD_CELLS]
        for driver in self.drivers:
            if driver.member and (last < 0 or <int64_t>driver.got < last):
                found += 1
        return found

    def take(self):
        """Return what was counted since it was last taken: messages sent, messages received, bytes of these, the
        times that they took, and by kind how many were wrong, with an example."""
        taken = self.sent, self.received, self.received_bytes, self.times, self.mistakes
        self.sent = self.received = self.received_bytes = 0
        self.times = Histogram()
        self.mistakes = {}
        return taken

    cdef int next_round(self) except -1:
        """A message of a fan-out is done with when as many have come as there are connections here."""
        cdef Driver sender = self.sender
        while self.members and self.deliveries >= self.members:
            self.deliveries -= self.members
            if sender is not None:
                sender.back += 1
                sender.due += 1
        if sender is not None and sender.due:
            sender.send_due(0)
        return 0

    cdef int mistake(self, str kind, str what, const uint8_t* p, size_t n) except -1:
        """Count a wrong message, and keep the first of its kind."""
        count, example = self.mistakes.get(kind, (0, None))
        if example is None:
            shown = PyBytes_FromStringAndSize(<const char*>p, min(n, <size_t>SHOWN))
            example = f"{what}: {shown.decode('utf-8', 'replace')!r}{'...' if n > SHOWN else ''}"
        self.mistakes[kind] = count + 1, example
        return 0

    cdef inline const uint8_t* message(self, uint32_t number, uint64_t sequence) noexcept:
        """The message that a connection sends, so many before it."""
        cdef uint8_t* p = <uint8_t*>PyBytes_AS_STRING(self.scratch)
        if self.stamp:
            write_hex(p, number)
            write_hex(p + 8, <uint32_t>sequence)
        return p


cdef class Driver(Connection):
    """A client's connection that takes part in a load."""

    cdef Load load
    cdef bint member, sends
    cdef uint32_t number, place, mask
    cdef uint64_t sent, got
    cdef uint64_t back                  # of a sender to all: messages that all here have
    cdef uint32_t due                   # messages to send when the input under way is used
    cdef int64_t* stamps                # when each message under way was sent, or should have been
    cdef int64_t last                   # when the last message came

    def __dealloc__(self):
        PyMem_Free(self.stamps)

    cdef inline int64_t under_way(self) noexcept:
        if not self.sends or not self.member:
            return 0
        return <int64_t>(self.sent - (self.back if self.load.mode == FANOUT else self.got))

    # Messages in

    cdef int _whole(self, uint8_t opcode, uint8_t* p, size_t n, uint32_t key, bint compressed) except -1:
        if compressed or not self.member:
            return Protocol._whole(self, opcode, p, n, key, compressed)
        return self.arrived(opcode, p, n)

    cdef int on_message(self, object message) except -1:
        cdef Py_ssize_t n
        cdef const char* p
        if not self.member:
            return 0
        if type(message) is bytes:
            return self.arrived(BINARY, <uint8_t*>PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message))
        p = PyUnicode_AsUTF8AndSize(message, &n)
        return self.arrived(TEXT, <uint8_t*>p, n)

    cdef int arrived(self, uint8_t opcode, const uint8_t* p, size_t n) except -1:
        """Count a message, and the time that it took."""
        cdef Load load = self.load
        cdef size_t slot
        cdef int64_t since
        if self.state != OPEN:
            return 0
        if not load.clock:
            load.clock = PyTime_MonotonicRaw()
        if load.mode == PUSH:
            if load.phase != OPENING:
                load.received += 1
                load.received_bytes += n
                if self.last:
                    load.times.add(load.clock - self.last, 1)
            self.last = load.clock
            return 0
        if load.mode == ECHO:
            if self.got == self.sent:
                return self.unasked(p, n)
            since = self.stamps[self.got & self.mask]
            self.due += 1
        else:
            slot = 2 * (<size_t>self.got & (BOARD_CELLS - 1))
            if load.board[slot] != <int64_t>self.got:
                return self.unasked(p, n)
            since = load.board[slot + 1]
            load.deliveries += 1
        if n != load.size:
            load.mistake("wrong size", f"{n} bytes came back for {load.size}", p, n)
        elif opcode != load.opcode:
            load.mistake("wrong type", f"{'text' if opcode == TEXT else 'binary'} came back", p, n)
        elif load.check and memcmp(p, load.message(self.number if load.mode == ECHO else 0, self.got), n):
            load.mistake("wrong content", "this came back", p, n)
        else:
            load.received += 1
            load.received_bytes += n
            load.times.add(load.clock - since, 1)
        self.got += 1
        if load.mode == FANOUT and load.deliveries >= load.members:
            return load.next_round()
        return 0

    cdef int unasked(self, const uint8_t* p, size_t n) except -1:
        """Nothing was under way: a greeting, or a message too many."""
        if self.load.phase != OPENING and (self.load.mode == FANOUT or self.sent):
            return self.load.mistake("unexpected", "this came though nothing was under way", p, n)
        return 0

    cdef int on_input(self) except -1:
        self.load.clock = 0
        if self.due and self.load.mode == ECHO:
            self.send_due(0)
        return Connection.on_input(self)

    # Messages out

    cdef int send_due(self, int64_t now) except -1:
        """Send as many messages as were answered, or with a rate those whose time has come. *now* 0 is this moment."""
        cdef Load load = self.load
        cdef int64_t when
        if load.phase != RUNNING or not self.member:
            self.due = 0
            return 0
        if not now:
            now = PyTime_MonotonicRaw()
        if not load.period:
            while self.due and self.state == OPEN:
                self.due -= 1
                self.send_one(now)
            return 0
        self.due = 0
        while self.under_way() < load.depth and self.state == OPEN:
            # This connection's messages are as far apart as there are connections that take turns.
            when = load.due_at(self.sent if load.mode == FANOUT else self.sent * len(load.drivers) + self.place)
            if when > now:
                break
            self.send_one(when)
        return 0

    cdef int send_one(self, int64_t when) except -1:
        cdef Load load = self.load
        cdef size_t slot
        cdef Deflater mine
        if load.mode == ECHO:
            self.stamps[self.sent & self.mask] = when
        else:
            slot = 2 * (<size_t>self.sent & (BOARD_CELLS - 1))
            load.board[slot + 1] = when
            load.board[slot] = self.sent
        self.sent += 1
        load.sent += 1
        if self.codec is not None and not load.stamp and load.size >= self.codec.threshold:
            mine = <Deflater>self.codec.deflater
            if not mine.context_takeover:
                # It is the same each time: compressed once is enough.
                if load.deflater is not mine:
                    load.deflated, load.deflater = mine.compress(load.payload), mine
                if <size_t>PyBytes_GET_SIZE(load.deflated) < load.size:
                    return self._frame(128 | 64 | load.opcode, <uint8_t*>PyBytes_AS_STRING(load.deflated),
                                       PyBytes_GET_SIZE(load.deflated), NULL)
        return self.send_data(load.opcode, load.message(self.number if load.mode == ECHO else 0, self.sent - 1),
                              load.size, NULL, True, True, self.codec is not None)
