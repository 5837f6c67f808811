"""Public keys from an address: a JSON Web Key Set (RFC 7517), fetched when a token names a key not known."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any
from urllib import request
from urllib.error import URLError
from urllib.parse import urlsplit

import msgspec

from everwire.channels.keys import Keys
from everwire.errors import CommandError, EverwireError
from everwire.wire.codes import ErrorCode

__all__ = ["KeySet"]

MAX_SIZE = 1 << 20
"""Bytes of a key set at most."""
MAX_KEYS = 256
TIMEOUT = 5.0
"""Seconds in which it must be here."""
LIFETIME = 3600.0
"""Seconds after which it is fetched anew, to notice keys that were withdrawn."""
COOLDOWN = 10.0
"""Seconds between two fetches, whatever keys tokens name."""

logger = logging.getLogger("everwire.tokens")


class KeySet:
    """The keys at an address, which change.

    They are fetched when they are needed first, when a token names a key that is not among them (at most
    every *cooldown* seconds) and when they are *lifetime* seconds old. While the address cannot be reached,
    the keys that it gave last count.

    Parameters:
        url: ``https:``, ``http:`` or ``file:``.
        timeout: seconds in which the keys must be here.
        lifetime, cooldown: seconds.
        clock: seconds that only grow.

    Raises:
        ValueError: the URL is none of these.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        lifetime: float = LIFETIME,
        cooldown: float = COOLDOWN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http", "file") or (parts.scheme != "file" and not parts.hostname):
            raise ValueError(f"token_jwks_public_endpoint is an https:, http: or file: URL, not {url!r}")
        self._url = url
        self._timeout = timeout
        self._lifetime = lifetime
        self._cooldown = cooldown
        self._clock = clock
        self._keys = Keys()
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def keys(self, name: str, id: str | None) -> Keys:
        """The keys; fetched anew if none of them is for this algorithm and id.

        Raises:
            CommandError: there are none, and they cannot be fetched now (100, temporary).
        """
        now = self._clock()
        old = now - self._fetched >= self._lifetime
        if (old or not self._keys.has(name, id)) and now - self._tried >= self._cooldown:
            if self._fetching is None:
                self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            # Who waits may be cancelled; the others wait for the same fetch.
            await asyncio.shield(self._fetching)
        elif self._fetching is not None and not self._keys.has(name, id):
            await asyncio.shield(self._fetching)
        if not self._keys and self._fetched == float("-inf"):
            raise CommandError(
                ErrorCode.INTERNAL, "the keys of tokens cannot be fetched at present", temporary=True
            )
        return self._keys

    async def _fetch(self) -> None:
        try:
            self._keys = await asyncio.to_thread(_load, self._url, self._timeout)
            self._fetched = self._clock()
        except EverwireError as error:
            logger.error("the keys of tokens were not fetched: %s", error)
        finally:
            self._tried = self._clock()
            self._fetching = None


class SafeRedirects(request.HTTPRedirectHandler):
    """Follows redirects, but not from TLS to none."""

    def redirect_request(
        self, req: request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> request.Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise URLError(f"it is redirected to {scheme}:")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _load(url: str, timeout: float) -> Keys:
    """Fetch and read a key set; blocks.

    Raises:
        EverwireError: it cannot be had.
    """
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.FileHandler(),
        SafeRedirects(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    wanted = request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})
    try:
        body = _read(opener, wanted, timeout)
        listed = msgspec.convert(msgspec.json.decode(body, type=dict[str, Any])["keys"], list[Any])
    except KeyError:
        raise EverwireError(f"{_safe(url)} is no JSON Web Key Set: it has no keys") from None
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise EverwireError(f"{_safe(url)}: {error}") from None
    keys = Keys()
    found: list[Any] = [jwk for jwk in listed[:MAX_KEYS] if isinstance(jwk, dict)]
    if not sum(keys.add_jwk(jwk) for jwk in found):
        raise EverwireError(f"{_safe(url)} has no public key that tokens are signed with")
    return keys


def _read(opener: request.OpenerDirector, wanted: request.Request, timeout: float) -> bytes:
    end = time.monotonic() + timeout
    with opener.open(wanted, timeout=timeout) as response:
        body = bytearray()
        # One call each, so that a server that sends a byte a second is noticed.
        while part := response.read1(65536) if hasattr(response, "read1") else response.read(65536):
            body += part
            if len(body) > MAX_SIZE:
                raise ValueError(f"it is larger than {MAX_SIZE} bytes")
            if time.monotonic() > end:
                raise TimeoutError(f"it was not here within {timeout:g} s")
    return bytes(body)


def _safe(url: str) -> str:
    """A URL without what may be secret: the user and password, and the query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
