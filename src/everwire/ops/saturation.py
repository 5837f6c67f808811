"""How full a node is: one number, by which an autoscaler adds nodes and a person sees which limit is near."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import NamedTuple

from everwire.ops.machine import Machine

__all__ = ["LAG_LIMIT", "Sampler", "Saturation"]

INTERVAL = 0.5
"""Seconds between samples."""
SAMPLES = 20
"""Samples that are looked back at: 10 seconds. Shorter peaks are no reason to add a node."""
LAG_LIMIT = 0.1
"""Seconds that an event loop is late on average at which it counts as full."""


class Saturation(NamedTuple):
    """How much of each limit is used: 0 to 1.

    Attributes:
        cpu: of one processor, the event loop's thread; or of the control group's quota, all threads.
        lag: how late the event loop was on average, of :data:`LAG_LIMIT`.
        connections: of *connection_limit*; 0: there is none.
        descriptors: of the limit of open files.
        memory: of the control group's limit, or of the machine.
    """

    cpu: float
    lag: float
    connections: float
    descriptors: float
    memory: float

    @property
    def value(self) -> float:
        """The largest: what is used up first decides."""
        return max(self)


class Sample(NamedTuple):
    """What was seen at one time, in seconds."""

    at: float
    thread: float
    process: float
    lag: float


class Sampler:
    """Watches an event loop: a timer notes twice a second how late it is, and what the thread has used.

    It costs a few microseconds a second. What it looks at elsewhere, it looks at when it is asked.

    Parameters:
        machine: where limits are read.
    """

    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine if machine is not None else Machine()
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin, in the event loop that runs, and in its thread."""
        self._samples.clear()
        self._due = time.monotonic()
        self._sample(asyncio.get_running_loop())

    def close(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sample(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        lag = max(now - self._due, 0.0)
        self._samples.append(Sample(now, time.thread_time(), time.process_time(), lag))
        self._due = now + INTERVAL
        self._timer = loop.call_later(INTERVAL, self._sample, loop)

    @property
    def lag(self) -> float:
        """Seconds that the event loop was late, on average over the last 10 seconds."""
        return sum(each.lag for each in self._samples) / len(self._samples) if self._samples else 0.0

    @property
    def max_lag(self) -> float:
        """The same at its worst."""
        return max((each.lag for each in self._samples), default=0.0)

    @property
    def busy(self) -> float:
        """The share of the last 10 seconds in which the event loop's thread used a processor: 0 to 1."""
        return self._share("thread", 1.0)

    def _share(self, clock: str, of: float) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        used = getattr(last, clock) - getattr(first, clock)
        return _bounded(used, (last.at - first.at) * of)

    def read(self, *, connections: int = 0, connection_limit: int = 0) -> Saturation:
        """How full it is now, with so many connections of at most *connection_limit* (0: no limit)."""
        limits = self.machine.limits
        cpu = self.busy
        if limits.cpus is not None:
            cpu = max(cpu, self._share("process", limits.cpus))
        # Where the number is not known, connections are most of it.
        opened = self.machine.descriptors() or connections
        return Saturation(
            cpu=cpu,
            lag=_bounded(self.lag, LAG_LIMIT),
            connections=_bounded(connections, connection_limit),
            descriptors=_bounded(opened, limits.descriptors),
            memory=_bounded(self.machine.memory(), limits.memory),
        )


def _bounded(used: float, limit: float | None) -> float:
    """The share of a limit: 0 to 1; without a limit 0."""
    return min(max(used / limit, 0.0), 1.0) if limit and limit > 0 else 0.0
