"""``WebSocket``, as browsers have it (WebSockets, section 3), on the same connection as ``connect``."""

# A WebSocket and its wire are one thing, in two objects for the sake of garbage collection:
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack

from everwire._core.connection import Connection
from everwire._core.status import SendStatus
from everwire.web.blob import Blob
from everwire.web.buffered import Buffered, frame_size
from everwire.web.events import CloseEvent, ErrorEvent, MessageEvent
from everwire.web.exceptions import DOMException, check_closing
from everwire.web.idl import as_message, message_size
from everwire.web.opening import (
    ConnectOptions,
    check_protocols,
    ended_cleanly,
    extensions,
    open,
    refusal,
    running_loop,
)
from everwire.web.queue import TaskQueue
from everwire.web.target import Event, EventHandler, EventTarget
from everwire.web.url import read_url, write_origin, write_url
from everwire.websocket.client import connect
from everwire.websocket.events import State
from everwire.websocket.listener import Listener

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["WebSocket"]

KEEPING = {
    State.CONNECTING: ("open", "message", "error", "close"),
    State.OPEN: ("message", "error", "close"),
    State.CLOSING: ("error", "close"),
    State.CLOSED: (),
}
"""The events whose listeners keep a WebSocket alive in each state (WebSockets, section 7)."""


