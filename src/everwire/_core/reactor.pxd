"""The reactor: its own poller nested in an asyncio event loop, one timer wheel, one flush a loop turn."""

from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

# What a slot's owner does when its descriptor is ready, its timer is due, or the turn ends after mark().
ctypedef int (*ready_fn)(object owner, int what) except -1
ctypedef int (*call_fn)(object owner) except -1

cdef struct Ops:
    ready_fn ready
    call_fn timer
    call_fn flush

cdef struct Slot:
    PyObject* owner      # kept by Reactor.kept, where the garbage collector sees it; NULL: the slot is free
    int32_t fd           # -1: timers and flushes only
    uint32_t generation  # tells events of an earlier owner apart
    int32_t previous     # neighbours in the timer wheel, or the free list; -1 ends it
    int32_t next
    uint32_t due         # tick of the timer
    uint8_t kind         # index of the owner's Ops
    uint8_t interest
    uint8_t timed
    uint8_t dirty


cdef enum:
    KINDS = 4  # of owners


cdef class Deferred:
    """Something to run once at the end of the turn, before sockets are flushed."""

    cdef bint pending
    cdef int run(self) except -1


cdef class Reactor:
    cdef readonly object loop
    cdef int poller
    cdef bint polling          # inside poll(): its end flushes
    cdef bint flush_scheduled
    cdef bint expecting        # who was given input answers in the loop's next turn: flush at once then
    cdef Slot** pages
    cdef list kept             # the owners of the slots
    cdef int32_t page_count, free_slot
    cdef int32_t* wheel
    cdef uint32_t tick, wheel_done, wake_due
    cdef const Ops* kinds[KINDS]
    cdef int32_t timers
    cdef object wake
    cdef int32_t* dirty
    cdef int32_t dirty_count, dirty_room
    cdef list deferred
    cdef readonly Py_ssize_t slots
    # Shared by everything that reads and writes here: bytes just received, and bytes gathered for the corked owner.
    cdef uint8_t* inbox
    cdef object inbox_view     # all of it, for what takes Python objects
    cdef uint8_t* cork
    cdef size_t cork_used
    cdef PyObject* corked      # borrowed; whoever corks uncorks before returning

    cdef uint32_t now(self) noexcept
    cdef Slot* slot(self, int32_t sid) noexcept
    cdef int32_t add(self, object owner, const Ops* ops, int fd) except -1
    cdef int want(self, int32_t sid, int what) except -1
    cdef int remove(self, int32_t sid) except -1
    cdef int schedule(self, int32_t sid, uint32_t due) except -1
    cdef void unschedule(self, int32_t sid) noexcept
    cdef int mark(self, int32_t sid) except -1
    cdef int defer(self, Deferred what) except -1
    cdef int _link(self, int32_t sid) noexcept
    cdef int _rearm(self) except -1
    cdef int _ensure_flush(self) except -1
    cdef int _drain(self) except -1
    cdef int _failed(self, object error) except -1

cdef enum:
    INBOX = 262144   # bytes read from one socket in one go
    CORK = 65536     # bytes gathered before they are sent

cdef Reactor reactor_of(object loop)
cdef uint32_t ticks_of(double seconds) noexcept
