"""Who is in which channel, for as long as each says so again."""

from __future__ import annotations

from everwire.channels.engine import PresenceStats
from everwire.engines.deadlines import Deadlines
from everwire.wire.messages import ClientInfo

__all__ = ["Leases"]


class Leases:
    """The presence of one process: clients in channels, each until its time is over."""

    __slots__ = ("_channels", "_deadlines")

    def __init__(self) -> None:
        self._channels: dict[str, dict[str, ClientInfo]] = {}
        self._deadlines: Deadlines[tuple[str, str]] = Deadlines()

    def add(self, channel: str, info: ClientInfo, deadline: float) -> None:
        """Say that a client is in a channel until then."""
        self._channels.setdefault(channel, {})[info.client] = info
        self._deadlines.set((channel, info.client), deadline)

    def remove(self, channel: str, client: str) -> None:
        """Say that it has left, if it was there."""
        self._deadlines.discard((channel, client))
        clients = self._channels.get(channel)
        if clients is not None:
            clients.pop(client, None)
            if not clients:
                del self._channels[channel]

    def expire(self, now: float) -> float | None:
        """Remove those whose time is over; return when the next one's may be."""
        for channel, client in self._deadlines.pop(now):
            self.remove(channel, client)
        return self._deadlines.next

    def clear(self) -> None:
        """Remove all."""
        self._channels.clear()
        self._deadlines.clear()

    def clients(self, channel: str) -> dict[str, ClientInfo]:
        """Who is in a channel."""
        return dict(self._channels.get(channel, ()))

    def stats(self, channel: str) -> PresenceStats:
        """How many are in a channel."""
        clients = self._channels.get(channel, {})
        return PresenceStats(len(clients), len({info.user for info in clients.values()}))

    @property
    def channels(self) -> set[str]:
        """The channels in which somebody is."""
        return set(self._channels)
