"""What every engine promises, as checks that run against any of them.

:data:`CHECKS` has them all. Each is a coroutine function that takes a :class:`Bench` and raises
:exc:`AssertionError` where a promise is not kept. Nothing here needs a test framework.
"""

from __future__ import annotations

from everwire.engines.contract import life, log, model, presence
from everwire.engines.contract.bench import Bench, Check, ManualClock, Recorder, publication, values

__all__ = ["CHECKS", "Bench", "Check", "ManualClock", "Recorder", "publication", "values"]

CHECKS: tuple[Check, ...] = (*life.CHECKS, *log.CHECKS, *presence.CHECKS, *model.CHECKS)
"""All checks; the name of each function says what is promised."""
