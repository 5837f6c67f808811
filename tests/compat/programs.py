"""Programs written for ``websockets``: each takes the library, and returns what a user of it would have seen.

They are run with ``websockets`` and with everwire in its place; what they return must be the same.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"

Library = Any
"""The module ``websockets``, or ``everwire.compat.websockets``."""

Seen = list[Any]
Program = Callable[[Library], Awaitable[Seen]]
PROGRAMS: list[Program] = []


def program(function: Program) -> Program:
    """Have a program run with both libraries."""
    PROGRAMS.append(function)
    return function


async def echo(ws: Any) -> None:
    async for message in ws:
        await ws.send(message)


def uri(server: Any, path: str = "/") -> str:
    return f"ws://{HOST}:{server.sockets[0].getsockname()[1]}{path}"


def ending(library: Library, exc: Any) -> tuple[Any, ...]:
    """What a ConnectionClosed tells."""
    kind = "OK" if isinstance(exc, library.ConnectionClosedOK) else "Error"
    assert isinstance(exc, library.exceptions.ConnectionClosed)
    assert isinstance(exc, library.WebSocketException)
    frames = [None if close is None else (close.code, close.reason) for close in (exc.rcvd, exc.sent)]
    return kind, *frames, exc.rcvd_then_sent


async def failure(library: Library, awaitable: Awaitable[object]) -> tuple[Any, ...]:
    """The end of the connection as something that waits for it is told."""
    try:
        await awaitable
    except library.ConnectionClosed as exc:
        return ending(library, exc)
    return ("nothing",)


@asynccontextmanager
async def connected(library: Library, handler: Any = echo, **options: Any) -> AsyncIterator[tuple[Any, Any]]:
    """A server, and a client's connection to it."""
    client = options.pop("client", {})
    async with (
        library.serve(handler, HOST, 0, **options) as server,
        library.connect(uri(server, "/path?query=1"), proxy=None, **client) as ws,
    ):
        yield server, ws


@program
async def messages(library: Library) -> Seen:
    seen: Seen = []
    async with connected(library) as (_, ws):
        for message in ("text", "", "Grüße 👋", b"bytes", b"", bytearray(b"array"), memoryview(b"view")):
            await ws.send(message)
            seen.append(await ws.recv())
        await ws.send(b"bytes as text", text=True)
        seen.append(await ws.recv())
        await ws.send("text as bytes", text=False)
        seen.append(await ws.recv())
        await ws.send("decoded")
        seen.append(await ws.recv(decode=False))
        await ws.send(b"decoded")
        seen.append(await ws.recv(decode=True))
        await ws.send(["frag", "ments"])
        seen.append(await ws.recv())

        async def parts() -> AsyncIterator[bytes]:
            yield b"one "
            yield b"two"

        await ws.send(parts())
        seen.append(await ws.recv())
        await ws.send(["stream", "ed"])
        seen.append("".join([part async for part in ws.recv_streaming()]))
        for wrong in ({"a": "mapping"}, 5, None):
            try:
                await ws.send(wrong)
            except TypeError:
                seen.append("TypeError")
    return seen


@program
async def what_is_known(library: Library) -> Seen:
    seen: Seen = []

    def look(ws: Any) -> None:
        seen.append((ws.request.path, ws.request.headers["Host"].partition(":")[0]))
        seen.append((ws.request.method, ws.request.protocol) if hasattr(ws, "server") else ())
        seen.append((ws.response.status_code, ws.response.reason_phrase, ws.response.headers["upgrade"]))
        seen.append((ws.subprotocol, ws.state, ws.state.name, ws.close_code, ws.close_reason))
        seen.append((ws.remote_address[0], ws.local_address[0], ws.latency, type(ws.id).__name__))
        seen.append(type(ws.logger).__name__)
        ws.anything = "of the user's"

    async def handler(ws: Any) -> None:
        look(ws)
        seen.append(ws in ws.server.connections)
        await ws.wait_closed()
        ended.set_result((ws.state.name, ws.close_code, ws.close_reason))

    ended: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()
    async with connected(library, handler) as (server, ws):
        look(ws)
        seen.append(len(server.connections))
        await ws.close(4000, "seen")
        seen.append((ws.state.name, ws.close_code, ws.close_reason))
        seen.append(await ended)
        seen.append(len(server.connections))
    return seen


