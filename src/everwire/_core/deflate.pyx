# cython: boundscheck=False, wraparound=False
"""Messages compressed and decompressed for permessage-deflate (RFC 7692, section 7.2).

The work is done by zlib-ng if it is installed, else by the standard library's zlib.

What is shared between connections is safe to share. The shared compressor forgets its window after each message
(Z_FULL_FLUSH), and a message that stands alone is decompressed by a stream made for it: what one peer sent is
never within reach of another one's references.
"""

from cpython.bytes cimport PyBytes_GET_SIZE

from threading import local

from everwire.errors import InvalidPayload, MessageTooBig

try:
    from zlib_ng import zlib_ng as zlib
except ImportError:
    import zlib

__all__ = ["BACKEND", "Deflater", "Inflater", "deflater", "inflater"]

BACKEND = zlib.__name__.rpartition(".")[2]

cdef object compressobj = zlib.compressobj
cdef object decompressobj = zlib.decompressobj
cdef object error = zlib.error
cdef object DEFLATED = zlib.DEFLATED
cdef object SYNC_FLUSH = zlib.Z_SYNC_FLUSH
cdef object FULL_FLUSH = zlib.Z_FULL_FLUSH

# The end of every flushed message, which is not sent (7.2.1), and an empty last block to see where it ends.
cdef bytes TAIL = b"\x00\x00\xff\xff"
cdef bytes TAIL_AND_END = b"\x00\x00\xff\xff\x01\x00\x00\xff\xff"

cdef enum:
    # What a peer may put many of into a message costs time: last blocks (7.2.3.4) need a new stream each.
    MAX_ENDS = 1024
    CHUNK = 4096

shared = local()


cdef class Deflater:
    """Compresses whole messages. :func:`deflater` makes it."""

    def __cinit__(self, int window_bits, bint context_takeover, int level, int mem_level):
        if not 8 <= window_bits <= 15:
            raise ValueError(f"window_bits is {window_bits}; it can be from 8 to 15")
        self.window_bits = window_bits
        self.level = level
        self.mem_level = mem_level
        self.context_takeover = context_takeover
        self.start()

    cdef int start(self) except -1:
        # zlib makes no raw streams with a window of 256 bytes. With one of 512 it looks back 512 - 262 bytes at
        # most (a match and its next byte must fit in as well), which is within 256 too.
        cdef int bits = 9 if self.window_bits == 8 else self.window_bits
        self.stream = compressobj(self.level, DEFLATED, -bits, self.mem_level)
        self.pack = self.stream.compress
        self.flush = self.stream.flush
        self.stale = False
        return 0

    cpdef bytes compress(self, object data):
        """A message compressed, without the end that is not sent (RFC 7692, section 7.2.1)."""
        cdef bytes head, tail
        cdef Py_ssize_t n
        if len(data) == 0:
            # A flush of nothing gives nothing; this is the empty block of section 7.2.3.6.
            return b"\x00"
        if self.busy:
            # zlib lets other threads run, and a collection may run finalizers that send.
            if self.context_takeover:
                raise RuntimeError("a message is being compressed for this connection by another thread")
            return Deflater(self.window_bits, False, self.level, self.mem_level).compress(data)
        self.busy = True
        try:
            if self.stale:
                self.flush(FULL_FLUSH)
                self.stale = False
            head = self.pack(data)
            tail = self.flush(SYNC_FLUSH if self.context_takeover else FULL_FLUSH)
            if PyBytes_GET_SIZE(head):
                tail = head + tail
            n = PyBytes_GET_SIZE(tail) - 4
            if n < 0 or not tail.endswith(TAIL):
                raise RuntimeError(f"{BACKEND} did not end a message with an empty block")
            return tail[:n]
        except BaseException:
            # Half a message may be left in the stream: nothing may follow it.
            self.start()
            raise
        finally:
            self.busy = False

    cpdef int foreign(self) except -1:
        """A message that something else compressed was sent to this peer: refer to nothing before it."""
        self.stale = self.context_takeover
        return 0


