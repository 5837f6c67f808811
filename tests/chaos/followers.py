"""Who follows channels through the proxy, each over another transport, and keeps what it got."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

import everwire
from everwire.channels.engine import Position
from everwire.transports.tunnel.records import BINARY, CLOSE, NEXT, TEXT, Record, as_bytes
from everwire.wire.formats import codec
from everwire.wire.messages import Command, ConnectRequest, Publication, Reply, SubscribeRequest

HOST = "127.0.0.1"
PAUSE = 0.05
"""Seconds before a follower comes back."""
START = Position(0, "")
Lost = (OSError, httpx.HTTPError, everwire.EverwireError, TimeoutError)


@dataclass(slots=True)
class Got:
    """What came of a channel: runs of publications; a new one begins where some were told to be missing."""

    runs: list[list[tuple[int, Any]]] = field(default_factory=lambda: [[]])
    position: Position = START

    def take(self, offset: int, value: Any, epoch: str = "") -> None:
        """A publication."""
        self.runs[-1].append((offset, value))
        self.position = Position(offset, epoch or self.position.epoch)

    def told(self, position: Position) -> None:
        """It was told that some are missing, and from where it goes on."""
        self.runs.append([])
        self.position = position

    @property
    def count(self) -> int:
        return sum(map(len, self.runs))


class Follower:
    """One that follows channels.

    Attributes:
        transport: its name in the table.
        got: by channel.
        connections: how often it has connected.
        silence: seconds without anything after which a connection is taken to be lost.

    Parameters:
        ping: seconds between two pings of the server.
    """

    transport = ""

    def __init__(self, port: int, channels: tuple[str, ...], *, ping: float) -> None:
        self.port = port
        self.ping = ping
        self.silence = 1 + 2 * ping
        self.got = {channel: Got() for channel in channels}
        self.connections = 0

    async def run(self) -> None:
        """Follow, until cancelled."""
        while True:
            with contextlib.suppress(*Lost):
                await self.once()
            await asyncio.sleep(PAUSE)

    async def once(self) -> None:
        """Follow over one connection."""
        raise NotImplementedError

    def url(self, name: str, scheme: str = "http") -> str:
        return f"{scheme}://{HOST}:{self.port}/connection/{name}"


class ClientFollower(Follower):
    """By the client of the library."""

    def __init__(
        self, port: int, channels: tuple[str, ...], transport: str, format: Any, *, ping: float
    ) -> None:
        super().__init__(port, channels, ping=ping)
        self.transport = f"Client, {transport}, {format}"
        self._kind = transport
        self._format = format

    async def run(self) -> None:
        client = everwire.Client(
            self.url("websocket", "ws"),
            format=self._format,
            transports=(self._kind,),
            timeout=self.silence,
            open_timeout=self.silence,
            ready_timeout=None,
            max_ping_delay=self.ping,
            min_reconnect_delay=PAUSE,
            max_reconnect_delay=0.5,
        )
        client.on("connected", self._connected)
        async with client, asyncio.TaskGroup() as group:
            for channel in self.got:
                group.create_task(self._follow(client, channel))

    def _connected(self, event: object) -> None:
        self.connections += 1

    async def _follow(self, client: everwire.Client, channel: str) -> None:
        got = self.got[channel]
        subscription = client.subscribe(channel, since=START)
        while True:
            try:
                async for publication in subscription:
                    got.take(publication.offset, publication.data, publication.epoch)
            except everwire.Unrecovered:
                assert subscription.position is not None
                got.told(subscription.position)


class RawWebSocketFollower(Follower):
    """By plain WebSockets, one for each channel; their messages are payloads: a number, as the offset is."""

    transport = "raw WebSocket"

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for channel in self.got:
                group.create_task(self._follow(channel))

    async def _follow(self, channel: str) -> None:
        while True:
            with contextlib.suppress(*Lost):
                await self._once(channel)
            await asyncio.sleep(PAUSE)

    async def _once(self, channel: str) -> None:
        got = self.got[channel]
        since = f"{got.position.offset},{got.position.epoch}".rstrip(",")
        uri = f"{self.url('raw/' + channel, 'ws')}?since={since}"
        connecting = everwire.connect(
            uri,
            open_timeout=self.silence,
            close_timeout=0.5,
            ping_interval=self.ping,
            ping_timeout=self.ping,
        )
        async with connecting as ws:
            self.connections += 1
            try:
                async for message in ws:
                    got.take(got.position.offset + 1, json.loads(message))
            except everwire.ConnectionClosed as error:
                if error.code == 4410:
                    offset, _, epoch = error.reason.removeprefix("the log is at ").partition(",")
                    got.told(Position(int(offset), epoch))


class EventSourceFollower(Follower):
    """As an EventSource of a browser does it: one for each channel, with the last event's id."""

    transport = "raw EventSource"

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for channel in self.got:
                group.create_task(self._follow(channel))

    async def _follow(self, channel: str) -> None:
        async with http_client(self.silence) as http:
            while True:
                with contextlib.suppress(*Lost):
                    await self._once(http, channel)
                await asyncio.sleep(PAUSE)

    async def _once(self, http: httpx.AsyncClient, channel: str) -> None:
        got = self.got[channel]
        headers = {"Last-Event-ID": f"{got.position.offset},{got.position.epoch}".rstrip(",")}
        async with http.stream("GET", self.url("raw/" + channel), headers=headers) as response:
            if response.status_code != 200:
                return
            self.connections += 1
            async for event in events(response):
                if event.get("event") == "unrecovered":
                    got.told(Position(**json.loads(event["data"])))
                elif "data" in event:
                    offset, _, epoch = event["id"].partition(",")
                    got.take(int(offset), json.loads(event["data"]), epoch)


