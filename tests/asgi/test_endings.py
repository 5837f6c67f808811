"""How connections end, for both sides, is how they end under uvicorn; where not, it is said here."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from conftest import Run
from raw import TEXT, dial

from asgi.places import Site
from asgi.scenes import Scene, compare

pytestmark = pytest.mark.filterwarnings("ignore:remove second argument of ws_handler:DeprecationWarning")

SCENES: list[type[Scene]] = []


def scene(kind: type[Scene]) -> type[Scene]:
    SCENES.append(kind)
    return kind


class Accepting(Scene):
    """An application that accepts; what it does then is for the scenes to say."""

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await self.go_on(receive, send)

    async def go_on(self, receive: Any, send: Any) -> None:
        while (await receive())["type"] == "websocket.receive":
            pass

    async def visit(self, site: Site) -> None:
        ws = await self.open(site)
        assert ws is not None
        await self.rest(ws)


class ClientCloses(Accepting):
    """A client that closes with a code and a reason."""

    code, reason = 1000, ""

    async def visit(self, site: Site) -> None:
        ws = await self.open(site)
        assert ws is not None
        await ws.close(self.code, self.reason)
        self.seen.append(("closed", ws.close_code, ws.close_reason))


@scene
class TheClientClosesWith1000(ClientCloses):
    pass


@scene
class TheClientClosesWithAReason(ClientCloses):
    code, reason = 4999, "\u20ac" * 41


@scene
class TheClientGoesAway(ClientCloses):
    code = 1001


@scene
class TheClientClosesWithoutACode(Accepting):
    async def visit(self, site: Site) -> None:
        async with dial(site.port) as peer:
            await peer.open()
            await peer.send_frame(8)
            self.seen.append((await peer.read_close()).payload)


@scene
class TheClientVanishes(Accepting):
    apart = {"websockets": "it says 1006 to the application"}

    async def visit(self, site: Site) -> None:
        async with dial(site.port) as peer:
            await peer.open()
            peer.abort()


@scene
class TheClientVanishesAfterAMessage(Accepting):
    apart = {"websockets": "it says 1006 to the application"}

    async def visit(self, site: Site) -> None:
        async with dial(site.port) as peer:
            await peer.open()
            await peer.send_frame(TEXT, b"last words")
            await peer.close()


@scene
class TheApplicationSendsToAClientThatIsGone(Accepting):
    async def go_on(self, receive: Any, send: Any) -> None:
        await receive()
        with contextlib.suppress(OSError, RuntimeError):
            await send({"type": "websocket.send", "text": "too late"})

    async def visit(self, site: Site) -> None:
        ws = await self.open(site)
        assert ws is not None
        await ws.close(1001, "bye")

    apart = {"websockets": "it raises RuntimeError"}


@scene
class AnApplicationThatLetsTheErrorOfALateSendPass(Accepting):
    async def go_on(self, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.send", "text": "too late"})

    apart = {"websockets": "it raises RuntimeError"}

    async def visit(self, site: Site) -> None:
        ws = await self.open(site)
        assert ws is not None
        await ws.close(1000)


class ApplicationCloses(Accepting):
    """An application that closes, and listens on."""

    event: Any = {"type": "websocket.close"}

    async def go_on(self, receive: Any, send: Any) -> None:
        await send(self.event)
        await receive()


@scene
class TheApplicationCloses(ApplicationCloses):
    apart = {"websockets": "it says 1005 to the application"}


@scene
class TheApplicationClosesWithAReason(ApplicationCloses):
    event = {"type": "websocket.close", "code": 4321, "reason": "enough"}
    apart = {"websockets": "it says 1005 to the application"}


@scene
class TheApplicationClosesWithAReasonThatIsNone(ApplicationCloses):
    event = {"type": "websocket.close", "code": 1008, "reason": None}
    apart = {"websockets": "it says 1005 to the application"}


@scene
class TheApplicationSendsAfterItHasClosed(Accepting):
    async def go_on(self, receive: Any, send: Any) -> None:
        await send({"type": "websocket.close", "code": 4000})
        with contextlib.suppress(RuntimeError):
            await send({"type": "websocket.send", "text": "too late"})
        with contextlib.suppress(RuntimeError):
            await send({"type": "websocket.close"})


@scene
class TheApplicationAcceptsTwice(Accepting):
    async def go_on(self, receive: Any, send: Any) -> None:
        with contextlib.suppress(RuntimeError):
            await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})


@scene
class TheApplicationSendsWhatNobodyKnows(Accepting):
    async def go_on(self, receive: Any, send: Any) -> None:
        with contextlib.suppress(RuntimeError):
            await send({"type": "websocket.sned", "text": "?"})
        await send({"type": "websocket.send", "text": "!"})
        await send({"type": "websocket.close"})


@scene
class MessagesBeforeTheClose(Accepting):
    async def go_on(self, receive: Any, send: Any) -> None:
        for i in range(20):
            await send({"type": "websocket.send", "text": f"{i}" * 100})
        await send({"type": "websocket.close", "code": 1000, "reason": "that was all"})


@scene
class AnApplicationThatFails(Accepting):
    async def go_on(self, receive: Any, send: Any) -> None:
        await send({"type": "websocket.send", "text": "before"})
        raise ValueError("broken")

    # uvicorn drops the connection, which tells the client nothing.
    ours = {"seen": [("open", None, []), ("message", "before"), ("closed", 1011, "internal error")]}


@scene
class AnApplicationThatEnds(Accepting):
    async def go_on(self, receive: Any, send: Any) -> None:
        await send({"type": "websocket.send", "text": "all"})

    # uvicorn drops the connection, which tells the client nothing.
    ours = {"seen": [("open", None, []), ("message", "all"), ("closed", 1000, "")]}


@scene
class TheServerStops(Accepting):
    async def visit(self, site: Site) -> None:
        ws = await self.open(site)
        assert ws is not None
        site.stop()
        await self.rest(ws)


@scene
class TheServerStopsBeforeTheApplicationAccepts(Scene):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.reached.set()
        event = await receive()
        self.told[-1] = (event["type"],)

    async def visit(self, site: Site) -> None:
        opening = asyncio.ensure_future(self.open(site))
        await self.reached.wait()
        site.stop()
        await opening

    apart = {"websockets": "it leaves the application waiting"}


@pytest.mark.loops("asyncio")
@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__)
def test_endings(run: Run, caplog: pytest.LogCaptureFixture, kind: type[Scene]) -> None:
    run(lambda: compare(kind, caplog))
