# cython: boundscheck=False, wraparound=False
"""The heads of HTTP/1.1 messages, read strictly (RFC 9112).

Everything here comes from the wire. What two implementations could read differently is refused rather than
repaired, because repair is what request smuggling lives on (RFC 9112, sections 2.2, 5.1, 5.2, 6.3 and 11.2).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_DecodeLatin1, PyUnicode_GET_LENGTH
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)

from everwire.errors import InvalidMessage

__all__ = ["find_head_end", "index", "over_limit", "parse_request", "parse_response"]

# The enumeration of the .pxd, for Python.
globals()["MAX_HEAD"] = MAX_HEAD
globals()["MAX_LINE"] = MAX_LINE
globals()["MAX_HEADERS"] = MAX_HEADERS

DEF_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

cdef enum:
    TOKEN = 1     # tchar (RFC 9110, section 5.6.2)
    VALUE = 2     # what a field value may hold: VCHAR, obs-text, SP and HTAB (RFC 9110, section 5.5)
    TARGET = 4    # what a request target may hold: VCHAR without "#", a fragment is never sent
    HOST = 8      # what uri-host [ ":" port ] may hold (RFC 3986, section 3.2.2)

cdef uint8_t CLASS[256]
cdef uint8_t LOWER[256]


cdef void fill_tables():
    cdef int c
    for c in range(256):
        CLASS[c] = 0
        LOWER[c] = c + 32 if 65 <= c <= 90 else c
        if c == 9 or 32 <= c <= 126 or c >= 128:
            CLASS[c] |= VALUE
        if 33 <= c <= 126 and c != 35:
            CLASS[c] |= TARGET
    for c in DEF_TOKEN:
        CLASS[c] |= TOKEN
    for c in b"-._~%!$&'()*+,;=[]:0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        CLASS[c] |= HOST


fill_tables()
del DEF_TOKEN


cdef ssize_t head_end(const uint8_t* p, size_t n, size_t start) noexcept nogil:
    # Only a LF at or after `start` can complete the first CRLF CRLF, and three bytes must come before it.
    cdef size_t at = start if start > 3 else 3
    cdef const uint8_t* lf
    # What begins like no head, as TLS does, is whole as it is: the parser refuses it, and nobody waits for its end.
    if n and not CLASS[p[0]] & TOKEN and p[0] != 13 and p[0] != 10:
        return <ssize_t> n
    while at < n:
        lf = <const uint8_t*> memchr(p + at, 10, n - at)
        if lf == NULL:
            return -1
        at = lf - p + 1
        if p[at - 2] == 13 and p[at - 3] == 10 and p[at - 4] == 13:
            return <ssize_t> at
    return -1


def find_head_end(data, start=0):
    """The index just after the CRLF CRLF that ends the head in ``data``, or -1 if it is not there yet; all of
    ``data`` if its first byte can begin no head.

    ``start`` is how many bytes are known to hold no CRLF CRLF: the length at the call before.
    """
    cdef const uint8_t[::1] view
    cdef size_t known
    if start < 0:
        raise ValueError("start is a number of bytes: it cannot be negative")
    view = data
    known = start
    if view.shape[0] == 0:
        return -1
    return head_end(&view[0], view.shape[0], known)


def over_limit(data):
    """The error for a head of which MAX_HEAD bytes have come, and its end has not: 414 if not even its first
    line ended within MAX_LINE bytes, else 431.
    """
    cdef bytes raw = bytes(data[:MAX_LINE])
    if b"\r\n" not in raw:
        return line_too_long()
    return head_too_long()


cdef object line_too_long():
    return InvalidMessage(f"the first line is longer than {MAX_LINE} bytes; use a shorter URI", 414)


cdef object head_too_long():
    return InvalidMessage(f"the head is longer than {MAX_HEAD} bytes; send fewer or smaller headers and cookies", 431)


cdef object bad(message):
    return InvalidMessage(message, 400)


# Connections of the same clients send the same names, and mostly the same values. Kept here, they cost neither
# an allocation nor memory of each connection. The tables have fixed sizes: a newer entry takes the place of an
# older one. Only values that are nobody's secret are kept.
cdef enum:
    NAME_SLOTS = 256
    PAIR_SLOTS = 1024
    LONGEST_NAME = 64
    LONGEST_VALUE = 256

cdef list NAMES = [None] * NAME_SLOTS
cdef list PAIRS = [None] * PAIR_SLOTS

SHARED = frozenset((
    "accept", "accept-encoding", "accept-language", "cache-control", "connection", "host", "origin", "pragma",
    "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site",
    "sec-websocket-extensions", "sec-websocket-version", "upgrade", "user-agent",
))


@cython.final
@cython.freelist(64)
cdef class Name:
    """A header's name as sent and in lower case, and whether its values may be kept for other connections."""
    cdef str sent
    cdef str lower
    cdef bint shared


