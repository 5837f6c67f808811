"""Making tokens: for tests, for the command line, for applications."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from everwire.channels.keys import signing_key

__all__ = ["Signer"]


class Signer:
    """Makes tokens: for an application's own pages, for the command line and for tests.

    Parameters:
        key: a secret for HMAC; a private key in PEM for the others.
        algorithm: ``"HS256"``, ``"RS256"``, ``"ES256"``, ``"EdDSA"`` and so on.
        id: the key's id, which tokens then name (``kid``).
        clock: seconds since 1970.

    Raises:
        ValueError: it is no such algorithm or key.
        ImportError: the extra ``channels`` is not installed.
    """

    def __init__(
        self,
        key: str,
        algorithm: str = "HS256",
        *,
        id: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._algorithm, self._key = signing_key(algorithm, key)
        self._header = _part(
            msgspec.json.encode({"alg": algorithm, "typ": "JWT"} | ({"kid": id} if id else {}))
        )
        self._clock = clock

    def connection(self, user: str, *, expires: float | None = 3600, **claims: Any) -> str:
        """A connection token.

        Parameters:
            user: the user's id; empty: nobody known.
            expires: seconds from now; None: never.
            claims: others, by name: ``info``, ``channels``, ``subs``, ``meta``, ``caps``, ``aud``, ``iss``
                ...
        """
        return self.sign({"sub": user} | self._times(expires) | claims)

    def subscription(self, user: str, channel: str, *, expires: float | None = 3600, **claims: Any) -> str:
        """A subscription token.

        Parameters:
            user: the user's id, as in the connection token; empty: nobody known.
            channel: the channel.
            expires: seconds from now; None: never.
            claims: others, by name: ``info``, ``data``, ``override``, ``client``, ``aud``, ``iss`` ...
        """
        return self.sign({"sub": user, "channel": channel} | self._times(expires) | claims)

    def _times(self, expires: float | None) -> dict[str, int]:
        now = int(self._clock())
        return {"iat": now} if expires is None else {"iat": now, "exp": now + int(expires)}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A token with just these claims."""
        signed = self._header + b"." + _part(msgspec.json.encode(claims))
        return (signed + b"." + _part(self._algorithm.sign(signed, self._key))).decode()


def _part(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
