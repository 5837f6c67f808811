"""aiohttp's web server, with its C speedups and the fastest zlib it knows."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import WSMsgType, web
from harness.arguments import BACKLOG, MAX_SIZE, parse
from zlib_ng import zlib_ng

arguments = parse()
subscribers: set[web.WebSocketResponse] = set()


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=arguments.deflate, max_msg_size=MAX_SIZE)
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def fan(request: web.Request) -> web.WebSocketResponse:
    ws = web.WebSocketResponse(compress=arguments.deflate, max_msg_size=MAX_SIZE)
    await ws.prepare(request)
    subscribers.add(ws)
    try:
        async for message in ws:
            for subscriber in subscribers:
                await subscriber.send_str(message.data)
    finally:
        subscribers.discard(ws)
    return ws


async def main() -> None:
    aiohttp.set_zlib_backend(zlib_ng)
    app = web.Application()
    app.router.add_get("/echo", echo)
    app.router.add_get("/fan", fan)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", arguments.port, ssl_context=arguments.ssl, backlog=BACKLOG).start()
    await asyncio.Event().wait()


arguments.run(main())