cdef inline uint64_t hashed(const uint8_t* p, size_t n) noexcept nogil:
    cdef uint64_t h = n, word
    while n >= 8:
        memcpy(&word, p, 8)
        h = (h ^ word) * <uint64_t> 0x9E3779B97F4A7C15
        h ^= h >> 29
        p += 8
        n -= 8
    if n:
        word = 0
        memcpy(&word, p, n)
        h = (h ^ word) * <uint64_t> 0x9E3779B97F4A7C15
        h ^= h >> 29
    return h ^ (h >> 17)


cdef inline bint equals(str known, const uint8_t* p, size_t n):
    """Whether a string of ISO 8859-1 has the bytes at p."""
    return <size_t> PyUnicode_GET_LENGTH(known) == n and memcmp(PyUnicode_DATA(known), p, n) == 0


cdef Name name_of(const uint8_t* p, size_t n):
    """The name at p: checked to be a token."""
    cdef size_t slot = hashed(p, n) & (NAME_SLOTS - 1)
    cdef Name entry = <Name> NAMES[slot]
    if entry is not None and equals(entry.sent, p, n):
        return entry
    entry = Name.__new__(Name)
    entry.sent = text(p, n)
    entry.lower = entry.sent.lower()
    entry.shared = entry.lower in SHARED
    if n <= LONGEST_NAME:
        NAMES[slot] = entry
    return entry


cdef tuple pair_of(Name name, const uint8_t* p, size_t n):
    """The header ``(name, value)`` with the value at p."""
    cdef size_t slot
    cdef tuple pair
    if not name.shared or n > LONGEST_VALUE:
        return (name.sent, text(p, n))
    slot = (hashed(p, n) ^ (<size_t> <void*> name >> 4)) & (PAIR_SLOTS - 1)
    pair = <tuple> PAIRS[slot]
    if pair is not None and pair[0] is name.sent and equals(<str> pair[1], p, n):
        return pair
    pair = (name.sent, text(p, n))
    PAIRS[slot] = pair
    return pair


cdef inline str text(const uint8_t* p, size_t n):
    return PyUnicode_DecodeLatin1(<const char*> p, n, NULL)


cdef inline str excerpt(const uint8_t* p, size_t n):
    """The start of what was sent, for an error message."""
    return text(p, n if n < 80 else 80)


cdef inline bint same(const uint8_t* p, size_t n, const char* lower, size_t size) noexcept nogil:
    """Whether the name at p is the given lower-case one."""
    cdef size_t i
    if n != size:
        return False
    for i in range(n):
        if LOWER[p[i]] != <uint8_t> lower[i]:
            return False
    return True


cdef size_t first_line(const uint8_t* p, size_t n) except 0:
    """The index after the CRLF of the first line, of a head known to end in CRLF CRLF."""
    cdef const uint8_t* lf = <const uint8_t*> memchr(p, 10, n if n < MAX_LINE else MAX_LINE)
    if lf == NULL:
        raise line_too_long()
    if lf == p or (lf - 1)[0] != 13:
        raise bad("the first line does not end in CRLF")
    return lf - p + 1


cdef int check_size(const uint8_t* p, size_t n) except -1:
    if n < 4 or memcmp(p + n - 4, b"\r\n\r\n", 4) != 0:
        raise bad("the head does not end in an empty line")
    if n > MAX_HEAD:
        raise over_limit((<const char*> p)[:n])
    return 0


