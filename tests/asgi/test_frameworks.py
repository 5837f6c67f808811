"""Applications of Starlette and FastAPI do under everwire what they do under uvicorn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Run
from fastapi import Depends, FastAPI, HTTPException, Query, WebSocket, WebSocketException
from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket as StarletteWebSocket
from starlette.websockets import WebSocketDisconnect

from asgi.places import Site
from asgi.scenes import Scene, compare

pytestmark = pytest.mark.filterwarnings("ignore:remove second argument of ws_handler:DeprecationWarning")


# Starlette


class Rooms(WebSocketEndpoint):
    encoding = "json"

    async def on_connect(self, websocket: StarletteWebSocket) -> None:
        await websocket.accept(subprotocol="json", headers=[(b"x-room", b"1")])

    async def on_receive(self, websocket: StarletteWebSocket, data: Any) -> None:
        await websocket.send_json({"got": data})

    async def on_disconnect(self, websocket: StarletteWebSocket, close_code: int) -> None:
        websocket.scope["notes"].append(("on_disconnect", close_code))


async def all_texts(websocket: StarletteWebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text.upper())
    websocket.scope["notes"].append(("iter_text ended", websocket.client_state.name))


async def all_kinds(websocket: StarletteWebSocket) -> None:
    await websocket.accept()
    await websocket.send_json(await websocket.receive_json(), mode="binary")
    await websocket.send_bytes(await websocket.receive_bytes())
    try:
        await websocket.receive_text()
    except WebSocketDisconnect as exc:
        websocket.scope["notes"].append(("WebSocketDisconnect", int(exc.code), exc.reason))
    try:
        await websocket.send_text("too late")
    except (WebSocketDisconnect, RuntimeError) as exc:
        websocket.scope["notes"].append((type(exc).__name__,))


async def pushing(websocket: StarletteWebSocket) -> None:
    """Sends without receiving, until that fails."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text("x" * 1000)
            await asyncio.sleep(0)
    except WebSocketDisconnect as exc:
        websocket.scope["notes"].append(("WebSocketDisconnect", int(exc.code)))


async def refuse(websocket: StarletteWebSocket) -> None:
    await websocket.send_denial_response(JSONResponse({"error": "no"}, status_code=418, headers={"x-a": "b"}))


async def close_early(websocket: StarletteWebSocket) -> None:
    await websocket.close(4000, "no")


