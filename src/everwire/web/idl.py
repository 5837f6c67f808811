"""Values as the browser's API takes them (Web IDL): text without lone surrogates, and buffers of any kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["as_message", "buffer_bytes", "message_size", "scalar_values"]


def scalar_values(text: str) -> str:
    """Text as it can be sent: pairs of surrogates put together, lone ones replaced by U+FFFD (USVString)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def buffer_bytes(data: Buffer) -> bytes:
    """The bytes of a buffer, copied unless they cannot change (BufferSource).

    Raises:
        TypeError: it is no buffer.
    """
    return data if type(data) is bytes else memoryview(data).tobytes()


def as_message(data: str | Buffer) -> str | bytes:
    """What is sent: a ``str`` as text, the bytes of a buffer as binary.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(data, str):
        return scalar_values(data)
    try:
        return buffer_bytes(data)
    except TypeError:
        kind = type(data).__name__
        raise TypeError(f"a message is str or bytes-like, or a Blob, not {kind}: convert it") from None


def message_size(message: str | bytes) -> int:
    """The bytes that a message has: a text is sent as UTF-8."""
    return len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())
