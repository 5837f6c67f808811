"""Programs for ``websockets`` that are about the opening handshake: hooks, refusals, reconnecting."""

from __future__ import annotations

import asyncio
import dataclasses
import http
import json
import logging
import re
from importlib import import_module
from typing import Any

from compat.programs import HOST, Library, Seen, connected, echo, program, uri


@program
async def requests(library: Library) -> Seen:
    seen: Seen = []

    def process_request(connection: Any, request: Any) -> Any:
        seen.append((request.path, request.headers.get("X-Token"), connection.request.path))
        if request.path == "/health":
            return connection.respond(http.HTTPStatus.OK, "fine\n")
        if request.path == "/made":
            headers = library.Headers({"X-A": "1"})
            headers["X-A"] = "2"
            return library.Response(418, "Teapot", headers, b"short and stout")
        if request.path == "/raise":
            raise RuntimeError("on purpose")
        connection.token = request.headers.get("X-Token")
        if request.path == "/broken":
            del request.headers["Sec-WebSocket-Key"]
        return None

    async def later(connection: Any, request: Any) -> Any:
        await asyncio.sleep(0)
        return process_request(connection, request)

    def process_response(connection: Any, request: Any, response: Any) -> Any:
        seen.append((request.path, response.status_code))
        headers = response.headers.copy()
        headers["X-Seen"] = "yes"
        return dataclasses.replace(response, headers=headers)

    async def handler(ws: Any) -> None:
        await ws.send(f"{ws.token} {ws.response.headers['X-Seen']}")

    logging.getLogger("websockets.server").disabled = True
    try:
        for hook in (process_request, later):
            async with library.serve(
                handler, HOST, 0, process_request=hook, process_response=process_response
            ) as server:
                for path in ("/health", "/made", "/raise", "/broken"):
                    try:
                        await library.connect(uri(server, path), proxy=None)
                    except library.InvalidStatus as exc:
                        response = exc.response
                        seen.append((response.status_code, response.headers.get_all("X-A")))
                        seen.append((response.headers["X-Seen"], isinstance(exc, library.InvalidHandshake)))
                        if path in ("/health", "/made"):
                            seen.append((response.reason_phrase, bytes(response.body)))
                headers = {"X-Token": "secret"}
                async with library.connect(uri(server), proxy=None, additional_headers=headers) as ws:
                    seen.append((await ws.recv(), ws.response.headers["X-Seen"]))
    finally:
        logging.getLogger("websockets.server").disabled = False
    return seen


@program
async def subprotocols(library: Library) -> Seen:
    seen: Seen = []

    def choose(connection: Any, offered: Any) -> Any:
        seen.append((connection.request.path, list(offered)))
        if "none" in offered:
            raise library.NegotiationError("none of these")
        return offered[-1] if offered else None

    async def handler(ws: Any) -> None:
        await ws.send(str(ws.subprotocol))

    for options in ({}, {"subprotocols": ["a", "b"]}, {"select_subprotocol": choose}):
        async with library.serve(handler, HOST, 0, **options) as server:
            for offer in (None, ["b", "a"], ["c"], ["none"]):
                try:
                    async with library.connect(uri(server), proxy=None, subprotocols=offer) as ws:
                        seen.append((await ws.recv(), ws.subprotocol))
                except library.InvalidStatus as exc:
                    seen.append(exc.response.status_code)
    return seen


@program
async def origins(library: Library) -> Seen:
    seen: Seen = []
    allowed = ["https://example.com", re.compile(r"https://.*\.example\.net"), None]
    for origins_ in (None, allowed, allowed[:2]):
        async with library.serve(echo, HOST, 0, origins=origins_) as server:
            for origin in (None, "https://example.com", "https://a.example.net", "https://evil.example"):
                try:
                    async with library.connect(uri(server), proxy=None, origin=origin):
                        seen.append("open")
                except library.InvalidStatus as exc:
                    seen.append(exc.response.status_code)
    return seen


@program
async def passwords(library: Library) -> Seen:
    seen: Seen = []

    async def handler(ws: Any) -> None:
        await ws.send(ws.username)

    async def check(username: str, password: str) -> bool:
        return (username, password) == ("ada", "engine")

    for options in ({"credentials": ("ada", "engine")}, {"check_credentials": check}):
        hook = library.basic_auth("machine room", **options)
        async with library.serve(handler, HOST, 0, process_request=hook) as server:
            port = server.sockets[0].getsockname()[1]
            async with library.connect(f"ws://ada:engine@{HOST}:{port}", proxy=None) as ws:
                seen.append(await ws.recv())
            for userinfo in ("", "ada:guess@"):
                try:
                    await library.connect(f"ws://{userinfo}{HOST}:{port}", proxy=None)
                except library.InvalidStatus as exc:
                    challenge = exc.response.headers["WWW-Authenticate"]
                    seen.append((exc.response.status_code, 'realm="machine room"' in challenge))
    for wrong in ({}, {"credentials": ("a", "b"), "check_credentials": check}, {"credentials": 5}):
        try:
            library.basic_auth(**wrong)
        except (TypeError, ValueError) as exc:
            seen.append(type(exc).__name__)
    return seen


