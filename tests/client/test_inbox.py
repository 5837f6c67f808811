"""Inboxes and their gate: order, bounds, endings."""

from __future__ import annotations

import asyncio

import pytest
from conftest import Run

from everwire.client.inbox import FLOOD, FLOODED, Ended, Gate, Inbox
from everwire.errors import ConcurrencyError


def inbox(gate: Gate, *, max_queue: int = 4, max_bytes: int = 1000) -> Inbox[int]:
    return Inbox(gate, max_queue=max_queue, max_bytes=max_bytes)


def test_what_is_put_is_taken_in_order(run: Run) -> None:
    async def main() -> None:
        box = inbox(Gate())
        waiting = asyncio.create_task(box.get())
        await asyncio.sleep(0)
        for item in range(3):
            box.put(item)
        assert [await waiting, await box.get(), box.take(), box.take()] == [0, 1, 2, None]

    run(main)


@pytest.mark.parametrize(("count", "size"), [(4, 0), (2, 500)])
def test_a_full_inbox_shuts_the_gate_until_it_is_half_empty(run: Run, count: int, size: int) -> None:
    async def main() -> None:
        gate = Gate()
        box = inbox(gate)
        filled = [box.put(item, size) for item in range(count)]
        assert filled == [False] * (count - 1) + [True]
        assert gate.shut
        passing = asyncio.create_task(gate.passage())
        while gate.shut:
            assert not passing.done()
            assert box.take() is not None
        await passing
        assert len(box) < count / 2 + 1

    run(main)


def test_the_gate_stays_open_while_an_answer_is_waited_for_but_not_without_end(run: Run) -> None:
    async def main() -> None:
        gate = Gate()
        box = inbox(gate)
        for item in range(4):
            box.put(item)
        passing = asyncio.create_task(gate.passage())
        await asyncio.sleep(0)
        gate.count_call(1)
        await passing
        for item in range(4, FLOODED):
            assert not gate.shut
            box.put(item)
        assert gate.shut
        box.clear()
        for _ in range(FLOOD):
            assert not gate.shut
            box.put(0, box.max_bytes)
        assert gate.shut
        gate.count_call(-1)
        assert gate.shut

    run(main)


def test_an_inbox_that_ended_gives_what_is_there_then_the_error_once(run: Run) -> None:
    async def main() -> None:
        gate = Gate()
        box = inbox(gate, max_queue=1)
        box.put(1)
        box.end(ValueError("over"))
        assert not gate.shut
        assert await box.get() == 1
        with pytest.raises(ValueError, match="over"):
            await box.get()
        with pytest.raises(Ended):
            await box.get()

    run(main)


def test_one_who_waits_is_told_of_the_end(run: Run) -> None:
    async def main() -> None:
        box = inbox(Gate())
        waiting = asyncio.create_task(box.get())
        await asyncio.sleep(0)
        with pytest.raises(ConcurrencyError, match="two coroutines"):
            await box.get()
        box.end()
        with pytest.raises(Ended):
            await waiting

    run(main)


def test_who_stops_waiting_loses_nothing(run: Run) -> None:
    async def main() -> None:
        box = inbox(Gate())
        waiting = asyncio.create_task(box.get())
        await asyncio.sleep(0)
        box.put(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await box.get() == 1

    run(main)