cdef list fields(const uint8_t* p, size_t n, size_t at, int minor, bint request):
    """The header fields from index ``at`` of a head that ends in CRLF CRLF, checked for what frames the message."""
    cdef list found = []
    cdef size_t name, name_end, value, value_end, end = n - 2
    cdef int hosts = 0, lengths = 0, codings = 0, count = 0
    while at < end:
        name = at
        # Stops at the latest at the CR of the line's end: it is no token character.
        while CLASS[p[at]] & TOKEN:
            at += 1
        name_end = at
        if p[at] != 58 or name == name_end:
            raise field_error(p, name, at, n)
        at += 1
        while p[at] == 32 or p[at] == 9:
            at += 1
        value = at
        while CLASS[p[at]] & VALUE:
            at += 1
        # p ends in CRLF CRLF: a CR has a next byte, and no line goes beyond the first of these two CRLF.
        if p[at] != 13 or p[at + 1] != 10:
            raise bad(f"the header {excerpt(p + name, name_end - name)} has a control character in its value")
        value_end = at
        at += 2
        while value_end > value and (p[value_end - 1] == 32 or p[value_end - 1] == 9):
            value_end -= 1
        count += 1
        if count > MAX_HEADERS:
            raise InvalidMessage(f"the head has more than {MAX_HEADERS} headers; send fewer", 431)
        # Only three names frame a message; their lengths are told apart before their letters.
        if name_end - name == 4 and same(p + name, 4, b"host", 4):
            hosts += 1
            if request:
                check_host(p + value, value_end - value, hosts)
        elif name_end - name == 14 and same(p + name, 14, b"content-length", 14):
            lengths += 1
            check_length(p + value, value_end - value, lengths)
        elif name_end - name == 17 and same(p + name, 17, b"transfer-encoding", 17):
            codings += 1
            check_coding(p + value, value_end - value, codings, minor)
        found.append(pair_of(name_of(p + name, name_end - name), p + value, value_end - value))
    if codings and lengths:
        raise bad("both Content-Length and Transfer-Encoding: the end of the message is ambiguous")
    if request and minor >= 1 and hosts == 0:
        raise bad("no Host header, which HTTP/1.1 requires")
    return found


cdef object field_error(const uint8_t* p, size_t start, size_t at, size_t n):
    """Why the bytes from ``start`` are no field name and colon, ``at`` being the first byte that does not fit."""
    if at == start and (p[at] == 32 or p[at] == 9):
        return bad("a header is continued on a line that starts with a space (obs-fold); send it on one line")
    if at > start and (p[at] == 32 or p[at] == 9):
        return bad(f"space between the header name {excerpt(p + start, at - start)} and its colon")
    if p[at] == 58:
        return bad("a header has no name")
    return bad(f"a header has an invalid name: {excerpt(p + start, at + 1 - start)!r}")


cdef int check_host(const uint8_t* p, size_t n, int count) except -1:
    cdef size_t i
    if count > 1:
        raise bad("more than one Host header")
    for i in range(n):
        if not CLASS[p[i]] & HOST:
            raise bad(f"invalid host: {excerpt(p, n)!r}")
    return 0


cdef int check_length(const uint8_t* p, size_t n, int count) except -1:
    cdef size_t i
    if count > 1:
        raise bad("more than one Content-Length header")
    # 18 digits: more would not fit 64 bits, and would be told apart from nonsense by nobody.
    if n == 0 or n > 18:
        raise bad(f"invalid Content-Length: {excerpt(p, n)!r}")
    for i in range(n):
        if p[i] < 48 or p[i] > 57:
            raise bad(f"invalid Content-Length: {excerpt(p, n)!r}")
    return 0


cdef int check_coding(const uint8_t* p, size_t n, int count, int minor) except -1:
    if minor < 1:
        raise bad("Transfer-Encoding in an HTTP/1.0 message")
    if count > 1:
        raise bad("more than one Transfer-Encoding header")
    if same(p, n, b"chunked", 7):
        return 0
    # Without chunked as the last coding, a request has no end that both sides agree on (RFC 9112, 6.3).
    if text(p, n).lower().rpartition(",")[2].strip(" \t") == "chunked":
        raise InvalidMessage(f"unknown transfer coding: {excerpt(p, n)!r}", 501)
    raise bad(f"invalid Transfer-Encoding: {excerpt(p, n)!r}")


cdef int version(const uint8_t* p, size_t n) except -1:
    """The minor version of ``HTTP/1.x``."""
    if n != 8 or memcmp(p, b"HTTP/", 5) != 0 or p[6] != 46 or not 48 <= p[5] <= 57 or not 48 <= p[7] <= 57:
        raise bad(f"not HTTP: {excerpt(p, n)!r}")
    if p[5] != 49:
        raise InvalidMessage(f"HTTP version {text(p + 5, 3)} is not supported here: use HTTP/1.1", 505)
    return p[7] - 48


