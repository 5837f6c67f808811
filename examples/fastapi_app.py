"""A FastAPI application whose WebSockets run on everwire: an echo at /echo, and a room for all at /room.

Run it with one of these:

    python fastapi_app.py
    everwire serve fastapi_app:app --port 8765
    uvicorn fastapi_app:app --port 8765 --ws everwire.asgi:UvicornProtocol
"""

import asyncio
import contextlib

from fastapi import FastAPI, WebSocket

import everwire
import everwire.asgi

app = FastAPI()
room = everwire.Topic()


@app.get("/people")
async def people() -> int:
    return len(room)


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@app.websocket("/room")
async def join(websocket: WebSocket) -> None:
    await websocket.accept()
    # One message to all of them is framed once; a connection leaves by itself when it ends.
    room.add(everwire.asgi.connection(websocket))
    async for text in websocket.iter_text():
        room.publish(text)


async def main() -> None:
    async with everwire.asgi.serve(app, "127.0.0.1", 8765) as server:
        print("Serving ws://127.0.0.1:8765, Ctrl-C stops it", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
