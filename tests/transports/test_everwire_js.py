"""everwire.js in Node.js, through connections that are cut: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from channels.bus import nodes
from commands import Program
from conftest import Run
from interop.programs import node
from live import HOST
from proxies import LoopbackServer
from transports.tunnels import serving

from everwire.transports.tunnel import places

CLASSES = ("PollingWebSocket", "EventSourceWebSocket", "StreamingWebSocket")
PEER = Path(__file__).with_name("everwire_js_peer.mjs")
COUNT = 1500

pytestmark = pytest.mark.loops("asyncio")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, under a name by which every Node.js knows what it is."""
    copy = tmp_path_factory.mktemp("js") / "everwire.mjs"
    with resources.as_file(resources.files("everwire") / "js" / "everwire.js") as source:
        shutil.copy(source, copy)
    return copy


class Cutter(LoopbackServer):
    """Passes bytes on to servers, each connection to the next, and cuts it after some of them, by a seed."""

    def __init__(self, *ports: int, seed: int, least: int, most: int) -> None:
        super().__init__()
        self._targets = itertools.cycle(ports)
        self._random = random.Random(seed)
        self._between = least, most
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(HOST, next(self._targets))
        up, down = (self._random.randint(*self._between) for _ in "ud")
        pumps = [
            asyncio.ensure_future(self._pump(reader, there_writer, up)),
            asyncio.ensure_future(self._pump(there_reader, writer, down)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in pumps:
                each.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for each in (writer, there_writer):
                each.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, left: int) -> None:
        while data := await source.read(min(left, 65536)):
            sink.write(data)
            await sink.drain()
            left -= len(data)
            if not left:
                self.cuts += 1
                # What was passed on is to arrive, so that the cut is within a message and not before it.
                while sink.transport.get_write_buffer_size():
                    await asyncio.sleep(0)
                return


class Echo:
    """An application that sends back what comes, and notes whether it came in order."""

    def __init__(self) -> None:
        self.received = 0
        self.wrong: Any = None
        self.ended: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            message = event.get("text") or event["bytes"].decode()
            if int(message.split(" ", 1)[0]) != self.received:
                self.wrong = self.wrong or (self.received, message[:20])
            self.received += 1
            await send({**event, "type": "websocket.send"})
        self.ended.append((event["code"], event.get("reason")))


async def outcome(module: Path, kind: str, port: int, count: int = COUNT) -> dict[str, Any]:
    """Run the client, and return how it went, as it sees it."""
    url = f"ws://{HOST}:{port}/echo?x=1"
    with Program([node(), PEER, module.as_uri(), kind, url, str(count), "7"]) as program:
        assert await asyncio.to_thread(program.wait) == 0
        found = re.search(r"^\{.*\}$", program.output, re.M)
        assert found is not None, program.output
        result: dict[str, Any] = json.loads(found[0])
        return result


def check(result: dict[str, Any], echo: Echo, count: int = COUNT) -> None:
    """Everything came there and back, once and in order, and the end was told."""
    assert result["wrong"] is None
    assert result["received"] == count
    assert (result["code"], result["reason"], result["wasClean"]) == (3000, "done", True)
    assert result["left"] == 0
    assert (echo.received, echo.wrong) == (count, None)
    assert echo.ended == [(3000, "done")]


@pytest.mark.parametrize(
    ("kind", "server"), [*((kind, "everwire") for kind in CLASSES), (CLASSES[0], "uvicorn")]
)
def test_cuts_lose_nothing(run: Run, module: Path, kind: str, server: str) -> None:
    async def main() -> None:
        echo = Echo()
        async with (
            serving(server, echo) as (_, port),
            Cutter(port, seed=11, least=2000, most=80_000) as cutter,
        ):
            check(await outcome(module, kind, cutter.port), echo)
            assert cutter.cuts >= 20

    run(main, timeout=40)


@pytest.mark.parametrize("kind", ["PollingWebSocket", "StreamingWebSocket"])
def test_nothing_is_lost_between_two_nodes(
    run: Run, module: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection goes to the other node, and is cut; every ninth message between the nodes is lost."""
    monkeypatch.setattr(places, "MARGIN", 0.3)

    async def main() -> None:
        echo = Echo()
        options = {"poll_timeout": 0.3, "timeout": 10.0}
        async with (
            nodes(2) as (one, two),
            serving("everwire", echo, peers=one.cluster, **options) as (_, first),
            serving("everwire", echo, peers=two.cluster, **options) as (_, second),
            Cutter(first, second, seed=11, least=2000, most=80_000) as cutter,
        ):
            one.engine.loses = two.engine.loses = 9
            check(await outcome(module, kind, cutter.port, 600), echo, 600)
            assert cutter.cuts >= 10
            assert min(hub.engine.lost for hub in (one, two)) >= 3

    run(main, timeout=40)
