"""Reads that are merged: everybody gets what a read of its own would have given, from fewer reads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from channels.peer import Peer, a_hub, settled
from everwire.channels.counts import Counts
from everwire.channels.engine import HistoryPage, LogOptions, Position
from everwire.channels.reading import Reader
from everwire.engines.memory import MemoryEngine
from everwire.errors import EngineError
from everwire.wire.messages import Publication

LOG = LogOptions(size=20, ttl=300)


class GatedEngine(MemoryEngine):
    """Notes its reads, which wait for a gate if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.reads: list[tuple[Position | None, int]] = []

    async def history(self, channel: str, **options: Any) -> HistoryPage:
        self.reads.append((options.get("since"), options.get("limit", -1)))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return await super().history(channel, **options)


class Bench:
    def __init__(self, engine: GatedEngine | None = None) -> None:
        self.engine = engine or GatedEngine()
        self.counts = Counts()
        self.tasks: set[asyncio.Task[None]] = set()
        self.reader = Reader(self.engine, self.counts, self.spawn)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def publish(self, count: int) -> None:
        for number in range(count):
            await self.engine.publish("news", Publication(data=Raw(b"%d" % number)), log=LOG)

    async def __aenter__(self) -> Bench:
        await self.engine.start(a_hub(), node="one")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.tasks:
            await asyncio.wait(self.tasks)
        await self.engine.close()


wants = st.lists(
    st.one_of(
        st.tuples(st.none(), st.sampled_from([0, 1, 5, -1]), st.booleans()),
        st.tuples(
            st.tuples(st.integers(0, 50), st.sampled_from(["ours", "", "other"])),
            st.sampled_from([0, 1, 3, 5, -1]),
            st.booleans(),
        ),
    ),
    min_size=1,
    max_size=30,
)


@given(published=st.integers(0, 45), removed=st.booleans(), more=st.integers(0, 3), wants=wants)
def test_a_merged_read_is_what_each_would_have_read(
    published: int, removed: bool, more: int, wants: list[tuple[Any, int, bool]]
) -> None:
    async def main() -> None:
        async with Bench() as bench:
            await bench.publish(published)
            if removed:
                await bench.engine.remove_history("news", log=LOG)
                await bench.publish(more)
            epoch = (await bench.engine.history("news", log=LOG, limit=0)).top.epoch
            asked: list[dict[str, Any]] = []
            for since, limit, reverse in wants:
                position = since and Position(since[0], {"ours": epoch}.get(since[1], since[1]))
                asked.append({"since": position, "limit": limit, "reverse": reverse})
            alone = [await bench.engine.history("news", log=LOG, **each) for each in asked]
            together = await asyncio.gather(*(bench.reader.read("news", LOG, **each) for each in asked))
            for each, one, other in zip(asked, alone, together, strict=True):
                assert other.publications == one.publications, each
                assert other.top == one.top, each
                if each["since"] is not None and each["limit"]:
                    assert other.complete == one.complete, each
            assert bench.counts.engine_reads <= len({tuple(each.items()) for each in asked})

    asyncio.run(main())


def test_who_has_what_a_failover_has_lost_is_told_though_others_read_with_it(run: Run) -> None:
    class FailedOver(GatedEngine):
        async def history(self, channel: str, **options: Any) -> HistoryPage:
            page = await super().history(channel, **options)
            kept = [each for each in page.publications if each.offset != 7]
            since = options.get("since")
            return HistoryPage(kept, page.top, page.complete and (since is None or since.offset != 7))

    async def main() -> None:
        bench = Bench(FailedOver())
        async with bench:
            await bench.publish(10)
            epoch = (await bench.engine.history("news", log=LOG, limit=0)).top.epoch
            pages = await asyncio.gather(
                *(
                    bench.reader.read("news", LOG, since=Position(offset, epoch))
                    for offset in (5, 6, 7, 8, 10)
                )
            )
            assert [page.complete for page in pages] == [True, True, False, True, True]
            assert [each.offset for each in pages[1].publications] == [8, 9, 10]

    run(main)


