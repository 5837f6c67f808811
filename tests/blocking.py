"""What tests of the blocking API talk to: servers in another thread, and peers that do as they are told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, TypeVar

import everwire
from everwire.sync import Connection
from everwire.websocket.protocol import ClientProtocol, RequestReceived, ServerProtocol, State

T = TypeVar("T")

HOST = "127.0.0.1"
PATIENCE = 10.0
"""Seconds that something may take that happens at once."""


@contextmanager
def elsewhere(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """Enter an asynchronous context on an event loop in a thread of its own."""
    started: list[T] = []
    failed: list[BaseException] = []
    ready = threading.Event()
    loop: asyncio.AbstractEventLoop | None = None
    stop: asyncio.Event | None = None

    async def main() -> None:
        nonlocal loop, stop
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with make() as entered:
            started.append(entered)
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        except BaseException as exc:
            failed.append(exc)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        if failed:
            raise failed[0]
        yield started[0]
    finally:
        if loop is not None and stop is not None and not failed:
            loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if failed:
        raise failed[0]


async def echo(ws: everwire.Connection) -> None:
    """A handler of the asyncio server that sends back what comes."""
    async for message in ws:
        await ws.send(message)


def blocking_echo(ws: Connection) -> None:
    """The same for the server with threads."""
    for message in ws:
        ws.send(message)


@contextmanager
def asyncio_server(
    handler: Callable[[everwire.Connection], Awaitable[None]] = echo, **options: Any
) -> Iterator[everwire.Server]:
    """The asyncio server of everwire."""
    where = {} if "unix" in options else {"host": HOST, "port": 0}

    @asynccontextmanager
    async def make() -> AsyncIterator[everwire.Server]:
        async with everwire.serve(handler, **{**where, "close_timeout": 3.0, **options}) as server:
            yield server

    with elsewhere(make) as server:
        yield server


def serve(handler: Callable[[Connection], object] = blocking_echo, **options: Any) -> everwire.sync.Server:
    """A server with threads on an ephemeral port."""
    where = {} if "unix" in options or "sock" in options else {"host": HOST, "port": 0}
    return everwire.sync.serve(handler, **{**where, "close_timeout": 3.0, **options})


def connect(server: Any, path: str = "/", **options: Any) -> everwire.sync.connect:
    """A connection to a server; TLS if there is an option ``ssl``."""
    scheme = "wss" if options.get("ssl") else "ws"
    port = server if isinstance(server, int) else server.port
    options = {"proxy": None, "close_timeout": 3.0, **options}
    return everwire.sync.connect(f"{scheme}://{HOST}:{port}{path}", **options)


@contextmanager
def pair(*, client: dict[str, Any] | None = None, **options: Any) -> Iterator[tuple[Connection, Connection]]:
    """The two ends of one connection, both for threads: the server's and the client's."""
    opened: list[Connection] = []
    ready, done = threading.Event(), threading.Event()

    def handler(ws: Connection) -> None:
        opened.append(ws)
        ready.set()
        done.wait(60)

    with serve(handler, **{"compression": None, **options}) as server:
        try:
            with connect(server, **{"compression": None, **(client or {})}) as theirs:
                assert ready.wait(PATIENCE)
                yield opened[0], theirs
        finally:
            done.set()


class Silent:
    """A peer that has opened a connection, and from then on does only what it is told."""

    def __init__(self, sock: socket.socket, protocol: ServerProtocol | ClientProtocol) -> None:
        self.sock = sock
        self.protocol = protocol

    def flush(self) -> None:
        """Send what the protocol has to send."""
        self.sock.sendall(self.protocol.data_to_send())

    def read(self) -> list[Any]:
        """Read once: the events, none at the end of the stream."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        self.protocol.receive_data(data) if data else self.protocol.receive_eof()
        return self.protocol.events()

    def read_until(self, kind: type[T]) -> T:
        """Read until an event of this kind has come."""
        while True:
            events = self.read()
            for event in events:
                if isinstance(event, kind):
                    return event
            assert events or self.protocol.state is not State.CLOSED, f"the end came before {kind.__name__}"


@contextmanager
def silent_server(**options: Any) -> Iterator[tuple[Connection, Silent]]:
    """A client of everwire, and a server that is silent after the opening handshake."""
    with socket.create_server((HOST, 0)) as listening:
        made: list[Silent] = []

        def accept() -> None:
            sock, _ = listening.accept()
            sock.settimeout(PATIENCE)
            peer = Silent(sock, ServerProtocol(compression=None, max_size=None))
            while not any(isinstance(event, RequestReceived) for event in peer.read()):
                pass
            peer.protocol.accept()  # type: ignore[union-attr]
            peer.flush()
            made.append(peer)

        thread = threading.Thread(target=accept)
        thread.start()
        ws = connect(listening.getsockname()[1], **{"compression": None, **options}).open()
        thread.join(PATIENCE)
        try:
            yield ws, made[0]
        finally:
            made[0].sock.close()
            ws.close()


def in_thread(function: Callable[..., T], *args: Any) -> Callable[[], T]:
    """Call a function in a thread; the result waits for it, and returns or raises what the function does."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function(*args))
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=run)
    thread.start()

    def result() -> T:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "still running"
        if errors:
            raise errors[0]
        return results[0]

    return result


def until(condition: Callable[[], object], *, timeout: float = PATIENCE) -> None:
    """Wait for something that nobody tells of."""
    event = threading.Event()
    for _ in range(int(timeout / 0.01)):
        if condition():
            return
        event.wait(0.01)
    raise AssertionError("it did not come about in time")


@contextlib.contextmanager
def closing(sock: socket.socket) -> Iterator[socket.socket]:
    """A socket that is closed in the end, whoever took it over meanwhile."""
    try:
        yield sock
    finally:
        sock.close()
