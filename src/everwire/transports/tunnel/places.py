"""Where a tunnel is: here, or at another node that is asked for each step of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

from everwire.errors import CommandError, EngineError, NodeUnreachable, ProtocolError
from everwire.transports.tunnel.records import Record
from everwire.transports.tunnel.tunnel import Poll, Tunnel

__all__ = ["Batch", "Here", "Peers", "Place", "There", "Unreachable", "serve_others"]

BATCH = 1 << 18
"""Bytes of messages in one answer or part of it; a single message may be larger."""
MARGIN = 5.0
"""Seconds that another node has to answer, beyond those that it is to wait."""


class Peers(Protocol):
    """The other nodes: what the middleware needs of :class:`everwire.channels.cluster.Cluster`."""

    @property
    def node(self) -> str:
        """The id of this node."""
        ...

    def handle(self, op: str, handler: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Answer requests of other nodes."""
        ...

    async def call(self, node: str, op: str, data: bytes, *, timeout: float) -> bytes:
        """Ask another node."""
        ...


class Unreachable(Exception):
    """The node of a tunnel has not answered. What it did is not known: the client is to ask again."""


class Batch(NamedTuple):
    """What there is for a client.

    Attributes:
        records: the next ones; none: there is nothing yet.
        status: 200; 404: the tunnel is over; 409: the poll is not the newest.
        ended: whether nothing more comes of this poll: its client has gone, or a later one has taken its
            place.
    """

    records: Sequence[Record] = ()
    status: int = 200
    ended: bool = False


GONE = Batch(status=404, ended=True)
STALE = Batch(status=409, ended=True)


class Place(Protocol):
    """A tunnel, for one request. All raise Unreachable, and ProtocolError if the client is wrong."""

    async def send(self, ack: int, number: int, records: Sequence[Record]) -> int | None:
        """Give records from *number* on to the application; the last it has. None: the tunnel is gone."""
        ...

    async def fetch(self, poll: int, ack: int, start: int, seconds: float) -> Batch:
        """Wait for records from *start* on, for so many seconds; *ack* counts in the first call of a poll."""
        ...

    async def end(self, code: int, reason: str) -> None:
        """Close the tunnel."""
        ...

    def leave(self) -> None:
        """The client has gone: what is waited for is not needed any more."""
        ...


class Here:
    """A tunnel of this node."""

    def __init__(self, tunnel: Tunnel, patience: float) -> None:
        self._tunnel = tunnel
        self._patience = patience
        self._poll: Poll | None = None

    async def send(self, ack: int, number: int, records: Sequence[Record]) -> int | None:
        """Give records to the application, as far as it has room for them in time."""
        tunnel = self._tunnel
        tunnel.acknowledge(ack)
        for record in records:
            if not await tunnel.take(number, record, self._patience):
                break
            number += 1
        return tunnel.received

    async def fetch(self, poll: int, ack: int, start: int, seconds: float) -> Batch:
        """Wait for records."""
        tunnel, held = self._tunnel, self._poll
        if held is None:
            tunnel.acknowledge(ack)
            held = self._poll = None if tunnel.over else tunnel.hold(poll)
            if held is None:
                return GONE if tunnel.over else STALE
        return await _next(tunnel, held, start, seconds)

    async def end(self, code: int, reason: str) -> None:
        """Close it."""
        self._tunnel.end(code, reason)

    def leave(self) -> None:
        """Wake what waits."""
        if self._poll is not None:
            self._poll.gone = True
            self._poll.wake()


async def _next(tunnel: Tunnel, held: Poll, start: int, seconds: float) -> Batch:
    if tunnel.outbox.last < start and not (held.superseded or held.gone or tunnel.over):
        await held.wait(seconds)
        # What the application sends in one go, goes in one answer.
        await asyncio.sleep(0)
    if tunnel.over:
        return GONE
    if held.superseded or held.gone:
        return Batch(ended=True)
    return Batch(tunnel.outbox.batch(start, BATCH))


class Send(Struct, array_like=True):
    """Records for a tunnel of another node."""

    name: bytes
    key: str
    ack: int
    number: int
    records: Sequence[Record]


class Fetch(Struct, array_like=True):
    """The question what there is for a client; *begin*: it is the first one of this poll."""

    name: bytes
    key: str
    poll: int
    ack: int
    start: int
    seconds: float
    begin: bool


