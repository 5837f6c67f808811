"""What a load ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import everwire

__all__ = ["describe_machine"]


def describe_machine(loop: str) -> Iterator[tuple[str, str]]:
    """Processor, system and versions, as names and values."""
    yield "processor", _processor()
    yield "cores", f"{_usable()} usable of {os.cpu_count()}"
    yield "system", f"{platform.system()} {platform.release()}, {platform.machine()}"
    yield "Python", f"{platform.python_implementation()} {platform.python_version()}, {loop}"
    yield "everwire", everwire.__version__
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    yield "load average", f"{load} (at the end, over 1, 5 and 15 minutes)"


def _usable() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    """Its name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
