"""The wheel of timers."""

from __future__ import annotations

import asyncio

import pytest
from conftest import Run

from everwire.channels.wheel import Wheel


class Entry:
    def __init__(self, problem: Exception | None = None) -> None:
        self.due = 0
        self.rang = asyncio.Event()
        self.problem = problem

    def tick(self) -> None:
        self.rang.set()
        if self.problem is not None:
            raise self.problem


def test_each_entry_rings_once_and_an_empty_wheel_has_no_timer(run: Run) -> None:
    async def main() -> None:
        problems: list[Exception] = []
        wheel = Wheel(asyncio.get_running_loop(), problems.append)
        wheel.TICK = 0.005  # type: ignore[misc]
        wheel._now = 0
        bad, good, removed = Entry(RuntimeError("mine")), Entry(), Entry()
        for entry in (bad, good, removed):
            wheel.put(entry, 0.01)
        assert len(wheel) == 3
        wheel.remove(removed)
        wheel.remove(removed)
        await asyncio.wait_for(asyncio.gather(bad.rang.wait(), good.rang.wait()), 5)
        assert [str(each) for each in problems] == ["mine"]
        assert not removed.rang.is_set()
        assert len(wheel) == 0
        assert wheel._timer is None

    run(main)


def test_putting_again_moves(run: Run) -> None:
    async def main() -> None:
        wheel = Wheel(asyncio.get_running_loop(), print)
        entry = Entry()
        wheel.put(entry, 100)
        first = entry.due
        wheel.put(entry, 200)
        assert entry.due > first
        assert len(wheel) == 1
        wheel.close()
        assert len(wheel) == 0

    run(main)


@pytest.mark.parametrize("delay", [0.0, -5.0])
def test_a_delay_that_is_over_rings_at_the_next_turn(run: Run, delay: float) -> None:
    async def main() -> None:
        wheel = Wheel(asyncio.get_running_loop(), print)
        entry = Entry()
        wheel.put(entry, delay)
        await asyncio.wait_for(entry.rang.wait(), 5)

    run(main)
