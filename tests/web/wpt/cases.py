"""What a ported test is, and what it gets: a server with the handlers it names, and WebSockets to that."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Certificates, Run

import everwire
from web.record import Record
from web.wpt.server import Server, serving


class Web:
    """A test's view of the web: one server, over TCP or TLS, and what was opened to it."""

    def __init__(self, server: Server, options: dict[str, Any]) -> None:
        self.server = server
        self.options = options
        self.records: list[Record] = []
        self.streams: list[everwire.WebSocketStream] = []

    def url(self, path: str = "", *, scheme: str | None = None, host: str | None = None) -> str:
        """The URL of a handler."""
        scheme = scheme or ("wss" if self.secure else "ws")
        return f"{scheme}://{host or '127.0.0.1'}:{self.server.port(path)}{path}"

    @property
    def secure(self) -> bool:
        """Whether this is the variant with TLS."""
        return "ssl" in self.options

    def record(self, url: object, protocols: Any = (), **options: Any) -> Record:
        """A WebSocket to a path or a URL, and all that happens to it."""
        url = self.url(url) if isinstance(url, str) and url.startswith("/") else url
        record = Record(everwire.WebSocket(url, protocols, **{**self.options, **options}))
        self.records.append(record)
        return record

    def socket(self, url: object, protocols: Any = (), **options: Any) -> everwire.WebSocket:
        """A WebSocket to a path or a URL, whatever happens to it."""
        return self.record(url, protocols, **options).socket

    def stream(self, path: str, **options: Any) -> everwire.WebSocketStream:
        """A WebSocketStream to a path."""
        stream = everwire.WebSocketStream(self.url(path), **{**self.options, **options})
        self.streams.append(stream)
        return stream

    async def end(self) -> None:
        """Close what is still open."""
        self.server.release.set()
        for record in self.records:
            await record.end()
        for stream in self.streams:
            stream.close()
            with contextlib.suppress(everwire.DOMException):
                await stream.closed


Function = Callable[..., Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """One test of a file; or of those that the file makes in a loop, the one for *value*."""

    file: str
    name: str
    function: Function
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.file} {self.name}".strip()


class Cases:
    """The cases of one module: ``@cases("file", "name of the test")``."""

    def __init__(self) -> None:
        self.all: list[Case] = []

    def __iter__(self) -> Iterator[Case]:
        return iter(self.all)

    def __call__(self, file: str, name: str = "", *, each: Any = None) -> Callable[[Function], Function]:
        """Port a test of a file. *each* has the values of a loop, by name if it is a dict."""

        def port(function: Function) -> Function:
            if each is None:
                self.all.append(Case(file, name, function))
            else:
                values = each if isinstance(each, dict) else {repr(value): value for value in each}
                for label, value in values.items():
                    self.all.append(Case(file, f"{name} {label}".strip(), function, (value,)))
            return function

        return port

    def tests(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """The test functions of the module: each case over TCP on every loop, and over TLS on asyncio's."""
        cases = pytest.mark.parametrize("case", self.all, ids=str)

        @cases
        def over_tcp(case: Case, run: Run) -> None:
            run(lambda: attempt(case, None))

        @cases
        @pytest.mark.loops("asyncio")
        def over_tls(case: Case, run: Run, certificates: Certificates) -> None:
            run(lambda: attempt(case, certificates))

        return over_tcp, over_tls


async def attempt(case: Case, certificates: Certificates | None) -> None:
    """Run a case against a new server."""
    async with opened(certificates) as web:
        await case.function(web, *case.arguments)


@contextlib.asynccontextmanager
async def opened(certificates: Certificates | None) -> AsyncIterator[Web]:
    """A server, and what a test needs of it."""
    options: dict[str, Any] = {"proxy": None, "close_timeout": 3.0}
    if certificates is not None:
        options["ssl"] = certificates.client
    async with serving(None if certificates is None else certificates.server) as server:
        web = Web(server, options)
        try:
            yield web
        finally:
            await web.end()