@program
async def the_server_closes(library: Library) -> Seen:
    seen: Seen = []

    async def handler(ws: Any) -> None:
        code = int(await ws.recv())
        await ws.close(code, "because")
        seen.append(await failure(library, ws.recv()))
        seen.append(await failure(library, ws.send("late")))

    async with library.serve(handler, HOST, 0) as server:
        for code in (1000, 1001, 1008, library.CloseCode.INTERNAL_ERROR, 3000, 4999):
            async with library.connect(uri(server), proxy=None) as ws:
                await ws.send(str(int(code)))
                seen.append(await failure(library, ws.recv()))
                seen.append(await failure(library, ws.recv()))
                seen.append(await failure(library, ws.send("late")))
                seen.append(await failure(library, ws.ping()))
                seen.append((ws.close_code, ws.close_reason))
                await ws.close()
                await ws.wait_closed()
    return seen


@program
async def iteration_ends(library: Library) -> Seen:
    seen: Seen = []

    async def handler(ws: Any) -> None:
        await ws.send("one")
        await ws.send("two")
        await ws.close(1001 if ws.request.path == "/fine" else 1013)

    async with library.serve(handler, HOST, 0) as server:
        for path in ("/fine", "/busy"):
            async with library.connect(uri(server, path), proxy=None) as ws:
                try:
                    async for message in ws:
                        seen.append(message)
                except library.ConnectionClosedError as exc:
                    seen.append(ending(library, exc))
                seen.append((ws.close_code, ws.state.name))
    return seen


@program
async def handlers_end(library: Library) -> Seen:
    seen: Seen = []

    async def handler(ws: Any) -> None:
        if ws.request.path == "/raise":
            raise RuntimeError("on purpose")
        if ws.request.path == "/context":
            async with ws:
                raise ws.server.DoesNotExist

    logging.getLogger("websockets.server").disabled = True
    try:
        async with library.serve(handler, HOST, 0) as server:
            for path in ("/return", "/raise", "/context"):
                async with library.connect(uri(server, path), proxy=None) as ws:
                    kind, received, *_ = await failure(library, ws.recv())
                    seen.append((kind, received[0]))
    finally:
        logging.getLogger("websockets.server").disabled = False
    return seen


