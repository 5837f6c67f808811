"""What every engine promises, as checks that run against any of them.

:data:`CHECKS` has them all. Each is a coroutine function that takes a :class:`Bench` and raises
:exc:`AssertionError` where a promise is not kept. Nothing here needs a test framework.
"""

from __future__ import annotations

from everwire.engines.contract import cluster, life, log, model, presence
from everwire.engines.contract.bench import Bench, Check, ManualClock, Recorder, publication, values

__all__ = ["CHECKS", "CLUSTER_CHECKS", "Bench", "Check", "ManualClock", "Recorder", "publication", "values"]

CHECKS: tuple[Check, ...] = (*life.CHECKS, *log.CHECKS, *presence.CHECKS, *model.CHECKS)
"""The checks of one node; the name of each function says what is promised."""

CLUSTER_CHECKS: tuple[Check, ...] = cluster.CHECKS
"""The checks of two nodes that share an engine's logs: for a :class:`Bench` with a ``peer``."""
