"""Scenes: an application and a client that are to see the same, wherever the application runs.

A scene is played under uvicorn's own WebSocket protocols, under UvicornProtocol and under the gate; what the
client has seen and the application was told are compared. ``apart`` names the protocols of uvicorn that do
not agree with its default one; ``ours`` says what everwire does on purpose where uvicorn does otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from live import HOST

import everwire
from asgi.places import OURS, PEERS, Site, place

REFERENCE = "sansio"

Notes = list[tuple[Any, ...]]


class Scene:
    """One application, one client, and their notes."""

    options: ClassVar[dict[str, Any]] = {}
    apart: ClassVar[dict[str, str]] = {}
    ours: ClassVar[dict[str, Notes]] = {}

    def __init__(self) -> None:
        self.seen: Notes = []
        """What the client saw."""
        self.told: Notes = []
        """What the application was told."""
        self.ended = asyncio.Event()
        self.reached = asyncio.Event()

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        """The application; ``receive`` and ``send`` take notes."""
        raise NotImplementedError

    async def visit(self, site: Site) -> None:
        """The client."""
        raise NotImplementedError

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        async def noted_receive() -> Any:
            event = await receive()
            self.told.append(("event", event))
            return event

        async def noted_send(event: Any) -> None:
            try:
                await send(event)
            except (OSError, RuntimeError) as exc:
                self.told.append((event["type"], "OSError" if isinstance(exc, OSError) else "RuntimeError"))
                raise

        try:
            await self.serve(scope, noted_receive, noted_send)
        finally:
            self.ended.set()

    # For clients

    async def open(self, site: Site, path: str = "/", **options: Any) -> everwire.Connection | None:
        """Connect, and note how that went."""
        try:
            ws = await everwire.connect(
                f"ws://{HOST}:{site.port}{path}", proxy=None, **{"close_timeout": 3.0, **options}
            )
        except everwire.InvalidStatus as exc:
            response = exc.response
            kept = {name.lower(): value for name, value in response.headers.items()}
            extra = {name: value for name, value in kept.items() if name.startswith(("x-", "content-type"))}
            self.seen.append(("refused", response.status, response.body, extra))
            return None
        except everwire.HandshakeError as exc:
            self.seen.append(("failed", type(exc).__name__))
            return None
        assert ws.response is not None
        extra = [(n.lower(), v) for n, v in ws.response.headers.raw_items() if n.lower().startswith("x-")]
        self.seen.append(("open", ws.subprotocol, extra))
        return ws

    async def rest(self, ws: everwire.Connection) -> None:
        """Note what comes until the connection is over."""
        try:
            while True:
                self.seen.append(("message", await ws.recv()))
        except everwire.ConnectionClosed as exc:
            self.seen.append(("closed", exc.code, exc.reason))


async def play(kind: type[Scene], where: str) -> tuple[Notes, Notes]:
    """Play a scene in one place; the notes of the client and of the application."""
    scene = kind()
    async with place(where, scene.app, **scene.options) as site:
        async with asyncio.timeout(10):
            await scene.visit(site)
            await scene.ended.wait()
    return scene.seen, scene.told


async def compare(kind: type[Scene], caplog: pytest.LogCaptureFixture) -> None:
    """Play a scene everywhere, and fail where it goes otherwise than under uvicorn's default protocol."""
    peers = [name for name in PEERS if name not in kind.apart]
    where: Sequence[str] = [*peers, *OURS]
    async with asyncio.TaskGroup() as group:
        plays = {name: group.create_task(play(kind, name)) for name in where}
    for record in caplog.records:
        record.exc_info = None  # the tracebacks would keep the connections alive
    caplog.clear()
    outcomes = {name: task.result() for name, task in plays.items()}
    seen, told = outcomes[REFERENCE]
    assert seen or told, "nothing was noted: the scene compares nothing"
    for name in peers:
        assert outcomes[name] == (seen, told), name
    for name in OURS:
        assert outcomes[name] == (kind.ours.get("seen", seen), kind.ours.get("told", told)), name
    for what, notes in kind.ours.items():
        assert notes != {"seen": seen, "told": told}[what], f"no difference in {what!r} any more"