@program
async def reconnecting(library: Library) -> Seen:
    seen: Seen = []
    refusals = 2

    def process_request(connection: Any, request: Any) -> Any:
        nonlocal refusals
        if refusals:
            refusals -= 1
            return connection.respond(503, "not yet\n")
        return None

    async def handler(ws: Any) -> None:
        await ws.send("welcome")
        await ws.close(1012)

    def delays() -> Any:
        seen.append("delays")
        while True:
            yield 0.001

    def process_exception(exc: Exception) -> Exception | None:
        seen.append((type(exc).__name__, exc.response.status_code))  # type: ignore[attr-defined]
        return None

    options: dict[str, Any] = {"process_exception": process_exception, "reconnect_delays": delays}
    async with library.serve(handler, HOST, 0, process_request=process_request) as server:
        rounds = 0
        async for ws in library.connect(uri(server), proxy=None, **options):
            try:
                seen.append(await ws.recv())
                await ws.recv()
            except library.ConnectionClosed as exc:
                seen.append(exc.rcvd.code)
                rounds += 1
                if rounds < 3:
                    continue
                break
        refusals = 1
        try:
            async for _ in library.connect(uri(server), proxy=None, process_exception=lambda exc: exc):
                break
        except library.InvalidStatus as exc:
            seen.append(("fatal", exc.response.status_code))
        refusals = 1
        try:
            async for _ in library.connect(
                uri(server), proxy=None, process_exception=lambda exc: LookupError("another")
            ):
                break
        except LookupError as exc:
            seen.append((str(exc), type(exc.__cause__).__name__))
    return seen


@program
async def what_may_pass(library: Library) -> Seen:
    """The errors after which ``async for`` connects again by itself."""
    process_exception = import_module(f"{library.__name__}.asyncio.client").process_exception
    seen: Seen = []
    for error in (OSError("x"), TimeoutError(), ConnectionRefusedError(), ValueError("x")):
        seen.append(process_exception(error) is None)
    for status in (400, 401, 404, 429, 500, 501, 502, 503, 504):
        error = library.InvalidStatus(library.Response(status, "", library.Headers()))
        seen.append(process_exception(error) is None)
    lost = library.InvalidMessage("no answer")
    seen.append(process_exception(lost) is None)
    lost.__cause__ = EOFError()
    seen.append(process_exception(lost) is None)
    return seen


@program
async def connecting_fails(library: Library) -> Seen:
    seen: Seen = []
    for wrong in ("localhost", "ftp://localhost", "ws://localhost/#fragment", "ws://"):
        try:
            library.connect(wrong)
        except library.InvalidURI as exc:
            seen.append((exc.uri, isinstance(exc, library.InvalidHandshake)))

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: bm8=\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    async def away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    for answer in (hang_up, talk, pretend, away):
        async with await asyncio.start_server(answer, HOST, 0) as server:
            try:
                await library.connect(uri(server), proxy=None)
            except library.InvalidHandshake as exc:
                kinds = ("InvalidMessage", "InvalidHeaderValue", "InvalidHeader", "SecurityError")
                seen.append([kind for kind in kinds if isinstance(exc, getattr(library, kind))])
                seen.append(type(exc.__cause__).__name__ if answer is hang_up else "")

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silence, HOST, 0) as server:
        try:
            await library.connect(uri(server), proxy=None, open_timeout=0.3)
        except TimeoutError:
            seen.append("TimeoutError")
    try:
        await library.connect(uri(server) if server.sockets else f"ws://{HOST}:1", proxy=None)
    except ConnectionRefusedError:
        seen.append("ConnectionRefusedError")
    return seen


@program
async def classes_of_ones_own(library: Library) -> Seen:
    seen: Seen = []

    class Client(library.ClientConnection):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.count = 0

        async def send_json(self, value: object) -> None:
            self.count += 1
            await self.send(json.dumps(value))

    class Peer(library.ServerConnection):  # type: ignore[misc]
        async def recv_json(self) -> object:
            return json.loads(await self.recv())

    def peer(*args: Any, **options: Any) -> Peer:
        made = Peer(*args, **options)
        made.made_by_a_function = True
        return made

    async def handler(ws: Any) -> None:
        await ws.send(f"{await ws.recv_json()} {ws.made_by_a_function}")

    async with connected(library, handler, create_connection=peer, client={"create_connection": Client}) as (
        _,
        ws,
    ):
        await ws.send_json({"a": 1})
        seen.append((await ws.recv(), ws.count, isinstance(ws, Client)))
    return seen


@program
async def headers(library: Library) -> Seen:
    made = library.Headers([("A", "1"), ("b", "2")], C="3")
    made["a"] = "4"
    seen: Seen = [list(made), len(made), made.get_all("a"), made["B"], "c" in made, made.get("d", "none")]
    try:
        made["A"]
    except library.MultipleValuesError as exc:
        seen.append(isinstance(exc, LookupError))
    other = made.copy()
    other.update({"b": "5"})
    del other["C"]
    seen += [list(other.raw_items()), list(made.raw_items()), str(other), other.serialize(), made == other]
    other.setdefault("d", "6")
    return [*seen, dict(other.raw_items()), sorted(library.Headers({"x": "y"}).items())]
