"""The events of a WebSocket (HTML, sections 8.1.4 and 9.1; WebSockets, section 6)."""

from __future__ import annotations

from typing import Any

from everwire.web.target import Event

__all__ = ["CloseEvent", "ErrorEvent", "MessageEvent"]


class MessageEvent(Event):
    """A message has come.

    Args:
        type: ``"message"``.
        data: the message.
        origin: where from.
        bubbles: see :class:`Event`.
        cancelable: see :class:`Event`.
    """

    def __init__(
        self,
        type: str,
        *,
        data: Any = None,
        origin: str = "",
        bubbles: bool = False,
        cancelable: bool = False,
    ) -> None:
        super().__init__(type, bubbles=bubbles, cancelable=cancelable)
        self._data = data
        self._origin = origin

    @property
    def data(self) -> Any:
        """The message: text as ``str``, binary as :class:`Blob` or ``bytes``, as ``binaryType`` says."""
        return self._data

    @property
    def origin(self) -> str:
        """The origin of the server: scheme, host and port."""
        return self._origin


class CloseEvent(Event):
    """The connection is closed.

    Args:
        type: ``"close"``.
        wasClean: whether close frames were sent and received.
        code: the peer's close code.
        reason: the peer's close reason.
        bubbles: see :class:`Event`.
        cancelable: see :class:`Event`.
    """

    def __init__(
        self,
        type: str,
        *,
        wasClean: bool = False,
        code: int = 0,
        reason: str = "",
        bubbles: bool = False,
        cancelable: bool = False,
    ) -> None:
        super().__init__(type, bubbles=bubbles, cancelable=cancelable)
        self._was_clean = wasClean
        self._code = code
        self._reason = reason

    def __repr__(self) -> str:
        details = f"code={self._code} reason={self._reason!r} wasClean={self._was_clean}"
        return f"<CloseEvent {self._type!r} {details}>"

    @property
    def wasClean(self) -> bool:
        """Whether close frames were sent and received."""
        return self._was_clean

    @property
    def code(self) -> int:
        """The peer's close code: 1005 if it sent none, 1006 if the connection was lost or never opened."""
        return self._code

    @property
    def reason(self) -> str:
        """The peer's close reason."""
        return self._reason


class ErrorEvent(Event):
    """Something failed. Printed, it says what.

    Browsers keep the reason from scripts, which may not be trusted; here it is the program's own business.

    Args:
        type: ``"error"``.
        message: what failed.
        error: the exception.
        bubbles: see :class:`Event`.
        cancelable: see :class:`Event`.
    """

    def __init__(
        self,
        type: str,
        *,
        message: str = "",
        error: BaseException | None = None,
        bubbles: bool = False,
        cancelable: bool = False,
    ) -> None:
        super().__init__(type, bubbles=bubbles, cancelable=cancelable)
        self._message = message
        self._error = error

    def __str__(self) -> str:
        return self._message or repr(self)

    @property
    def message(self) -> str:
        """What failed, in words."""
        return self._message

    @property
    def error(self) -> BaseException | None:
        """The exception that says what failed, of :mod:`everwire.errors` or of Python, or None."""
        return self._error