async def close_later(websocket: StarletteWebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("first")
    await websocket.close(4000, "enough")


async def http_exception(websocket: StarletteWebSocket) -> None:
    raise StarletteHTTPException(403, "forbidden", headers={"x-why": "because"})


async def receiving_what_is_not_text(websocket: StarletteWebSocket) -> None:
    await websocket.accept()
    try:
        await websocket.receive_text()
    except KeyError as exc:
        websocket.scope["notes"].append(("KeyError", str(exc)))
    await websocket.close()


STARLETTE = Starlette(
    routes=[
        WebSocketRoute("/rooms", Rooms),
        Mount("/inner", routes=[WebSocketRoute("/texts/{name}", all_texts)]),
        *(
            WebSocketRoute(f"/{handler.__name__}", handler)
            for handler in (
                all_texts,
                all_kinds,
                pushing,
                refuse,
                close_early,
                close_later,
                http_exception,
                receiving_what_is_not_text,
            )
        ),
    ]
)


# FastAPI

FASTAPI = FastAPI(middleware=[Middleware(lambda app: lambda *args: app(*args))])


async def ticket(websocket: WebSocket, token: str | None = Query(None)) -> str:
    if token is None:
        raise WebSocketException(1008, "a token is needed")
    if token == "old":
        raise HTTPException(401, "the token is too old")
    return token


@FASTAPI.websocket("/items/{item}")
async def items(websocket: WebSocket, item: int, token: str = Depends(ticket)) -> None:
    await websocket.accept()
    await websocket.send_json({"item": item, "token": token, "cookie": websocket.cookies.get("c")})
    async for data in websocket.iter_json():
        if data == "raise":
            raise WebSocketException(1003, "not that")
        if data == "fail":
            raise ValueError("broken")
        if data == "http":
            raise HTTPException(400, "too late for that")
        await websocket.send_json([data])


class Visit(Scene):
    """A client that opens a path, sends, notes as many answers, and closes or waits for the close."""

    application: Any = STARLETTE
    path = "/"
    connect: Any = {}
    sent: tuple[str | bytes, ...] = ()
    answers = 0
    close: tuple[int, str] | None = None

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        await self.application({**scope, "notes": self.told}, receive, send)

    async def visit(self, site: Site) -> None:
        ws = await self.open(site, self.path, **self.connect)
        if ws is None:
            return
        for message in self.sent:
            await ws.send(message)
        for _ in range(self.answers):
            self.seen.append(("message", await ws.recv()))
        if self.close is not None:
            await ws.close(*self.close)
        else:
            await self.rest(ws)


def visit(name: str, path: str, application: Any = STARLETTE, **attributes: Any) -> type[Visit]:
    return type(name, (Visit,), {"path": path, "application": application, **attributes})


def crash(*seen: Any, reason: str = "internal error") -> dict[str, Any]:
    """What clients see of a handler that fails: under uvicorn, the connection is dropped."""
    return {"seen": [("open", None, []), *seen, ("closed", 1011, reason)]}


ITEM = '{"item":3,"token":"t","cookie":"1"}'
COOKIE = {"additional_headers": {"Cookie": "c=1"}}

SCENES = [
    visit(
        "an endpoint with JSON",
        "/rooms",
        connect={"subprotocols": ["json"]},
        sent=('{"a": [1]}', '"\u20ac"'),
        answers=2,
        close=(1001, ""),
    ),
    visit(
        "an endpoint that is sent no JSON",
        "/rooms",
        connect={"subprotocols": ["json"]},
        sent=("{",),
        apart={"websockets": "it says so to the application at another time"},
    ),
    visit("iter_text", "/all_texts", sent=("a", "b", "c"), answers=3, close=(1000, "")),
    visit("a mounted route", "/inner/texts/ann", sent=("a",), answers=1, close=(4999, "bye")),
    visit(
        "JSON and bytes",
        "/all_kinds",
        sent=("[1]", b"\x00"),
        answers=2,
        close=(4001, "done"),
        apart={"websockets": "it raises RuntimeError to who sends too late"},
    ),
    visit("a handler that only sends", "/pushing", answers=1, close=(1000, "")),
    visit("a denial response", "/refuse"),
    visit(
        "closed before it is accepted",
        "/close_early",
        apart={"websockets": "another Content-Type", "wsproto": "no Content-Type"},
    ),
    visit("closed by the handler", "/close_later"),
    visit("an HTTPException", "/http_exception"),
    visit("bytes for text", "/receiving_what_is_not_text", sent=(b"x",)),
    visit(
        "a path that there is not",
        "/nowhere",
        apart={"websockets": "another Content-Type", "wsproto": "no Content-Type"},
    ),
    visit(
        "FastAPI: a handler",
        "/items/3?token=t",
        FASTAPI,
        connect=COOKIE,
        sent=("1",),
        answers=2,
        close=(1000, ""),
    ),
    visit(
        "FastAPI: a dependency that refuses",
        "/items/3",
        FASTAPI,
        apart={"websockets": "another Content-Type", "wsproto": "no Content-Type"},
    ),
    visit("FastAPI: a dependency that raises HTTPException", "/items/3?token=old", FASTAPI),
    visit(
        "FastAPI: a parameter that is not valid",
        "/items/three?token=t",
        FASTAPI,
        apart={"websockets": "another Content-Type", "wsproto": "no Content-Type"},
    ),
    visit(
        "FastAPI: WebSocketException later", "/items/3?token=t", FASTAPI, connect=COOKIE, sent=('"raise"',)
    ),
    visit(
        "FastAPI: an exception later",
        "/items/3?token=t",
        FASTAPI,
        connect=COOKIE,
        sent=('"fail"',),
        ours=crash(("message", ITEM)),
    ),
    visit(
        "FastAPI: HTTPException later",
        "/items/3?token=t",
        FASTAPI,
        connect=COOKIE,
        sent=('"http"',),
        ours=crash(("message", ITEM)),
    ),
]


@pytest.mark.loops("asyncio")
@pytest.mark.parametrize("kind", SCENES, ids=lambda kind: kind.__name__.replace(" ", "-"))
def test_frameworks(run: Run, caplog: pytest.LogCaptureFixture, kind: type[Scene]) -> None:
    run(lambda: compare(kind, caplog))
