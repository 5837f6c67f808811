"""The reactor: its own poller nested in an asyncio event loop, one timer wheel, one flush a loop turn.

The loop waits for a single descriptor, the poller's. When it is ready, poll() serves every ready socket in one
call. What is written meanwhile is gathered and sent when poll() ends; what is written at another time is sent by one
callback at the end of the loop's turn. The reactor knows owners of slots and nothing of what they do.
"""

import asyncio
import os

from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.errno cimport errno
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from .net cimport *

cdef extern from "Python.h":
    const int PyBUF_WRITE

cdef enum:
    PAGE = 256          # slots a page
    WHEEL = 512         # timer lists: 32 seconds; a later timer stays for another round
    NEVER = 0xFFFFFFFF


cdef int ROUNDS = 4   # polls in one turn, while each finds something
cdef int FEW = 4      # sockets found after which it is not worth it to poll again


def polls() -> bool:
    """Return whether sockets are served by a poller of our own, rather than by asyncio's transports."""
    return bool(EW_POLLER) and os.environ.get("EVERWIRE_REACTOR", "") != "off"


cdef uint32_t ticks_of(double seconds) noexcept:
    """The ticks in *seconds*, rounded up, at least one."""
    cdef double t = seconds * EW_TICKS_A_SECOND
    if t >= 2000000000.0:
        return 2000000000
    return <uint32_t>t + 1


cdef class Deferred:
    cdef int run(self) except -1:
        return 0


cdef Reactor reactor_of(object loop):
    """The reactor of *loop*; it lives as long as the loop."""
    try:
        return loop._everwire_reactor
    except AttributeError:
        pass
    reactor = Reactor(loop)
    loop._everwire_reactor = reactor
    return reactor


def get_reactor(loop=None):
    """Return the reactor of *loop*, by default of the running one."""
    return reactor_of(asyncio.get_running_loop() if loop is None else loop)


