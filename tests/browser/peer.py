"""The server of test_websocket.py: a blank page at ``/``, and WebSockets that do what their paths say.

It prints its port, and for each connection that closes one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys

import everwire

MiB = 1024 * 1024


async def handle(ws: everwire.Connection) -> None:
    """Do what the path says, then print how the connection ended."""
    path, query = ws.request.pathname, ws.request.query_params
    if path.startswith("/close/"):
        await ws.close(int(query["code"][0]), query["reason"][0])
    elif path == "/ping":
        latency = await ws.ping(b"are you there?")
        await ws.send(f"answered after {latency} s")
    elif path == "/count":
        for number in range(int(query["to"][0])):
            await ws.send(str(number))
    try:
        async for message in ws:
            await ws.send(message)
    except everwire.ConnectionClosedError:
        pass
    print(json.dumps({"path": path, "code": ws.close_code, "reason": ws.close_reason}), flush=True)


def page(connection: everwire.Connection, request: everwire.Request) -> everwire.Response | None:
    """A page of this origin, for the script of a test to run in."""
    if request.path == "/":
        return everwire.Response.of(200, "<!doctype html><title>peer</title>", {"Content-Type": "text/html"})
    return None


async def main(compression: str | None) -> None:
    """Serve until the process is ended."""
    async with everwire.serve(
        handle,
        "127.0.0.1",
        0,
        compression="deflate" if compression == "deflate" else None,
        subprotocols=["chat.v1", "chat.v0"],
        max_size=64 * MiB,
        max_backlog=128 * MiB,
        process_request=page,
    ) as server:
        print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
