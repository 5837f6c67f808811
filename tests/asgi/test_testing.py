"""The client of ASGI applications in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Run
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

import everwire
import everwire.asgi
from everwire.asgi.testing import connect

app = FastAPI()


@app.websocket("/echo/{name}")
async def echo(websocket: WebSocket, name: str, loud: bool = False) -> None:
    await websocket.accept(subprotocol="v1" if "v1" in websocket.scope["subprotocols"] else None)
    await websocket.send_text(f"hello {name.upper() if loud else name}")
    while True:
        await websocket.send_text(await websocket.receive_text())


@app.websocket("/fail")
async def fail(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive()
    raise ValueError("broken")


def test_messages(run: Run) -> None:
    async def main() -> None:
        async with connect(app, "/echo/ann?loud=1", subprotocols=["v1"]) as ws:
            assert ws.subprotocol == "v1"
            assert await ws.recv() == "hello ANN"
            await ws.send("one")
            assert await ws.recv() == "one"
        assert ws.close_code == 1000

    run(main)


def test_a_refusal_shows_status_headers_and_body(run: Run) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(
            {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-why", b"no ticket")]}
        )
        await send({"type": "websocket.http.response.body", "body": b"show it"})

    async def main() -> None:
        with pytest.raises(everwire.InvalidStatus) as caught:
            async with connect(refuse):
                pass
        response = caught.value.response
        assert (response.status, response.headers["x-why"], response.body) == (401, "no ticket", b"show it")

    run(main)


def test_what_the_application_raises_is_raised_here(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def early(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("early")

    async def main() -> None:
        with pytest.raises(KeyError, match="early"):
            async with connect(early):
                pass
        with pytest.raises(ValueError, match="broken"):
            async with connect(app, "/fail") as ws:
                await ws.send("now")
                await ws.recv()
        assert ws.close_code == 1011
        _forget(caplog)

    run(main)


def test_what_the_block_raises_comes_first(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        with pytest.raises(AssertionError, match="mine"):
            async with connect(app, "/fail"):
                raise AssertionError("mine")
        _forget(caplog)

    run(main)


def test_what_the_application_does_at_the_end_is_waited_for(run: Run) -> None:
    async def main() -> None:
        ends: list[int] = []

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            websocket = WebSocket(scope, receive, send)
            await websocket.accept()
            try:
                await websocket.receive_text()
            except WebSocketDisconnect as exc:
                await asyncio.sleep(0.02)
                ends.append(exc.code)

        async with connect(slow) as ws:
            await ws.close(4001)
        assert ends == [4001]

    run(main)


def test_an_application_that_does_not_end(run: Run) -> None:
    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(TimeoutError, match="did not end within"):
            async with connect(stuck, timeout=0.05):
                pass

    run(main)


def test_scope_and_lifespan(run: Run) -> None:
    async def main() -> None:
        events: list[str] = []

        async def looking(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                while len(events) != 2:
                    events.append((await receive())["type"])
                    scope["state"]["made"] = 1
                    await send({"type": f"{events[-1]}.complete"})
                return
            await send({"type": "websocket.accept"})
            await everwire.asgi.connection(scope).send(
                repr((scope["server"], scope["client"], scope["state"], scope["path"]))
            )

        async with connect(
            looking, "/x", lifespan="on", host="example.com:81", client=("10.0.0.1", 7), state={"given": 2}
        ) as ws:
            assert eval(await ws.recv(decode=True)) == (
                ("example.com", 81),
                ("10.0.0.1", 7),
                {"given": 2, "made": 1},
                "/x",
            )
        assert events == ["lifespan.startup", "lifespan.shutdown"]

    run(main)


def test_a_topic_reaches_handlers_of_a_framework(run: Run) -> None:
    async def main() -> None:
        topic = everwire.Topic()

        async def room(scope: Any, receive: Any, send: Any) -> None:
            websocket = WebSocket(scope, receive, send)
            await websocket.accept()
            topic.add(everwire.asgi.connection(websocket))
            async for text in websocket.iter_text():
                topic.publish(text)

        async with connect(room) as one, connect(room) as two:
            while len(topic) < 2:
                await asyncio.sleep(0)
            await one.send("to all")
            assert await one.recv() == await two.recv() == "to all"

    run(main)


def test_the_connection_under_another_server() -> None:
    with pytest.raises(RuntimeError, match="does not run under everwire"):
        everwire.asgi.connection({"type": "websocket", "extensions": {}})
    with pytest.raises(RuntimeError, match="type 'http'"):
        everwire.asgi.connection({"type": "http"})


def _forget(caplog: pytest.LogCaptureFixture) -> None:
    for record in caplog.records:
        record.exc_info = None  # a traceback would keep the connection alive
    caplog.clear()
