"""What ``send_nowait`` answers."""

import enum

__all__ = ["SendStatus"]


class SendStatus(enum.Enum):
    """What became of a message given to ``send_nowait``; true in a condition unless it was dropped."""

    SENT = "sent"
    """Taken; what waits to be sent is within ``write_limit``."""
    BUFFERED = "buffered"
    """Taken, but the peer is behind: better wait for ``on_drain``."""
    DROPPED = "dropped"
    """Not taken: ``max_backlog`` was reached."""

    def __bool__(self) -> bool:
        return self is not SendStatus.DROPPED
