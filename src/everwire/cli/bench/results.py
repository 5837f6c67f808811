"""What a run has measured: the counts of all its processes, over time and in all."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from everwire._core.histogram import Histogram
from everwire.cli.bench.job import Job
from everwire.cli.bench.mistakes import Mistake

__all__ = ["PERCENTILES", "Bucket", "Counted", "Results"]

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
BUCKETS = 200
"""Points of a line over time, at most."""
NARROWEST = 0.1
"""Seconds of the narrowest of them: that is how often processes report."""
RECENT = 1.0
"""Seconds that are «now» in the display."""


@dataclass(slots=True)
class Counted:
    """Errors of one kind.

    Attributes:
        count: how many there were.
        first: the first one.
    """

    count: int
    first: Mistake


@dataclass(slots=True)
class Bucket:
    """What was counted in one stretch of time.

    Attributes:
        seconds: its length, as far as it was reported; for all processes together.
        sent: messages sent.
        received: messages received.
        times: how long these took.
    """

    seconds: float = 0.0
    sent: int = 0
    received: int = 0
    times: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class Part:
    """What one process has reported."""

    phase: str = "opening"
    at: int = 0
    """When it last did: nanoseconds of the monotonic clock."""
    open: int = 0
    under_way: int = 0
    ready: bool = False
    done: bool = False
    cpu: float = 0.0
    """Seconds of processor time that it took while it was measured."""
    sent: int = 0
    received: int = 0
    size: int = 0
    seconds: float = 0.0
    """Seconds that were measured; the three counts are of these."""


class Results:
    """The counts of a run, which grow as its processes report.

    Args:
        job: what is run.
        processes: how many processes run it.
    """

    def __init__(self, job: Job, processes: int) -> None:
        self.job = job
        self.parts = [Part() for _ in range(processes)]
        self.began: int | None = None
        """When the load began: nanoseconds of the monotonic clock."""
        self.times = Histogram()
        """How long messages took, without those of the warm-up."""
        self.openings = Histogram()
        """How long opening handshakes took."""
        self.opened = 0
        """Connections that were opened."""
        self.opening_seconds = 0.0
        """Seconds that the opening of all connections took."""
        self.sent = self.received = 0
        """Messages of the whole run, warm-up and end included."""
        self.mistakes: dict[str, Counted] = {}
        self.interrupted = False
        self.width = max(NARROWEST, math.ceil((job.warmup + job.duration) / BUCKETS * 10) / 10)
        self.buckets: dict[int, Bucket] = {}
        self._recent: list[tuple[float, int, int, Histogram]] = []

    def add(self, number: int, report: dict[str, Any]) -> None:
        """Take what a process reports."""
        part, phase, at = self.parts[number], report["phase"], report["at"]
        seconds = (at - part.at) / 1e9 if part.at else 0.0
        times = Histogram.load(report["times"])
        sent, received = report["sent"], report["received"]
        part.phase, part.at, part.open, part.under_way = phase, at, report["open"], report["under_way"]
        self.sent += sent
        self.received += received
        for count, mistake in report["mistakes"]:
            self.count(Mistake(*mistake), count)
        if phase == "measuring":
            part.seconds += seconds
            part.sent += sent
            part.received += received
            part.size += report["bytes"]
        if phase in ("measuring", "ending"):
            # What was still under way at the end is no less slow than the rest.
            self.times.merge(times)
        if phase in ("warmup", "measuring"):
            self._add_to_bucket(at, seconds, sent, received, times)
        if report.get("event") == "ready":
            part.ready = True
            opening = Histogram.load(report["opening"])
            self.openings.merge(opening)
            self.opened += opening.count
            self.opening_seconds = max(self.opening_seconds, report["seconds"])
        elif report.get("event") == "done":
            part.done, part.cpu = True, report["cpu"]

    def count(self, mistake: Mistake, times: int = 1) -> None:
        """Count an error, so many times."""
        self.mistakes.setdefault(mistake.kind, Counted(0, mistake)).count += times

    def _add_to_bucket(self, at: int, seconds: float, sent: int, received: int, times: Histogram) -> None:
        middle = (at - (self.began or at)) / 1e9 - seconds / 2
        bucket = self.buckets.setdefault(max(0, int(middle / self.width)), Bucket())
        bucket.seconds += seconds
        bucket.sent += sent
        bucket.received += received
        bucket.times.merge(times)
        self._recent.append((middle, sent, received, times))
        while self._recent[0][0] < middle - RECENT:
            del self._recent[0]

    # All in all

    @property
    def ready(self) -> bool:
        """Whether all processes have opened their connections."""
        return all(part.ready for part in self.parts)

    @property
    def phase(self) -> str:
        """Where the run is: what most of its processes do."""
        phases = [part.phase for part in self.parts]
        return max(set(phases), key=phases.count)

    @property
    def open(self) -> int:
        """Connections that are open now."""
        return sum(part.open for part in self.parts)

    @property
    def under_way(self) -> int:
        """Messages that are under way now."""
        return sum(part.under_way for part in self.parts)

    @property
    def errors(self) -> int:
        """Errors of all kinds."""
        return sum(counted.count for counted in self.mistakes.values())

    @property
    def seconds(self) -> float:
        """Seconds that were measured."""
        return max(part.seconds for part in self.parts)

    @property
    def sent_rate(self) -> float:
        """Messages sent a second."""
        return sum(part.sent / part.seconds for part in self.parts if part.seconds)

    @property
    def received_rate(self) -> float:
        """Messages received a second."""
        return sum(part.received / part.seconds for part in self.parts if part.seconds)

    @property
    def byte_rate(self) -> float:
        """Bytes of messages received a second."""
        return sum(part.size / part.seconds for part in self.parts if part.seconds)

    @property
    def cpu_share(self) -> float:
        """The share of a processor that the busiest process of the load took while it was measured."""
        return min(1.0, max(part.cpu / part.seconds if part.seconds else 0.0 for part in self.parts))

    def recent(self) -> tuple[float, Histogram]:
        """Messages received a second, and how long they took, in the last second."""
        times = Histogram()
        for _, _, _, more in self._recent:
            times.merge(more)
        span = self._recent[-1][0] - self._recent[0][0] + NARROWEST if self._recent else 1.0
        return sum(received for _, _, received, _ in self._recent) / span, times

    def series(self) -> list[tuple[float, Bucket]]:
        """The stretches of time that were reported, by their beginnings: seconds since the load began."""
        whole = len(self.parts) * self.width / 2
        return [(n * self.width, each) for n, each in sorted(self.buckets.items()) if each.seconds >= whole]

    def to_json(self) -> dict[str, Any]:
        """All of it, for a JSON file; durations in microseconds."""
        job = self.job
        return {
            "url": job.url,
            "mode": job.mode,
            "processes": len(self.parts),
            "connections": {"wanted": job.connections, "opened": self.opened},
            "message": {"bytes": job.size, "type": "binary" if isinstance(job.message, bytes) else "text"},
            "depth": job.depth,
            "rate": job.rate,
            "warmup_s": job.warmup,
            "duration_s": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "total": {"sent": self.sent, "received": self.received},
            "sent": sum(part.sent for part in self.parts),
            "received": sum(part.received for part in self.parts),
            "sent_per_s": round(self.sent_rate, 1),
            "received_per_s": round(self.received_rate, 1),
            "bytes_per_s": round(self.byte_rate, 1),
            "latency_us": quantiles(self.times),
            "opening_us": quantiles(self.openings),
            "openings_per_s": round(self.opened / self.opening_seconds, 1) if self.opening_seconds else None,
            "errors": {
                kind: {"count": each.count, "example": each.first.example, "hint": each.first.hint}
                for kind, each in self.mistakes.items()
            },
            "series": [
                {
                    "at_s": round(at, 3),
                    "received_per_s": round(each.received / each.seconds * len(self.parts), 1),
                    "latency_us": quantiles(each.times),
                }
                for at, each in self.series()
            ],
        }


def quantiles(times: Histogram) -> dict[str, float] | None:
    """Count, mean, percentiles and extremes in microseconds; None of nothing."""
    if not times.count:
        return None
    found = {f"p{each:g}": round(times.quantile(each / 100) / 1000, 3) for each in PERCENTILES}
    mean = round(times.mean / 1000, 3)
    return {"mean": mean, "min": times.minimum / 1000, **found, "max": times.maximum / 1000}
