"""When to connect again, and when to stop trying."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from everwire.errors import InvalidStatus, ProxyError

__all__ = ["Attempts", "Backoff"]

RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers of a server that is busy or restarting, and may answer otherwise soon (RFC 9110, RFC 6585)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How ``async for ws in connect(...)`` waits between attempts: exponential backoff with full jitter.

    The delay after the n-th attempt in a row is drawn from 0 to ``initial * factor ** (n - 1)`` seconds, at
    most ``maximum``. The draw keeps the clients of a server that restarts from coming back all at once.
    """

    initial: float = 1.0
    """Seconds: the longest first delay."""

    maximum: float = 60.0
    """Seconds: the longest delay."""

    factor: float = 2.0
    """By how much the longest delay grows with each attempt."""

    jitter: float = 1.0
    """The share of a delay that is drawn at random: 1 is full jitter, 0 none."""

    max_attempts: int | None = None
    """How many attempts in a row may fail, or lead to a connection that does not last ``reset_after``.

    The error of the last one is raised. None: no end.
    """

    give_up_after: float | None = None
    """Seconds after the first failure in a row from which no attempt is made any more. None: no end."""

    reset_after: float = 10.0
    """Seconds that a connection must have been open for the count of attempts to begin anew.

    A server that accepts connections and closes them at once is therefore not asked in a tight loop.
    """

    max_retry_after: float = 600.0
    """Seconds: the longest Retry-After of a server that is waited for; a longer one counts as this."""

    retry: Callable[[Exception], bool] | None = None
    """Whether to try again after an attempt that failed with this error. None: :meth:`is_transient`."""

    random: Callable[[], float] = field(default=random.random, repr=False)
    """Draws a number from 0 to 1."""

    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    """The time in seconds, from anywhere, never going back."""

    sleep: Callable[[float], Awaitable[object]] = field(default=asyncio.sleep, repr=False)
    """Waits for a number of seconds."""

    def __post_init__(self) -> None:
        for name, low in (("initial", 0.0), ("maximum", 0.0), ("factor", 1.0), ("reset_after", 0.0)):
            value = getattr(self, name)
            if not value >= low:
                raise ValueError(f"{name} must be at least {low:g}: {value!r}")
        if not self.max_retry_after >= 0:
            raise ValueError(f"max_retry_after must be at least 0: {self.max_retry_after!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1: {self.jitter!r}")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError(f"max_attempts must be at least 1, or None for no end: {self.max_attempts!r}")
        if self.give_up_after is not None and not self.give_up_after >= 0:
            raise ValueError(f"give_up_after must be at least 0, or None for no end: {self.give_up_after!r}")

    @staticmethod
    def is_transient(exc: BaseException) -> bool:
        """Whether another attempt may succeed where this one failed.

        So it is for failures of the network, timeouts, and servers or proxies that answer 408, 425, 429, 500,
        502, 503 or 504. A certificate that is not valid, and all else, stays so until someone changes it.
        """
        if isinstance(exc, ProxyError) and exc.__cause__ is not None:
            return Backoff.is_transient(exc.__cause__)
        if isinstance(exc, InvalidStatus):
            return exc.response.status in RETRIED_STATUSES
        return isinstance(exc, OSError) and not isinstance(exc, ssl.SSLCertVerificationError)

    def delay(self, attempts: int) -> float:
        """Seconds to wait after so many attempts in a row (1 or more)."""
        try:
            longest = min(self.maximum, self.initial * self.factor ** (attempts - 1))
        except OverflowError:
            longest = self.maximum
        return longest * (1 - self.jitter * self.random())

    def attempts(self) -> Attempts:
        """A new count of attempts under this policy."""
        return Attempts(self)


class Attempts:
    """The attempts of one client to be and stay connected: how many in a row failed, and since when."""

    __slots__ = ("_failing_since", "_opened_at", "count", "policy")

    def __init__(self, policy: Backoff) -> None:
        self.policy = policy
        self.count = 0
        self._failing_since: float | None = None
        self._opened_at: float | None = None

    def failed(self, exc: Exception) -> float:
        """An attempt failed: returns the seconds to wait for the next one.

        Raises:
            Exception: ``exc`` itself, if it is not one to try again after, or if it is time to give up.
        """
        policy = self.policy
        retry = policy.retry or policy.is_transient
        if not retry(exc):
            raise exc
        delay = self._next(exc)
        if isinstance(exc, InvalidStatus):
            # On top of the jitter: the server told all of its clients the same time.
            delay += min(retry_after(exc), policy.max_retry_after)
        self._check_time(exc, delay)
        return delay

    def opened(self) -> None:
        """An attempt succeeded."""
        self._opened_at = self.policy.clock()

    def closed(self, exc: Exception) -> float:
        """The connection is closed: returns the seconds to wait before the next attempt.

        Raises:
            Exception: ``exc`` itself, if it is time to give up: too many connections in a row did not last.
        """
        now = self.policy.clock()
        if self._opened_at is not None and now - self._opened_at >= self.policy.reset_after:
            self.reset()
        self._opened_at = None
        delay = self._next(exc)
        self._check_time(exc, delay)
        return delay

    def reset(self) -> None:
        """Begins to count anew."""
        self.count = 0
        self._failing_since = None

    def _next(self, exc: Exception) -> float:
        policy = self.policy
        self.count += 1
        if self._failing_since is None:
            self._failing_since = policy.clock()
        if policy.max_attempts is not None and self.count >= policy.max_attempts:
            raise exc
        return policy.delay(self.count)

    def _check_time(self, exc: Exception, delay: float) -> None:
        policy = self.policy
        if policy.give_up_after is None or self._failing_since is None:
            return
        if policy.clock() + delay - self._failing_since > policy.give_up_after:
            raise exc


def retry_after(exc: InvalidStatus) -> float:
    """Seconds after which the server said to come back (RFC 9110, section 10.2.3), or 0."""
    try:
        value = exc.response.headers.get("Retry-After")
    except LookupError:
        return 0.0
    if value is None:
        return 0.0
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
