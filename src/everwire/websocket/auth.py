"""HTTP basic authentication in the opening handshake, of the server and of the client (RFC 7617)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Iterable
from hmac import compare_digest
from inspect import isawaitable
from typing import Any

from everwire.errors import HandshakeError
from everwire.websocket.handshake import error_response
from everwire.websocket.messages import Request, Response

__all__ = ["BasicAuth", "Credentials", "basic_auth", "basic_authorization"]

Credentials = tuple[str, str] | Iterable[tuple[str, str]]
"""A user name and a password, or several of these pairs."""

CheckCredentials = Callable[[str, str], bool | Awaitable[bool]]
"""Takes a user name and a password, says whether they are right; it may be a coroutine function."""

Answer = Response | None
ProcessRequest = Callable[[Any, Request], Answer | Awaitable[Answer]]

_BASIC = re.compile(r"basic +([A-Za-z0-9+/]+={0,2}) *", re.IGNORECASE)
_REALM = re.compile(r"[\x20-\x7e]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class BasicAuth:
    """Asks for a user name and a password before the handshake; made by :func:`basic_auth`.

    It is a hook ``process_request``: it returns a response 401, or None to go on; if credentials are checked
    by a coroutine, an awaitable of these. The name of the user is then ``request.username``.
    """

    __slots__ = ("_challenge", "_check")

    def __init__(self, realm: str, check: CheckCredentials) -> None:
        escaped = re.sub(r'(["\\])', r"\\\1", realm)
        self._challenge = f'Basic realm="{escaped}", charset="UTF-8"'
        self._check = check

    def __call__(self, connection: object, request: Request) -> Answer | Awaitable[Answer]:
        credentials = parse_authorization(request)
        if credentials is None:
            return self._refuse("this server asks for a user name and a password")
        valid = self._check(*credentials)
        if isawaitable(valid):
            return self._decide_later(valid, request, credentials[0])
        return self._decide(bool(valid), request, credentials[0])

    def then(self, process_request: ProcessRequest) -> ProcessRequest:
        """A hook that asks ``process_request`` once the credentials are found to be right."""

        async def later(answer: Awaitable[Answer], connection: Any, request: Request) -> Answer:
            refused = await answer
            if refused is not None:
                return refused
            result = process_request(connection, request)
            return await result if isawaitable(result) else result

        def both(connection: Any, request: Request) -> Answer | Awaitable[Answer]:
            answer = self(connection, request)
            if isawaitable(answer):
                return later(answer, connection, request)
            return process_request(connection, request) if answer is None else answer

        return both

    async def _decide_later(self, valid: Awaitable[bool], request: Request, username: str) -> Answer:
        return self._decide(await valid, request, username)

    def _decide(self, valid: bool, request: Request, username: str) -> Answer:
        if not valid:
            return self._refuse("the user name or the password is wrong")
        request.username = username
        return None

    def _refuse(self, message: str) -> Response:
        response = error_response(HandshakeError(message, 401))
        response.headers["WWW-Authenticate"] = self._challenge
        return response


def basic_auth(
    *,
    realm: str = "",
    credentials: Credentials | None = None,
    check_credentials: CheckCredentials | None = None,
) -> BasicAuth:
    """Basic authentication for a server: a hook ``process_request`` (RFC 7617).

    The password crosses the network in the clear unless the server uses TLS.

    Args:
        realm: what a browser tells the user that the password is for, in ASCII.
        credentials: a pair ``(username, password)`` or several; compared in a time that tells nothing.
        check_credentials: instead, a function or a coroutine function of username and password that says
            whether they are right.

    Raises:
        TypeError: neither of the last two is given, or both, or ``credentials`` are no pairs of strings.
        ValueError: ``realm`` is not printable ASCII, or a user name has a colon.
    """
    if (credentials is None) == (check_credentials is None):
        raise TypeError("basic_auth takes either credentials or check_credentials")
    if not _REALM.fullmatch(realm):
        raise ValueError(f"the realm {realm!r} is not printable ASCII")
    if credentials is not None:
        check_credentials = _fixed(credentials)
    assert check_credentials is not None
    return BasicAuth(realm, check_credentials)


def _fixed(credentials: Credentials) -> CheckCredentials:
    one = isinstance(credentials, tuple) and any(isinstance(part, str) for part in credentials)
    if not isinstance(credentials, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] (callers err)
        raise TypeError(f"credentials is a pair (username, password) or a list of these, not {credentials!r}")
    pairs: list[object] = [credentials] if one else list(credentials)
    known = [_pair(pair) for pair in pairs]

    def check(username: str, password: str) -> bool:
        given = f"{username}:{password}".encode()
        # All are compared, so that the time does not tell which user names exist.
        return sum([compare_digest(given, pair) for pair in known]) > 0

    return check


def _pair(pair: object) -> bytes:
    match pair:
        case (str(username), str(password)):
            return _joined(username, password)
        case _:
            raise TypeError("credentials is a pair (username, password) of strings, or a list of these")


def _joined(username: str, password: str) -> bytes:
    if ":" in username:
        raise ValueError("a user name for basic authentication cannot have a colon")
    return f"{username}:{password}".encode()


def parse_authorization(request: Request) -> tuple[str, str] | None:
    """The user name and the password of a request, or None if it has none that can be read."""
    values = request.headers.get_all("Authorization")
    match = _BASIC.fullmatch(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    try:
        text = b64decode(match[1], validate=True).decode()
    except ValueError:
        return None
    username, colon, password = text.partition(":")
    return (username, password) if colon and not _CONTROL.search(text) else None


def basic_authorization(username: str, password: str) -> str:
    """The value of the header Authorization with which a client sends credentials.

    Raises:
        ValueError: the user name has a colon, which this scheme cannot carry.
    """
    return "Basic " + b64encode(_joined(username, password)).decode()
