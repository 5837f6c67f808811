"""Plays scenes against a server of the client protocol, and writes down what it answers, so that it compares.

A scene is a list of steps; a step is a tuple whose first item says what is done:

- ``("open", CLIENT)``: open a connection.
- ``("send", CLIENT, COMMAND, ...)``: send commands in one frame; they get ids 1, 2, ... unless they have one.
- ``("text", CLIENT, STRING)``: send a frame as it is; a scene with it is played in JSON only.
- ``("leave", CLIENT)``: close the connection.
- ``("wait", CLIENT, N)``: wait until N replies and pushes have come in all; N ``"close"``: for the end.
- ``("api", METHOD, PARAMETERS)``: a request to the server API.
- ``("pause", SECONDS)``: let time pass, for what expires.

In what is sent, ``@`` becomes a suffix that no scene before had, so that each begins with channels and users
of its own; ``{"jwt": CLAIMS}`` becomes a token (``exp`` counts from now); ``$client:N`` and ``$epoch:N`` are
what was named so. In what comes, ids, epochs, tokens' times and clocks are replaced by names, in the
order in which they appear.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import msgspec

import everwire
from everwire.wire.formats import codec as wire_codec
from everwire.wire.messages import Command

__all__ = ["API_KEY", "SECRET", "Outcome", "Scene", "Step", "play"]

SECRET = "a secret of the tests, long enough for SHA-256"
API_KEY = "test-api-key"

Step = tuple[Any, ...]
Outcome = dict[str, list[Any]]
"""What came of a scene: replies, pushes and the end by connection, and the answers of the server API."""

BARRIER = 1_000_000
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
WITHHELD = {"session": "<session>", "node": "<node>", "version": "<version>", "time": "<time>"}
TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What is played, against which configuration.

    Attributes:
        name: what it is about.
        steps: see the module.
        profile: the configuration.
    """

    name: str
    steps: Sequence[Step]
    profile: str = "main"

    @property
    def binary(self) -> bool:
        """Whether it can be played in Protobuf, too."""
        return all(step[0] != "text" for step in self.steps)


