"""A peer written in Python: what it can be told to do, without the library that does it.

A peer prints the port that it listens on. A test connects there and sends commands, each a line of JSON
with an ``id``; the answer, in its own time, has the same ``id`` and, if it did not work, an ``error``. What
a test's connection has opened is closed with it. The commands are the methods of :class:`Session`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from interop.peers.messages import Message, report, unpack

Options = dict[str, Any]


class WebSocket(ABC):
    """One connection of the library."""

    subprotocol: str | None = None
    extensions: str = ""
    """The header Sec-WebSocket-Extensions of the response, where it is known."""

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Send a message."""

    async def send_fragments(self, parts: list[Message]) -> None:
        """Send one message in so many frames."""
        raise NotImplementedError

    @abstractmethod
    async def receive(self) -> Message:
        """Receive a message."""

    @abstractmethod
    async def ping(self, data: bytes) -> None:
        """Send a ping and wait for its pong."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> None:
        """Close, and wait until it is closed."""

    @abstractmethod
    async def ended(self) -> tuple[int, str | None]:
        """Wait until it is closed: the code and reason that came; None for a reason that cannot be known."""


Accept = Callable[[WebSocket], Awaitable[None]]


class Library(ABC):
    """How the library connects and serves.

    The options of both are ``subprotocols`` and ``compression``, its parameters by their names in RFC 7692;
    ``origin`` and ``ca`` a client's; ``cert`` and ``key`` a server's. The last three are files.
    """

    @abstractmethod
    def connect(self, uri: str, options: Options) -> Any:
        """A connection, as an asynchronous context manager; it is not closed properly by that."""

    @abstractmethod
    def serve(self, accept: Accept, options: Options) -> Any:
        """A server on a free port of 127.0.0.1, as an asynchronous context manager that gives the port.

        ``accept`` is awaited for each connection, and returns when it may be dropped.
        """

    def context(self, options: Options) -> ssl.SSLContext | None:
        """What a client trusts; None without TLS."""
        return ssl.create_default_context(cafile=options["ca"]) if options.get("ca") else None

    def server_context(self, options: Options) -> ssl.SSLContext | None:
        """What a server presents; None without TLS."""
        if not options.get("cert"):
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options["cert"], options["key"])
        return context


class Session:
    """What one test has a peer do."""

    def __init__(self, library: Library, stack: AsyncExitStack) -> None:
        self._library = library
        self.stack = stack
        self.sockets: list[WebSocket] = []
        self.accepted: asyncio.Queue[WebSocket] = asyncio.Queue()
        self.over = asyncio.Event()

    def _describe(self, ws: WebSocket) -> dict[str, Any]:
        self.sockets.append(ws)
        return {
            "name": len(self.sockets) - 1,
            "subprotocol": ws.subprotocol,
            "extensions": ws.extensions,
        }

    async def connect(self, uri: str, **options: Any) -> dict[str, Any]:
        """Connect to a server."""
        return self._describe(await self.stack.enter_async_context(self._library.connect(uri, options)))

    async def listen(self, **options: Any) -> dict[str, Any]:
        """Start a server."""

        async def accept(ws: WebSocket) -> None:
            self.accepted.put_nowait(ws)
            await self.over.wait()

        port = await self.stack.enter_async_context(self._library.serve(accept, options))
        return {"port": port}

    async def accept(self) -> dict[str, Any]:
        """Wait for the next connection to the server."""
        return self._describe(await self.accepted.get())

    async def send(self, name: int, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Send messages one after the other."""
        for message in messages:
            await self.sockets[name].send(unpack(message))
        return {}

    async def send_fragments(self, name: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
        """Send one message in so many frames."""
        await self.sockets[name].send_fragments([unpack(part) for part in parts])
        return {}

    async def receive(self, name: int, count: int) -> dict[str, Any]:
        """Receive so many messages."""
        return {"messages": [report(await self.sockets[name].receive()) for _ in range(count)]}

    async def ping(self, name: int, data: str) -> dict[str, Any]:
        """Send a ping and wait for its pong."""
        await self.sockets[name].ping(data.encode())
        return {}

    async def close(self, name: int, code: int, reason: str) -> dict[str, Any]:
        """Close, and wait until it is closed."""
        await self.sockets[name].close(code, reason)
        return {}

    async def ended(self, name: int) -> dict[str, Any]:
        """Wait until it is closed."""
        code, reason = await self.sockets[name].ended()
        return {"code": code, "reason": reason}


async def _control(library: Library, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Do what one test wants, several things at a time."""
    tasks: set[asyncio.Task[None]] = set()
    try:
        async with AsyncExitStack() as stack:
            session = Session(library, stack)
            stack.callback(session.over.set)

            async def do(command: dict[str, Any]) -> None:
                answer: dict[str, Any] = {"id": command.pop("id")}
                try:
                    answer |= await getattr(session, command.pop("do"))(**command)
                except Exception as exc:
                    answer["error"] = "".join(traceback.format_exception_only(exc)).strip()
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()

            while line := await reader.readline():
                task = asyncio.create_task(do(json.loads(line)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            for task in tasks:
                task.cancel()
            # Handlers of a server wait for this before they end, and servers for their handlers.
            session.over.set()
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.transport.abort()


async def _serve(library: Library) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _control(library, reader, writer), "127.0.0.1", 0, limit=1 << 26
    )
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        # The test session's end of standard input is never written to: it is the session that ends.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
        server.close()


def main(library: Library) -> None:
    """Run until standard input ends."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(library))