class End(Struct, array_like=True):
    """The end of a tunnel of another node."""

    name: bytes
    key: str
    code: int
    reason: str


class Told(Struct, array_like=True, omit_defaults=True):
    """What another node answers: *code* and *problem* if the client is wrong."""

    status: int = 200
    received: int = 0
    records: Sequence[Record] = ()
    ended: bool = False
    code: int = 0
    problem: str = ""


_encode = msgspec.msgpack.Encoder().encode
_told = msgspec.msgpack.Decoder(Told).decode


class There:
    """A tunnel of another node."""

    def __init__(self, peers: Peers, node: str, name: bytes, key: str, patience: float) -> None:
        self._peers = peers
        self._node = node
        self._name = name
        self._key = key
        self._patience = patience
        self._begun = False
        self._gone = False
        self._asking: asyncio.Task[bytes] | None = None

    async def send(self, ack: int, number: int, records: Sequence[Record]) -> int | None:
        """Give records to the application there."""
        told = await self._ask("send", Send(self._name, self._key, ack, number, records), self._patience)
        return None if told.status == GONE.status else told.received

    async def fetch(self, poll: int, ack: int, start: int, seconds: float) -> Batch:
        """Wait for records there."""
        begin, self._begun = not self._begun, True
        told = await self._ask(
            "fetch", Fetch(self._name, self._key, poll, ack, start, seconds, begin), seconds
        )
        return Batch(told.records, told.status, told.ended)

    async def end(self, code: int, reason: str) -> None:
        """Close it."""
        await self._ask("end", End(self._name, self._key, code, reason), 0.0)

    def leave(self) -> None:
        """Wait no longer; the other node finds out with the next poll, or in time."""
        self._gone = True
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, op: str, what: Send | Fetch | End, seconds: float) -> Told:
        if self._gone:
            return Told(ended=True)
        call = self._peers.call(self._node, f"tunnel.{op}", _encode(what), timeout=seconds + MARGIN)
        asking = self._asking = asyncio.ensure_future(call)
        try:
            await asyncio.wait((asking,))
        finally:
            asking.cancel()
            self._asking = None
        try:
            told = _told(asking.result())
        except asyncio.CancelledError:
            return Told(ended=True)
        except NodeUnreachable as error:
            if error.known:
                raise Unreachable(str(error)) from None
            return Told(status=GONE.status, ended=True)
        except (EngineError, CommandError, ValueError) as error:
            raise Unreachable(f"the node of the tunnel could not be asked: {error}") from None
        if told.problem:
            raise ProtocolError(told.problem, told.code)
        return told


def serve_others(peers: Peers, tunnels: dict[bytes, Tunnel], patience: float) -> None:
    """Answer for the tunnels of this node what others ask whom their clients have reached."""

    def find(what: Send | Fetch | End) -> Tunnel | None:
        tunnel = tunnels.get(what.name)
        # The client itself is heard with each request, not with each step of its stream.
        lives = not isinstance(what, Fetch) or what.begin
        return tunnel if tunnel is not None and tunnel.is_key(what.key, lives=lives) else None

    async def send(what: Send, tunnel: Tunnel) -> Told:
        received = await Here(tunnel, patience).send(what.ack, what.number, what.records)
        return Told(received=received or 0)

    async def fetch(what: Fetch, tunnel: Tunnel) -> Told:
        if what.begin:
            batch = await Here(tunnel, patience).fetch(what.poll, what.ack, what.start, what.seconds)
        else:
            held = tunnel.held(what.poll)
            batch = STALE if held is None else await _next(tunnel, held, what.start, what.seconds)
        return Told(batch.status, records=batch.records, ended=batch.ended)

    async def end(what: End, tunnel: Tunnel) -> Told:
        tunnel.end(what.code, what.reason)
        return Told()

    def handler(kind: type[Send] | type[Fetch] | type[End], work: Callable[..., Awaitable[Told]]) -> None:
        decode = msgspec.msgpack.Decoder(kind).decode

        async def handle(data: bytes) -> bytes:
            what = decode(data)
            tunnel = find(what)
            if tunnel is None:
                return _encode(Told(GONE.status, ended=True))
            try:
                return _encode(await work(what, tunnel))
            except ProtocolError as error:
                return _encode(Told(code=error.code, problem=str(error)))

        peers.handle(f"tunnel.{kind.__name__.lower()}", handle)

    handler(Send, send)
    handler(Fetch, fetch)
    handler(End, end)
