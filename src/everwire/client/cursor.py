"""Where a subscription is in the log of its channel, as far as the server's messages tell."""

from __future__ import annotations

from everwire.wire import messages as wire
from everwire.wire.codec import Codec
from everwire.wire.delta import apply_difference
from everwire.wire.position import Position

__all__ = ["Cursor"]

NOWHERE = Position(0, "_")
"""A position in a log that no channel has: a recovery from it fails, and says so."""


class Cursor:
    """The place up to which everything of a channel was received.

    Attributes:
        position: that place; None: not known, or there is no log.
        delta: whether payloads come as differences, as it was agreed.
    """

    __slots__ = ("_base", "_codec", "delta", "position", "recoverable")

    def __init__(self, codec: Codec, since: Position | None = None) -> None:
        self._codec = codec
        self._base = b""
        self.position = since
        self.recoverable = since is not None
        self.delta = False

    def fill(self, request: wire.SubscribeRequest) -> wire.SubscribeRequest:
        """Have a request ask for what comes after this place, if it can be known."""
        if self.recoverable and self.position is not None:
            request.recover = True
            request.offset, request.epoch = self.position
        return request

    def subscribed(self, result: wire.SubscribeResult) -> None:
        """Go on from where a result says: what it has of publications comes after that."""
        self.delta = result.delta
        if not result.recovered:
            # After a recovery the next difference may be to the publication received last.
            self._base = b""
        self.recoverable = result.recoverable
        has_log = result.recoverable or result.positioned
        self.position = Position(result.offset, result.epoch) if has_log else None

    def received(self, publication: wire.Publication) -> bytes | None:
        """Go on past a publication; returns its payload, whole, or None if it was received before.

        Raises:
            WireError: its payload is a difference that does not fit.
        """
        if self.position is not None and publication.offset:
            if publication.offset <= self.position.offset:
                return None
            data = self._whole(publication)
            self.position = Position(publication.offset, self.position.epoch)
            return data
        return self._whole(publication)

    def invalidate(self) -> None:
        """Believe nothing of it any more: the next recovery fails, and says so."""
        self._base = b""
        if self.recoverable:
            self.position = NOWHERE

    def reset(self) -> None:
        """Begin anew, without a recovery."""
        self.recoverable = False
        self.position = None

    def _whole(self, publication: wire.Publication) -> bytes:
        if not self.delta:
            return bytes(publication.data)
        whole = apply_difference(self._codec, self._base, publication)
        self._base = bytes(whole.data)
        return self._base