def parse_request(bytes head not None):
    """``(method, target, minor_version, headers)`` of a request's whole head (RFC 9112, section 3).

    ``headers`` is a list of ``(name, value)``, in the order and with the names as sent, values decoded as
    ISO 8859-1 (RFC 9110, section 5.5) without the white space around them.

    Raises:
        InvalidMessage: with the status to answer: 400, 414, 431, 501 or 505.
    """
    cdef const uint8_t* p = <const uint8_t*> PyBytes_AS_STRING(head)
    cdef size_t n = PyBytes_GET_SIZE(head)
    cdef size_t line, at = 0, target, target_end
    cdef int minor
    check_size(p, n)
    line = first_line(p, n)
    # Both loops stop at the latest at the line's CR.
    while CLASS[p[at]] & TOKEN:
        at += 1
    if at == 0 or p[at] != 32:
        raise bad(f"not an HTTP request: {excerpt(p, line - 2)!r}")
    target = at + 1
    target_end = target
    while CLASS[p[target_end]] & TARGET:
        target_end += 1
    if target_end == target or p[target_end] != 32:
        raise bad(f"invalid request target: {excerpt(p + target, line - 2 - target)!r}")
    minor = version(p + target_end + 1, line - 2 - (target_end + 1))
    method_name = "GET" if at == 3 and memcmp(p, b"GET", 3) == 0 else text(p, at)
    if p[target] != 47:
        check_target(method_name, text(p + target, target_end - target))
    return method_name, text(p + target, target_end - target), minor, fields(p, n, line, minor, True)


cdef int check_target(str method, str target) except -1:
    """A target that does not start with a slash: absolute, authority or asterisk form (RFC 9112, section 3.2)."""
    if method == "CONNECT" or (target == "*" and method == "OPTIONS"):
        return 0
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in ("http", "https", "ws", "wss"):
        authority = rest.partition("/")[0].partition("?")[0].encode("latin-1")
        check_host(<const uint8_t*> PyBytes_AS_STRING(authority), PyBytes_GET_SIZE(authority), 1)
        if authority:
            return 0
    raise bad(f"invalid request target: {target[:80]!r}")


def parse_response(bytes head not None):
    """``(status, reason, minor_version, headers)`` of a response's whole head (RFC 9112, section 4).

    Raises:
        InvalidMessage: the head is malformed or over a limit.
    """
    cdef const uint8_t* p = <const uint8_t*> PyBytes_AS_STRING(head)
    cdef size_t n = PyBytes_GET_SIZE(head)
    cdef size_t line, end, i
    cdef int minor
    check_size(p, n)
    line = first_line(p, n)
    end = line - 2
    if end < 12 or p[8] != 32:
        raise bad(f"not an HTTP response: {excerpt(p, end)!r}")
    minor = version(p, 8)
    # Many servers leave out the space before an empty reason: no reader can take that for anything else.
    if not (49 <= p[9] <= 57 and 48 <= p[10] <= 57 and 48 <= p[11] <= 57) or (end > 12 and p[12] != 32):
        raise bad(f"invalid status line: {excerpt(p, end)!r}")
    for i in range(12, end):
        if not CLASS[p[i]] & VALUE:
            raise bad("the status line has a control character in its reason")
    reason = text(p + 13, end - 13) if end > 13 else ""
    return (p[9] - 48) * 100 + (p[10] - 48) * 10 + p[11] - 48, reason, minor, fields(p, n, line, minor, False)


def index(list items not None):
    """Headers by lower-case name: the value as a string, or the list of values if there are several."""
    cdef dict found = {}
    cdef str name, value
    cdef object known
    cdef Py_ssize_t before
    for name, value in items:
        name = lowered(name)
        before = len(found)
        known = found.setdefault(name, value)
        # Not "known is value": a repeated header may well have the same string.
        if len(found) != before:
            continue
        if type(known) is list:
            (<list> known).append(value)
        else:
            found[name] = [known, value]
    return found


cdef inline str lowered(str name):
    if not PyUnicode_IS_ASCII(name):
        return name.lower()
    return name_of(<const uint8_t*> PyUnicode_DATA(name), PyUnicode_GET_LENGTH(name)).lower
