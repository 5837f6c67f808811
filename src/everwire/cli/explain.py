"""Why a connection could not be made, or ended: in words, with what to do about it."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from typing import NamedTuple

import everwire
from everwire.cli.text import escape, shorten
from everwire.websocket.uri import WebSocketURI, redact

__all__ = ["Problem", "explain", "explain_close", "is_regular"]

MAX_BODY = 600
"""Characters of the body of a refusal that are shown."""

STATUS_REMEDIES = {
    400: "the server took the request for a wrong one; some servers want --origin or --subprotocol",
    401: "it wants to know who you are: try --user NAME, or --header 'Authorization: Bearer TOKEN'",
    403: "you may not connect: check --origin, --cookie and --header, which servers look at",
    404: "there is no WebSocket at this path: check the URL",
    405: "there is no WebSocket at this path: check the URL",
    407: "the proxy wants a user name and a password: --proxy http://USER:PASSWORD@HOST:PORT",
    426: "the server wants another protocol than HTTP/1.1 or than WebSocket version 13",
    429: "you connected too often: wait, or use --reconnect, which does",
    502: "the proxy in front of the server does not reach it: try again later, or use --reconnect",
    503: "the server is busy or restarting: try again later, or use --reconnect",
    504: "the proxy in front of the server does not reach it: try again later, or use --reconnect",
}

CLOSE_REMEDIES = {
    1002: "one side did not like what the other sent",
    1003: "the server does not take this kind of message, text or binary",
    1006: "the server or the network broke off; or a proxy cut an idle connection: see --ping-interval",
    1007: "a message was not what it claimed to be",
    1008: "the server's rules forbid it",
    1011: "the server failed: its log knows why",
    1012: "try again in a moment, or use --reconnect",
    1013: "try again later, or use --reconnect",
}


class Problem(NamedTuple):
    """What went wrong, safe to print: its kind in one word, a sentence, what to do, what the server said."""

    kind: str
    message: str
    remedy: str = ""
    body: str = ""

    @property
    def lines(self) -> list[str]:
        """All of it, for a terminal or a log."""
        return [self.message, *filter(None, [self.remedy]), *(f"| {line}" for line in self.body.splitlines())]


def explain(error: BaseException, uri: WebSocketURI, *, timeout: float | None = None) -> Problem:
    """What an attempt to connect to this URI failed of."""
    where = f"{uri.host} port {uri.port}"
    match error:
        case everwire.InvalidStatus():
            return _refused(error, uri)
        case everwire.ProxyError():
            return _proxy(error)
        case everwire.RedirectError():
            return Problem("redirect", escape(str(error)), "connect to that URL, if you trust it")
        case everwire.NegotiationError():
            return _negotiation(error)
        case everwire.HandshakeError():
            return _handshake(error, uri)
        case ssl.SSLCertVerificationError():
            return _certificate(error, uri)
        case ssl.SSLError():
            return _tls(error, uri, where)
        case socket.gaierror():
            remedy = "check the spelling, and that the network is up"
            return Problem("name", f"the name {uri.host} was not found: {error.strerror}", remedy)
        case TimeoutError():
            waited = "" if timeout is None else f" within {timeout:g} seconds"
            remedy = "a firewall may drop the packets; --timeout gives it more time"
            if uri.secure:
                remedy += f"; if it speaks no TLS, connect to ws://{uri.host_header}{uri.path}"
            return Problem("timeout", f"{where} did not answer{waited}", remedy)
        case OSError():
            return _network(error, uri, where)
        case _:
            return Problem("error", escape(f"{type(error).__name__}: {error}"))


def _refused(error: everwire.InvalidStatus, uri: WebSocketURI) -> Problem:
    response = error.response
    status = f"{response.status} {response.reason}".strip()
    remedy = STATUS_REMEDIES.get(response.status, "")
    challenge = ", ".join(response.headers.get_all("WWW-Authenticate"))
    if response.status == 401 and challenge:
        remedy += f" (it asks for {shorten(challenge, 100)})"
    if response.status == 400 and not uri.secure and b"HTTPS" in response.body:
        remedy = f"this port speaks TLS: connect to wss://{uri.host_header}{uri.path}"
    if response.status == 200:
        remedy = "it answered like a web page: there is no WebSocket at this path"
    return Problem("status", f"the server refused: {shorten(status, 100)}", remedy, _body(response))


def _body(response: everwire.Response) -> str:
    """What the server said, as far as it is text: without the tags of a page, and not much of it."""
    content_type = response.headers.get("Content-Type") or "text/plain"
    if not re.match(r"text/|application/(?:[\w.+-]*json|xml)", content_type, re.IGNORECASE):
        return ""
    text = response.body[: 8 * MAX_BODY].decode(errors="replace")
    if "html" in content_type.lower():
        text = re.sub(r"(?is)<(script|style|head)\b.*?</\1>", "", text)
        text = re.sub(r"(?s)<[^>]*>", "", text)
    lines = [escape(line.strip()) for line in text.splitlines() if line.strip()]
    text = "\n".join(lines)
    return text if len(text) <= MAX_BODY else text[:MAX_BODY] + "…"


def _proxy(error: everwire.ProxyError) -> Problem:
    cause = error.__cause__
    remedy = "check --proxy and the environment (https_proxy, no_proxy), or go without: --no-proxy"
    if isinstance(cause, everwire.InvalidStatus) and cause.response.status == 407:
        remedy = STATUS_REMEDIES[407]
    return Problem("proxy", escape(redact(str(error))), remedy)


def _negotiation(error: everwire.NegotiationError) -> Problem:
    remedy = "the server chose what was not offered: offer it with --subprotocol, or leave the option out"
    if "extension" in str(error):
        remedy = "try --no-compression"
    return Problem("subprotocol", escape(str(error)), remedy)


def _handshake(error: everwire.HandshakeError, uri: WebSocketURI) -> Problem:
    remedy = "is it a WebSocket server? Something else may listen at this port"
    if isinstance(error, everwire.InvalidMessage) and not uri.secure:
        remedy += f"; if it speaks TLS, connect to wss://{uri.host_header}{uri.path}"
    return Problem("handshake", f"the answer opens no WebSocket: {shorten(str(error), 300)}", remedy)


def _certificate(error: ssl.SSLCertVerificationError, uri: WebSocketURI) -> Problem:
    why = error.verify_message or str(error)
    trust = "--cacert FILE trusts its authority, --insecure goes without the check"
    remedies = {
        10: "it has to be renewed on the server (and this machine's clock be right); --insecure goes without",
        18: f"the server vouches for itself: {trust}",
        19: f"the authority is not one that this system trusts: {trust}",
        20: f"the authority is not one that this system trusts: {trust}",
        62: "connect to a name that the certificate has; --insecure goes without the check",
        64: "connect to a name that the certificate has; --insecure goes without the check",
    }
    remedy = remedies.get(error.verify_code, trust)
    return Problem("tls", f"the certificate of {uri.host} is not valid: {escape(why)}", remedy)


def _tls(error: ssl.SSLError, uri: WebSocketURI, where: str) -> Problem:
    # Some of these errors are made by hand, and have a message only.
    reason = getattr(error, "reason", None) or re.sub(r"[ -]+", "_", str(error)).upper()
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"):
        remedy = f"this port may speak no TLS: connect to ws://{uri.host_header}{uri.path}"
        return Problem("tls", f"{where} does not answer in TLS", remedy)
    why = escape(reason.replace("_", " ").lower())
    remedy = ""
    if re.search("CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|BAD_CERTIFICATE", reason):
        remedy = "the server may want a certificate of yours: --cert FILE --key FILE"
    return Problem("tls", f"TLS with {where} failed: {why}", remedy)


def _network(error: OSError, uri: WebSocketURI, where: str) -> Problem:
    number = error.errno
    if number == errno.ECONNREFUSED or "refused" in str(error).lower():
        remedy = "is the server running, and is the port right?"
        if uri.port in (80, 443) and uri.host in ("localhost", "127.0.0.1", "::1"):
            remedy += f" Name it, if it is not {uri.port}: {uri.scheme}://{uri.host_header}:8080{uri.path}"
        return Problem("refused", f"{where} refused the connection", remedy)
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN):
        return Problem(
            "unreachable", f"there is no way to {where}", "check the network, the VPN, the firewall"
        )
    if number in (errno.ECONNRESET, errno.EPIPE):
        remedy = "it may not be a WebSocket server"
        if uri.secure:
            # A server that refuses in TLS 1.3 often resets the connection before its reason is read.
            remedy += ", or want a certificate of yours: --cert FILE --key FILE"
        else:
            remedy += f"; if it speaks TLS, connect to wss://{uri.host_header}{uri.path}"
        return Problem("lost", f"{where} closed the connection before it answered", remedy)
    why = os.strerror(number) if number is not None and number > 0 else str(error)
    return Problem("network", f"cannot connect to {where}: {escape(why)}")


def is_regular(error: everwire.ConnectionClosed | None) -> bool:
    """Whether a connection ended as agreed."""
    return isinstance(error, everwire.ConnectionClosedOK)


def explain_close(error: everwire.ConnectionClosed | None) -> Problem:
    """Who closed a connection, and with which code; ``kind`` is ``server``, ``client`` or ``nobody``."""
    if error is None or (error.received is None and error.sent is None):
        return Problem("nobody", f"lost: {_close(everwire.Close(1006, ''))}", CLOSE_REMEDIES[1006])
    ours = error.sent is not None and (error.received is None or error.received_first is False)
    close = error.sent if ours else error.received
    assert close is not None
    message = f"closed by {'this side' if ours else 'the server'}: {_close(close)}"
    if error.received is None:
        message += "; the server did not answer"
    if close.code == 1009:
        remedy = "--max-size takes larger messages" if ours else "a message was too large for the server"
    else:
        remedy = CLOSE_REMEDIES.get(close.code, "")
    return Problem("client" if ours else "server", message, remedy)


def _close(close: everwire.Close) -> str:
    return shorten(str(close), 200)
