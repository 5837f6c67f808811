"""Listening sockets: every connection that comes becomes a Connection."""

import errno as numbers
import os
import socket

from libc.errno cimport ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTO, errno

from .connection cimport Connection
from .net cimport *
from .reactor cimport Ops, reactor_of

cdef enum:
    BATCH = 64      # connections taken in one go
    RETRY = 8       # ticks to wait when the process or the system has no descriptors left


cdef int acceptor_ready(object owner, int what) except -1:
    return (<Acceptor>owner).ready()


cdef int acceptor_timer(object owner) except -1:
    return (<Acceptor>owner).resume()


cdef int acceptor_flush(object owner) except -1:
    return 0


cdef Ops ACCEPTOR_OPS
ACCEPTOR_OPS.ready = acceptor_ready
ACCEPTOR_OPS.timer = acceptor_timer
ACCEPTOR_OPS.flush = acceptor_flush


cdef class Acceptor:
    """Takes the connections of one listening socket. When descriptors run out it pauses, and goes on by itself."""

    def __init__(self, loop, sock, Settings settings not None, tls_context=None):
        sock.setblocking(False)
        self.reactor = reactor_of(loop)
        self.settings = settings
        self.sock = sock
        self.tls_context = tls_context
        self.inet = sock.family in (socket.AF_INET, socket.AF_INET6)
        self.sid = self.reactor.add(self, &ACCEPTOR_OPS, sock.fileno())
        self.reactor.want(self.sid, EW_READ)

    cdef int ready(self) except -1:
        cdef int fd, i
        cdef ew_address peer
        cdef Connection connection
        for i in range(BATCH):
            if self.sid < 0:
                return 0
            fd = ew_accept(self.sock.fileno(), &peer)
            if fd < 0:
                if ew_again(errno):
                    return 0
                if errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                    return self.pause(errno)
                if errno in (ECONNABORTED, EINTR, EPROTO, EPERM):
                    continue
                raise OSError(errno, os.strerror(errno))
            self.complained = False
            if self.inet:
                ew_no_delay(fd)
            try:
                if self.settings.create_connection is None:
                    connection = Connection.__new__(Connection, self.settings, self.reactor.loop)
                else:
                    connection = self.settings.create_connection(self.settings)
                connection.peer = peer
                connection.attach_fd(fd, self.tls_context, None)
                connection.start_input()
            except Exception:
                self.settings.logger.exception("a connection could not be taken")
        return 0

    cdef int pause(self, int number) except -1:
        if not self.complained:
            self.complained = True
            self.settings.logger.error(
                "accepting paused: %s; it goes on when there are file descriptors again", os.strerror(number)
            )
        self.paused = True
        self.reactor.want(self.sid, 0)
        return self.reactor.schedule(self.sid, self.reactor.tick + RETRY)

    cdef int resume(self) except -1:
        self.paused = False
        return self.reactor.want(self.sid, EW_READ)

    def close(self):
        """Take no more connections, and close the socket."""
        if self.sid >= 0:
            self.reactor.remove(self.sid)
            self.sid = -1
            self.sock.close()