class WebSocket(EventTarget):
    """A WebSocket as in browsers; it connects by itself, and tells by events what happens.

    ::

        socket = everwire.WebSocket("ws://localhost:8080", ["soap", "xmpp"])
        socket.onopen = lambda event: socket.send("Hello")
        socket.onmessage = lambda event: print(event.data)

    The events are ``open``, ``message``, ``error`` and ``close``, in an order that the standard defines; an
    ``error`` is always followed by ``close``. Listeners may be coroutine functions:
    see :meth:`addEventListener`; when ``max_queue`` of them are under way, nothing more is read.

    It needs a running event loop. While it is open and has listeners, it stays alive even if nobody refers to
    it; otherwise it is closed when it is garbage-collected.

    Args:
        url: a URL of the scheme ws, wss, http (for ws) or https (for wss), or what has one as its ``str()``.
        protocols: a subprotocol or several to offer, the preferred ones first. The server has to accept one.
        options: those of :class:`everwire.connect`, but for ``subprotocols``, ``listener``, ``overflow``,
            ``backoff`` and ``create_connection``. ``max_redirects`` is 0.

    Raises:
        DOMException: ``SyntaxError``: the URL is not valid or has a fragment, or a subprotocol is not valid
            or is there twice.
        ValueError: options contradict each other or cannot be sent.
        RuntimeError: no event loop is running.
    """

    CONNECTING: Final = State.CONNECTING
    OPEN: Final = State.OPEN
    CLOSING: Final = State.CLOSING
    CLOSED: Final = State.CLOSED

    onopen: EventHandler[Event] = EventHandler("The function to call when the connection is open, or None.")
    onmessage: EventHandler[MessageEvent] = EventHandler("The function to call for each message, or None.")
    onerror: EventHandler[ErrorEvent] = EventHandler(
        "The function to call when the connection fails, or None."
    )
    onclose: EventHandler[CloseEvent] = EventHandler("The function to call when it is closed, or None.")

    def __init__(
        self, url: object, protocols: str | Iterable[str] = (), **options: Unpack[ConnectOptions]
    ) -> None:
        super().__init__()
        self._loop = running_loop("WebSocket")
        self._uri = read_url(url)
        self._protocols = check_protocols((protocols,) if isinstance(protocols, str) else protocols)
        self._state = State.CONNECTING
        self._protocol = self._extensions = ""
        self._binary_type: Literal["blob", "arraybuffer"] = "blob"
        self._queue = TaskQueue(self._loop)
        self._buffered = Buffered()
        self._turn: asyncio.Handle | None = None
        """What ends the turn of the event loop in which something was sent; the amount only grows in it."""
        self._paused = False
        self._connection: Connection | None = None
        self._failure: Exception | None = None
        """Why the connection is failed, where it is we who decide it."""
        wire = Wire(self)
        options.setdefault("max_redirects", 0)
        connector = connect(write_url(self._uri), subprotocols=self._protocols, listener=wire, **options)
        self._wire = wire
        wire.begin(self._loop.create_task(open(connector)))

    def __repr__(self) -> str:
        return f"<WebSocket {self._uri.without_query}, {self.readyState.name.lower()}>"

    def __del__(self) -> None:
        wire: Wire | None = getattr(self, "_wire", None)  # None if the constructor raised
        if wire is not None and self._state is not State.CLOSED:
            wire.abandon(self._loop, self._connection)

    @property
    def url(self) -> str:
        """The URL, with its user name and password."""
        return write_url(self._uri)

    @property
    def readyState(self) -> State:
        """``CONNECTING`` (0), ``OPEN`` (1), ``CLOSING`` (2) or ``CLOSED`` (3)."""
        connection = self._connection
        if (
            self._state is State.OPEN
            and connection is not None
            and not connection.is_open
            and not self._queue
        ):
            return State.CLOSING
        return self._state

    @property
    def protocol(self) -> str:
        """The subprotocol that the server accepted; an empty string if none was offered, and before."""
        return self._protocol

    @property
    def extensions(self) -> str:
        """The extensions that the server accepted; an empty string if there are none, and before."""
        return self._extensions

    @property
    def binaryType(self) -> Literal["blob", "arraybuffer"]:
        """What binary messages come as: ``"blob"`` (:class:`Blob`) or ``"arraybuffer"`` (``bytes``).

        Raises:
            ValueError: (when it is set) the value is another one.
        """
        return self._binary_type

    @binaryType.setter
    def binaryType(self, value: Literal["blob", "arraybuffer"]) -> None:
        if value not in ("blob", "arraybuffer"):
            raise ValueError(f"binaryType is 'blob' or 'arraybuffer', not {value!r}")
        self._binary_type = value

    @property
    def bufferedAmount(self) -> int:
        """Bytes of messages that were sent but not taken by the operating system yet.

        It grows with each ``send``, and shrinks between the turns of the event loop. What is sent once the
        connection is closing or closed stays in it for good. Of compressed messages it is an estimate.
        """
        if self._turn is None:
            self._settle()
        return self._buffered.amount

    def send(self, data: str | Buffer | Blob) -> None:
        """Send a message: a ``str`` as text; a :class:`Blob` or any bytes-like object as binary.

        It never waits: ``bufferedAmount`` tells what has not left. More than ``max_backlog`` bytes are not
        kept; then the connection is closed, with the events ``error`` and ``close``. Once it is closing or
        closed, the message is silently dropped. Lone surrogates in a text become U+FFFD.

        Raises:
            DOMException: ``InvalidStateError``: the connection is not open yet.
            TypeError: *data* is of another type.
        """
        if self._state is State.CONNECTING:
            raise DOMException("nothing can be sent before the event open", "InvalidStateError")
        message = as_message(bytes(data) if isinstance(data, Blob) else data)
        size = message_size(message)
        connection = self._connection
        if self._state is not State.OPEN or connection is None or not connection.is_open:
            self._buffered.discarded(size)
            return
        before = connection.buffered_amount
        if connection.send_nowait(message) is SendStatus.DROPPED:
            self._failure = DOMException(
                "more than max_backlog bytes are waiting to be sent", "QuotaExceededError"
            )
            self._state = State.CLOSING
            self._buffered.discarded(size)
            return
        frame = max(connection.buffered_amount - before, 0) if self._extensions else frame_size(size)
        self._buffered.sent(size, frame)
        if self._turn is None:
            self._turn = self._loop.call_soon(self._end_turn)

    def close(self, code: int | None = None, reason: str = "") -> None:
        """Begin the closing handshake; the event ``close`` tells its end. Closing again does nothing.

        Args:
            code: 1000, or 3000 to 4999; None to send none, or 1000 if there is a reason.
            reason: at most 123 bytes of UTF-8.

        Raises:
            DOMException: ``InvalidAccessError``: another code. ``SyntaxError``: the reason is too long.
        """
        code, reason = check_closing(code, reason)
        if self._state is State.OPEN and self._connection is not None:
            self._connection.close(code, reason)
        elif self._state is State.CONNECTING:
            self._failure = DOMException("it was closed before the connection was open", "AbortError")
            self._wire.cancel()
        else:
            return
        self._state = State.CLOSING
        self._listeners_changed()

    # What the wire tells

    def _on_open(self, connection: Connection) -> None:
        self._failure = self._failure or refusal(connection, self._protocols)
        if self._failure is not None:
            connection.abort()
            return
        self._connection = connection
        self._protocol = connection.subprotocol or ""
        self._extensions = extensions(connection)
        self._queue.post(self._opened)

    def _opened(self) -> None:
        self._state = State.OPEN
        self._listeners_changed()
        self._fire(Event("open"))

    def _on_message(self, message: str | bytes) -> None:
        self._queue.post(lambda: self._received(message))
        self._throttle()

    def _received(self, message: str | bytes) -> None:
        if self._state is State.OPEN:
            data = Blob.of(message) if isinstance(message, bytes) and self._binary_type == "blob" else message
            self._fire(MessageEvent("message", data=data, origin=write_origin(self._uri)))
        self._throttle()

    def _on_end(self, clean: bool, code: int, reason: str, error: BaseException | None) -> None:
        """The connection is over, or there never was one."""
        if clean:
            self._buffered.settle(0)
        if self._failure is not None or not clean:
            error = self._failure or error
            self._queue.post(lambda: self._failed(error))
        self._queue.post(lambda: self._closed(CloseEvent("close", wasClean=clean, code=code, reason=reason)))

    def _failed(self, error: BaseException | None) -> None:
        self._state = State.CLOSED
        self._fire(ErrorEvent("error", message=str(error) or type(error).__name__, error=error))

    def _closed(self, event: CloseEvent) -> None:
        self._state = State.CLOSED
        self._wire.keep = None
        self._fire(event)

    # Upkeep

    def _end_turn(self) -> None:
        self._turn = None
        self._settle()

    def _settle(self) -> None:
        connection = self._connection
        if connection is not None and not connection.closed:
            self._buffered.settle(connection.buffered_amount)

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        super()._start(coroutine)
        self._queue.hold()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        super()._finished(task)
        self._throttle()

    def _throttle(self) -> None:
        """Read no more while too many messages, or coroutines that handle them, are under way."""
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        crowded = len(self._queue) + len(self._tasks) >= connection.settings.max_queue
        if crowded != self._paused:
            self._paused = crowded
            (connection.pause_reading if crowded else connection.resume_reading)()

    def _listeners_changed(self) -> None:
        keeping = any(self._listeners.get(type) for type in KEEPING[self._state])
        self._wire.keep = self if keeping else None


