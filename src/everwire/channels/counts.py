"""What a node counts as it works: plain numbers, for those who watch it."""

from __future__ import annotations

from collections import Counter

__all__ = ["Counts"]


class Counts:
    """Counts since the node was made. They only grow, but for *subscriptions* and *engine_available*.

    What is sent is counted when it is given to the transport, in bytes of the client protocol: what
    WebSocket, TLS and compression make of it is not in it, and pings are not.

    Attributes:
        opened: sessions that transports have begun.
        turned_away: clients that were answered with 503 before that, since they came too fast, or to a node
            that is drained.
        subscriptions: those that there are now.
        refused: of those, at *connection_limit*, or while the hub closes.
        messages_received, bytes_received: commands of clients.
        messages_sent, bytes_sent: answers and pushes, to each client that one was sent to.
        published, publish_errors: publications that the engine has taken, or has not.
        delivered: publications that the engine has told of, in channels that are followed here.
        recovered, unrecovered: subscriptions that asked for what they had missed, and got it or did not.
        insufficient: subscriptions that were told that publications are missing.
        engine_reads: reads of logs.
        disconnects: sessions that have ended, by code; 3000: the client has gone.
        engine_available: what the engine has said last.
    """

    __slots__ = (
        "bytes_received",
        "bytes_sent",
        "delivered",
        "disconnects",
        "engine_available",
        "engine_reads",
        "insufficient",
        "messages_received",
        "messages_sent",
        "opened",
        "publish_errors",
        "published",
        "recovered",
        "refused",
        "subscriptions",
        "turned_away",
        "unrecovered",
    )

    def __init__(self) -> None:
        self.opened = 0
        self.refused = 0
        self.turned_away = 0
        self.subscriptions = 0
        self.messages_received = 0
        self.bytes_received = 0
        self.messages_sent = 0
        self.bytes_sent = 0
        self.published = 0
        self.publish_errors = 0
        self.delivered = 0
        self.recovered = 0
        self.unrecovered = 0
        self.insufficient = 0
        self.engine_reads = 0
        self.disconnects: Counter[int] = Counter()
        self.engine_available = True

    @property
    def connections(self) -> int:
        """Sessions that there are now."""
        return self.opened - self.disconnects.total()

    def came_back(self, *, recovered: bool) -> None:
        """A subscription has asked for what it had missed."""
        if recovered:
            self.recovered += 1
        else:
            self.unrecovered += 1

    def sent(self, frame: bytes, receivers: int = 1) -> None:
        """A frame was sent to so many."""
        self.messages_sent += receivers
        self.bytes_sent += receivers * len(frame)