cdef class Reactor:
    """Sockets, timers and flushes of one event loop. There is one a loop: see :func:`get_reactor`."""

    def __cinit__(self, loop):
        cdef int i
        self.loop = loop
        self.poller = -1
        self.free_slot = -1
        self.deferred = []
        self.kept = []
        self.wake_due = NEVER
        self.inbox = <uint8_t*>malloc(INBOX)
        self.cork = <uint8_t*>malloc(CORK)
        self.wheel = <int32_t*>malloc(WHEEL * sizeof(int32_t))
        if not self.inbox or not self.cork or not self.wheel:
            raise MemoryError
        self.inbox_view = PyMemoryView_FromMemory(<char*>self.inbox, INBOX, PyBUF_WRITE)
        for i in range(WHEEL):
            self.wheel[i] = -1
        self.tick = self.wheel_done = ew_ticks()
        if polls():
            self.poller = ew_poller_open()
            if self.poller < 0:
                raise OSError(errno, os.strerror(errno))
            loop.add_reader(self.poller, self.poll)

    def __dealloc__(self):
        cdef int32_t i
        if self.poller >= 0:
            ew_close(self.poller)
        for i in range(self.page_count):
            PyMem_Free(self.pages[i])
        PyMem_Free(self.pages)
        PyMem_Free(self.dirty)
        free(self.wheel)
        free(self.inbox)
        free(self.cork)

    @property
    def native(self) -> bool:
        """Whether this reactor polls sockets itself."""
        return self.poller >= 0

    def owners(self) -> list:
        """Return the owners of all slots in use."""
        return [owner for owner in self.kept if owner is not None]

    cdef uint32_t now(self) noexcept:
        """The tick of this moment; ``tick`` is that of the turn's beginning, which may be a while ago."""
        self.tick = ew_ticks()
        return self.tick

    # Slots

    cdef inline Slot* slot(self, int32_t sid) noexcept:
        return &self.pages[sid >> 8][sid & 255]

    cdef int32_t add(self, object owner, const Ops* ops, int fd) except -1:
        """Take a slot for *owner*; *fd* is -1 for one without a descriptor."""
        cdef int32_t sid, i, base
        cdef uint8_t kind
        cdef Slot* s
        cdef Slot* page
        if self.free_slot < 0:
            pages = PyMem_Realloc(self.pages, (self.page_count + 1) * sizeof(Slot*))
            if not pages:
                raise MemoryError
            self.pages = <Slot**>pages
            page = <Slot*>PyMem_Malloc(PAGE * sizeof(Slot))
            if not page:
                raise MemoryError
            memset(page, 0, PAGE * sizeof(Slot))
            base = self.page_count * PAGE
            for i in range(PAGE):
                page[i].next = base + i + 1 if i < PAGE - 1 else -1
            self.pages[self.page_count] = page
            self.page_count += 1
            self.free_slot = base
        sid = self.free_slot
        s = self.slot(sid)
        self.free_slot = s.next
        if sid == len(self.kept):
            self.kept.append(owner)
        else:
            self.kept[sid] = owner
        s.owner = <PyObject*>owner
        for kind in range(KINDS):
            if self.kinds[kind] == ops or self.kinds[kind] == NULL:
                break
        self.kinds[kind] = ops
        s.kind = kind
        s.fd = fd
        s.interest = 0
        s.timed = s.dirty = False
        self.slots += 1
        return sid

    cdef int want(self, int32_t sid, int what) except -1:
        """Wait for the slot's descriptor to be readable (EW_READ), writable (EW_WRITE), both or (0) neither."""
        cdef Slot* s = self.slot(sid)
        if s.interest == what or s.fd < 0:
            return 0
        if ew_poller_set(self.poller, s.fd, <uint64_t>s.generation << 32 | <uint32_t>sid, s.interest, what) < 0:
            raise OSError(errno, os.strerror(errno))
        s.interest = what
        return 0

    cdef int remove(self, int32_t sid) except -1:
        """Give the slot back; its descriptor is the caller's to close, which ends the waiting for it as well."""
        cdef Slot* s = self.slot(sid)
        if s.timed:
            self.unschedule(sid)
        if s.interest and s.fd >= 0:
            ew_poller_set(self.poller, s.fd, 0, s.interest, 0)
        s.generation += 1
        s.owner = NULL
        s.fd = -1
        s.interest = 0
        s.next = self.free_slot
        self.free_slot = sid
        self.slots -= 1
        self.kept[sid] = None
        return 0

    # Timers

    cdef int schedule(self, int32_t sid, uint32_t due) except -1:
        """Run the owner's timer at the tick *due*, instead of any earlier request."""
        cdef Slot* s = self.slot(sid)
        if s.timed:
            if s.due == due:
                return 0
            self.unschedule(sid)
        s.due = due
        self._link(sid)
        if self.wake is None or <int32_t>(due - self.wake_due) < 0:
            self._rearm()
        return 0

    cdef int _link(self, int32_t sid) noexcept:
        cdef Slot* s = self.slot(sid)
        cdef int32_t* head = &self.wheel[s.due & (WHEEL - 1)]
        s.previous = -1
        s.next = head[0]
        if head[0] >= 0:
            self.slot(head[0]).previous = sid
        head[0] = sid
        s.timed = True
        self.timers += 1
        return 0

    cdef void unschedule(self, int32_t sid) noexcept:
        cdef Slot* s = self.slot(sid)
        if not s.timed:
            return
        if s.previous >= 0:
            self.slot(s.previous).next = s.next
        else:
            self.wheel[s.due & (WHEEL - 1)] = s.next
        if s.next >= 0:
            self.slot(s.next).previous = s.previous
        s.timed = False
        self.timers -= 1

    cdef int _rearm(self) except -1:
        """Have the loop call when the next list of the wheel that is not empty comes up."""
        cdef uint32_t t, now = ew_ticks()
        cdef int i
        if self.wake is not None:
            self.wake.cancel()
            self.wake = None
        self.wake_due = NEVER
        if not self.timers:
            return 0
        t = self.wheel_done + 1
        for i in range(WHEEL):
            if self.wheel[(t + i) & (WHEEL - 1)] >= 0:
                break
        self.wake_due = t + i
        self.wake = self.loop.call_later(max(<int32_t>(self.wake_due - now), 0) / <double>EW_TICKS_A_SECOND + 0.001, self._on_time)
        return 0

    def _on_time(self):
        cdef uint32_t now = ew_ticks()
        cdef int32_t sid, following
        cdef Slot* s
        cdef list due = []
        self.wake = None
        self.tick = now
        if now - self.wheel_done >= WHEEL:     # the process slept: each list once is enough
            self.wheel_done = now - WHEEL
        while self.wheel_done != now:
            self.wheel_done += 1
            sid = self.wheel[self.wheel_done & (WHEEL - 1)]
            while sid >= 0:
                s = self.slot(sid)
                following = s.next
                if <int32_t>(s.due - now) <= 0:
                    self.unschedule(sid)
                    due.append((sid, s.generation))
                sid = following
        try:
            for sid, generation in due:
                s = self.slot(sid)
                if s.owner != NULL and s.generation == <uint32_t>generation:
                    try:
                        self.kinds[s.kind].timer(<object>s.owner)
                    except Exception as exc:
                        self._failed(exc)
        finally:
            if self.wake is None:
                self._rearm()

    # Turns

    cdef int mark(self, int32_t sid) except -1:
        """Flush the owner at the end of the turn."""
        cdef Slot* s = self.slot(sid)
        if s.dirty:
            return 0
        if self.dirty_count == self.dirty_room:
            room = PyMem_Realloc(self.dirty, (self.dirty_room * 2 + 64) * sizeof(int32_t))
            if not room:
                raise MemoryError
            self.dirty = <int32_t*>room
            self.dirty_room = self.dirty_room * 2 + 64
        s.dirty = True
        self.dirty[self.dirty_count] = sid
        self.dirty_count += 1
        return self._ensure_flush()

    cdef int defer(self, Deferred what) except -1:
        """Run *what* once at the end of the turn."""
        if not what.pending:
            what.pending = True
            self.deferred.append(what)
            self._ensure_flush()
        return 0

    cdef inline int _ensure_flush(self) except -1:
        if not self.polling and not self.flush_scheduled:
            self.loop.call_soon(self._flush)
            self.flush_scheduled = True
        return 0

    def _flush(self):
        self.flush_scheduled = False
        self._drain()

    cdef int _drain(self) except -1:
        cdef int32_t i, sid
        cdef Slot* s
        cdef Deferred task
        while self.deferred or self.dirty_count:
            if self.deferred:
                tasks = self.deferred
                self.deferred = []
                for task in tasks:
                    task.pending = False
                    try:
                        task.run()
                    except Exception as exc:
                        self._failed(exc)
            i = 0
            while i < self.dirty_count:       # the list may grow while it is worked off
                sid = self.dirty[i]
                i += 1
                s = self.slot(sid)
                if s.dirty:
                    s.dirty = False
                    if s.owner != NULL:
                        try:
                            self.kinds[s.kind].flush(<object>s.owner)
                        except Exception as exc:
                            self._failed(exc)
            self.dirty_count = 0
        return 0

    cdef int _failed(self, object error) except -1:
        """Owners deal with what can go wrong: this is a defect, which must not stop the others."""
        self.loop.call_exception_handler({"message": "a socket of everwire failed", "exception": error})
        return 0

    def poll(self):
        """Serve every socket that is ready, then send what that has written. The loop calls this."""
        cdef ew_event events[EW_EVENTS]
        cdef int n, i, rounds = 0
        cdef int32_t sid
        cdef Slot* s
        cdef object failure = None
        self.tick = ew_ticks()
        self.polling = True
        try:
            while rounds < ROUNDS:
                rounds += 1
                n = ew_poller_wait(self.poller, events, EW_EVENTS)
                if n <= 0:
                    break
                for i in range(n):
                    sid = <int32_t><uint32_t>events[i].token
                    s = self.slot(sid)
                    if s.owner == NULL or s.generation != <uint32_t>(events[i].token >> 32):
                        continue
                    try:
                        self.kinds[s.kind].ready(<object>s.owner, events[i].what)
                    except BaseException as exc:    # owners handle Exception: this is KeyboardInterrupt or SystemExit
                        failure = exc
                if n < FEW:
                    break
            self._drain()
        finally:
            self.polling = False
            if self.deferred or self.dirty_count or self.expecting:
                self.expecting = False
                self._ensure_flush()
        if failure is not None:
            raise failure
