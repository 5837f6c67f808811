"""A pytest plugin: the fixture ``everwire_server`` runs a server for a test, on a free port."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from everwire.websocket.server import Server

__all__ = ["RunningServer", "StartServer", "everwire_server"]

Call = Callable[[Callable[[], object]], object]
"""Has the event loop of a server call something."""

_SECONDS = 10.0
"""How long a server may take to start, and to end."""


class RunningServer:
    """A server that runs in a thread and an event loop of its own.

    Attributes:
        port: its port of 127.0.0.1.
        uri: the URI of its root: ``ws://127.0.0.1:port/``, or ``wss:`` with the option ``ssl``.
    """

    def __init__(self, make: Callable[[int], AbstractAsyncContextManager[Server]], *, secure: bool) -> None:
        self._make = make
        self._thread: threading.Thread | None = None
        self.port = 0
        self.start()
        self.uri = f"{'wss' if secure else 'ws'}://127.0.0.1:{self.port}/"

    def __str__(self) -> str:
        return self.uri

    def start(self) -> None:
        """Start it again, at the same port, after :meth:`close`.

        Raises:
            RuntimeError: it runs.
        """
        if self._thread is not None:
            raise RuntimeError("the server runs: close() it first, or restart() it")
        self._ready: Future[tuple[Server, Call]] = Future()
        thread = threading.Thread(target=self._run, name="everwire_server", daemon=True)
        thread.start()
        self._server, self._call = self._ready.result(_SECONDS)
        self._thread, self.port = thread, self._server.port

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as exc:
            if self._ready.done():
                raise
            self._ready.set_exception(exc)

    async def _serve(self) -> None:
        loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self._make(self.port) as server:
            self._ready.set_result((server, loop.call_soon_threadsafe))
            await self._stop.wait()

    def drop_connections(self) -> None:
        """Cut all connections, as a failing network does: nobody is told why, and clients may come back.

        Raises:
            RuntimeError: the server does not run.
        """
        if self._thread is None:
            raise RuntimeError("the server does not run, so there are no connections")
        dropped: Future[None] = Future()

        def drop() -> None:
            self._server.drop_connections()
            dropped.set_result(None)

        self._call(drop)
        dropped.result(_SECONDS)

    def close(self) -> None:
        """Stop the server, as the end of the test does; connections are closed with 1001, of ASGI with 1012.

        Raises:
            TimeoutError: it does not end.
        """
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._call(self._stop.set)
            thread.join(_SECONDS)
            if thread.is_alive():
                raise TimeoutError(
                    f"the server did not end within {_SECONDS:g} seconds: a handler blocks its thread"
                )
        self._thread = None

    def restart(self) -> None:
        """Stop the server and start it again at the same port: for tests of clients that come back.

        Raises:
            TimeoutError: it does not end.
        """
        self.close()
        self.start()


class StartServer(Protocol):
    """What the fixture is: called with a handler, a listener or an ASGI application, it starts a server."""

    def __call__(self, handler: Any, /, **options: Any) -> RunningServer: ...


@pytest.fixture
def everwire_server() -> Iterator[StartServer]:
    """Start servers that end with the test: ``server = everwire_server(handler)``, ``server.uri``.

    The handler is a coroutine function or a :class:`everwire.Listener`, with the options of
    :func:`everwire.serve`; or an ASGI application, with those of :func:`everwire.asgi.serve`. It runs in a
    thread of its own, so the test may be synchronous, or use whatever event loop it likes.
    """
    running: list[RunningServer] = []

    def start(handler: Any, /, **options: Any) -> RunningServer:
        # Not at the top: pytest imports plugins in every session, and few need this.
        from everwire.asgi.host import serve as serve_application
        from everwire.websocket.server import serve

        options.setdefault("close_timeout", 3.0)
        chosen: Any = serve_application if _is_application(handler) else serve
        server = RunningServer(
            lambda port: chosen(handler, "127.0.0.1", port, **options),
            secure=options.get("ssl") is not None,
        )
        running.append(server)
        return server

    yield start
    for server in reversed(running):
        server.close()


def _is_application(handler: Any) -> bool:
    """Whether this is an ASGI application: called with scope, receive and send, where a handler takes one."""
    if isinstance(handler, type) or not callable(handler):
        return False
    try:
        inspect.signature(handler).bind(None, None, None)
    except (TypeError, ValueError):
        return False
    return True
