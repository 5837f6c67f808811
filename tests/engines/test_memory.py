"""The engine in memory, beyond the contract: it frees what is over, holds its bounds, sleeps when idle."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Callable

import msgspec
import pytest
from conftest import Run

from everwire.channels.engine import LogOptions, Position
from everwire.engines.contract import ManualClock, Recorder, publication, values
from everwire.engines.deadlines import Deadlines, Sweeper
from everwire.engines.memory import MemoryEngine
from everwire.errors import EngineError
from everwire.wire.messages import ClientInfo

LOG = LogOptions(size=10, ttl=5.0, meta_ttl=100.0)


async def started(clock: Callable[[], float] | None = None, **options: int) -> tuple[MemoryEngine, Recorder]:
    engine, events = MemoryEngine(clock=clock or ManualClock(), **options), Recorder()
    await engine.start(events, node="n")
    return engine, events


def timers(loop: asyncio.AbstractEventLoop) -> int:
    """The timers of asyncio's own loop that are still to fire."""
    return sum(not each.cancelled() for each in loop._scheduled)  # type: ignore[attr-defined]


@pytest.mark.loops("asyncio")
def test_an_idle_engine_has_no_timer_and_a_busy_one_has_one(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = timers(loop)
        engine, _ = await started()
        await engine.subscribe("a")
        await engine.publish("a", publication(1), log=LogOptions())
        assert timers(loop) == before
        for number in range(100):
            await engine.publish(f"c{number}", publication(1), log=LOG, idempotency_key="k")
            await engine.add_presence(f"c{number}", ClientInfo(client="x"), ttl=9)
        assert timers(loop) == before + 1
        await engine.close()
        assert timers(loop) == before

    run(main)


def test_what_has_expired_is_freed(run: Run) -> None:
    async def main() -> None:
        clock = ManualClock()
        engine, _ = await started(clock)
        for number in range(50):
            await engine.publish(f"c{number}", publication(number), log=LOG, idempotency_key="k")
            await engine.add_presence(f"c{number}", ClientInfo(client="x"), ttl=5)
        await engine.subscribe("c1")
        await clock.advance(5)
        engine._sweep(clock())
        assert not any(len(each) for each in engine._logs.values())
        assert len(engine._logs) == 50
        await clock.advance(96)
        engine._sweep(clock())
        assert list(engine._logs) == ["c1"], "the one that is followed stays"
        assert await engine.channels() == ["c1"]
        await clock.advance(300)
        engine._sweep(clock())
        assert not engine._keys._positions
        await engine.unsubscribe("c1")
        await clock.advance(61)
        assert engine._sweep(clock()) is None
        assert await engine.channels() == []
        await engine.close()

    run(main)


def test_the_timer_frees_by_itself(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sweeper, "PAUSE", 0.01)

    async def main() -> None:
        engine = MemoryEngine()
        await engine.start(Recorder(), node="n")
        await engine.publish("a", publication(1), log=LogOptions(size=1, ttl=0.01, meta_ttl=0.02))
        while engine._logs:
            await asyncio.sleep(0.005)
        await engine.close()

    run(main)


def test_a_log_that_was_forgotten_comes_back_with_another_epoch(run: Run) -> None:
    async def main() -> None:
        clock = ManualClock()
        engine, _ = await started(clock)
        first = (await engine.publish("a", publication(1), log=LOG)).position
        other = (await engine.history("b", log=LOG)).top
        assert (first.offset, other.offset) == (1, 0)
        await clock.advance(100.5)
        again = (await engine.publish("a", publication(1), log=LOG)).position
        assert again.offset == 1
        assert again.epoch != first.epoch
        page = await engine.history("a", log=LOG, since=first)
        assert not page.complete
        assert page.publications == []
        await engine.close()

    run(main)


def test_one_that_was_only_looked_at_is_forgotten_soon_and_nobody_can_tell(run: Run) -> None:
    async def main() -> None:
        clock = ManualClock()
        engine, _ = await started(clock)
        before = (await engine.history("a", log=LOG)).top
        await clock.advance(61)
        engine._sweep(clock())
        assert not engine._logs
        await engine.publish("a", publication(1), log=LOG)
        page = await engine.history("a", log=LOG, since=before)
        assert page.complete
        assert values(page.publications) == [1]
        await engine.close()

    run(main)


def test_bounds_are_told(run: Run) -> None:
    async def main() -> None:
        clock = ManualClock()
        engine, _ = await started(clock, max_logs=2, max_idempotency_keys=2)
        for name in "ab":
            await engine.publish(name, publication(1), log=LOG, idempotency_key="k")
        with pytest.raises(EngineError, match="2 channels have a log already: make max_logs larger"):
            await engine.history("c", log=LOG)
        with pytest.raises(EngineError, match="max_idempotency_keys larger"):
            await engine.publish("a", publication(2), log=LOG, idempotency_key="l")
        assert (await engine.publish("a", publication(2), log=LOG, idempotency_key="k")).duplicate
        assert (await engine.publish("a", publication(2), log=LOG)).position.offset == 2
        await clock.advance(301)
        await engine.publish("a", publication(3), log=LOG, idempotency_key="l")
        await engine.close()

    run(main)


def test_a_publication_keeps_no_frame_alive(run: Run) -> None:
    async def main() -> None:
        engine, _ = await started()
        frame = b'{"data":{"a":1},"rest":"' + b"x" * 100_000 + b'"}'
        data = msgspec.json.decode(frame, type=dict[str, msgspec.Raw])["data"]
        sent = publication(0)
        sent.data = data
        before = sys.getrefcount(frame)
        await engine.publish("a", sent, log=LOG)
        del data, sent
        gc.collect()
        assert sys.getrefcount(frame) < before
        assert values((await engine.history("a", log=LOG)).publications) == [{"a": 1}]
        await engine.close()

    run(main)


@pytest.mark.loops("asyncio")
def test_a_channel_costs_little(run: Run) -> None:
    async def main() -> None:
        engine, _ = await started()
        message = publication("0123456789")
        count = 20_000
        names = [f"channel:{number}" for number in range(count)]
        tracemalloc.start()
        for name in names:
            await engine.publish(name, message, log=LOG)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert used / count < 900, f"{used / count:.0f} bytes for a log of one publication"
        await engine.close()

    run(main)


def test_deadlines_do_not_pile_up() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for number in range(10_000):
        deadlines.set("a", 1000.0 - number / 100)
        deadlines.set("b", 2000.0)
        deadlines.discard("b")
    assert len(deadlines) == 1
    assert len(deadlines._heap) < 200
    assert deadlines.pop(899.9) == []
    assert deadlines.pop(900.1) == ["a"]
    assert deadlines.next is None or deadlines.pop(3000) == []


def test_an_engine_that_is_not_started_says_so(run: Run) -> None:
    async def main() -> None:
        engine = MemoryEngine()
        with pytest.raises(EngineError, match="the memory engine is not started, or is closed"):
            await engine.publish("a", publication(1), log=LOG)
        await engine.start(Recorder(), node="n")
        with pytest.raises(EngineError, match="started already: each hub needs one of its own"):
            await engine.start(Recorder(), node="m")
        await engine.publish("a", publication(1), log=LOG)
        await engine.close()
        with pytest.raises(EngineError, match="closed"):
            await engine.history("a", log=LOG, since=Position(0, ""))

    run(main)