cdef class Inflater:
    """Decompresses whole messages. :func:`inflater` makes it."""

    def __cinit__(self, int window_bits, bint context_takeover):
        if not 8 <= window_bits <= 15:
            raise ValueError(f"window_bits is {window_bits}; it can be from 8 to 15")
        self.window_bits = window_bits
        self.context_takeover = context_takeover
        self.stream = decompressobj(-window_bits) if context_takeover else None

    cpdef bytes decompress(self, object data, Py_ssize_t max_size):
        """The message that was compressed to ``data``; ``max_size`` is in bytes, below 0: no limit.

        Raises:
            MessageTooBig: the message is larger than ``max_size``; hardly more than that was decompressed.
            InvalidPayload: the data is not compressed, is cut off, or refers to what was not sent.
        """
        cdef Py_ssize_t size = len(data)
        cdef object stream
        cdef bytes out
        if size == 0:
            return b""
        # For messages that stand alone the window is the largest: none can be misread in it.
        stream = self.stream if self.context_takeover else decompressobj(-15)
        try:
            out = stream.decompress(data, max_size + 1 if max_size >= 0 else 0)
            if max_size >= 0 and PyBytes_GET_SIZE(out) > max_size:
                raise too_big(max_size)
            if not stream.eof:
                check_end(stream, self.context_takeover)
                return out
            return self.after_end(data, size - <Py_ssize_t> len(stream.unused_data), out, max_size)
        except error as exc:
            raise InvalidPayload(f"the message does not decompress: {exc}") from None

    cdef bytes after_end(self, object data, Py_ssize_t at, bytes out, Py_ssize_t max_size):
        """The whole message, given what came before a block marked as the last one, which ends at index ``at``.

        Such a block ends a stream; what follows starts anew (RFC 7692, sections 7.2.3.4 and 7.2.3.5).
        """
        cdef object view = memoryview(data)
        cdef object stream, piece
        cdef Py_ssize_t size = len(view), total = PyBytes_GET_SIZE(out), room
        cdef int bits = self.window_bits if self.context_takeover else 15
        cdef int ends = 1
        cdef list parts = [out]
        cdef bytes part
        while True:
            stream = decompressobj(-bits)
            if at == size:
                # The block ended with the message: some peers leave out the byte that should follow.
                break
            if ends > MAX_ENDS:
                raise InvalidPayload(f"the message has more than {MAX_ENDS} blocks marked as the last one")
            ends += 1
            while at < size and not stream.eof:
                # In small pieces, for the stream copies what is left of a piece when it ends.
                piece = view[at:at + CHUNK]
                room = max_size - total + 1 if max_size >= 0 else 0
                part = stream.decompress(piece, room)
                at += <Py_ssize_t> len(piece) - <Py_ssize_t> len(stream.unused_data)
                total += PyBytes_GET_SIZE(part)
                if max_size >= 0 and total > max_size:
                    raise too_big(max_size)
                parts.append(part)
            if not stream.eof:
                check_end(stream, self.context_takeover)
                break
        if self.context_takeover:
            self.stream = stream
        return b"".join(parts)


cdef int check_end(object stream, bint goes_on) except -1:
    """Give a stream the end of a message that is not sent. After a whole message it holds nothing."""
    if stream.decompress(TAIL if goes_on else TAIL_AND_END) or not (goes_on or stream.eof):
        raise InvalidPayload("the message does not decompress: it is cut off")
    return 0


cdef object too_big(Py_ssize_t max_size):
    return MessageTooBig(f"the message is larger than {max_size} bytes when decompressed; the limit is max_size")


cpdef Deflater deflater(int window_bits, bint context_takeover, int level, int mem_level):
    """The compressor for a connection: its own with context takeover, else one that the whole thread shares.

    Raises:
        ValueError: a parameter is out of range.
    """
    if context_takeover:
        return Deflater(window_bits, True, level, mem_level)
    key = (window_bits, level, mem_level)
    try:
        known = shared.deflaters
    except AttributeError:
        known = shared.deflaters = {}
    made = known.get(key)
    if made is None:
        made = known[key] = Deflater(window_bits, False, level, mem_level)
    return <Deflater> made


cdef Inflater ALONE = Inflater(15, False)


cpdef Inflater inflater(int window_bits, bint context_takeover):
    """The decompressor for a connection: its own with context takeover, else one that all share.

    Raises:
        ValueError: ``window_bits`` is out of range.
    """
    if context_takeover or not 8 <= window_bits <= 15:
        return Inflater(window_bits, context_takeover)
    return ALONE
