"""What can go wrong under load: kinds of errors, and what to do about each."""

from __future__ import annotations

import errno
import socket
import ssl

import everwire

__all__ = ["hint", "kind_of_close", "kind_of_failure"]

HINTS = {
    "refused": "nothing listens there, or too many connect at once: is it started? Does --ramp help?",
    "no such host": "the name is not known: is it spelled right?",
    "unreachable": "the network does not lead there",
    "out of descriptors": "a process may open no more files: raise the limit (ulimit -n), or use --processes",
    "out of ports": "no port is left to connect from: use fewer connections, or another machine",
    "certificate": "give the authority's certificate with --cacert, or do without any check with --insecure",
    "TLS": "is it a server with TLS? If not, the URL begins with ws://",
    "HTTP 401": "credentials go into the URL, or into --header 'Authorization: ...'",
    "HTTP 403": "perhaps the server wants an --origin, or a cookie or token in a --header",
    "HTTP 404": "is the path of the URL right?",
    "HTTP 426": "is this path of the server one for WebSockets?",
    "HTTP 429": "the server limits the rate of new connections: use --ramp",
    "HTTP 503": "the server, or a proxy before it, takes no more connections",
    "no WebSocket": "something answers there, but no WebSocket server: are the port and the path right?",
    "not opened in time": "connections are accepted too slowly: use --ramp, or a longer --timeout",
    "lost": "did the server crash, or a proxy before it give up?",
    "closed 1001": "the server went away: was it stopped?",
    "closed 1008": "the server's policy does not allow this: does it expect other messages, or fewer?",
    "closed 1009": "the message is too big for the server: use a smaller --size, or raise the server's limit",
    "closed 1011": "the server met an error of its own: see its log",
    "closed 1013": "the server finds that we read too slowly: use more --processes",
    "against the protocol": "the server sent what the protocol does not allow",
    "no answer": "does the server answer each message? There is --mode push for one that sends by itself, "
    "and --mode fanout for one that sends to all",
    "wrong size": "is it an echo server? For one that sends to all there is --mode fanout",
    "wrong type": "does the server keep text and binary apart? There are --text and --binary",
    "wrong content": "the server changes, mixes up or loses messages",
    "unexpected": "more than one message comes for each: if the server sends to all, use --mode fanout",
}


def hint(kind: str) -> str:
    """What to do about errors of this kind; empty if that is for their message to say."""
    return HINTS.get(kind, "")


def kind_of_failure(error: BaseException) -> tuple[str, str]:
    """The kind of the error with which a connection did not open, and what it says."""
    text = str(error) or type(error).__name__
    match error:
        case everwire.InvalidStatus():
            return f"HTTP {error.response.status}", text
        case everwire.HandshakeError():
            return "no WebSocket", text
        case ssl.SSLCertVerificationError():
            return "certificate", error.verify_message or text
        case ssl.SSLError():
            return "TLS", text
        case TimeoutError():
            return "not opened in time", text
        case socket.gaierror():
            return "no such host", text
        case ConnectionRefusedError() | FileNotFoundError():
            return "refused", text
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return "out of descriptors", text
        case OSError(errno=errno.EADDRNOTAVAIL):
            return "out of ports", text
        case OSError(errno=errno.ENETUNREACH | errno.EHOSTUNREACH):
            return "unreachable", text
        case OSError():
            return "lost", text
        case _:
            return type(error).__name__, text


def kind_of_close(ws: everwire.Connection, code: int, reason: str) -> tuple[str, str]:
    """The kind of the error with which an open connection ended, and what is known about it."""
    if ws.failure is not None:
        return "against the protocol", str(ws.failure)
    if code == 1006:
        return "lost", "the connection ended without a closing handshake"
    said = f"the server closed the connection with {code}"
    return f"closed {code}", f"{said}: {reason}" if reason else said
