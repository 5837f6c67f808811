"""The tail of a channel that this node follows: one subscription, and what comes through it."""

from __future__ import annotations

import re

from everwire.channels.engine import EngineEvents, Position
from everwire.engines.nats.frames import Frame, Kind, read

__all__ = ["NO_EPOCH", "Tail"]

NO_EPOCH = "-"
"""What a subject ends with in place of an epoch: of events that are in no log."""

_HEADERS = re.compile(rb"Nats-Sequence: (\d+)\r\n[^\r]*\r\nNats-Last-Sequence: (\d+)\r\n")


class Tail:
    """Tells a node of the events of a channel.

    Attributes:
        number: of its subscription.
    """

    __slots__ = ("_channel", "_events", "_mark", "_mark_offset", "number")

    def __init__(self, channel: str, events: EngineEvents) -> None:
        self.number = 0
        self._channel = channel
        self._events = events
        # The newest mark in the log, and where the log stands with it: what comes next names it as the
        # message before, but for nodes and clients it is the publication that was there.
        self._mark = 0
        self._mark_offset = 0

    def marked(self, number: int, offset: int) -> None:
        """There is a mark in the log."""
        if number > self._mark:
            self._mark, self._mark_offset = number, offset

    def on_message(self, subject: bytes, headers: bytes, data: bytes) -> None:
        """Something has come."""
        frame = read(data)
        found = _HEADERS.search(headers) if headers else None
        if found is None:
            self._on_event(frame)
            return
        number, before = int(found[1]), int(found[2])
        if frame.kind == Kind.MARK:
            self.marked(number, frame.time)
        elif frame.kind <= Kind.DELTA:
            if before == self._mark:
                before = self._mark_offset
            epoch = subject[subject.rindex(b".") + 1 :].decode()
            self._events.on_publication(
                self._channel,
                frame.publication(number),
                Position(number, epoch),
                before,
                frame.kind == Kind.DELTA,
            )

    def _on_event(self, frame: Frame) -> None:
        if frame.kind <= Kind.DELTA:
            self._events.on_publication(
                self._channel, frame.publication(0), Position(0, ""), 0, frame.kind == Kind.DELTA
            )
        elif (info := frame.info) is not None:
            if frame.kind == Kind.JOIN:
                self._events.on_join(self._channel, info)
            elif frame.kind == Kind.LEAVE:
                self._events.on_leave(self._channel, info)
