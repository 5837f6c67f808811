"""What ``everwire connect`` is told about whom to connect to, and as whom: read and checked."""

from __future__ import annotations

import getpass
import os
import re
import ssl
from pathlib import Path

from typer import BadParameter

from everwire.errors import InvalidURI
from everwire.websocket.auth import basic_authorization
from everwire.websocket.uri import WebSocketURI, parse_uri

__all__ = ["PASSWORD", "authorization", "parse_cookies", "parse_headers", "parse_url", "tls_context"]

PASSWORD = "EVERWIRE_PASSWORD"
"""The environment variable with the password for --user."""

_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def parse_url(text: str) -> tuple[str, WebSocketURI]:
    """A URL as people write it, completed: as a string to connect to, and taken apart.

    Without a scheme it is ``ws``, or ``wss`` for port 443; without a host it is this machine.

    Raises:
        BadParameter: it is no URL of a WebSocket server.
    """
    if "://" not in text:
        if text.isdecimal():
            text = f":{text}"
        authority, slash, rest = text.partition("/")
        if re.fullmatch(r":\d+", authority):
            authority = f"localhost{authority}"
        scheme = "wss" if authority.endswith(":443") else "ws"
        text = f"{scheme}://{authority}{slash}{rest}"
    try:
        return text, parse_uri(text)
    except InvalidURI as error:
        raise BadParameter(f"{error}; write it like wss://example.com/path or localhost:8080") from None


def parse_headers(lines: list[str]) -> list[tuple[str, str]]:
    """Headers of the form ``Name: value``.

    Raises:
        BadParameter: one is not of this form.
    """
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _token.fullmatch(name):
            # The value may be a secret.
            raise BadParameter(f"{name!r} begins no header; write it like 'Authorization: Bearer TOKEN'")
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]", value):
            raise BadParameter(f"the value of {name} has a character that a header cannot have")
        headers.append((name, value.strip()))
    return headers


def parse_cookies(cookies: list[str]) -> list[tuple[str, str]]:
    """The header Cookie of pairs ``name=value`` (RFC 6265, section 4.2); none without a cookie.

    Raises:
        BadParameter: one is not of this form.
    """
    for cookie in cookies:
        name, equals, value = cookie.partition("=")
        if not equals or not _token.fullmatch(name) or re.search(r"[\x00-\x20\x7f;,]", value):
            raise BadParameter(f"{name!r} begins no cookie; write it like --cookie session=abc123")
    return [("Cookie", "; ".join(cookies))] if cookies else []


def authorization(user: str | None) -> list[tuple[str, str]]:
    """The header Authorization for a user, whose password the environment has or a prompt asks for.

    Raises:
        BadParameter: the name has a colon, or there is nobody to ask.
    """
    if user is None:
        return []
    if ":" in user:
        raise BadParameter(
            f"give the name only: a password on the command line can be read by others. "
            f"It is asked for, or taken from the environment variable {PASSWORD}"
        )
    password = os.environ.get(PASSWORD)
    if password is None:
        try:
            with open("/dev/tty", "rb"):
                pass
        except OSError:
            raise BadParameter(
                f"there is no terminal to ask for the password: set the environment variable {PASSWORD}"
            ) from None
        try:
            password = getpass.getpass(f"Password of {user}: ")
        except EOFError:
            raise BadParameter("no password was given") from None
    return [("Authorization", basic_authorization(user, password))]


def tls_context(
    uri: WebSocketURI, *, insecure: bool, cacert: Path | None, cert: Path | None, key: Path | None
) -> ssl.SSLContext | None:
    """The TLS settings that the options make; None for the default ones.

    Raises:
        BadParameter: TLS is not used, or a file cannot be.
    """
    if not insecure and cacert is None and cert is None and key is None:
        return None
    if not uri.secure:
        raise BadParameter("--insecure, --cacert, --cert and --key are for TLS: connect to wss://")
    if key is not None and cert is None:
        raise BadParameter("--key needs --cert, the file of the certificate")
    for path in (cacert, cert, key):
        if path is not None and not path.is_file():
            raise BadParameter(f"there is no file {path}")
    try:
        context = ssl.create_default_context(cafile=cacert)
    except ssl.SSLError as error:
        raise BadParameter(f"{cacert} has no certificates that can be read (PEM)") from error
    try:
        if cert is not None:
            context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        raise BadParameter(
            f"{cert} and {key or cert} are no certificate and its private key (PEM)"
        ) from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
