"""What clients see and applications are told is what they see and are told under uvicorn, event by event."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from conftest import Run
from raw import BINARY, CONTINUATION, TEXT, dial

from asgi.places import Site
from asgi.scenes import Scene, compare

pytestmark = pytest.mark.filterwarnings("ignore:remove second argument of ws_handler:DeprecationWarning")

SCENES: list[type[Scene]] = []


def scene(kind: type[Scene]) -> type[Scene]:
    SCENES.append(kind)
    return kind


class Echoing(Scene):
    """An application that sends back what comes."""

    accept: Any = {"type": "websocket.accept"}

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(self.accept)
        while (event := await receive())["type"] == "websocket.receive":
            await send({**event, "type": "websocket.send"})


# The opening


@scene
class TheScope(Scene):
    options = {"root_path": "/root"}
    apart = {
        "websockets": "it cannot read a header in ISO 8859-1",
        "wsproto": "it takes the headers of the handshake out",
    }

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        kept = {
            key: scope[key]
            for key in ("type", "http_version", "scheme", "root_path", "path", "raw_path", "query_string")
        }
        names = sorted(name for name, _ in scope["headers"])
        custom = [value for name, value in scope["headers"] if name == b"x-custom"]
        self.told.append((kept, scope["subprotocols"], names, custom, scope["state"]))
        self.told.append((scope["asgi"]["version"], scope["server"][0], scope["client"][0]))
        self.told.append(("websocket.http.response" in scope["extensions"],))
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "b"})
        await receive()

    async def visit(self, site: Site) -> None:
        headers = [("X-Custom", "caf\xe9"), ("x-custom", "two")]
        ws = await self.open(
            site, "/caf%C3%A9/%2F?a=%20b&c", subprotocols=["a", "b"], additional_headers=headers
        )
        assert ws is not None
        await ws.close()


@scene
class AcceptedWithSubprotocolAndHeaders(Echoing):
    accept = {
        "type": "websocket.accept",
        "subprotocol": "chat.v2",
        "headers": [(b"x-one", b"1"), (b"x-two", b"2"), (b"x-name", "caf\xe9".encode("latin-1"))],
    }

    apart = {"websockets": "it encodes headers in UTF-8"}

    async def visit(self, site: Site) -> None:
        ws = await self.open(site, subprotocols=["chat.v1", "chat.v2"])
        assert ws is not None
        await ws.send("hello")
        self.seen.append((await ws.recv(),))
        await ws.close(3000, "done")


@scene
class AcceptedWithASubprotocolThatWasNotOffered(Scene):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "other"})

    apart = {"wsproto": "it refuses the event"}

    async def visit(self, site: Site) -> None:
        await self.open(site, subprotocols=["mine"])


@scene
class ClosedBeforeItIsAccepted(Scene):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000, "reason": "not you"})
        await receive()

    apart = {"websockets": "another Content-Type", "wsproto": "no Content-Type"}

    async def visit(self, site: Site) -> None:
        await self.open(site)


@scene
class DeniedWithAResponse(Scene):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"application/json"), (b"x-why", b"no ticket")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b'{"detail": "no ticket"}'})
        await receive()

    async def visit(self, site: Site) -> None:
        await self.open(site)


@scene
class DeniedWithAResponseInParts(Scene):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/html")]
        await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
        for part in (b"<p>", b"", b"later" * 1000):
            await send({"type": "websocket.http.response.body", "body": part, "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"</p>"})

    async def visit(self, site: Site) -> None:
        await self.open(site)


@scene
class AnApplicationThatFailsBeforeItAccepts(Scene):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise ValueError("broken")

    async def visit(self, site: Site) -> None:
        await self.open(site)


@scene
class AnApplicationThatEndsBeforeItAccepts(Scene):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def visit(self, site: Site) -> None:
        await self.open(site)


@scene
class AMessageBeforeItIsAccepted(Scene):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.send", "text": "too early"})

    async def visit(self, site: Site) -> None:
        await self.open(site)


@scene
class AClientThatVanishesBeforeItIsAccepted(Scene):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.reached.set()
        await receive()
        with contextlib.suppress(OSError):
            await send({"type": "websocket.accept"})

    async def visit(self, site: Site) -> None:
        async with dial(site.port) as peer:
            request = asyncio.ensure_future(peer.request())
            await self.reached.wait()
            peer.abort()
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await request

    apart = {"websockets": "receive waits until the application has accepted"}


@scene
class AnApplicationThatTakesItsTime(Echoing):
    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.05)
        await super().serve(scope, receive, send)

    async def visit(self, site: Site) -> None:
        ws = await self.open(site)
        assert ws is not None
        await ws.send("hello")
        self.seen.append((await ws.recv(),))
        await ws.close()


# Messages


class Exchange(Echoing):
    """A client that sends messages, and notes the answers."""

    messages: tuple[str | bytes, ...] = ()

    async def visit(self, site: Site) -> None:
        ws = await self.open(site, max_size=None)
        assert ws is not None
        for message in self.messages:
            await ws.send(message)
            answer = await ws.recv()
            self.seen.append((type(answer), len(answer), answer == message))
        await ws.close()


@scene
class TextAndBytes(Exchange):
    messages = ("", b"", "text", b"bytes", "\u20ac\U0001f600", bytes(range(256)))


@scene
class BigMessages(Exchange):
    messages = ("x" * (1 << 20), b"y" * ((1 << 20) + 1))


@scene
class Uncompressed(Exchange):
    options = {"ws_per_message_deflate": False}
    messages = ("text" * 100, b"bytes" * 100)


class Rawly(Echoing):
    """A client that works with frames, and notes those that come until the connection is over."""

    async def frames(self, peer: Any) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frame = await peer.read_frame()
                code = frame.code if frame.opcode == 8 else None
                self.seen.append((frame.opcode, code or frame.payload))
                if code is not None:
                    await peer.send_frame(8, frame.payload[:2])

    def codes(self) -> None:
        """Forget the reasons that the application was told: each library has its own words."""
        for i, note in enumerate(self.told):
            if note[0] == "event" and note[1]["type"] == "websocket.disconnect":
                self.told[i] = ("disconnect", note[1]["code"])


@scene
class Fragments(Rawly):
    async def visit(self, site: Site) -> None:
        async with dial(site.port) as peer:
            await peer.open()
            await peer.send_frame(TEXT, "fr\u20ac".encode()[:3], fin=False)
            await peer.send_frame(9, b"in between")
            await peer.send_frame(CONTINUATION, "fr\u20ac".encode()[3:] + b"ag", fin=False)
            await peer.send_frame(CONTINUATION, b"ment")
            await peer.send_frame(BINARY, b"", fin=False)
            await peer.send_frame(CONTINUATION, b"bin")
            for _ in range(3):
                frame = await peer.read_frame()
                self.seen.append((frame.opcode, frame.payload))
            await peer.send_frame(8, b"")
            await self.frames(peer)


@scene
class TextThatIsNotUtf8(Rawly):
    async def visit(self, site: Site) -> None:
        async with dial(site.port) as peer:
            await peer.open()
            await peer.send_frame(TEXT, b"\xff\xfe")
            await self.frames(peer)
        await self.ended.wait()
        self.codes()

    apart = {
        "websockets": "it says 1006 to the application",
        "wsproto": "it does not say why to the client",
    }


@scene
class AMessageOverTheLimit(Rawly):
    options = {"ws_max_size": 1000, "ws_per_message_deflate": False}

    async def visit(self, site: Site) -> None:
        async with dial(site.port) as peer:
            await peer.open()
            await peer.send_frame(BINARY, bytes(1000))
            await peer.read_frame()
            await peer.send_frame(BINARY, bytes(1001))
            await self.frames(peer)
        await self.ended.wait()
        self.codes()

    apart = {"websockets": "it says 1006 to the application"}


@scene
class AFrameThatIsNotMasked(Rawly):
    async def visit(self, site: Site) -> None:
        async with dial(site.port) as peer:
            await peer.open()
            await peer.send(b"\x81\x01x")
            await self.frames(peer)
        await self.ended.wait()
        self.codes()

    apart = {
        "websockets": "it says 1006 to the application",
        "wsproto": "it does not say why to the client",
    }


@pytest.mark.loops("asyncio")
@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__)
def test_parity(run: Run, caplog: pytest.LogCaptureFixture, kind: type[Scene]) -> None:
    run(lambda: compare(kind, caplog))