def test_thousands_who_come_back_cost_one_read(run: Run) -> None:
    async def main() -> None:
        async with Bench() as bench:
            await bench.publish(20)
            epoch = (await bench.engine.history("news", log=LOG, limit=0)).top.epoch
            positions = [Position(5 + i % 10, epoch) for i in range(3000)]
            pages = await asyncio.gather(
                *(bench.reader.read("news", LOG, since=each, limit=301) for each in positions),
                bench.reader.read("news", LOG, limit=0),
            )
            assert [page.publications[0].offset for page in pages[:-1]] == [
                each.offset + 1 for each in positions
            ]
            assert pages[-1].top == Position(20, epoch)
            assert bench.counts.engine_reads == 1

    run(main)


def test_who_asks_while_a_read_is_under_way_waits_for_the_next(run: Run) -> None:
    """A read that began before a subscription does not show what was published before it."""

    async def main() -> None:
        async with Bench() as bench:
            await bench.publish(1)
            bench.engine.gate = asyncio.Event()
            first = asyncio.create_task(bench.reader.read("news", LOG, limit=0))
            await settled()
            second = [asyncio.create_task(bench.reader.read("news", LOG, limit=0)) for _ in range(5)]
            await settled()
            assert len(bench.engine.reads) == 1
            bench.engine.gate.set()
            await asyncio.gather(first, *second)
            assert len(bench.engine.reads) == 2

    run(main)


def test_an_error_is_told_to_all_and_the_next_read_is_tried(run: Run) -> None:
    async def main() -> None:
        async with Bench() as bench:
            bench.engine.error = EngineError("away")
            asked = [bench.reader.read("news", LOG, since=Position(i, "x"), limit=5) for i in range(4)]
            asked.append(bench.reader.read("news", LOG, limit=0))
            asked.append(bench.reader.read("news", LOG, limit=1, reverse=True))
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            assert outcomes == [bench.engine.error] * 6
            bench.engine.error = None
            assert (await bench.reader.read("news", LOG, limit=0)).top.offset == 0

    run(main)


def test_who_goes_away_does_not_disturb_the_others(run: Run) -> None:
    async def main() -> None:
        async with Bench() as bench:
            bench.engine.gate = asyncio.Event()
            asked = [asyncio.create_task(bench.reader.read("news", LOG, limit=0)) for _ in range(3)]
            await settled()
            asked[1].cancel()
            await settled()
            bench.engine.gate.set()
            outcomes = await asyncio.gather(*asked, return_exceptions=True)
            assert isinstance(outcomes[1], asyncio.CancelledError)
            assert isinstance(outcomes[0], HistoryPage) and isinstance(outcomes[2], HistoryPage)

    run(main)


def test_nobody_waits_for_a_read_that_was_cancelled(run: Run) -> None:
    async def main() -> None:
        async with Bench() as bench:
            bench.engine.gate = asyncio.Event()
            first = asyncio.create_task(bench.reader.read("news", LOG, limit=0))
            await settled()
            second = asyncio.create_task(bench.reader.read("news", LOG, limit=0))
            await settled()
            for task in bench.tasks:
                task.cancel()
            for waiting in (first, second):
                with pytest.raises(asyncio.CancelledError):
                    await waiting

    run(main)


def test_clients_that_come_back_share_a_read(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            hub.namespace("", history=50, allow_subscribe_for_anonymous=True, allow_subscribe_for_client=True)
            epoch = (await hub.publish("news", 0)).epoch
            for number in range(1, 10):
                await hub.publish("news", number)
            peers = [Peer(hub) for _ in range(200)]
            await asyncio.gather(*(peer.ask("connect") for peer in peers))
            before = hub.counts.engine_reads
            answers = await asyncio.gather(
                *(
                    peer.ask("subscribe", channel="news", recover=True, epoch=epoch, offset=1 + number % 10)
                    for number, peer in enumerate(peers)
                )
            )
            for number, answer in enumerate(answers):
                assert answer["recovered"]
                got = [each["data"] for each in answer.get("publications", [])]
                assert got == list(range(1 + number % 10, 10))
            assert hub.counts.engine_reads - before <= 2

    run(main)
