"""A connection to a hub in the same process: frames arrive later, and those on the way can be lost."""

from __future__ import annotations

import asyncio
import collections

from everwire.channels.carrier import Feed, Origin, plain_feed
from everwire.channels.hub import Hub
from everwire.wire.formats import codec
from everwire.wire.messages import ConnectRequest
from model.client import Client


class LocalLink:
    """Both ends of a connection: a carrier for the hub, a link for the client."""

    transport = "local"
    emulated = False
    pings = True

    def __init__(self, hub: Hub, client: Client, format: str) -> None:
        self.codec = codec(format)
        self.unidirectional = "listens" in client.wishes
        self._client = client
        self._way: collections.deque[bytes | int] = collections.deque()
        self._open = True
        self.error: Exception | None = None
        self._session = hub.open(self, Origin())

    def feeds(self, codec: object) -> Feed:
        return plain_feed(codec)  # type: ignore[arg-type]

    # The hub's end

    def send(self, frame: bytes) -> None:
        self._put(frame)

    def close(self, code: int, reason: str) -> None:
        self._put(code)

    def _put(self, what: bytes | int) -> None:
        self._way.append(what)
        if len(self._way) == 1:
            asyncio.get_running_loop().call_soon(self._arrive)

    def _arrive(self) -> None:
        if not self._open:
            return
        what = self._way[0]
        if isinstance(what, int):
            self._open = False
            self._client.on_end(what)
        else:
            try:
                self._client.on_frame(what)
            except Exception as error:
                self.error = error
                self._open = False
        self._way.popleft()
        if self._way:
            asyncio.get_running_loop().call_soon(self._arrive)

    # The client's end

    async def cut(self) -> None:
        """Both ends find that the other is gone; what is on the way is lost."""
        self._open = False
        self._session.closed()

    async def start(self, request: ConnectRequest) -> None:
        """Say who it is, over a connection that only carries pushes."""
        await asyncio.sleep(0)
        if self._open:
            self._session.start(request)

    async def send_commands(self, frame: bytes) -> None:
        await asyncio.sleep(0)
        if self._open:
            self._session.receive(frame)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on the way."""
        return not self._way or not self._open
