"""The options of a client that its parts share."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from everwire.client.events import Decoder
from everwire.websocket.backoff import Backoff
from everwire.wire.codec import Codec

__all__ = ["STEADY", "Options", "delay", "refresh_after"]

STEADY = 5.0
"""Seconds that a connection or a subscription must last for its next failure to count as the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the parts of a client share; :class:`everwire.Client` tells what each is."""

    codec: Codec
    decode: Decoder
    timeout: float
    max_ping_delay: float
    backoff: Backoff
    max_queue: int
    max_queue_bytes: int
    logger: logging.Logger
    get_token: Callable[[], Awaitable[str]] | None


def delay(backoff: Backoff, attempts: int) -> float:
    """Seconds until the next attempt after so many: the shortest, and more, drawn with full jitter."""
    return min(backoff.maximum, backoff.initial + backoff.delay(attempts))


def refresh_after(ttl: int) -> float:
    """Seconds until a token that is valid for so many seconds is to be renewed: somewhat before its end."""
    return max(1.0, ttl - min(ttl * 0.1, 10.0))
