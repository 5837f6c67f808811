"""The exceptions of the browser's API: what is wrong is told by their ``name`` (Web IDL, section 2.8.1)."""

from __future__ import annotations

from everwire.errors import EverwireError
from everwire.web.idl import scalar_values

__all__ = ["DOMException", "WebSocketError", "check_closing"]

CODES = {
    "SyntaxError": 12,
    "InvalidStateError": 11,
    "InvalidAccessError": 15,
    "AbortError": 20,
    "TimeoutError": 23,
    "QuotaExceededError": 22,
}
"""The codes that names have had since before there were names; those of newer names are 0."""

MAX_REASON = 123
"""Bytes of UTF-8 that a close frame has room for beside the code (RFC 6455, section 5.5)."""


class DOMException(EverwireError):
    """What the browser's API raises, with the names that web developers know.

    Attributes:
        name: what is wrong: ``"SyntaxError"`` (a URL, a subprotocol or a reason is not valid),
            ``"InvalidStateError"``, ``"InvalidAccessError"`` (a close code), ``"AbortError"`` and others.
        message: the same in words.
        code: the number that the name has for historical reasons, 0 if it has none.
    """

    def __init__(self, message: str = "", name: str = "Error") -> None:
        super().__init__(message, name)
        self.message = message
        self.name = name
        self.code = CODES.get(name, 0)

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.message else self.name


class WebSocketError(DOMException):
    """How a ``WebSocketStream`` ended if not cleanly; or, given to ``abort`` or ``cancel``, how it is to end.

    Attributes:
        closeCode: the close code, or None.
        reason: the close reason.

    Raises:
        DOMException: ``InvalidAccessError``: the code is neither 1000 nor 3000 to 4999. ``SyntaxError``: the
            reason is over 123 bytes.
    """

    def __init__(self, message: str = "", *, closeCode: int | None = None, reason: str = "") -> None:
        super().__init__(message, "WebSocketError")
        self.args = (message,)
        self.closeCode, self.reason = check_closing(closeCode, reason)

    @classmethod
    def received(cls, message: str, code: int, reason: str = "") -> WebSocketError:
        """The error of a connection that ended with a code that only a peer, or nobody, may send."""
        error = cls(message)
        error.closeCode, error.reason = code, reason
        return error


def check_closing(code: object, reason: str) -> tuple[int | None, str]:
    """The code and the reason to close with; a reason without a code goes with 1000.

    Lone surrogates in the reason become U+FFFD.

    Raises:
        DOMException: ``InvalidAccessError``: the code is neither 1000 nor 3000 to 4999. ``SyntaxError``: the
            reason is over 123 bytes of UTF-8.
    """
    if code is not None and not (isinstance(code, int) and (code == 1000 or 3000 <= code <= 4999)):
        raise DOMException(
            f"{code!r} is not a close code that a client may choose: 1000 or 3000 to 4999",
            "InvalidAccessError",
        )
    reason = scalar_values(reason)
    size = len(reason.encode())
    if size > MAX_REASON:
        raise DOMException(f"a close reason has at most {MAX_REASON} bytes, not {size}", "SyntaxError")
    if code is None and reason:
        code = 1000
    return code, reason
