"""The handlers that web-platform-tests speak to, by the paths that they have there.

Those that follow the protocol run on everwire's own server. Those that break it, or that look at the moments
within it, are written byte by byte; where the original sleeps for a second or two, ours wait until the test
releases them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import unquote_plus

from raw import BINARY, CLOSE, PING, PONG, TEXT, Head, Peer, accept_value, close_payload, head

import everwire

HOST = "127.0.0.1"

Connection = everwire.Connection


async def echo(ws: Connection) -> None:
    """Sends back what comes; "Goodbye" is the last message."""
    async for message in ws:
        await ws.send(message)
        if message == "Goodbye":
            return


async def echo_exit(ws: Connection) -> None:
    """Closes at "Goodbye"."""
    async for message in ws:
        if message == "Goodbye":
            return


async def echo_query(ws: Connection) -> None:
    """Sends the query as it came."""
    await ws.send(ws.request.query)


async def empty_message(ws: Connection) -> None:
    """Says whether an empty text came."""
    await ws.send("pass" if await ws.recv() == "" else "fail")


async def nothing(ws: Connection) -> None:
    """Closes at once."""


async def origin(ws: Connection) -> None:
    """Sends the header Origin."""
    await ws.send(ws.request.headers.get("Origin", ""))
    await ws.wait_closed()


async def referrer(ws: Connection) -> None:
    """Sends the header Referer, if there is one."""
    await ws.send(ws.request.headers.get("Referer", "MISSING AS PER FETCH"))
    await ws.wait_closed()


async def protocol(ws: Connection) -> None:
    """Sends the subprotocol that was agreed on."""
    await ws.send(ws.subprotocol or "")


HANDLERS: dict[str, Callable[[Connection], Awaitable[None]]] = {
    "/echo": echo,
    "/echo_exit": echo_exit,
    "/echo_close_data": echo_exit,
    "/echo-query": echo_query,
    "/empty-message": empty_message,
    "/basic_auth": nothing,
    "/handshake_no_protocol": nothing,
    "/origin": origin,
    "/referrer": referrer,
    "/protocol": protocol,
    "/protocol_array": protocol,
}


async def invalid(peer: Peer, request: Head, server: Server) -> None:
    """What it answers is not HTTP."""
    await peer.send(b"FOO BAR BAZ\r\n\r\n")


async def wrong_accept_key(peer: Peer, request: Head, server: Server) -> None:
    """Answers with a key that is not derived from the request's."""
    await answer(peer, request, accept="thisisawrongacceptkey")
    await peer.send_frame(TEXT, b"test")


async def handshake_protocol(peer: Peer, request: Head, server: Server) -> None:
    """Accepts a subprotocol whatever was offered."""
    await answer(peer, request, protocol="foobar")


async def handshake_no_extensions(peer: Peer, request: Head, server: Server) -> None:
    """Accepts no extension."""
    await answer(peer, request)
    await passive_close(peer)


async def handshake_sleep(peer: Peer, request: Head, server: Server) -> None:
    """Does not answer before it is released."""
    await server.release.wait()
    await answer(peer, request)


async def simple_handshake(peer: Peer, request: Head, server: Server) -> None:
    """Sends its answer and a close frame in one piece."""
    await answer(peer, request, then=peer.frame(CLOSE, close_payload(1001, "PASS")))
    await peer.read_close()


async def delayed_passive_close(peer: Peer, request: Head, server: Server) -> None:
    """Does not answer a close frame before it is released."""
    await answer(peer, request)
    close = await peer.read_close()
    await server.release.wait()
    await peer.send_frame(CLOSE, close.payload)


async def passive_close_abort(peer: Peer, request: Head, server: Server) -> None:
    """Answers a close frame with nothing but the end of the connection."""
    await answer(peer, request)
    await peer.read_close()


async def remote_close(peer: Peer, request: Head, server: Server) -> None:
    """Closes with the code and the reason of the query; with ``abrupt`` without a close frame.

    It does not read what else comes.
    """
    query = dict(each.split("=") for each in request.start.split()[1].partition("?")[2].split("&") if each)
    await answer(peer, request)
    if "abrupt" in query:
        await peer.send_frame(PING, b"ping")
        return
    payload = b""
    if "code" in query:
        payload = close_payload(int(query["code"]), unquote_plus(query.get("reason", "")))
    await peer.send_frame(CLOSE, payload)
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        # An answer is waited for only as long as nothing large comes in its place.
        first = await peer.reader.readexactly(2)
        if first[0] & 15 == CLOSE:
            await peer.reader.readexactly((first[1] & 127) + 4)


async def echo_raw(peer: Peer, request: Head, server: Server) -> None:
    """Sends the payload of a message as it is: a client makes the frames that it is sent."""
    await answer(peer, request)
    await peer.send((await peer.read_message()).payload)
    await peer.read_close()


async def goodbye_unread(peer: Peer, request: Head, server: Server) -> None:
    """Closes at "Goodbye", with the code of the query or 1000, and reads nothing that comes after it."""
    await answer(peer, request)
    while (await peer.read_message()).payload != b"Goodbye":
        pass
    code = int(request.start.split()[1].partition("code=")[2] or 1000)
    await peer.send_frame(CLOSE, close_payload(code))
    await server.release.wait()


async def receive_backpressure(peer: Peer, request: Head, server: Server) -> None:
    """Reads nothing before it is released."""
    await answer(peer, request)
    await server.release.wait()
    await passive_close(peer)


