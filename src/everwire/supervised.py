"""What a worker knows of the supervisor that has started it: how many there are, and what it may ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Supervised", "supervised"]


@dataclass(slots=True)
class Supervised:
    """This process, as one of several workers or not.

    Attributes:
        workers: how many there are; 1: this one serves alone.
        ask: asks the supervisor something, and waits for the answer; None: there is none.
    """

    workers: int = 1
    ask: Callable[[str], str] | None = None


supervised = Supervised()
"""This process."""