@dataclass(slots=True)
class Names:
    """The names of what a server makes up, in the order of its appearance."""

    suffix: str
    clients: dict[str, str] = field(default_factory=dict)
    epochs: list[str] = field(default_factory=list)

    def fill(self, value: Any) -> Any:
        """What is sent: the suffix, tokens and names in it replaced."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            if set(value) == {"jwt"}:
                return self._token(value["jwt"])
            return {self.fill(k): self.fill(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.fill(item) for item in value]
        return value

    def _text(self, text: str) -> str:
        if text.startswith("$epoch:"):
            return self.epochs[int(text[7:]) - 1]
        if text.startswith("$client:"):
            return next(uid for uid, name in self.clients.items() if name == f"<client {text[8:]}>")
        return text.replace("@", self.suffix)

    def _token(self, claims: Mapping[str, Any]) -> str:
        claims = self.fill(claims)
        key = claims.pop("key", SECRET)
        if "exp" in claims:
            claims["exp"] += int(time.time())
        return jwt.encode(claims, key, algorithm="HS256")

    def strip(self, value: Any, key: str = "") -> Any:
        """What has come: what servers make up replaced by names."""
        if isinstance(value, dict):
            return {self.strip(k): self.strip(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self.strip(item, key) for item in value]
        if key in WITHHELD:
            return WITHHELD[key]
        if key == "ttl" and value:
            return "<ttl>"
        if key == "epoch" and value:
            if value not in self.epochs:
                self.epochs.append(value)
            return f"<epoch {self.epochs.index(value) + 1}>"
        if isinstance(value, str):
            return UUID.sub(self._client, value).replace(self.suffix, "@")
        return value

    def _client(self, match: re.Match[str]) -> str:
        return self.clients.setdefault(match[0], f"<client {len(self.clients) + 1}>")


class Player:
    """One connection of a scene."""

    def __init__(self, ws: everwire.Connection, codec: Any, names: Names) -> None:
        self.ws = ws
        self.codec = codec
        self.names = names
        self.connected = False
        self.closed = False
        self.ids = itertools.count(1)
        self.seen: list[Any] = []
        self._barriers = itertools.count(BARRIER)

    async def send(self, commands: Sequence[dict[str, Any]]) -> None:
        """Send commands in one frame."""
        filled = [c if "id" in c or not c or "send" in c else {"id": next(self.ids), **c} for c in commands]
        if self.codec is not None:
            await self.put(self.codec.encode_commands([as_command(c) for c in filled]))
        else:
            await self.put("\n".join(json.dumps(c) for c in filled))

    async def put(self, frame: bytes | str) -> None:
        """Send a frame."""
        with contextlib.suppress(everwire.ConnectionClosed):
            await self.ws.send(frame)

    async def receive(self) -> list[Any]:
        """The replies of the next frame; none once the connection has ended."""
        try:
            async with asyncio.timeout(TIMEOUT):
                frame = await self.ws.recv()
        except TimeoutError:
            self.seen.append("silence")
            self.connected, self.closed = False, True
            return []
        except everwire.ConnectionClosed:
            if not self.closed:
                self.closed = True
                self.seen.append({"closed": [self.ws.close_code, self.ws.close_reason]})
            self.connected = False
            return []
        replies = self._decode(frame)
        if any("connect" in reply for reply in replies):
            self.connected = True
        self.seen += [self.names.strip(reply) for reply in replies if reply.get("id", 0) < BARRIER]
        return replies

    def _decode(self, frame: bytes | str) -> list[Any]:
        if self.codec is None:
            return [json.loads(line) for line in frame.splitlines() if line]
        return [as_json(reply) for reply in self.codec.decode_replies(frame)]

    async def settle(self) -> None:
        """Wait until all that was sent is answered."""
        if not self.connected and not self.closed:
            await self.receive()
        if self.connected:
            marker = next(self._barriers)
            await self.send([{"id": marker, "rpc": {"method": "barrier"}}])
            while self.connected:
                if any(reply.get("id") == marker for reply in await self.receive()):
                    break

    async def leave(self) -> None:
        """Close the connection; what comes to it from now on is not of interest."""
        await self.ws.close()
        self.connected, self.closed = False, True

    async def wait(self, count: int | str) -> None:
        """Wait for frames, or for the end."""
        if count == "close":
            while not self.closed:
                await self.receive()
        else:
            while len(self.seen) < int(count) and not self.closed:
                await self.receive()


def as_command(command: dict[str, Any]) -> Command:
    """A command as the codec has it."""
    return msgspec.json.decode(json.dumps(command), type=Command)


def as_json(value: Any) -> Any:
    """A reply as JSON has it: payloads that are JSON as what they say, others in Base64."""
    if isinstance(value, msgspec.Raw):
        data = bytes(value)
        try:
            return json.loads(data)
        except ValueError:
            return {"base64": base64.b64encode(data).decode()}
    if isinstance(value, msgspec.Struct):
        pairs = zip(value.__struct_fields__, value.__struct_defaults__, strict=True)
        found = ((name, getattr(value, name), default) for name, default in pairs)
        return {name: as_json(item) for name, item, default in found if not is_default(item, default)}
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [as_json(v) for v in value]
    return value


def is_default(value: Any, default: Any) -> bool:
    """Whether a field is left out in JSON: one that is empty, unless its default is made by a function."""
    if isinstance(value, msgspec.Raw):
        return not bytes(value)
    if getattr(default, "factory", list) not in (list, dict):
        return False
    return value is None or value in (False, 0, "") or value == [] or value == {}


@dataclass(slots=True)
class Stage:
    """A server, and the connections of a scene to it."""

    base: str
    codec: Any
    names: Names
    players: dict[str, Player] = field(default_factory=dict)
    answers: list[Any] = field(default_factory=list)

    async def step(self, step: Step) -> None:
        """Do a step."""
        kind, *rest = step
        if kind == "open":
            await self._open(rest[0])
        elif kind == "send":
            await self.players[rest[0]].send(self.names.fill(rest[1:]))
            await self.players[rest[0]].settle()
        elif kind == "text":
            await self.players[rest[0]].put(self.names.fill(rest[1]))
            await self.players[rest[0]].settle()
        elif kind == "leave":
            await self.players[rest[0]].leave()
        elif kind == "wait":
            await self.players[rest[0]].wait(rest[1])
        elif kind == "pause":
            await asyncio.sleep(rest[0])
        elif kind == "api":
            self.answers.append(self.names.strip(await self._request(*rest)))
        else:
            raise ValueError(f"no such step: {kind}")
        for player in self.players.values():
            if player.connected:
                await player.settle()

    def outcome(self) -> Outcome:
        """What has come of all steps."""
        came = {name: player.seen for name, player in self.players.items() if player.seen}
        return {**came, "api": self.answers} if self.answers else came

    async def _open(self, name: str) -> None:
        protocols = ["centrifuge-protobuf"] if self.codec is not None else None
        uri = self.base.replace("http", "ws", 1) + "/connection/websocket"
        ws = await everwire.connect(uri, subprotocols=protocols, proxy=None, ping_interval=None)
        self.players[name] = Player(ws, self.codec, self.names)

    async def _request(self, method: str, parameters: Any) -> Any:
        async with httpx.AsyncClient(base_url=self.base, trust_env=False) as http:
            answer = await http.post(
                f"/api/{method}", json=self.names.fill(parameters), headers={"X-API-Key": API_KEY}
            )
        try:
            body = answer.json()
        except ValueError:
            body = answer.text
        return {"status": answer.status_code, "body": body}

    async def close(self) -> None:
        """End all connections."""
        for player in self.players.values():
            await player.ws.close()


async def play(scene: Scene, base: str, wire: str) -> Outcome:
    """Play a scene in a format against the server at a base URL."""
    stage = Stage(base, None if wire == "json" else wire_codec(wire), Names(uuid.uuid4().hex[:8]))
    try:
        for step in scene.steps:
            await stage.step(step)
        return stage.outcome()
    finally:
        await stage.close()
