"""A connection whose methods block: what ``connect`` and ``serve`` of :mod:`everwire.sync` give."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from typing_extensions import Buffer

from everwire._core.blocking import Blocking
from everwire._core.stream import monotonic
from everwire.errors import ConnectionClosed
from everwire.sync.background import background
from everwire.websocket.messages import Request, Response

__all__ = ["Connection", "Limits", "PingFuture"]

TICK = 1.0
"""Seconds after which an idle connection is looked at again: pings that came are answered, at the latest."""

SLICE = 0.05
"""Seconds after which what cannot be waited for is looked at again."""

HURRY = 1.0
"""Seconds that the closing handshake may take after Ctrl-C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of connections, in the units of ``connect`` and ``serve``.

    Raises:
        ValueError: a limit does not make sense.
    """

    max_size: int | None
    max_queue: int | None
    ping_interval: float | None
    ping_timeout: float | None
    idle_timeout: float | None
    close_timeout: float | None
    logger: logging.Logger

    def __post_init__(self) -> None:
        if self.max_size is not None and self.max_size < 0:
            raise ValueError(
                f"max_size is a number of bytes, 0 or more, or None for no limit: {self.max_size!r}"
            )
        if self.max_queue is not None and self.max_queue < 1:
            raise ValueError(
                f"max_queue is a number of messages, 1 or more, or None for no limit: {self.max_queue!r}"
            )
        for name in ("ping_interval", "ping_timeout", "idle_timeout", "close_timeout"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} must be more than 0 seconds, or None for no limit: {seconds!r}")


class PingFuture(concurrent.futures.Future[float]):
    """The seconds until a ping's pong: what :meth:`Connection.ping` returns.

    Who waits for it with :meth:`result` or :meth:`exception` reads the connection meanwhile, if no other
    thread does; messages that come are kept for ``recv``.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def result(self, timeout: float | None = None) -> float:
        """Wait for the pong: the seconds that it took.

        Raises:
            TimeoutError: it has not come in so many seconds.
            ConnectionClosed: the connection was closed before it came.
        """
        return super().result(self._wait(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the pong: None, or the exception of the end of the connection.

        Raises:
            TimeoutError: neither has come in so many seconds.
        """
        return super().exception(self._wait(timeout))

    def _wait(self, timeout: float | None) -> float:
        deadline = None if timeout is None else monotonic() + timeout
        while not self.done():
            left = SLICE if deadline is None else min(SLICE, deadline - monotonic())
            if left <= 0:
                break
            if self._connection.ended:
                self._connection.on_ended()
            elif not self._connection.help_reading(left):
                concurrent.futures.wait([self], left)
        return 0


class Connection(Blocking):
    """One WebSocket connection, of a server or a client, for threads: its methods wait for what they do.

    Iterate over it, or call :meth:`recv`, for the messages that come; :meth:`send` sends one. All methods may
    be called from any thread at any time.

    Attributes:
        request: the request of the opening handshake.
        response: the response to it.
        subprotocol: the one that was agreed on, or None.
        remote_address: the peer's address: (host, port), with flow and scope for IPv6; an empty string for a
            Unix socket.
        local_address: the address of this end.
        latency: seconds that the last ping took, 0 before the first.
        data: whatever you want to keep with the connection; None at first.
        client: whether this is the client's end.
        failure: the :class:`ProtocolError` that ended it, or None.
        state: 0 connecting, 1 open, 2 closing, 3 closed (``readyState`` of the WHATWG standard).
        lost: the :class:`OSError` that ended it, or None.
        heard, seen, closing_since, ended, broken, raw: for its own modules.
    """

    request: Request
    response: Response

    def __init__(
        self,
        sock: socket.socket,
        limits: Limits,
        *,
        client: bool,
        remote_address: Any = None,
        on_end: Callable[[Connection], object] | None = None,
    ) -> None:
        super().__init__(client=client, max_size=limits.max_size, max_queue=limits.max_queue)
        sock.setblocking(True)
        unix = sock.family not in (socket.AF_INET, socket.AF_INET6)
        if not unix:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data: Any = None
        self.subprotocol: str | None = None
        self.remote_address: Any = remote_address or ("" if unix else sock.getpeername())
        self.local_address: Any = sock.getsockname()
        self.latency = 0.0
        self._socks = [sock]  # empty when it is closed: whoever takes it out does so
        self._limits = limits
        self._on_end = on_end
        self._pings: dict[bytes, tuple[PingFuture | None, float]] = {}
        self._pinged: tuple[bytes, float] | None = None
        self._excused = 0.0
        self._hurried = False
        self.attach(sock.fileno())

    def __repr__(self) -> str:
        state = ("connecting", "open", "closing", "closed")[self.state]
        return f"<{'client' if self.client else 'server'} connection {self.id}, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, Exception):
            self.close(1000 if kind is None else 1011)
        else:
            self._close(1001, "", HURRY)

    # Pings

    def ping(self, data: str | Buffer | None = None) -> PingFuture:
        """Send a ping, and return a future of the seconds until its pong: ``ws.ping().result(timeout=5)``.

        *data* is up to 125 bytes; by default a payload that no other ping under way has.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            ValueError: *data* is too long, or a ping with the same is under way.
        """
        if data is None:
            payload = os.urandom(4)
            while payload in self._pings:
                payload = os.urandom(4)
        else:
            payload = data.encode() if isinstance(data, str) else bytes(data)
        if payload in self._pings:
            raise ValueError("a ping with the same payload is under way")
        future = PingFuture(self)
        self._pings[payload] = future, monotonic()
        try:
            self.send_ping(payload)
        except BaseException:
            self._pings.pop(payload, None)
            raise
        return future

    def on_pongs(self) -> None:
        """Tell those who wait for pongs."""
        for payload, came in self.pongs_received():
            if self._pinged is not None and payload == self._pinged[0]:
                self.latency = came - self._pinged[1]
                self._pinged = None
            if payload not in self._pings:
                continue
            # A pong answers the pings before it as well (RFC 6455, section 5.5.3).
            for sent in list(self._pings):
                ping = self._pings.pop(sent, None)
                if ping is None:
                    continue  # the connection ended just now: see on_ended()
                future, started = ping
                if future is not None and future.set_running_or_notify_cancel():
                    future.set_result(came - started)
                if sent == payload:
                    self.latency = came - started
                    break

    # The end

    def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Close the connection, and wait for the closing handshake, at most ``close_timeout`` seconds.

        Threads that wait in ``recv`` or ``send`` get :exc:`ConnectionClosed`. *code* None sends
        none, which the peer sees as 1005; *reason* is up to 123 bytes of UTF-8. Closing again only waits.
        In a signal's handler that interrupts ``recv``, ``send`` or ``close`` of the same connection it does
        not wait: the interrupted call goes on, and sees the end.

        Raises:
            ValueError: the code may not be sent (RFC 6455, section 7.4), or the reason is too long.
        """
        self._close(code, reason, self._limits.close_timeout)

    def _close(self, code: int | None, reason: str, timeout: float | None) -> None:
        if self.raw:
            self.drop()
            return
        if self.is_busy_here():
            # A signal's handler, or a ping's callback: what it interrupts has to go on for the end to come.
            self.begin_close(code, reason, 0)
            return
        deadline = None if timeout is None else monotonic() + timeout
        self.begin_close(code, reason, timeout)
        if not self.wait_end(None if deadline is None else max(0.0, deadline - monotonic())):
            self.abort()
        self.on_ended()

    def drop(self) -> None:
        """Drop the connection without a closing handshake; the peer sees 1006."""
        self.abort()
        self.on_ended()

    def on_ended(self) -> None:
        """The stream has ended: give back what the connection has, as soon as no thread uses it."""
        while self._pings:
            try:
                _, (future, _) = self._pings.popitem()
            except KeyError:
                break
            if future is not None and future.set_running_or_notify_cancel():
                future.set_exception(self.close_error)
        if not self.detach():
            return
        try:
            sock = self._socks.pop()
        except IndexError:
            return  # another thread was faster
        sock.close()
        if self._on_end is not None:
            self._on_end(self)

    def on_over(self) -> None:
        """A thread was told that the connection is over: what is left to do need not wait."""
        if not self.closed and not self._hurried:
            self._hurried = True
            background.tend(self)

    # Time

    def tend(self) -> float | None:
        """Do what is due, and what no thread does now; for the thread in the background.

        Returns:
            The time to come again, or None when the connection is over.
        """
        self.look()
        now = monotonic()
        limits = self._limits
        if self.ended:
            self.on_ended()
            return None if self.closed else now + SLICE
        if self.closing_since:
            if limits.close_timeout is not None and now - self.closing_since >= limits.close_timeout:
                self.finish_failing()
                self.drop()
            return now + SLICE
        dues = [now + TICK]
        if limits.idle_timeout is not None:
            if now - self.heard >= limits.idle_timeout:
                self.begin_close(1001, "idle timeout", 0)
                return now + SLICE
            dues.append(self.heard + limits.idle_timeout)
        try:
            there = self._keep_alive(now, dues)
        except ConnectionClosed:
            there = False  # another thread has closed it just now
        return min(dues) if there else now + TICK

    def _keep_alive(self, now: float, dues: list[float]) -> bool:
        """Send pings after silence; whether the peer is there."""
        limits = self._limits
        if self.paused:
            self._excused = now  # we do not listen: the peer cannot be blamed for its silence
        seen = max(self.seen, self._excused)
        pinged = self._pinged
        if pinged is not None and seen > pinged[1]:
            pinged = None  # any bytes prove that the peer is there
            if self.paused:
                self._pinged = None
        if pinged is not None and limits.ping_timeout is not None:
            if now - pinged[1] >= limits.ping_timeout:
                self.begin_close(1011, "keepalive ping timeout", 0)
                self.drop()
                return False
            dues.append(pinged[1] + limits.ping_timeout)
        elif limits.ping_interval is not None:
            last = seen if pinged is None else max(seen, pinged[1])
            if now - last >= limits.ping_interval:
                self._pinged = os.urandom(4), now
                self.send_ping(self._pinged[0])
                last = now
            wait = limits.ping_interval
            if self._pinged is not None and limits.ping_timeout is not None:
                wait = min(wait, limits.ping_timeout)
            dues.append(last + wait)
        return True

    # What is known of it

    @property
    def id(self) -> str:
        """A number that tells the connections of this process apart, for logs."""
        return f"{id(self):x}"

    @property
    def closed(self) -> bool:
        """Whether the connection is over, and its socket closed."""
        return not self._socks

    @property
    def peercert(self) -> dict[str, Any] | None:
        """The peer's certificate as ``ssl.SSLSocket.getpeercert`` gives it, or None."""
        layer = self.ssl_object
        return layer.getpeercert() or None if layer is not None else None

    def start(self) -> None:
        """The connection is open: have it looked after."""
        background.tend(self)