@program
async def a_peer_vanishes(library: Library) -> Seen:
    seen: Seen = []
    gone: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()

    async def handler(ws: Any) -> None:
        gone.set_result(await failure(library, ws.recv()))
        seen.append((ws.close_code, ws.close_reason, ws.state.name))

    async with library.serve(handler, HOST, 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        seen.append((await reader.readuntil(b"\r\n")).decode())
        writer.close()
        seen.append(await gone)
    return seen


@program
async def pings(library: Library) -> Seen:
    seen: Seen = []
    async with connected(library) as (_, ws):
        pong = await ws.ping()
        latency = await pong
        seen.append((0 <= latency < 5, abs(ws.latency - latency) < 1e-6))
        first = await ws.ping("first")
        second = await ws.ping(b"second")
        try:
            await ws.ping("first")
        except library.ConcurrencyError:
            seen.append("a ping with the same data is under way")
        seen.append([await each >= 0 for each in (first, second)])
        await ws.pong()
        await ws.pong("unasked")
        for wrong in (5, [b"list"]):
            try:
                await ws.ping(wrong)
            except TypeError:
                seen.append("TypeError")
        left = await ws.ping()
        await ws.close()
        seen.append(left.done())
    return seen


@program
async def concurrency(library: Library) -> Seen:
    seen: Seen = []
    async with connected(library) as (_, ws):
        waiting = asyncio.create_task(ws.recv())
        await asyncio.sleep(0)
        try:
            await ws.recv()
        except library.ConcurrencyError as exc:
            seen.append((isinstance(exc, RuntimeError), isinstance(exc, library.WebSocketException)))
        waiting.cancel()
        try:
            await waiting
        except asyncio.CancelledError:
            seen.append("cancelled")
        try:
            async with asyncio.timeout(0.01):
                await ws.recv()
        except TimeoutError:
            seen.append("timeout")
        try:
            await asyncio.wait_for(ws.recv(), 0.01)
        except TimeoutError:
            seen.append("timeout")
        await ws.send("nothing is lost")
        seen.append(await asyncio.wait_for(ws.recv(), 5))
        await asyncio.gather(*[ws.send(str(number)) for number in range(5)])
        seen.append([await ws.recv() for _ in range(5)])
        closing = asyncio.create_task(ws.recv())
        await asyncio.sleep(0)
        await ws.close()
        seen.append(await failure(library, closing))
    return seen


@program
async def too_big(library: Library) -> Seen:
    server_end: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()

    async def handler(ws: Any) -> None:
        server_end.set_result(await failure(library, ws.recv()))

    async with connected(library, handler, max_size=1000, compression=None) as (_, ws):
        await ws.send(b"x" * 1001)
        kind, received, *_ = await failure(library, ws.recv())
        seen: Seen = [kind, received[0], (await server_end)[2][0]]
    async with connected(library, max_size=None, client={"max_size": (1 << 22, 1 << 22)}) as (_, ws):
        await ws.send("y" * (1 << 21))
        return [*seen, len(await ws.recv())]


@program
async def broadcasting(library: Library) -> Seen:
    seen: Seen = []
    room: set[Any] = set()

    async def handler(ws: Any) -> None:
        room.add(ws)
        try:
            async for message in ws:
                event = json.loads(message)
                library.broadcast(room, json.dumps({"to all": event}))
                library.broadcast(ws.server.connections, b"binary")
                library.broadcast(room, b"text", text=True)
        finally:
            room.discard(ws)

    async with library.serve(handler, HOST, 0) as server:
        clients = [await library.connect(uri(server), proxy=None) for _ in range(3)]
        while len(room) < 3:
            await asyncio.sleep(0.001)
        await clients[0].send(json.dumps({"n": 1}))
        for client in clients:
            seen.append([await client.recv() for _ in range(3)])
        try:
            library.broadcast(room, ["fragments"])
        except TypeError:
            seen.append("TypeError")
        await clients[0].close()
        library.broadcast(clients, "{}", raise_exceptions=True)
        for client in clients:
            await client.close()
    return seen


@program
async def shutting_down(library: Library) -> Seen:
    seen: Seen = []
    server = await library.serve(echo, HOST, 0)
    seen.append((server.is_serving(), len(server.sockets), server.get_loop() is asyncio.get_running_loop()))
    ws = await library.connect(uri(server), proxy=None)
    server.close(code=1012, reason="restart")
    seen.append(await failure(library, ws.recv()))
    await server.wait_closed()
    seen.append(server.is_serving())

    server = await library.serve(echo, HOST, 0)
    ws = await library.connect(uri(server), proxy=None)
    server.close(close_connections=False)
    await ws.send("still there")
    seen.append(await ws.recv())
    await ws.close()
    await server.wait_closed()

    server = library.serve(echo, HOST, 0, start_serving=False)
    async with server:
        seen.append(server.is_serving())
        await server.start_serving()
        seen.append(server.is_serving())
        async with library.connect(uri(server), proxy=None) as ws:
            await ws.send("started")
            seen.append(await ws.recv())

    async def forever() -> None:
        async with library.serve(echo, HOST, 0) as server:
            started.set_result(server)
            await server.serve_forever()

    started: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(forever())
    ws = await library.connect(uri(await started), proxy=None)
    serving.cancel()
    seen.append(await failure(library, ws.recv()))
    try:
        await serving
    except asyncio.CancelledError:
        seen.append("cancelled")
    return seen


@program
async def unix_sockets(library: Library) -> Seen:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "socket")
        async with library.unix_serve(echo, path), library.unix_connect(path) as ws:
            await ws.send("over a file")
            return [await ws.recv(), ws.request.headers["Host"]]
    return []
