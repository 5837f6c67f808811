"""How much of what was sent has not left: ``bufferedAmount`` (WebSockets, section 3.1)."""

from __future__ import annotations

from collections import deque

__all__ = ["Buffered", "frame_size"]


def frame_size(size: int) -> int:
    """The size of a client's frame with a payload of *size* bytes (RFC 6455, section 5.2)."""
    return size + (6 if size < 126 else 8 if size < 1 << 16 else 14)


class Buffered:
    """Counts the bytes of messages, by what is known of the bytes of their frames."""

    __slots__ = ("_frames", "_messages", "amount")

    def __init__(self) -> None:
        self.amount = 0
        """Bytes of messages that were sent and have not left, as far as was known last; or never will."""
        self._messages: deque[tuple[int, int]] = deque()
        """What has not left, oldest first: the sizes of a message, or what is left of it, and its frame."""
        self._frames = 0
        """The size of all these frames."""

    def sent(self, size: int, frame: int) -> None:
        """A message was sent, in a frame of about this size."""
        self.amount += size
        self._frames += frame
        self._messages.append((size, frame))

    def discarded(self, size: int) -> None:
        """A message was sent when none could leave any more."""
        self.amount += size

    def settle(self, waiting: int) -> None:
        """Note that of all that was sent *waiting* bytes wait, the newest ones."""
        messages = self._messages
        while messages and self._frames - messages[0][1] >= waiting:
            size, frame = messages.popleft()
            self.amount -= size
            self._frames -= frame
        if messages and self._frames > waiting:
            size, frame = messages[0]
            left = frame - (self._frames - waiting)
            kept = min(size, left)
            self.amount -= size - kept
            self._frames = waiting
            messages[0] = (kept, left)
