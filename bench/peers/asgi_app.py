"""The ASGI application that uvicorn and granian serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]
Send = Callable[[Event], Awaitable[None]]

subscribers: set[Send] = set()


async def lifespan(receive: Callable[[], Awaitable[Event]], send: Send) -> None:
    while True:
        event = await receive()
        await send({"type": event["type"] + ".complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def app(scope: Event, receive: Callable[[], Awaitable[Event]], send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    fan = scope["path"] == "/fan"
    if fan:
        subscribers.add(send)
    try:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            text = event.get("text")
            reply = {
                "type": "websocket.send",
                **({"bytes": event["bytes"]} if text is None else {"text": text}),
            }
            if fan:
                for subscriber in list(subscribers):
                    await subscriber(reply)
            else:
                await send(reply)
    finally:
        subscribers.discard(send)
