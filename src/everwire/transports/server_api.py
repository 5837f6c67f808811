"""The server API over HTTP: ``POST /api/publish`` and the rest, for holders of a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hmac import compare_digest
from typing import Protocol

from everwire.channels.api import Api
from everwire.errors import HandshakeError
from everwire.wire.codes import ErrorCode

__all__ = ["ApiRequest", "ServerApi"]

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a request at most: a batch may be large."""
BODY_TIMEOUT = 30.0
"""Seconds that a request's body may take."""

STATUSES: Mapping[int, int] = {
    ErrorCode.UNKNOWN_CHANNEL: 404,
    ErrorCode.METHOD_NOT_FOUND: 404,
    ErrorCode.PERMISSION_DENIED: 403,
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.NOT_AVAILABLE: 400,
    ErrorCode.EXPIRED: 400,
    ErrorCode.UNRECOVERABLE_POSITION: 416,
}
"""The HTTP status of errors, for those who want errors so; of others it is 500."""


class ApiRequest(Protocol):
    """A request, as this needs it.

    Attributes:
        rest: what of the path comes after ``/api/``.
        headers: names in lower case.
    """

    rest: str

    @property
    def headers(self) -> Mapping[str, str]:
        """As above."""
        ...

    async def body(self, limit: int, timeout: float) -> bytes:
        """The whole body."""
        ...

    async def answer(self, status: int, body: bytes | str = b"", *, content_type: str = ...) -> None:
        """Answer it."""
        ...


class ServerApi:
    """Answers requests to the server API.

    Parameters:
        api: what they call.
        key: what requests must have as ``X-API-Key: KEY`` or ``Authorization: apikey KEY``; or several keys,
            while it is changed. Without one all are refused.
        insecure: for development: no key is needed.

    Raises:
        ValueError: a key is empty, or has characters that a header cannot.
    """

    def __init__(self, api: Api, *, key: str | Sequence[str] = (), insecure: bool = False) -> None:
        keys = (key,) if isinstance(key, str) else key
        if not all(each and each.isascii() and each.isprintable() and each.strip() == each for each in keys):
            raise ValueError("api_key is a key of printable ASCII characters, without blanks around it")
        self._api = api
        self._keys = [each.encode() for each in keys]
        self._insecure = insecure

    async def handle(self, request: ApiRequest) -> None:
        """Answer a request.

        Raises:
            HandshakeError: it has no key or a wrong one (401), there is none (403), or its body is too large.
        """
        self.authorize(request.headers)
        body = await request.body(MAX_BODY, BODY_TIMEOUT)
        found = await self._api.call(request.rest, body)
        status, answer = 200, found.body
        if request.headers.get("x-centrifugo-error-mode", "").lower() == "transport" and found.error:
            status = STATUSES.get(found.error, 500 if found.error < 400 else 400)
            answer = answer.removeprefix(b'{"error":').removesuffix(b"}")
        await request.answer(status, answer, content_type="application/json")

    def authorize(self, headers: Mapping[str, str]) -> None:
        """Let a request pass that has the key.

        Raises:
            HandshakeError: it has none or a wrong one (401), or there is none to compare it with (403).
        """
        if self._insecure:
            return
        if not self._keys:
            raise HandshakeError(
                "the server API has no key, so it is closed: set the option api_key (in a configuration file "
                "[api] key), or start with --insecure for development",
                403,
            )
        given = headers.get("x-api-key", "")
        if not given:
            scheme, _, rest = headers.get("authorization", "").partition(" ")
            given = rest.strip() if scheme.lower() == "apikey" else ""
        if not given:
            raise HandshakeError(
                "the server API asks for a key: send it as X-API-Key: KEY or Authorization: apikey KEY", 401
            )
        sent = given.encode("utf-8", "surrogateescape")
        # All are compared, so that the time does not tell which is near.
        if not sum([compare_digest(sent, key) for key in self._keys]):
            raise HandshakeError("the key of the server API is wrong", 401)
