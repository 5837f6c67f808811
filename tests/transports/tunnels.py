"""A client of tunnels that does just what a test tells it, and the servers that it speaks to."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from asgi.places import uvicorn_place
from live import HOST

import everwire.asgi
from everwire.transports.tunnel import TunnelMiddleware
from everwire.transports.tunnel.records import NEXT, Record, as_bytes

SERVERS = ("everwire", "uvicorn")


class Client:
    """One tunnel, from the side of its client."""

    def __init__(self, http: httpx.AsyncClient, path: str = "/echo", query: str = "") -> None:
        self.http = http
        self.name = secrets.token_hex(16)
        self.key = secrets.token_hex(16)
        self.query = f"{query}{'&' if query else ''}tunnel={self.name}"
        self.go_to(path)
        self.polls = 0
        self.node = ""

    def go_to(self, path: str) -> None:
        """Send the requests to this path, or URL, from now on."""
        self.path = f"{path}?{self.query}"

    async def ask(self, op: str, *records: Record, headers: Any = None, **head: Any) -> httpx.Response:
        """Send a request, and return the answer with its body."""
        return await self.http.post(self.path, content=self.body(op, *records, **head), headers=headers)

    def body(self, op: str, *records: Record, **head: Any) -> bytes:
        """The body of a request."""
        if self.node:
            head["node"] = self.node
        line = json.dumps({"op": op, "key": self.key, **head}).encode()
        return line + b"\n" + b"".join(map(as_bytes, records))

    async def open(self, *protocols: str) -> dict[str, Any]:
        """Open it, and return what the server says about it."""
        response = await self.ask("open", protocols=protocols)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def send(self, seq: int, *records: Record, ack: int = 0) -> int:
        """Send messages, and return the number of the last one that the application has."""
        response = await self.ask("send", *records, seq=seq, ack=ack)
        assert response.status_code == 200, response.text
        return int(response.json()["received"])

    async def poll(self, ack: int = 0) -> list[Record]:
        """Poll, and return the messages after number *ack*."""
        self.polls += 1
        response = await self.ask("poll", poll=self.polls, ack=ack)
        assert response.status_code == 200, response.text
        return messages(response.content, ack + 1)

    @asynccontextmanager
    async def stream(self, kind: str, ack: int = 0) -> AsyncIterator[httpx.Response]:
        """Poll for an answer that streams."""
        self.polls += 1
        body = self.body("poll", poll=self.polls, ack=ack, **{"as": kind})
        async with self.http.stream("POST", self.path, content=body) as response:
            assert response.status_code == 200
            yield response


def messages(body: bytes, first: int) -> list[Record]:
    """The messages in a body, which begins with the number of the first."""
    records = [*take_apart(body)]
    assert records[0] == Record(NEXT, b"%d" % first)
    return records[1:]


def take_apart(body: bytes) -> list[Record]:
    """The records of a body, whole ones."""
    found: list[Record] = []
    while len(body) >= 5:
        end = 5 + int.from_bytes(body[1:5], "big")
        if len(body) < end:
            break
        found.append(Record(body[:1], body[5:end]))
        body = body[end:]
    return found


@asynccontextmanager
async def serving(server: str, app: Any, **options: Any) -> AsyncIterator[tuple[TunnelMiddleware, int]]:
    """An application with tunnels on a server: the middleware and the port."""
    middleware = TunnelMiddleware(app, **options)
    if server == "uvicorn":
        async with uvicorn_place(middleware) as site:
            yield middleware, site.port
            await middleware.close()
    else:
        async with everwire.asgi.serve(
            middleware, HOST, 0, lifespan="off", access_log=False, timeout_graceful_shutdown=5
        ) as host:
            yield middleware, host.port
            await middleware.close()


def browsing(port: int) -> httpx.AsyncClient:
    """A client of HTTP for a port of this machine."""
    return httpx.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=10, trust_env=False)


@asynccontextmanager
async def tunnels(server: str, app: Any, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An application with tunnels on a server, and a client of HTTP for it."""
    async with serving(server, app, **options) as (_, port), browsing(port) as http:
        yield http


__all__ = ["SERVERS", "Client", "browsing", "messages", "serving", "take_apart", "tunnels"]
