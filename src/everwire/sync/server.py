"""``serve`` for programs with threads: accept WebSocket connections, each in a thread of its own."""

from __future__ import annotations

import contextlib
import errno
import inspect
import logging
import os
import selectors
import socket
import ssl as tls
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Literal, Self

from everwire._core.protocol import check_close
from everwire._core.stream import monotonic
from everwire.sync.admission import Admission, Handler, ProcessRequest, ProcessResponse
from everwire.sync.background import background
from everwire.sync.connection import Connection, Limits
from everwire.websocket.auth import BasicAuth
from everwire.websocket.codec import as_deflate
from everwire.websocket.extensions import Deflate
from everwire.websocket.handshake import SelectSubprotocol, ServerHandshake
from everwire.websocket.messages import HeadersLike
from everwire.websocket.origins import Origins
from everwire.websocket.server import SERVER
from everwire.websocket.sockets import Where, addresses_of, port_of, remove_path

__all__ = ["Server", "serve"]

NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

RETRY = 0.5
"""Seconds after which accepting is tried again when there was no descriptor or no thread for a connection."""

LAST = 1.0
"""Seconds for handlers to end after their connections were dropped."""


class Server:
    """A server with a thread for each connection: what :func:`serve` returns. It accepts connections already.

    Attributes:
        sockets: the listening sockets.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        admission: Admission,
        limits: Limits,
        *,
        path: str | None,
    ) -> None:
        self.sockets: tuple[socket.socket, ...] = tuple(sockets)
        self._admission = admission
        self._limits = limits
        self._logger = limits.logger
        self._path = path
        self._lock = threading.Lock()
        self._threads: dict[threading.Thread, Connection] = {}
        self._done = threading.Event()
        self._end: tuple[int | None, str, float | None] | None = None
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        for name in self.addresses:
            self._logger.info("listening on %s", name)
        threading.Thread(target=self._run, name="everwire-accept", daemon=True).start()

    @property
    def addresses(self) -> list[str]:
        """The addresses listened on, as ``host:port`` or a path."""
        return addresses_of(self.sockets)

    @property
    def port(self) -> int:
        """The port of the first listening socket; 0 for a Unix socket."""
        return port_of(self.sockets)

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open."""
        with self._lock:
            return [each for each in self._threads.values() if each.is_open]

    def is_serving(self) -> bool:
        """Return whether new connections are accepted."""
        return self._end is None

    # Accepting

    def _run(self) -> None:
        """Accept until the end has come, then bring it about."""
        try:
            with selectors.DefaultSelector() as selector:
                for sock in self.sockets:
                    sock.setblocking(False)
                    selector.register(sock, selectors.EVENT_READ)
                selector.register(self._wakened, selectors.EVENT_READ)
                complained = False
                while self._end is None:
                    for key, _ in selector.select():
                        if key.fileobj is self._wakened:
                            continue
                        why = self._accept(key.fileobj)  # type: ignore[arg-type]
                        if why is not None and not complained:
                            self._logger.error("accepting paused: %s; it goes on when that is over", why)
                        if why is not None and self._wait(RETRY):
                            break
                        complained = why is not None
            self._close(*self._end)
        finally:
            self._waker.close()
            self._wakened.close()
            self._done.set()

    def _wait(self, seconds: float) -> bool:
        """Wait for the end for so many seconds; whether it has come."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakened, selectors.EVENT_READ)
            return bool(selector.select(seconds))

    def _accept(self, listening: socket.socket) -> str | None:
        """Accept a connection; what there was not enough of for that."""
        try:
            sock, address = listening.accept()
        except OSError as exc:
            return os.strerror(exc.errno) if exc.errno in NO_DESCRIPTORS else None
        try:
            connection = Connection(sock, self._limits, client=False, remote_address=address)
        except OSError:
            sock.close()  # it was gone already
            return None
        thread = threading.Thread(
            target=self._serve, args=(connection,), name="everwire-connection", daemon=True
        )
        with self._lock:
            self._threads[thread] = connection
        try:
            thread.start()
        except RuntimeError as exc:
            with self._lock:
                del self._threads[thread]
            connection.drop()
            return str(exc)
        return None

    def _serve(self, connection: Connection) -> None:
        try:
            self._admission.serve(connection)
        except Exception:
            self._logger.exception("a connection failed")
            connection.drop()
        finally:
            with self._lock:
                del self._threads[threading.current_thread()]

    # The end

    def shutdown(self, code: int | None = 1001, reason: str = "", *, timeout: float | None = None) -> None:
        """Stop accepting, and begin to close all connections with *code* (1012: a restart).

        It returns at once, and may be called from a signal's handler and from any thread, more than once.
        What is not done after *timeout* seconds (by default ``close_timeout`` and a second more) is dropped:
        handlers get :exc:`ConnectionClosed`. Call :meth:`wait_closed` to wait for the end.

        Raises:
            ValueError: the code may not be sent, or the reason is too long.
        """
        check_close(code, reason)
        if timeout is None and self._limits.close_timeout is not None:
            timeout = self._limits.close_timeout + 1
        if self._end is None:
            self._end = code, reason, timeout
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def _close(self, code: int | None, reason: str, timeout: float | None) -> None:
        self._admission.closing = code, reason
        for sock in self.sockets:
            sock.close()
        if self._path is not None:
            remove_path(self._path)
        with self._lock:
            threads = dict(self._threads)
        for connection in threads.values():
            if not connection.raw:
                connection.begin_close(code, reason, 0)
            elif not hasattr(connection, "request"):
                connection.drop()  # it has asked for nothing yet, and may never do so
        self._join(threads, timeout)
        with self._lock:
            threads = dict(self._threads)
        for connection in threads.values():
            connection.drop()
        self._join(threads, LAST)
        left = sum(thread.is_alive() for thread in threads)
        if left:
            self._logger.error("%d handlers do not end although their connections are closed", left)

    def _join(self, threads: dict[threading.Thread, Connection], timeout: float | None) -> None:
        end = None if timeout is None else monotonic() + timeout
        for thread in threads:
            thread.join(None if end is None else max(0.0, end - monotonic()))

    def wait_closed(self, timeout: float | None = None) -> bool:
        """Wait until :meth:`shutdown` was called, and every connection and handler has ended.

        Returns:
            Whether that was so within *timeout* seconds.
        """
        return self._done.wait(timeout)

    def serve_forever(self) -> None:
        """Serve until :meth:`shutdown` is called, or Ctrl-C is pressed; then shut down gently.

        Raises:
            KeyboardInterrupt: after Ctrl-C, when all is closed; a second Ctrl-C does not wait for that.
        """
        try:
            self.wait_closed()
        except BaseException:
            self.shutdown()
            self.wait_closed()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self.wait_closed()


def serve(
    handler: Handler,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    unix: str | os.PathLike[str] | None = None,
    sock: socket.socket | Sequence[socket.socket] | None = None,
    ssl: tls.SSLContext | None = None,
    reuse_port: bool = False,
    reuse_address: bool = os.name == "posix",
    backlog: int = 1024,
    # The opening handshake
    origins: Origins = "same",
    subprotocols: Sequence[str] = (),
    select_subprotocol: SelectSubprotocol | None = None,
    compression: Literal["deflate"] | Deflate | None = "deflate",
    process_request: ProcessRequest | None = None,
    process_response: ProcessResponse | None = None,
    basic_auth: BasicAuth | None = None,
    additional_headers: HeadersLike = (),
    server_header: str | None = SERVER,
    # Limits
    max_size: int | None = 1 << 20,
    max_queue: int | None = 64,
    # Timeouts
    ping_interval: float | None = 20.0,
    ping_timeout: float | None = 20.0,
    idle_timeout: float | None = None,
    open_timeout: float | None = 10.0,
    close_timeout: float | None = 10.0,
    logger: logging.Logger | None = None,
) -> Server:
    """Accept connections: ``with serve(handler, "127.0.0.1", 8080) as server: server.serve_forever()``.

    It listens when this returns. Each connection has a thread, which does the opening handshake and runs the
    handler.

    Parameters:
        handler: a function that is called for each connection, in its thread. The connection is closed with
            1000 when it returns, with 1011 when it raises.
        host: where to listen: a name, an address or a list of them, None for all interfaces.
        port: the port to listen on; 0 takes any free one.
        unix: listen on a Unix socket at this path instead.
        sock: listen on this socket, or on these, instead.
        ssl: serve ``wss`` with this ``ssl.SSLContext``.
        reuse_address: listen although earlier connections of the port linger (``SO_REUSEADDR``).
        reuse_port: let other processes listen on the same port (``SO_REUSEPORT``).
        backlog: connections that the system may hold until they are accepted.
        origins: pages that may connect. ``"same"``, the default: those whose origin has the host and port of
            the request; a list of origins, patterns (``re.Pattern``) and None (no ``Origin`` header); or
            None: any.
        subprotocols: those the server speaks, preferred first.
        select_subprotocol: called with the request and the subprotocols offered; returns one or None.
        compression: ``"deflate"``, a :class:`Deflate` for its parameters, or None.
        max_size: bytes of the largest message received (None: no limit); a larger one closes with 1009.
        max_queue: messages received that may wait for ``recv``; with more, reading pauses.
        ping_interval: seconds of silence after which a peer is pinged; None: never.
        ping_timeout: seconds in which it must answer; None: for ever.
        idle_timeout: seconds without a message after which the connection is closed; None: never.
        open_timeout: seconds that the opening handshake, TLS included, may take.
        close_timeout: seconds that the closing handshake may take.
        process_request: called with the connection and the :class:`Request` before anything else; may return
            a :class:`Response`, which is sent instead of opening.
        process_response: called with the connection, the request and the 101 :class:`Response` before that is
            sent; may change it or return another.
        basic_auth: who may connect, by :func:`everwire.basic_auth`; asked before ``process_request``.
        additional_headers: headers to add to 101 responses.
        server_header: the header ``Server``; None: none.
        logger: instead of ``logging.getLogger("everwire.server")``.

    Raises:
        OSError: the address cannot be listened on; the message says why.
        ValueError, TypeError: an option does not make sense.
    """
    check_handler(handler)
    where = Where(
        host=host,
        port=port,
        unix=unix,
        sock=sock,
        backlog=backlog,
        reuse_port=reuse_port,
        reuse_address=reuse_address,
    )
    if open_timeout is not None and not open_timeout > 0:
        raise ValueError(f"open_timeout must be more than 0 seconds, or None for no limit: {open_timeout!r}")
    limits = Limits(
        max_size=max_size,
        max_queue=max_queue,
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        idle_timeout=idle_timeout,
        close_timeout=close_timeout,
        logger=logger if logger is not None else logging.getLogger("everwire.server"),
    )
    handshake = ServerHandshake(
        origins=origins,
        subprotocols=subprotocols,
        select_subprotocol=select_subprotocol,
        compression=as_deflate(compression),
        additional_headers=additional_headers,
        server_header=server_header,
    )
    admission = Admission(
        handler,
        handshake,
        context=ssl,
        process_request=[hook for hook in (basic_auth, process_request) if hook is not None],
        process_response=process_response,
        open_timeout=open_timeout,
        logger=limits.logger,
    )
    return Server(background.call(where.sockets, None), admission, limits, path=where.path)


def check_handler(handler: object) -> None:
    """Raise TypeError unless it is a plain function, or the like."""
    if not callable(handler):
        raise TypeError(f"the handler is a function, not {type(handler).__name__}")
    if inspect.iscoroutinefunction(handler):
        raise TypeError("the handler is a plain function: for coroutines use everwire.serve")