class Wire(Listener):
    """What a connection tells, and to which WebSocket: one that is only kept if it has to be."""

    def __init__(self, socket: WebSocket) -> None:
        self.keep: WebSocket | None = None
        """The same WebSocket, while it must not be collected; kept by the connection, or by its opening."""
        self._socket = weakref.ref(socket)
        self._task: asyncio.Task[Connection] | None = None
        self._opened = False

    def begin(self, task: asyncio.Task[Connection]) -> None:
        """Hear of the end of the task that opens the connection."""
        self._task = task
        task.add_done_callback(self._settled)

    def cancel(self) -> None:
        """Call the opening off."""
        if self._task is not None:
            self._task.cancel()

    def abandon(self, loop: asyncio.AbstractEventLoop, connection: Connection | None) -> None:
        """The WebSocket is gone: close the connection. It may be any thread in which garbage is collected."""
        action: Callable[[], object] = self.cancel if connection is None else lambda: connection.close(None)
        with suppress(RuntimeError):  # the loop is closed: there is nothing left to do
            loop.call_soon_threadsafe(action)

    def _settled(self, task: asyncio.Task[Connection]) -> None:
        self._task = None
        socket = self._socket()
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None and socket is not None and not self._opened:
            socket._on_end(False, 1006, "", error)

    def on_open(self, ws: Connection) -> None:
        """The WebSocket is open."""
        self._opened = True
        socket = self._socket()
        if socket is None:
            ws.abort()
        else:
            socket._on_open(ws)

    def on_message(self, ws: Connection, message: str | bytes) -> None:
        """A message for the WebSocket."""
        socket = self._socket()
        if socket is not None:
            socket._on_message(message)

    def on_close(self, ws: Connection, code: int, reason: str) -> None:
        """The WebSocket is closed."""
        socket = self._socket()
        if socket is not None:
            error = ws.close_error
            cause = error.__cause__ if error is not None else None
            socket._on_end(ended_cleanly(ws), code, reason, cause or error)
