"""Applications that tests start with ``everwire serve``, and requests to them."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from commands import TIMEOUT, Program, everwire
from websockets.sync.client import ClientConnection, connect

__all__ = ["APP", "get", "hosting", "open_socket"]

APP = """
import asyncio, os
from pathlib import Path

WORD = "first"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        os.write(1, b"start\\n")  # one write: lines of several workers do not mix
        await send({"type": "lifespan.startup.complete"})
        await receive()
        os.write(1, b"end\\n")
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})
    else:
        if scope["path"] == "/late":
            Path("asked").touch()
            while not Path("go").exists():
                await asyncio.sleep(0.01)
        found = {"/pid": str(os.getpid()), "/client": str(scope["client"]), "/scheme": scope["scheme"]}
        body = found.get(scope["path"], WORD).encode()
        await send({"type": "http.response.start", "status": 200,
                    "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})
"""
"""Answers with a word, or what its path asks for; waits at /late for the file ``go``."""


@contextlib.contextmanager
def hosting(
    folder: Path, *args: str | Path, source: str = APP, terminal: bool = False
) -> Iterator[tuple[Program, str]]:
    """``everwire serve main:app`` in a folder, on a free port, and its address."""
    (folder / "main.py").write_text(source)
    where = () if {"--unix", "--fd"} & set(args) else ("--port", "0")
    with everwire("serve", "main:app", *where, *args, cwd=folder, terminal=terminal) as program:
        page = program.wait_for(r"(?s)\b(https?://[\w.:\[\]]+)/(?!\w).*Ctrl-C")
        yield program, page[1]


def get(url: str, path: str = "/", **options: Any) -> str:
    """The body of a response; each request has a connection of its own."""
    kind = http.client.HTTPSConnection if url.startswith("https") else http.client.HTTPConnection
    connection = kind(urlsplit(url).netloc, timeout=TIMEOUT, **options)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def open_socket(url: str, path: str = "/ws", **options: Any) -> ClientConnection:
    """A WebSocket to the application."""
    opened: ClientConnection = connect("ws" + url.removeprefix("http") + path, proxy=None, **options)
    return opened
