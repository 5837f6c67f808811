"""Differences between two byte strings in the delta format of Fossil.

https://fossil-scm.org/home/doc/trunk/www/delta_format.wiki: the size of what comes out, then pieces copied from the source
(``SIZE@OFFSET,``) and pieces that are given (``SIZE:...``), and a checksum (``SUM;``). Numbers have a base of 64.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from everwire.errors import WireError

cdef enum:
    WINDOW = 16             # bytes that must agree for a copy to be looked at
    CHAIN = 64              # places of the source that are tried for each
    LONGEST = 1 << 28       # bytes of a source or target; sums of two such numbers fit into 32 bits

cdef const char* DIGITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"

cdef int32_t VALUES[256]
for place in range(256):
    VALUES[place] = -1
for place in range(64):
    VALUES[<uint8_t>DIGITS[place]] = place


cdef inline size_t digits(uint32_t value) noexcept nogil:
    """How many digits a number has."""
    cdef size_t count = 1
    while value >= 64:
        value >>= 6
        count += 1
    return count


cdef inline uint8_t* put(uint8_t* out, uint32_t value, uint8_t end) noexcept nogil:
    """Write a number, and the character after it; return the place behind it. There must be room for 7 bytes."""
    cdef size_t count = digits(value)
    cdef size_t i = count
    while i:
        i -= 1
        out[i] = DIGITS[value & 63]
        value >>= 6
    out[count] = end
    return out + count + 1


cdef uint32_t checksum(const uint8_t* data, size_t size) noexcept nogil:
    """The sum of the bytes taken as big-endian numbers of 32 bits, the last filled up with zeros."""
    cdef uint32_t total = 0
    cdef size_t i = 0
    while i + 4 <= size:
        total += (<uint32_t>data[i] << 24) | (<uint32_t>data[i + 1] << 16) | (<uint32_t>data[i + 2] << 8) | data[i + 3]
        i += 4
    cdef uint32_t shift = 24
    while i < size:
        total += <uint32_t>data[i] << shift
        shift -= 8
        i += 1
    return total


cdef class Index:
    """Where in the source each window of 16 bytes is: those at multiples of 16."""

    cdef const uint8_t* data
    cdef size_t size
    cdef size_t blocks
    cdef int32_t* heads         # by hash: a block, or -1
    cdef int32_t* nexts         # by block: another with the same hash, or -1

    def __cinit__(self):
        self.heads = NULL

    def __dealloc__(self):
        free(self.heads)

    cdef int fill(self, const uint8_t* data, size_t size) except -1:
        self.data = data
        self.size = size
        self.blocks = size / WINDOW
        if not self.blocks:
            return 0
        self.heads = <int32_t*>malloc(2 * self.blocks * sizeof(int32_t))
        if not self.heads:
            raise MemoryError
        self.nexts = self.heads + self.blocks
        memset(self.heads, 0xFF, self.blocks * sizeof(int32_t))
        cdef size_t block = self.blocks
        cdef size_t slot
        while block:        # from the end, so that a chain begins with the first place
            block -= 1
            slot = window_hash(data + block * WINDOW) % self.blocks
            self.nexts[block] = self.heads[slot]
            self.heads[slot] = <int32_t>block
        return 0


cdef struct Rolling:
    uint32_t a              # the sum of the window's bytes
    uint32_t b              # the sum of these sums


cdef inline Rolling rolling(const uint8_t* data) noexcept nogil:
    cdef Rolling h
    cdef size_t i
    h.a = 0
    h.b = 0
    for i in range(<size_t>WINDOW):
        h.a += data[i]
        h.b += <uint32_t>(WINDOW - i) * data[i]
    return h


cdef inline uint32_t mixed(Rolling h) noexcept nogil:
    return ((h.a & 0xFFFF) | (h.b << 16)) * <uint32_t>2654435761 >> 4


cdef inline uint32_t window_hash(const uint8_t* data) noexcept nogil:
    return mixed(rolling(data))


cdef inline bint inside(const uint8_t* data, size_t size, size_t at) noexcept nogil:
    """Whether this place is within a character of UTF-8."""
    return at < size and (data[at] & 0xC0) == 0x80


cdef inline size_t before(const uint8_t* data, size_t size, size_t at) noexcept nogil:
    """The place, or where its character begins; what is no UTF-8 may be cut anywhere."""
    cdef size_t back
    for back in range(<size_t>4):
        if back > at:
            break
        if not inside(data, size, at - back):
            return at - back
    return at


cdef inline size_t behind(const uint8_t* data, size_t size, size_t at) noexcept nogil:
    """The place, or where the character after it begins."""
    cdef size_t on
    for on in range(<size_t>4):
        if not inside(data, size, at + on):
            return at + on
    return at


cdef struct Match:
    size_t size
    size_t source
    size_t target


cdef Match longest(Index index, const uint8_t* target, size_t size, size_t at, size_t done, uint32_t hashed) noexcept nogil:
    """The longest piece of the target around *at*, from *done* on, that the source has, too."""
    cdef Match best
    cdef size_t source, here, start, end
    cdef int tries = CHAIN
    cdef int32_t block = index.heads[hashed % index.blocks]
    best.size = 0
    best.source = 0
    best.target = 0
    while block >= 0 and tries:
        tries -= 1
        here = <size_t>block * WINDOW
        block = index.nexts[block]
        if memcmp(index.data + here, target + at, WINDOW):
            continue
        end = at + WINDOW
        source = here + WINDOW
        while source < index.size and end < size and index.data[source] == target[end]:
            source += 1
            end += 1
        start = at
        source = here
        while source and start > done and index.data[source - 1] == target[start - 1]:
            source -= 1
            start -= 1
        # Pieces begin and end between characters, so that a delta between texts is text.
        end = before(target, size, end)
        start = behind(target, size, start)
        if end > start and end - start > best.size:
            best.size = end - start
            best.source = here + start - at
            best.target = start
    return best


def create(bytes source not None, bytes target not None):
    """Return a delta that makes *target* of *source*; it is text in UTF-8 if both are.

    Raises:
        WireError: one of them is longer than 256 MiB.
    """
    cdef size_t from_size = PyBytes_GET_SIZE(source)
    cdef size_t size = PyBytes_GET_SIZE(target)
    if from_size > LONGEST or size > LONGEST:
        raise WireError(f"a delta is between at most {LONGEST} bytes; send the data as a whole")
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(target)
    cdef Index index = Index()
    index.fill(<const uint8_t*>PyBytes_AS_STRING(source), from_size)
    # A copy stands for more bytes than it takes, so the worst is one piece that is given.
    cdef bytes made = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(size + 32))
    cdef uint8_t* begin = <uint8_t*>PyBytes_AS_STRING(made)
    cdef uint8_t* out = begin
    cdef size_t at = 0, done = 0
    cdef Rolling h
    cdef Match piece
    with nogil:
        out = put(out, <uint32_t>size, c"\n")
        if index.blocks and size >= WINDOW:
            h = rolling(data)
            while True:
                piece = longest(index, data, size, at, done, mixed(h))
                if piece.size >= WINDOW:
                    if piece.target > done:
                        out = put(out, <uint32_t>(piece.target - done), c":")
                        memcpy(out, data + done, piece.target - done)
                        out += piece.target - done
                    out = put(out, <uint32_t>piece.size, c"@")
                    out = put(out, <uint32_t>piece.source, c",")
                    done = piece.target + piece.size
                    at = done
                    if at + WINDOW > size:
                        break
                    h = rolling(data + at)
                    continue
                if at + WINDOW >= size:
                    break
                h.a += <uint32_t>data[at + WINDOW] - data[at]
                h.b += h.a - <uint32_t>WINDOW * data[at]
                at += 1
        if done < size:
            out = put(out, <uint32_t>(size - done), c":")
            memcpy(out, data + done, size - done)
            out += size - done
        out = put(out, checksum(data, size), c";")
    return made[:out - begin]


cdef class Reader:
    """Reads a delta; every step is checked against its end."""

    cdef const uint8_t* data
    cdef size_t size
    cdef size_t at

    cdef uint32_t number(self) except? 0xFFFFFFFF:
        """Read a number of 32 bits."""
        cdef uint64_t value = 0
        cdef size_t start = self.at
        while self.at < self.size and VALUES[self.data[self.at]] >= 0:
            value = value << 6 | <uint64_t>VALUES[self.data[self.at]]
            self.at += 1
            if value > 0xFFFFFFFF:
                raise WireError("a delta is malformed: a number has more than 32 bits")
        if self.at == start:
            raise WireError(f"a delta is malformed: there is no number at byte {start}")
        return <uint32_t>value

    cdef int character(self) except -1:
        """Read a character."""
        if self.at == self.size:
            raise WireError("a delta is malformed: it is cut off")
        self.at += 1
        return self.data[self.at - 1]


def apply(bytes source not None, bytes delta not None, size_t max_size):
    """Return what the delta makes of *source*.

    Raises:
        WireError: the delta is malformed, it belongs to another source, or more than *max_size* bytes would come out.
    """
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(source)
    cdef size_t size = PyBytes_GET_SIZE(source)
    cdef Reader reader = Reader()
    reader.data = <const uint8_t*>PyBytes_AS_STRING(delta)
    reader.size = PyBytes_GET_SIZE(delta)
    cdef size_t limit = reader.number()
    if reader.character() != c"\n":
        raise WireError("a delta is malformed: it does not begin with a size and a new line")
    if limit > max_size:
        raise WireError(f"a delta makes {limit} bytes, over the limit of {max_size}")
    cdef bytes made = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>limit)
    cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(made)
    cdef size_t done = 0
    cdef size_t count, start
    cdef int step
    while True:
        count = reader.number()
        step = reader.character()
        if step == c";":
            break
        if step != c"@" and step != c":":
            raise WireError(f"a delta is malformed: {chr(step)!r} is not an operation")
        if count > limit - done:
            raise WireError(f"a delta is malformed: more comes out than the {limit} bytes that it announces")
        if step == c"@":
            start = reader.number()
            if reader.character() != c",":
                raise WireError("a delta is malformed: a copy does not end with a comma")
            if start > size or count > size - start:
                raise WireError("a delta copies from beyond the end of its source: it belongs to another one")
            memcpy(out + done, data + start, count)
        else:
            if count > reader.size - reader.at:
                raise WireError("a delta is malformed: it is cut off")
            memcpy(out + done, reader.data + reader.at, count)
            reader.at += count
        done += count
    if reader.at != reader.size:
        raise WireError("a delta is malformed: something comes after its end")
    if done != limit:
        raise WireError(f"a delta is malformed: {done} bytes come out, not the {limit} that it announces")
    if checksum(out, done) != count:
        raise WireError("a delta has another checksum than what comes out: it belongs to another source")
    return made
