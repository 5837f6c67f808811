"""What can go wrong under load: kinds of errors, and what to do about each."""

from __future__ import annotations

import errno
from typing import NamedTuple

import everwire
from everwire.cli.explain import explain, explain_close
from everwire.cli.text import escape
from everwire.websocket.uri import parse_uri

__all__ = ["Mistake", "ended", "failed", "hint"]

HINTS = {
    "refused": "nothing listens there, or too many connect at once: is it started? Does --ramp help?",
    "descriptors": "a process may open no more files: raise the limit (ulimit -n), or use --processes",
    "ports": "no port is left to connect from: use fewer connections, or another machine",
    "timeout": "connections are accepted too slowly: use --ramp, or a longer --timeout",
    "HTTP 401": "credentials go into the URL, or into --header 'Authorization: ...'",
    "HTTP 403": "perhaps the server wants an --origin, or a --cookie or token in a --header",
    "HTTP 429": "the server limits the rate of new connections: use --ramp",
    "HTTP 503": "the server, or a proxy before it, takes no more connections",
    "lost": "did the server crash, or a proxy before it give up?",
    "closed 1001": "the server went away: was it stopped?",
    "closed 1008": "the server's policy does not allow this: does it expect other messages, or fewer?",
    "closed 1009": "the message is too big for the server: use a smaller --size, or raise the server's limit",
    "closed 1012": "the server restarts",
    "closed 1013": "the server finds that we read too slowly: use more --processes",
    "protocol": "the server sent what the protocol does not allow",
    "no answer": "does the server answer each message? There is --mode push for one that sends by itself, "
    "and --mode fanout for one that sends to all",
    "wrong size": "is it an echo server? For one that sends to all there is --mode fanout",
    "wrong type": "does the server keep text and binary apart? There are --text and --binary",
    "wrong content": "the server changes, mixes up or loses messages",
    "unexpected": "more than one message comes for each: if the server sends to all, use --mode fanout",
}


class Mistake(NamedTuple):
    """What went wrong: its kind, by which it is counted, what happened, and what to do about it."""

    kind: str
    example: str
    hint: str = ""


def hint(kind: str) -> str:
    """What to do about errors of this kind; empty if nothing is known."""
    return HINTS.get(kind, "")


def failed(error: BaseException, url: str, timeout: float) -> Mistake:
    """Why a connection did not open."""
    problem = explain(error, parse_uri(url), timeout=timeout)
    kind = problem.kind
    match error:
        case everwire.InvalidStatus():
            kind = f"HTTP {error.response.status}"
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            kind = "descriptors"
        case OSError(errno=errno.EADDRNOTAVAIL):
            kind = "ports"
        case _:
            pass
    return Mistake(kind, problem.message, hint(kind) or problem.remedy)


def ended(ws: everwire.Connection, code: int) -> Mistake:
    """Why a connection that was open ended."""
    problem = explain_close(ws.close_error if isinstance(ws.close_error, everwire.ConnectionClosed) else None)
    if ws.failure is not None:
        return Mistake("protocol", escape(str(ws.failure)), hint("protocol"))
    kind = "lost" if code == 1006 else f"closed {code}"
    return Mistake(kind, problem.message, hint(kind) or problem.remedy)
