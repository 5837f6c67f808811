"""What all connections of a server, or of a client's connect, have in common."""

import logging

from .reactor cimport ticks_of

from everwire._core.protocol import check_close

cdef uint32_t optional_ticks(object seconds, str name) except? 0:
    if seconds is None:
        return 0
    if not seconds > 0:
        raise ValueError(f"{name} is a number of seconds above 0, or None for none, not {seconds!r}")
    return ticks_of(seconds)


cdef size_t limit(object value, str name) except? 0:
    if value is None:
        return <size_t>1 << 62
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} is a number of bytes, 0 or more, or None for no limit, not {value!r}")
    return min(value, 1 << 62)


cdef class Settings:
    """Limits, timeouts and callbacks of connections.

    Parameters:
        client: which side of the protocol the connections are on.
        on_head: called with the connection and the head of the request (server) or of the response (client).
        on_unopened: called with the connection and an exception or None if it ends before it is open.
        on_idle: called when the last connection is gone.
        parse_head: makes the object that ``Connection.request`` returns from the bytes of a head.
        create_connection: makes a server's connection from these settings, of a subclass perhaps; None: Connection.
        handler: a coroutine function that is run for each connection, or None.
        listener: an object with ``on_open``, ``on_message``, ``on_close`` and ``on_drain``, or None.
        max_size: bytes of the largest message that is received; None for no limit.
        max_queue: messages received that may wait for ``recv``; then reading pauses.
        write_limit: bytes waiting to be sent from which on ``send`` waits; a pair is (high, low).
        max_backlog: bytes waiting to be sent that ``send_nowait`` may reach.
        overflow: what happens at ``max_backlog``: ``"close"`` the connection, or ``"drop"`` the message.
        close_code, close_reason: what such a connection is closed with: 1013, "too slow".
        ping_interval, ping_timeout, idle_timeout, open_timeout, close_timeout: seconds, or None for none.
    """

    def __init__(
        self,
        *,
        bint client,
        on_head,
        on_unopened=None,
        on_idle=None,
        parse_head=None,
        create_connection=None,
        handler=None,
        listener=None,
        max_size=1 << 20,
        max_queue=64,
        write_limit=1 << 16,
        max_backlog=1 << 24,
        overflow="close",
        close_code=1013,
        close_reason="too slow",
        ping_interval=20.0,
        ping_timeout=20.0,
        idle_timeout=None,
        open_timeout=10.0,
        close_timeout=10.0,
        logger=None,
    ):
        self.options = {name: value for name, value in locals().items() if name != "self"}
        self.client = client
        self.on_head = on_head
        self.on_unopened = on_unopened
        self.on_idle = on_idle
        self.parse_head = parse_head
        self.create_connection = create_connection
        self.handler = handler
        self.tasks = set()
        self.logger = logger if logger is not None else logging.getLogger("everwire.client" if client else "everwire.server")
        if listener is not None:
            self.on_open, self.on_close, self.on_drain = listener.on_open, listener.on_close, listener.on_drain
            self.on_message = listener.on_message
        self.max_size = limit(max_size, "max_size")
        self.max_backlog = limit(max_backlog, "max_backlog")
        if overflow not in ("close", "drop"):
            raise ValueError(f"overflow is 'close' or 'drop', not {overflow!r}")
        self.overflow_closes = overflow == "close"
        self.close_code, self.close_reason = check_close(code=close_code, reason=close_reason), close_reason
        if max_queue is not None and (not isinstance(max_queue, int) or max_queue < 1):
            raise ValueError(f"max_queue is a number of messages above 0, or None for no limit, not {max_queue!r}")
        self.max_queue = 0xFFFFFFFF if max_queue is None else min(max_queue, 0xFFFFFFFF)
        high, low = write_limit if isinstance(write_limit, tuple) else (write_limit, write_limit // 4)
        if not 0 <= low <= high < 1 << 32:
            raise ValueError(f"write_limit is a number of bytes or a pair (high, low) with high >= low >= 0, not {write_limit!r}")
        self.high, self.low = high, low
        self.ping_interval = optional_ticks(ping_interval, "ping_interval")
        self.ping_timeout = optional_ticks(ping_timeout, "ping_timeout")
        self.idle_timeout = optional_ticks(idle_timeout, "idle_timeout")
        self.open_timeout = optional_ticks(open_timeout, "open_timeout")
        self.open_seconds = open_timeout
        self.close_timeout = optional_ticks(close_timeout, "close_timeout")

    def derive(self, *, handler=None, listener=None, **options):
        """Return settings for some of these connections: who gets their events, and limits that differ.

        Their connections are counted with those of the settings that they come from.

        Raises:
            TypeError: there is no such option.
        """
        cdef Settings derived = Settings(**{**self.options, "handler": handler, "listener": listener, **options})
        derived.parent = self.base()
        derived.tasks = derived.parent.tasks
        return derived

    cdef Settings base(self):
        return self if self.parent is None else self.parent

    @property
    def root(self):
        """The settings that these come from, if they were derived, else these."""
        return self.base()