async def receive_many(peer: Peer, request: Head, server: Server) -> None:
    """Takes its time for each message, and answers with its size."""
    await answer(peer, request)
    while (message := await peer.read_message()).opcode != CLOSE:
        await asyncio.sleep(0.002)
        await peer.send_frame(TEXT, str(len(message.payload)).encode())
    await peer.send_frame(CLOSE, message.payload)


LARGE = 1024 * 1024
COUNT = 16


async def send_backpressure(peer: Peer, request: Head, server: Server) -> None:
    """Sends much; then says whether the client had begun to read before all of it was taken."""
    await answer(peer, request)
    await peer.send_frame(BINARY)
    for _ in range(COUNT):
        await peer.send_frame(BINARY, b" " * LARGE)
    await peer.send_frame(TEXT, b"read" if server.release.is_set() else b"not read")
    await passive_close(peer)


async def keepalive(peer: Peer, request: Head, server: Server) -> None:
    """Answers pings, and sends back the first message that comes after three of them."""
    await answer(peer, request)
    pings = 0
    while (frame := await peer.read_frame()).opcode == PING:
        pings += 1
        await peer.send_frame(PONG, frame.payload)
        if pings == 3:
            server.release.set()
    await peer.send_frame(frame.opcode, frame.payload)
    await passive_close(peer)


QUIRKS: dict[str, Callable[[Peer, Head, Server], Awaitable[None]]] = {
    "/invalid": invalid,
    "/wrong_accept_key": wrong_accept_key,
    "/handshake_protocol": handshake_protocol,
    "/handshake_no_extensions": handshake_no_extensions,
    "/handshake_sleep_2": handshake_sleep,
    "/sleep_10_v13": handshake_sleep,
    "/simple_handshake": simple_handshake,
    "/delayed-passive-close": delayed_passive_close,
    "/passive-close-abort": passive_close_abort,
    "/remote-close": remote_close,
    "/echo_raw": echo_raw,
    "/goodbye-unread": goodbye_unread,
    "/receive-backpressure": receive_backpressure,
    "/receive-many-with-backpressure": receive_many,
    "/send-backpressure": send_backpressure,
    "/keepalive": keepalive,
}


async def answer(
    peer: Peer, request: Head, *, accept: str = "", protocol: str = "", then: bytes = b""
) -> None:
    """Answer an opening handshake, without extensions; *then* goes in the same piece."""
    lines = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept or accept_value(request.headers["sec-websocket-key"])),
    ]
    if protocol:
        lines.append(("Sec-WebSocket-Protocol", protocol))
    await peer.send(head("HTTP/1.1 101 Switching Protocols", lines) + then)


async def passive_close(peer: Peer) -> None:
    """Wait for a close frame, and answer it."""
    while (message := await peer.read_message()).opcode != CLOSE:
        pass
    await peer.send_frame(CLOSE, message.payload)


class Server:
    """Both servers, as one."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        """Lets handlers that wait go on."""
        self.requests: list[str] = []
        """The paths that were asked for."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.regular = self.quirky = 0

    def port(self, path: str) -> int:
        """Where the handler of a path is."""
        return self.quirky if path.partition("?")[0] in QUIRKS else self.regular

    def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection to a handler that is written by hand."""
        task = asyncio.get_running_loop().create_task(self._serve(Peer(reader, writer, client=False)))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, peer: Peer) -> None:
        try:
            request = await peer.read_head()
            path = request.start.split()[1]
            self.requests.append(path)
            await QUIRKS[path.partition("?")[0]](peer, request, self)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client is gone
        finally:
            await peer.close()

    def route(self, connection: Connection, request: everwire.Request) -> everwire.Response | None:
        """Refuse what there is no handler for."""
        path = request.pathname
        self.requests.append(path)
        if path == "/redirect":
            return everwire.Response.of(301, "", {"Location": "/echo"})
        if path == "/basic_auth" and request.headers.get("Authorization") != "Basic Zm9vOmJhcg==":
            return everwire.Response.of(401, "", {"WWW-Authenticate": 'Basic realm="camelot"'})
        return None if path in HANDLERS else everwire.Response.of(404)


def choose(request: everwire.Request, offered: Sequence[str]) -> str | None:
    """The subprotocol that a handler accepts."""
    path = request.pathname
    if path in ("/protocol", "/protocol_array"):
        return offered[0] if offered else None
    return "echo" if path == "/echo" and "echo" in offered else None


async def handle(ws: Connection) -> None:
    """Do what the path says."""
    await HANDLERS[ws.request.pathname](ws)


@asynccontextmanager
async def serving(context: ssl.SSLContext | None) -> AsyncIterator[Server]:
    """The handlers, over TCP or with TLS."""
    server = Server()
    async with everwire.serve(
        handle,
        HOST,
        0,
        ssl=context,
        origins=None,
        process_request=server.route,
        select_subprotocol=choose,
        max_size=1 << 24,
    ) as regular:
        listening = socket.create_server((HOST, 0))
        # So that the buffers of the system hold little of what nobody reads.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        quirky = await asyncio.start_server(server.accepted, sock=listening, ssl=context, limit=1 << 16)
        server.regular = regular.port
        server.quirky = int(quirky.sockets[0].getsockname()[1])
        try:
            yield server
        finally:
            server.release.set()
            quirky.close()
            if server.tasks:
                await asyncio.wait(server.tasks, timeout=5)
            await quirky.wait_closed()