async def events(response: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """The events of a stream (WHATWG HTML, 9.2.6); one that is not whole is none."""
    event: dict[str, str] = {}
    rest = b""
    async for piece in response.aiter_raw():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            name, _, value = line.decode().rstrip("\r").partition(":")
            if name:
                event[name] = value.removeprefix(" ")
            elif not line.strip():
                if event:
                    yield event
                event = {}


def http_client(silence: float) -> httpx.AsyncClient:
    """A client that gives up a connection that is silent for so many seconds."""
    limits = httpx.Limits(max_keepalive_connections=2)
    return httpx.AsyncClient(timeout=silence, trust_env=False, verify=False, limits=limits)


class LongPollFollower(Follower):
    """By a tunnel and long polls. A poll that is lost is repeated; numbers tell what has come already."""

    def __init__(self, port: int, channels: tuple[str, ...], format: str, *, ping: float) -> None:
        super().__init__(port, channels, ping=ping)
        self.transport = f"long poll, {format}"
        self._codec = codec(format)

    async def run(self) -> None:
        async with http_client(self.silence) as http:
            while True:
                with contextlib.suppress(*Lost):
                    await Tunnel(http, self).follow()
                await asyncio.sleep(PAUSE)

    def commands(self) -> bytes:
        """Connect, and subscribe from where it is."""
        commands = [Command(id=1, connect=ConnectRequest())]
        for number, (channel, got) in enumerate(self.got.items(), 2):
            offset, epoch = got.position
            request = SubscribeRequest(channel=channel, recover=True, offset=offset, epoch=epoch)
            commands.append(Command(id=number, subscribe=request))
        return self._codec.encode_commands(commands)

    def frame(self, payload: bytes) -> list[bytes]:
        """Take what has come; return what is to be answered."""
        answers: list[bytes] = []
        for reply in self._codec.decode_replies(payload):
            if reply == Reply():
                answers.append(self._codec.pong)
            elif reply.error is not None:
                # The engine may not be there at the moment: it is tried again with a new tunnel.
                raise everwire.CommandError(reply.error.code, reply.error.message)
            elif reply.subscribe is not None:
                channel = list(self.got)[reply.id - 2]
                if not reply.subscribe.recovered:
                    self.got[channel].told(Position(reply.subscribe.offset, reply.subscribe.epoch))
                for publication in reply.subscribe.publications:
                    self._take(channel, publication, reply.subscribe.epoch)
                got = self.got[channel]
                got.position = Position(got.position.offset, reply.subscribe.epoch)
            elif reply.push is not None and reply.push.pub is not None:
                self._take(reply.push.channel, reply.push.pub, "")
            elif reply.push is not None and reply.push.unsubscribe is not None:
                raise everwire.Disconnected(reply.push.unsubscribe.code)
        return answers

    def _take(self, channel: str, publication: Publication, epoch: str) -> None:
        self.got[channel].take(publication.offset, json.loads(bytes(publication.data)), epoch)


class Tunnel:
    """One tunnel of such a follower."""

    def __init__(self, http: httpx.AsyncClient, follower: LongPollFollower) -> None:
        self._http = http
        self._follower = follower
        self._url = f"{follower.url('websocket')}?tunnel={secrets.token_hex(16)}"
        self._key = secrets.token_hex(16)
        self._polls = 0
        self._ack = 0
        self._sent = 0

    async def follow(self) -> None:
        """Follow until the tunnel is over."""
        binary = self._follower._codec.binary
        protocols = ["centrifuge-protobuf"] if binary else []
        if (await self._ask("open", protocols=protocols)) is None:
            return
        self._follower.connections += 1
        self._letter = BINARY if binary else TEXT
        await self._send(self._follower.commands())
        while True:
            self._polls += 1
            body = await self._ask("poll", poll=self._polls, ack=self._ack)
            if body is None:
                return
            number = 0
            for record in records(body):
                if record.kind == NEXT:
                    number = int(record.payload)
                elif record.kind in (TEXT, BINARY, CLOSE):
                    if number > self._ack:
                        self._ack = number
                        if record.kind == CLOSE:
                            return
                        for answer in self._follower.frame(record.payload):
                            await self._send(answer)
                    number += 1

    async def _send(self, payload: bytes) -> None:
        self._sent += 1
        await self._ask("send", Record(self._letter, payload), seq=self._sent, ack=self._ack)

    async def _ask(self, op: str, *sent: Record, **head: Any) -> bytes | None:
        """Ask, again if the answer is lost; None: there is no such tunnel any more."""
        for _ in range(20):
            line = json.dumps({"op": op, "key": self._key, **head}).encode()
            content = line + b"\n" + b"".join(map(as_bytes, sent))
            try:
                response = await self._http.post(self._url, content=content)
            except httpx.HTTPError:
                await asyncio.sleep(PAUSE)
                if "poll" in head:
                    self._polls += 1
                    head["poll"] = self._polls
                continue
            if response.status_code == 200:
                return response.content
            if response.status_code != 409 or op != "poll":
                return None
            self._polls += 1
            head["poll"] = self._polls
        return None


def records(body: bytes) -> list[Record]:
    """The records of a body."""
    found: list[Record] = []
    while body:
        end = 5 + int.from_bytes(body[1:5], "big")
        found.append(Record(body[:1], body[5:end]))
        body = body[end:]
    return found


KINDS: tuple[Callable[..., Follower], ...] = (
    functools.partial(ClientFollower, transport="websocket", format="json"),
    functools.partial(ClientFollower, transport="websocket", format="protobuf"),
    functools.partial(ClientFollower, transport="http_stream", format="json"),
    functools.partial(ClientFollower, transport="http_stream", format="protobuf"),
    functools.partial(ClientFollower, transport="sse", format="json"),
    functools.partial(LongPollFollower, format="json"),
    functools.partial(LongPollFollower, format="protobuf"),
    EventSourceFollower,
    RawWebSocketFollower,
)
"""A follower over each transport."""


def follower(number: int, port: int, channels: tuple[str, ...], *, ping: float, dense: bool) -> Follower:
    """The follower of this number: each transport has its turn.

    Parameters:
        ping: seconds between two pings of the server.
        dense: whether offsets have no gaps. Raw WebSockets do not tell them: without that, none is used.
    """
    kinds = KINDS if dense else KINDS[:-1]
    return kinds[number % len(kinds)](port, channels, ping=ping)
