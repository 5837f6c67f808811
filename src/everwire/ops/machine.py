"""What the machine, or the container, lets a process have: processor time, memory, descriptors."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Limits", "Machine"]


class Limits:
    """The limits of a process, read once: those of a container do not change while it runs.

    Attributes:
        cpus: processors' worth of time that it may use; None: no limit is set.
        memory: bytes that it may have: the control group's limit, else the machine's memory; None: not known.
        grouped: whether *memory* is the control group's limit, which all of its processes share.
        descriptors: files and sockets that it may have open; None: no limit.
    """

    __slots__ = ("cpus", "descriptors", "grouped", "memory")

    def __init__(
        self,
        *,
        cpus: float | None = None,
        memory: int | None = None,
        grouped: bool = False,
        descriptors: int | None = None,
    ) -> None:
        self.cpus = cpus
        self.memory = memory
        self.grouped = grouped
        self.descriptors = descriptors


class Machine:
    """Reads limits and use from where Linux has them: control groups of both versions, and ``/proc``.

    Elsewhere what is not there is not known, and limits nothing.

    Parameters:
        cgroups: where control groups are mounted.
        proc: where this process is.
    """

    def __init__(self, cgroups: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc/self")) -> None:
        self._cgroups = cgroups
        self._proc = proc
        self._groups = self._find_groups()
        self._memory_group: Path | None = None
        self.limits = self._read_limits()

    def _find_groups(self) -> dict[str, list[Path]]:
        """By controller the folders of the control groups that this process is in, its own first."""
        found: dict[str, list[Path]] = {}
        for line in _read(self._proc / "cgroup").splitlines():
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            for controller in controllers.split(",") if controllers else ("",):
                found[controller] = list(self._ancestors(controller, path))
        return found

    def _ancestors(self, controller: str, path: str) -> Iterator[Path]:
        """The folders of a group and those above it: each limits what is in it.

        In a container the path may be the host's, of which only the own part is mounted, at the top.
        """
        top = self._cgroups / controller if controller else self._cgroups
        here = top / path.lstrip("/")
        while here != top and here.is_relative_to(top):
            yield here
            here = here.parent
        yield top

    def _read_limits(self) -> Limits:
        limits = Limits()
        quotas = [quota for quota in map(_quota, self._groups.get("", ())) if quota is not None]
        for group in self._groups.get("cpu", ()):
            used, period = _number(group / "cpu.cfs_quota_us"), _number(group / "cpu.cfs_period_us")
            if used and used > 0 and period:
                quotas.append(used / period)
        limits.cpus = min(quotas, default=None)
        limits.memory = whole = _whole_memory()
        files = [group / "memory.max" for group in self._groups.get("", ())]
        files += [group / "memory.limit_in_bytes" for group in self._groups.get("memory", ())]
        bounds = [
            (bound, file.parent) for file in files if (bound := _number(file)) is not None and bound >= 0
        ]
        if bounds:
            # What is used of the smallest counts, its group's other processes included. Version 1 says "no
            # limit" by a number that no machine has.
            bound, group = min(bounds)
            if whole is None or bound < whole:
                limits.memory, limits.grouped, self._memory_group = bound, True, group
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limits.descriptors = None if soft == resource.RLIM_INFINITY else soft
        return limits

    def memory(self) -> int:
        """Bytes in use of the limit; page cache that can be dropped does not count. 0: not known."""
        group = self._memory_group
        if group is None:
            return self.resident()
        for current, dropped in (
            ("memory.current", "inactive_file"),
            ("memory.usage_in_bytes", "total_inactive_file"),
        ):
            used = _number(group / current)
            if used is not None:
                return max(used - _field(group / "memory.stat", dropped), 0)
        return 0

    def resident(self) -> int:
        """Bytes of this process in memory; 0: not known."""
        pages = _read(self._proc / "statm").split()
        return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if len(pages) > 1 else 0

    def descriptors(self) -> int:
        """Files and sockets that are open; 0: not known.

        Linux has told the number as the size of that folder since 6.2; before, it was 0. To list the folder
        takes too long with a hundred thousand in it.
        """
        try:
            return (self._proc / "fd").stat().st_size
        except OSError:
            return 0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""


def _number(file: Path) -> int | None:
    text = _read(file).strip()
    try:
        return int(text)
    except ValueError:
        return None  # "max", or not there


def _quota(group: Path) -> float | None:
    """Processors that ``cpu.max`` allows: it has the time allowed and the period, in microseconds."""
    parts = _read(group / "cpu.max").split()
    if len(parts) == 2 and parts[0].isdecimal() and parts[1].isdecimal() and int(parts[1]):
        return int(parts[0]) / int(parts[1])
    return None


def _field(file: Path, name: str) -> int:
    for line in _read(file).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdecimal():
            return int(value)
    return 0


def _whole_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
