"""A place in the log of a channel."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Position"]


class Position(NamedTuple):
    """A place in the log of a channel. An *epoch* is the identity of a log: offsets of two do not compare."""

    offset: int
    epoch: str
