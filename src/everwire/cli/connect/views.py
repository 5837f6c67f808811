"""What a session says, and where: raw for pipes, or as JSON for programs. :mod:`.terminal` is for people."""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Any, Protocol

import everwire
from everwire.cli.connect.streams import write_all
from everwire.cli.explain import Problem
from everwire.cli.text import escape
from everwire.errors import CLOSE_CODES

__all__ = ["JsonView", "RawView", "View"]

STDOUT = 1


class View(Protocol):
    """Is told what happens."""

    def connecting(self, uri: str) -> None:
        """An attempt begins."""

    async def opened(self, ws: everwire.Connection, uri: str) -> None:
        """The connection is open."""

    async def received(self, message: str | bytes) -> None:
        """A message has come; returns when there is room for another one."""

    def sent(self, message: str | bytes) -> None:
        """A message was sent."""

    async def ponged(self, seconds: float) -> None:
        """A ping was answered after so many seconds."""

    async def closed(self, problem: Problem, close: everwire.Close, *, regular: bool) -> None:
        """The connection is over, by whom ``problem.kind`` says; ``regular``: as agreed, or as wished for."""

    async def failed(self, problem: Problem) -> None:
        """Something did not work."""

    def note(self, text: str) -> None:
        """A word in passing."""

    async def flush(self) -> None:
        """Everything is shown when this returns."""


class RawView:
    """Messages on standard output, nothing else: text with a newline, binary as it is; the rest on stderr.

    Args:
        quiet: leave out what is no error.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    def connecting(self, uri: str) -> None:
        """An attempt begins: nothing to say."""

    async def opened(self, ws: everwire.Connection, uri: str) -> None:
        """The connection is open."""
        self.note(f"connected to {uri}")

    async def received(self, message: str | bytes) -> None:
        """A message has come."""
        await write_all(STDOUT, message.encode() + b"\n" if isinstance(message, str) else message)

    def sent(self, message: str | bytes) -> None:
        """A message was sent: nothing to say."""

    async def ponged(self, seconds: float) -> None:
        """A ping was answered: nothing to say."""

    async def closed(self, problem: Problem, close: everwire.Close, *, regular: bool) -> None:
        """The connection is over."""
        self.note(problem.message)
        if problem.remedy and not regular:
            self.note(problem.remedy)

    async def failed(self, problem: Problem) -> None:
        """Something did not work."""
        for line in problem.lines:
            _complain(line)

    def note(self, text: str) -> None:
        """A word in passing."""
        if not self._quiet:
            _complain(text)

    async def flush(self) -> None:
        """Everything is shown already."""


class JsonView:
    """One JSON object a line on standard output for each event; the first member is its name."""

    def connecting(self, uri: str) -> None:
        """An attempt begins: nothing to say."""

    async def opened(self, ws: everwire.Connection, uri: str) -> None:
        """The connection is open."""
        headers = ws.response.headers if ws.response is not None else everwire.Headers()
        tls = ws.ssl_object
        await self._print(
            "open",
            url=uri,
            subprotocol=ws.subprotocol,
            extensions=", ".join(headers.get_all("Sec-WebSocket-Extensions")) or None,
            peer=list(ws.remote_address[:2]) if ws.remote_address else None,
            tls=tls.version() if tls is not None else None,
        )

    async def received(self, message: str | bytes) -> None:
        """A message has come."""
        if isinstance(message, str):
            await self._print("message", type="text", size=len(message.encode()), data=message)
        else:
            data = base64.b64encode(message).decode()
            await self._print("message", type="binary", size=len(message), base64=data)

    def sent(self, message: str | bytes) -> None:
        """A message was sent: nothing to say."""

    async def ponged(self, seconds: float) -> None:
        """A ping was answered."""
        await self._print("ping", latency=round(seconds, 6))

    async def closed(self, problem: Problem, close: everwire.Close, *, regular: bool) -> None:
        """The connection is over."""
        name = CLOSE_CODES.get(close.code)
        await self._print("close", code=close.code, name=name, reason=close.reason, by=problem.kind)

    async def failed(self, problem: Problem) -> None:
        """Something did not work."""
        optional = {"remedy": problem.remedy, "body": problem.body}
        said = {name: value for name, value in optional.items() if value}
        await self._print("error", kind=problem.kind, message=problem.message, **said)

    def note(self, text: str) -> None:
        """A word in passing."""
        _complain(text)

    async def flush(self) -> None:
        """Everything is shown already."""

    async def _print(self, event: str, **members: Any) -> None:
        line = json.dumps({"event": event, "time": round(time.time(), 3), **members})
        await write_all(STDOUT, line.encode() + b"\n")


def _complain(text: str) -> None:
    print(f"everwire: {escape(text)}", file=sys.stderr, flush=True)
