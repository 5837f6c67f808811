"""Messages of a connection for threads."""

from cpython.pythread cimport PyThread_type_lock

from .preface cimport Preface

cdef class Blocking(Preface):
    cdef PyThread_type_lock turn        # held by who sends a message: another one comes after it
    cdef unsigned long talker           # the thread that holds turn; 0: none
    cdef list queue                     # messages that wait for recv, from queue_start on
    cdef bint failing                   # the peer broke the protocol, but messages from before wait
    cdef size_t queue_start
    cdef size_t queued_bytes
    cdef size_t max_queue
    cdef list pongs                     # (payload, time) of those that came
    cdef bytes late_pong                # the answer to the last ping, while the peer is behind
    cdef readonly double heard          # when the last message came
    cdef readonly double closing_since  # when the closing handshake began, 0 before

    cdef bint has_message(self) noexcept
    cdef bint is_over(self) noexcept
    cdef object next_message(self, object decode)
    cdef object end_error(self)
    cdef object _why_over(self)
    cdef int _send_fragments(self, object message, object text) except -1
    cdef int _check_sent(self) except -1
    cdef int _look_back(self) except -1
    cdef int _control_out(self, int opcode, bytes payload) except -1
