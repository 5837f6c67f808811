"""The commands of a client that are about no subscription of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Raw

from everwire.client import events
from everwire.client.events import ClientInfo, Decoder, History, PresenceStats, Publication
from everwire.client.session import Session
from everwire.wire import messages as wire
from everwire.wire.position import Position

__all__ = ["Commands", "encoded"]


def encoded(value: Any) -> Raw:
    """A payload: bytes as they are, all else as JSON."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, bytes):
        return Raw(value)
    return Raw(msgspec.json.encode(value))


class Commands:
    """Commands and their answers. What they raise is the same for all.

    Raises:
        CommandError: the server refused; :exc:`~everwire.errors.Forbidden` and its like say what.
        Disconnected: the connection was lost before the answer came: whether the command was carried out is
            not known; or the client was disconnected for good.
        TimeoutError: there was no connection, or no answer, within ``timeout``.
        InvalidState: the client is not connected, and does not try to be.
        WireError: a payload is not of the format (JSON cannot carry other bytes).
    """

    _decoder: Decoder
    _timeout: float

    async def _connected(self) -> Session:
        raise NotImplementedError

    async def publish(self, channel: str, data: Any) -> None:
        """Publish to a channel; returns when the server has accepted it.

        Args:
            channel: the channel.
            data: the payload: ``bytes`` as they are, any other value as JSON.
        """
        request = wire.PublishRequest(channel=channel, data=encoded(data))
        await self._call(wire.Command(publish=request))

    async def rpc(self, method: str, data: Any = None) -> Any:
        """Call a method of the server's application, and return what it returns."""
        request = wire.RPCRequest(method=method, data=encoded(data))
        reply = await self._call(wire.Command(rpc=request))
        return None if reply.rpc is None else events.payload(reply.rpc.data, self._decoder)

    async def send(self, data: Any) -> None:
        """Send a message to the server's application, without an answer; waits if much is unsent."""
        session = await self._ready()
        session.send(wire.Command(send=wire.SendRequest(data=encoded(data))))
        await session.drain()

    async def history(
        self, channel: str, *, limit: int = 0, since: Position | None = None, reverse: bool = False
    ) -> History:
        """Read the log of a channel.

        Args:
            channel: the channel.
            limit: how many publications, at most; 0: none, only the log's position; below 0: all there are.
            since: the position after which to begin (before which, with *reverse*).
            reverse: the newest first.
        """
        request = wire.HistoryRequest(channel=channel, limit=limit, reverse=reverse)
        if since is not None:
            request.since = wire.StreamPosition(offset=since.offset, epoch=since.epoch)
        result = (await self._call(wire.Command(history=request))).history or wire.HistoryResult()
        publications = [
            Publication(channel, bytes(each.data), each, result.epoch, self._decoder)
            for each in result.publications
        ]
        return History(publications, Position(result.offset, result.epoch))

    async def presence(self, channel: str) -> dict[str, ClientInfo]:
        """Who is in a channel, by the ids of connections."""
        command = wire.Command(presence=wire.PresenceRequest(channel=channel))
        result = (await self._call(command)).presence or wire.PresenceResult()
        return {client: events.client_info(info, self._decoder) for client, info in result.presence.items()}

    async def presence_stats(self, channel: str) -> PresenceStats:
        """How many are in a channel."""
        command = wire.Command(presence_stats=wire.PresenceStatsRequest(channel=channel))
        result = (await self._call(command)).presence_stats or wire.PresenceStatsResult()
        return PresenceStats(result.num_clients, result.num_users)

    async def _call(self, command: wire.Command) -> wire.Reply:
        session = await self._ready()
        return await session.request(command)

    async def _ready(self) -> Session:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._connected()
        except TimeoutError:
            raise TimeoutError(f"there was no connection within {self._timeout:g} seconds") from None
