"""The commands of the prompt: lines that begin with a slash."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

import everwire
from everwire.cli.connect.session import Session
from everwire.cli.connect.terminal import TerminalView
from everwire.cli.explain import Problem
from everwire.cli.text import escape, format_size
from everwire.errors import CLOSE_CODES

__all__ = ["COMMANDS", "SlashCompleter", "perform"]

PONG_TIMEOUT = 10.0
"""Seconds that /ping waits for the pong."""


class CommandError(Exception):
    """A command cannot be carried out: what is wrong, and how it is written."""


async def _send(session: Session, view: TerminalView, message: str | bytes) -> None:
    if session.ws is None:
        view.note("not connected yet: sent as soon as that is done")
    elif not session.is_open:
        raise CommandError("not connected: not sent")
    await session.send(message)


async def _text(session: Session, view: TerminalView, rest: str) -> None:
    await _send(session, view, rest)


async def _json(session: Session, view: TerminalView, rest: str) -> None:
    try:
        json.loads(rest)
    except ValueError as error:
        raise CommandError(f"not JSON, not sent: {error}") from None
    except RecursionError:
        raise CommandError("not sent: too deeply nested") from None
    await _send(session, view, rest)


async def _binary(session: Session, view: TerminalView, rest: str) -> None:
    try:
        data = bytes.fromhex(rest.replace("0x", " "))
    except ValueError:
        raise CommandError("not hexadecimal, not sent; write it like /binary 00 ff 10") from None
    await _send(session, view, data)


async def _file(session: Session, view: TerminalView, rest: str) -> None:
    if not rest:
        raise CommandError("which file? Write it like /file picture.png")
    path = rest[1:-1] if rest[0] in "\"'" and rest[-1] == rest[0] else rest
    try:
        data = await asyncio.to_thread(lambda: Path(path).expanduser().read_bytes())
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{path} cannot be read: {why}") from None
    await _send(session, view, data)


async def _ping(session: Session, view: TerminalView, rest: str) -> None:
    if len(rest.encode()) > 125:
        raise CommandError("a ping carries at most 125 bytes")
    if session.ws is None or not session.is_open:
        raise CommandError("not connected")
    try:
        async with asyncio.timeout(PONG_TIMEOUT):
            await view.ponged(await session.ws.ping(rest or None))
    except TimeoutError:
        raise CommandError(f"no pong within {PONG_TIMEOUT:g} seconds") from None
    except everwire.ConnectionClosed:
        raise CommandError("the connection closed before the pong came") from None


async def _close(session: Session, view: TerminalView, rest: str) -> None:
    code, _, reason = rest.partition(" ")
    if code and not code.isdecimal():
        raise CommandError("the code comes first: /close 1000 done")
    try:
        session.leave(int(code) if code else 1000, reason.strip())
    except ValueError as error:
        raise CommandError(str(error)) from None


async def _info(session: Session, view: TerminalView, rest: str) -> None:
    ws = session.ws
    rows = [("URL", str(session.plan.uri))]
    if ws is None or ws.closed:
        rows.append(("state", "not connected"))
    else:
        headers = ws.response.headers if ws.response is not None else everwire.Headers()
        peer = ws.remote_address
        rows += [
            ("state", f"open for {time.monotonic() - session.opened_at:.0f} s"),
            ("peer", f"{peer[0]} port {peer[1]}" if peer else "a Unix socket"),
            ("server", headers.get("Server") or "does not say"),
            ("subprotocol", ws.subprotocol or "none"),
            ("extensions", ", ".join(headers.get_all("Sec-WebSocket-Extensions")) or "none"),
            ("TLS", _tls(ws)),
            ("latency", f"{ws.latency * 1000:.1f} ms" if ws.latency else "not measured yet: /ping"),
        ]
    for name, tally in (("received", session.received), ("sent", session.sent)):
        rows.append((name, f"{tally.messages:,} messages, {format_size(tally.size)}"))
    for name, value in rows:
        view.say([("class:dim", f"{name:<12}"), ("", escape(value))])


def _tls(ws: everwire.Connection) -> str:
    if ws.ssl_object is None:
        return "none"
    cipher = ws.ssl_object.cipher()
    text = f"{ws.ssl_object.version()}, {cipher[0] if cipher else 'unknown cipher'}"
    peercert = ws.peercert
    if not peercert:
        return f"{text}; the certificate was not checked"
    names = [value for kind, value in peercert.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]
    return f"{text}; certificate of {', '.join(names[:4])} until {peercert.get('notAfter')}"


async def _help(session: Session, view: TerminalView, rest: str) -> None:
    view.say([("", "Enter sends the line as text; Alt-Enter begins a new line in it.")])
    for name, command in COMMANDS.items():
        view.say([("class:out", f"/{name} {command.takes}".ljust(24)), ("", command.help)])
    view.say([("class:out", "//...".ljust(24)), ("", "send a text that begins with a slash")])
    view.say([("class:out", "Ctrl-D, Ctrl-C".ljust(24)), ("", "close and leave (1000, 1001)")])
    view.say([("class:dim", "Lines that begin with a space are not kept in the history.")])


class Command(NamedTuple):
    """A command: what carries it out, what it takes, what it is for."""

    perform: Callable[[Session, TerminalView, str], Awaitable[None]]
    takes: str
    help: str


COMMANDS = {
    "text": Command(_text, "TEXT", "send text as it is"),
    "json": Command(_json, "JSON", "send text, if it is JSON"),
    "binary": Command(_binary, "HEX", "send bytes: 00ff10 or 00 ff 10"),
    "file": Command(_file, "PATH", "send the contents of a file as a binary message"),
    "ping": Command(_ping, "[DATA]", "send a ping, and say how long its pong took"),
    "info": Command(_info, "", "show what is known of the connection"),
    "close": Command(_close, "[CODE] [REASON]", "close, with a code from 1000 or 3000 to 4999, and leave"),
    "help": Command(_help, "", "show this"),
}


async def perform(session: Session, view: TerminalView, line: str) -> None:
    """Do what a line of the prompt says: send it, or carry out its command."""
    try:
        if not line.startswith("/"):
            await _send(session, view, line)
        elif line.startswith("//"):
            await _send(session, view, line[1:])
        else:
            name, _, rest = line[1:].partition(" ")
            command = COMMANDS.get(name)
            if command is None:
                raise CommandError(f"/{name} is no command: /help lists them; //{name} sends it as text")
            await command.perform(session, view, rest if name == "text" else rest.strip())
    except CommandError as error:
        await view.failed(Problem("command", escape(str(error))))


class SlashCompleter(Completer):
    """Completes commands, their close codes and their paths."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What may stand where the cursor is."""
        text = document.text_before_cursor
        if not text.startswith("/") or text.startswith("//"):
            return
        name, space, rest = text[1:].partition(" ")
        if not space:
            for each, command in COMMANDS.items():
                if each.startswith(name):
                    yield Completion(f"/{each}", -len(text), display_meta=command.help)
        elif name == "file":
            yield from self._paths.get_completions(Document(rest, len(rest)), complete_event)
        elif name == "close" and " " not in rest:
            for code in (1000, 1001, 1008, 1011, 3000, 4000):
                if str(code).startswith(rest):
                    yield Completion(str(code), -len(rest), display_meta=CLOSE_CODES.get(code, "yours"))
