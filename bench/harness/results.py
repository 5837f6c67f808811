"""The figures of a run: kept as samples, read as medians, stored as JSON with the facts of the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

Samples = dict[str, dict[str, dict[str, list[float]]]]


@dataclass(slots=True)
class Results:
    date: str
    machine: dict[str, str | int]
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)
    samples: Samples = field(default_factory=dict)
    """Load, contender, figure: one sample for each round."""
    failures: list[str] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        """The most samples that any figure has."""
        every = [
            len(s) for load in self.samples.values() for figures in load.values() for s in figures.values()
        ]
        return max(every, default=0)

    def add(self, load: str, contender: str, figures: dict[str, float]) -> None:
        of_contender = self.samples.setdefault(load, {}).setdefault(contender, {})
        for figure, value in figures.items():
            of_contender.setdefault(figure, []).append(value)

    def fail(self, what: str) -> None:
        if what not in self.failures:
            self.failures.append(what)

    def of(self, load: str, contender: str, figure: str) -> list[float]:
        return self.samples.get(load, {}).get(contender, {}).get(figure, [])

    def median(self, load: str, contender: str, figure: str) -> float | None:
        samples = self.of(load, contender, figure)
        return statistics.median(samples) if samples else None

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self), indent=1)
        one_line_each = re.sub(r"\[\s+([-\d., e\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
        path.write_text(one_line_each + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        return cls(**json.loads(path.read_text()))


def machine() -> dict[str, str | int]:
    """What the figures depend on, and nothing that names the machine."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cores": os.cpu_count() or 1,
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }
