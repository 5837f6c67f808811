"""Topics: messages that are framed once and sent to many connections.

What is published in one turn of the loop is gathered, framed, in one chunk (one more for each set of compression
parameters among the members), and sent to every member from that chunk at the end of the turn. A member is a cursor
into it. A member that is behind holds a reference to the chunk, not a copy, unless the messages are small. Topics use
the chunks of others again: one that is quiet has none.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from .endpoint cimport Audience, Endpoint
from .deflate cimport Deflater, deflater
from .frames cimport BINARY, HEAD_MAX, TEXT, write_head
from .protocol cimport OPEN
from .records cimport AFTER_MOST, BEFORE_MOST, EVENTS, PLAIN, write_after, write_before
from .streaming cimport event_data

from everwire._core.protocol import check_close

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object o)

cdef enum:
    CLOSE_THEM = 0
    DROP = 1
    LATEST = 2

cdef enum:
    CHUNK = 4096        # bytes of a chunk at first
    CHUNK_KEPT = 65536  # bytes of the largest chunk that is used again
    SPARES = 16         # chunks that wait for that

POLICIES = {"close": CLOSE_THEM, "drop": DROP, "latest": LATEST}


cdef list _spares = []


cdef class Variant:
    def __cinit__(self, deflater=None, threshold=0, framing=0, chunked=False):
        self.framing = framing
        self.chunked = chunked
        self.deflater = deflater
        self.threshold = threshold
        self.chunk = b""

    cdef int append(self, int opcode, object data, bint compress) except -1:
        """Append a message, framed."""
        cdef size_t n = PyBytes_GET_SIZE(data)
        cdef uint8_t first = 128 | opcode
        cdef uint8_t* end
        if self.framing:
            return self.append_record(data)
        if compress and self.deflater is not None and n >= self.threshold:
            smaller = self.deflater.compress(data)
            if <size_t>PyBytes_GET_SIZE(smaller) < n:
                data = smaller
                n = PyBytes_GET_SIZE(data)
                first |= 64
        end = self.room_for(n + HEAD_MAX)
        end += write_head(end, first, n, False, 0)
        memcpy(end, PyBytes_AS_STRING(data), n)
        return self.appended(end + n)

    cdef int append_record(self, bytes data) except -1:
        """Append a message as streams have it."""
        cdef bytes lines = None
        cdef size_t n = PyBytes_GET_SIZE(data)
        cdef uint8_t* end
        if self.framing == EVENTS:
            lines = event_data(<uint8_t*>PyBytes_AS_STRING(data), n)
            if lines is not None:
                data = lines
                n = PyBytes_GET_SIZE(data)
        end = self.room_for(n + BEFORE_MOST + AFTER_MOST)
        if n or self.framing != PLAIN:      # a chunk of no bytes would end the body
            end += write_before(end, self.framing, self.chunked, n)
            memcpy(end, PyBytes_AS_STRING(data), n)
            end += n
            end += write_after(end, self.framing, self.chunked)
        return self.appended(end)

    cdef uint8_t* room_for(self, size_t n) except NULL:
        """Where so many bytes can be appended."""
        cdef size_t room = PyBytes_GET_SIZE(self.chunk)
        cdef bytes grown
        if not room and _spares:
            self.chunk = _spares.pop()
            room = PyBytes_GET_SIZE(self.chunk)
        if self.used + n > room:
            grown = PyBytes_FromStringAndSize(NULL, max(room * 2, self.used + n, <size_t>CHUNK))
            memcpy(PyBytes_AS_STRING(grown), PyBytes_AS_STRING(self.chunk), self.used)
            self.chunk = grown
        return <uint8_t*>PyBytes_AS_STRING(self.chunk) + self.used

    cdef int appended(self, uint8_t* end) except -1:
        self.last_start = self.used
        self.used = end - <uint8_t*>PyBytes_AS_STRING(self.chunk)
        self.messages += 1
        return 0

    cdef int next_turn(self, bint keep_latest) except -1:
        """Everybody has what there is: begin anew; leave the chunk to others unless somebody still sends from it."""
        if keep_latest and self.messages:
            self.latest = PyBytes_FromStringAndSize(
                PyBytes_AS_STRING(self.chunk) + self.last_start, self.used - self.last_start
            )
        if 0 < PyBytes_GET_SIZE(self.chunk) <= CHUNK_KEPT and Py_REFCNT(self.chunk) == 1 and len(_spares) < SPARES:
            _spares.append(self.chunk)
        self.chunk = b""
        self.used = self.messages = 0
        return 0


cdef class Topic(Audience):
    """Connections that get the same messages.

    Messages of a topic reach each member in the order in which they were published, and in order with what is sent to
    that connection alone. Members leave by themselves when they close.

    Parameters:
        max_backlog: bytes that may wait to be sent to a member, 1 MiB by default; a member with more is too slow.
        overflow: what is done about a member that is too slow: ``"close"`` it (the default), ``"drop"`` the message for
            it, or ``"latest"``: once it has caught up, send it the latest message only.
        close_code, close_reason: what it is closed with: 1013, "too slow".

    Attributes:
        published: messages published.
        delivered: messages handed to members.
        dropped: messages that members did not get because they were too slow.
        disconnected: members that were closed because they were too slow.
    """

    def __cinit__(self, *, max_backlog=1 << 20, overflow="close", close_code=1013, close_reason="too slow"):
        if overflow not in POLICIES:
            raise ValueError(f"overflow is 'close', 'drop' or 'latest', not {overflow!r}")
        if not isinstance(max_backlog, int) or max_backlog < 1:
            raise ValueError(f"max_backlog is a number of bytes above 0, not {max_backlog!r}")
        self.policy = POLICIES[overflow]
        self.close_code, self.close_reason = check_close(close_code, close_reason), close_reason
        self.max_backlog = max_backlog
        self.connections = []
        self.variants = [Variant()]

    def __dealloc__(self):
        PyMem_Free(self.members)

    def __len__(self):
        return len(self.connections) - self.holes

    def __contains__(self, connection):
        return isinstance(connection, Endpoint) and (<Endpoint>connection).place_in(self) >= 0

    def __iter__(self):
        return iter([connection for connection in self.connections if connection is not None])

    def add(self, Endpoint connection not None) -> None:
        """Make an open connection of a server a member, a stream too; what is published from now on is sent to it.

        Raises:
            ConnectionClosed: the connection is not open.
            ValueError: it is a client's connection, or one of another event loop.
        """
        cdef uint32_t place = len(self.connections)
        cdef Member* member
        cdef Variant variant
        if connection.client:
            raise ValueError("a topic's members are connections of a server: a client has to mask each message by itself")
        if connection.state != OPEN:
            raise connection.closing_error()
        if self.reactor is None:
            self.reactor = connection.reactor
        elif self.reactor is not connection.reactor:
            raise ValueError("the members of a topic belong to one event loop")
        if connection.place_in(self) >= 0:
            return
        if place == self.room:
            members = PyMem_Realloc(self.members, (self.room + self.room // 4 + 4) * sizeof(Member))
            if not members:
                raise MemoryError
            self.members = <Member*>members
            self.room += self.room // 4 + 4
        member = &self.members[place]
        member.variant = self.variant_of(connection)
        variant = self.variants[member.variant]
        variant.members += 1
        member.cursor = variant.used
        member.taken = variant.messages
        member.lagging = False
        self.connections.append(connection)
        connection.join(self, place)

    def discard(self, Endpoint connection not None) -> None:
        """Remove a member, if it is one; what was published before still reaches it."""
        if connection.place_in(self) >= 0:
            if connection.state == OPEN:
                self.catch_up(connection)
            self.leave(connection)

    def publish(self, message, *, text=None, compress=True) -> int:
        """Send a message to all members at the end of the loop's turn; return how many there are.

        A ``str`` goes as text, a bytes-like object as binary; *text* says otherwise (the bytes must then be UTF-8).
        *compress* False leaves it uncompressed.
        """
        cdef Variant variant
        cdef int opcode
        if isinstance(message, str):
            data = (<str>message).encode()
            opcode = BINARY if text is False else TEXT
        else:
            data = bytes(message) if not isinstance(message, int) else None
            if data is None:
                raise TypeError("a message is str or bytes-like, not int")
            opcode = TEXT if text else BINARY
        self.published += 1
        if self.running:
            if self.late is None:
                self.late = []
            self.late.append((opcode, data, compress))
        elif self.connections:
            for variant in self.variants:
                if variant.members:
                    variant.append(opcode, data, compress)
            self.reactor.defer(self)
        return len(self)

    def publish_threadsafe(self, message, *, text=None, compress=True) -> None:
        """Publish from another thread than the event loop's."""
        if self.reactor is None:
            self.publish(message, text=text, compress=compress)     # to nobody yet
        else:
            self.reactor.loop.call_soon_threadsafe(lambda: self.publish(message, text=text, compress=compress))

    cdef int run(self) except -1:
        """The turn ends: every member gets what it does not have yet."""
        cdef Py_ssize_t i = 0
        cdef Member* member
        cdef Variant variant
        self.running = True
        try:
            while i < len(self.connections):
                connection = self.connections[i]
                if connection is not None:
                    self.deliver(<Endpoint>connection, i)
                i += 1
        finally:
            self.running = False
            for i in range(len(self.connections)):
                self.members[i].cursor = self.members[i].taken = 0
            for variant in self.variants:
                variant.next_turn(self.policy == LATEST)
        if self.holes:
            self.compact()
        if self.late is not None:
            late, self.late = self.late, None
            for opcode, data, compress in late:
                for variant in self.variants:
                    if variant.members:
                        variant.append(opcode, data, compress)
            if self.connections:
                self.reactor.defer(self)
        return 0

    cdef int deliver(self, Endpoint connection, Py_ssize_t place) except -1:
        """Send a member what it does not have yet."""
        cdef Member* member = &self.members[place]
        cdef Variant variant = <Variant>self.variants[member.variant]
        cdef size_t start = member.cursor, n = variant.used - start
        cdef uint32_t messages = variant.messages - member.taken
        if not n or connection.state != OPEN:
            return 0
        member.cursor = variant.used
        member.taken = variant.messages
        if member.lagging or (connection.out.size and connection.out.size + n > self.max_backlog):
            return self.fall_behind(connection, member, messages)
        self.delivered += messages
        if variant.deflater is not None and connection.codec.deflater is not variant.deflater:
            connection.codec.deflater.foreign()
        return connection.share(
            <uint8_t*>PyBytes_AS_STRING(variant.chunk) + start, n, <PyObject*>variant.chunk
        )

    cdef int fall_behind(self, Endpoint connection, Member* member, uint32_t messages) except -1:
        self.dropped += messages
        if self.policy == LATEST:
            member.lagging = connection.awaited = True
        elif self.policy == CLOSE_THEM and connection.state == OPEN:
            self.disconnected += 1
            connection.send_close(self.close_code, self.close_reason)
        return 0

    cdef int catch_up(self, Endpoint connection) except -1:
        """Something is to be sent to this member alone: what was published before goes first."""
        cdef int64_t place = connection.place_in(self)
        cdef Member* member = &self.members[place]
        cdef Variant variant = <Variant>self.variants[member.variant]
        cdef size_t start = member.cursor, n = variant.used - start
        cdef uint32_t messages = variant.messages - member.taken
        if not n:
            return 0
        member.cursor = variant.used
        member.taken = variant.messages
        if member.lagging or (connection.out.size and connection.out.size + n > self.max_backlog):
            return self.fall_behind(connection, member, messages)
        self.delivered += messages
        if variant.deflater is not None and connection.codec.deflater is not variant.deflater:
            connection.codec.deflater.foreign()
        # A copy: the chunk still grows.
        return connection.write(<uint8_t*>PyBytes_AS_STRING(variant.chunk) + start, n, NULL)

    cdef int drained(self, Endpoint connection) except -1:
        """A member has caught up."""
        cdef int64_t place = connection.place_in(self)
        cdef Variant variant
        if not self.members[place].lagging or connection.out.size > connection.low:
            return 0
        self.members[place].lagging = False
        variant = <Variant>self.variants[self.members[place].variant]
        if variant.latest is not None:
            self.delivered += 1
            if variant.deflater is not None and connection.codec.deflater is not variant.deflater:
                connection.codec.deflater.foreign()
            connection.share(
                <uint8_t*>PyBytes_AS_STRING(variant.latest), PyBytes_GET_SIZE(variant.latest), <PyObject*>variant.latest
            )
        return 0

    cdef int leave(self, Endpoint connection) except -1:
        """A member is gone."""
        cdef int64_t place = connection.place_in(self)
        cdef Py_ssize_t last = len(self.connections) - 1
        cdef Variant variant
        if place < 0:
            return 0
        variant = self.variants[self.members[place].variant]
        variant.members -= 1
        connection.forget(self)
        if self.running:
            self.connections[place] = None
            self.holes += 1
            return 0
        if place != last:
            self.members[place] = self.members[last]
            moved = <Endpoint>self.connections[last]
            self.connections[place] = moved
            (<Endpoint>moved).join(self, place)
        self.connections.pop()
        return 0

    cdef int compact(self) except -1:
        """Close the gaps of those who left while the members were gone through."""
        cdef Py_ssize_t i, place = 0
        for i in range(len(self.connections)):
            connection = self.connections[i]
            if connection is not None:
                if i != place:
                    self.members[place] = self.members[i]
                    self.connections[place] = connection
                    (<Endpoint>connection).join(self, place)
                place += 1
        del self.connections[place:]
        self.holes = 0
        return 0

    cdef uint32_t variant_of(self, Endpoint connection) except? 0:
        """Which form of the messages a connection gets."""
        cdef Variant variant
        cdef uint32_t i
        if connection.framing:
            for i in range(1, len(self.variants)):
                variant = self.variants[i]
                if variant.framing == connection.framing and variant.chunked == connection.chunked:
                    return i
            self.variants.append(Variant(framing=connection.framing, chunked=connection.chunked))
            return len(self.variants) - 1
        if connection.codec is None:
            return 0
        mine = <Deflater>connection.codec.deflater
        shared = deflater(mine.window_bits, False, mine.level, mine.mem_level)
        for i in range(1, len(self.variants)):
            variant = self.variants[i]
            if variant.deflater is shared and variant.threshold == connection.codec.threshold:
                return i
        self.variants.append(Variant(shared, connection.codec.threshold))
        return len(self.variants) - 1
