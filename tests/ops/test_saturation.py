"""How full a node is: what the event loop does, and what control groups of both versions say."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import pytest
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st

from everwire.hub import Hub
from everwire.ops.machine import Limits, Machine
from everwire.ops.saturation import Sampler, Saturation

MIB = 1 << 20


def tree(folder: Path, files: dict[str, str]) -> Machine:
    """A machine whose control groups have these files."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "proc").mkdir(exist_ok=True)
    return Machine(folder / "sys", folder / "proc")


V2 = {
    "proc/cgroup": "0::/pod/node\n",
    "sys/pod/memory.max": f"{64 * MIB}\n",
    "sys/pod/node/memory.max": "max\n",
    # The pod has other processes too, which use its limit up as well.
    "sys/pod/memory.current": f"{40 * MIB}\n",
    "sys/pod/memory.stat": f"anon 5\ninactive_file {8 * MIB}\n",
    "sys/pod/node/memory.current": f"{20 * MIB}\n",
    "sys/pod/node/memory.stat": "inactive_file 0\n",
    "sys/pod/cpu.max": "50000 100000\n",
    "sys/pod/node/cpu.max": "max 100000\n",
}
V1 = {
    "proc/cgroup": "4:memory:/host/path\n2:cpuacct,cpu:/\n1:name=systemd:/\n",
    "sys/memory/memory.limit_in_bytes": f"{64 * MIB}\n",
    "sys/memory/memory.usage_in_bytes": f"{40 * MIB}\n",
    "sys/memory/memory.stat": f"cache 9\ntotal_inactive_file {8 * MIB}\n",
    "sys/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/cpu/cpu.cfs_period_us": "100000\n",
}


@pytest.mark.parametrize("files", [V2, V1], ids=["version 2", "version 1"])
def test_limits_of_a_control_group(tmp_path: Path, files: dict[str, str]) -> None:
    machine = tree(tmp_path, files)
    assert (machine.limits.cpus, machine.limits.memory) == (0.5, 64 * MIB)
    assert machine.memory() == 32 * MIB
    assert Sampler(machine).read().memory == 0.5


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/cgroup": "0::/\n", "sys/memory.max": "max\n", "sys/cpu.max": "max 100000\n"},
        {
            "proc/cgroup": "1:memory:/\n2:cpu:/\n",
            "sys/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n",
            "sys/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/cpu/cpu.cfs_period_us": "100000\n",
        },
        {"proc/cgroup": "nonsense\n::\n", "sys/cpu.max": "1 0", "sys/memory.max": "\n"},
    ],
    ids=["nothing", "no limits", "no limits, version 1", "nonsense"],
)
def test_without_limits_the_machine_is_one(tmp_path: Path, files: dict[str, str]) -> None:
    pages = 1000
    machine = tree(tmp_path, {"proc/statm": f"5000 {pages} 10\n", **files})
    assert machine.limits.cpus is None
    assert machine.limits.memory == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine.memory() == pages * os.sysconf("SC_PAGE_SIZE")


def test_descriptors_are_counted() -> None:
    machine = Machine()
    before = machine.descriptors()
    if not before:
        assert machine.descriptors() == 0, "an older Linux, or none: connections are counted instead"
        return
    with socket.socket():
        assert machine.descriptors() == before + 1
    full = Sampler(machine).read()
    assert machine.limits.descriptors is not None
    assert full.descriptors == pytest.approx(before / machine.limits.descriptors, rel=0.1)


def test_a_busy_loop_is_full(run: Run) -> None:
    async def main() -> None:
        sampler = Sampler()
        sampler.start()
        try:
            assert sampler.read().cpu == 0
            began = time.monotonic()
            until = time.thread_time() + 1.2
            while time.thread_time() < until:
                await asyncio.sleep(0)
            # Others may have had the processor for most of the time.
            share = 1.2 / (time.monotonic() - began)
            assert share / 4 < sampler.busy <= 1
            assert sampler.read().cpu >= sampler.busy
        finally:
            sampler.close()

    run(main)


def test_a_loop_that_is_held_up_lags(run: Run) -> None:
    async def main() -> None:
        sampler = Sampler()
        sampler.start()
        try:
            time.sleep(0.8)  # as a handler does that blocks
            while len(sampler._samples) < 2:
                await asyncio.sleep(0)
            assert sampler.max_lag >= 0.25
            assert sampler.lag >= 0.1
            assert sampler.read().lag == sampler.read().value == 1
        finally:
            sampler.close()

    run(main)


def test_a_hub_tells(run: Run) -> None:
    async def main() -> None:
        hub = Hub(connection_limit=4)
        hub.counts.opened = 3
        async with hub:
            full = hub.saturation
            assert full.connections == 0.75
            assert full.value == max(full)

    run(main)


numbers = st.one_of(st.none(), st.integers(0, 2**63))


@given(numbers, numbers, st.integers(0, 10**9), st.integers(0, 10**9))
def test_it_is_never_below_0_or_above_1(
    memory: int | None, descriptors: int | None, connections: int, connection_limit: int
) -> None:
    machine = Machine()
    machine.limits = Limits(memory=memory, descriptors=descriptors, cpus=0.1)
    full = Sampler(machine).read(connections=connections, connection_limit=connection_limit)
    assert all(0 <= part <= 1 for part in full)
    assert full.value == max(full)
    assert isinstance(full, Saturation)
