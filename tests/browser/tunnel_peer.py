"""The server of test_everwire_js.py: a blank page at ``/``, and WebSockets that do what their paths say.

It is an ASGI application behind tunnels, with a hub in it. It prints its port, and one line of JSON for each
WebSocket that ends and is not the hub's.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import everwire.asgi
from everwire.transports.tunnel import TunnelMiddleware

PAGE = b"<!doctype html><title>peer</title>"
FILES = {"/scenes.js": Path(__file__).with_name("scenes.js")}
hub = everwire.Hub(insecure=True)
hub.namespace("", history=100, ttl=300)
PROTOCOLS = ("chat.v1", "chat.v0")


async def talk(scope: Any, receive: Any, send: Any) -> None:
    """Do what the path says, echo, and print how it ended."""
    path, query = scope["path"], parse_qs(scope["query_string"].decode())
    await receive()
    if path == "/refuse":
        await send({"type": "websocket.close"})
        return
    chosen = next((each for each in PROTOCOLS if each in scope["subprotocols"]), None)
    await send({"type": "websocket.accept", "subprotocol": chosen})
    if path.startswith("/close/"):
        await send({"type": "websocket.close", "code": int(query["code"][0]), "reason": query["reason"][0]})
    elif path == "/count":
        for number in range(int(query["to"][0])):
            await send({"type": "websocket.send", "text": str(number)})
        if "close" in query:
            await send({"type": "websocket.close", "code": int(query["close"][0])})
    elif path == "/query":
        await send({"type": "websocket.send", "text": scope["query_string"].decode()})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
    ended = {"path": path, "code": event["code"], "reason": event.get("reason", "")}
    print(json.dumps(ended), flush=True)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The application, with a hub below ``/connection``."""
    if scope["type"] != "lifespan" and scope["path"].startswith("/connection/"):
        await hub(scope, receive, send)
    elif scope["type"] == "websocket":
        await talk(scope, receive, send)
    elif scope["type"] == "http":
        found = FILES.get(scope["path"])
        page = PAGE if found is None else found.read_bytes()
        kind = b"text/html" if found is None else b"text/javascript"
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(page))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": page})


async def main(port: int, poll_timeout: float) -> None:
    """Serve until the process is ended."""
    tunnels = TunnelMiddleware(app, max_size=1 << 24, poll_timeout=poll_timeout, timeout=2 * poll_timeout)
    options: Any = {
        "lifespan": "off",
        "access_log": False,
        "max_size": 1 << 24,
        "close_timeout": 1.0,
    }
    async with everwire.asgi.serve(tunnels, "127.0.0.1", port, **options) as server:
        print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
