"""The NATS engine while its servers are killed, frozen, wiped out, and come back."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from live import until

from engines.servers import NatsServer, nats_cluster
from everwire.channels.engine import LogOptions, Position
from everwire.engines.contract import Bench, Recorder, cluster, log, publication, values
from everwire.engines.nats import NatsEngine
from everwire.errors import EngineError

pytestmark = pytest.mark.loops("asyncio")  # each of these takes its time

LOG = LogOptions(size=100_000, ttl=300, meta_ttl=3600)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path) as server:
        yield server


@contextlib.asynccontextmanager
async def running(url: str, node: str = "one", **options: Any) -> AsyncIterator[tuple[NatsEngine, Recorder]]:
    """An engine that runs, and what it tells."""
    engine, events = NatsEngine(url, **options), Recorder()
    await engine.start(events, node=node)
    try:
        yield engine, events
    finally:
        await engine.close()


class Publisher:
    """Publishes 0, 1, 2, ... and notes what was acknowledged. With *keys* it tries again until it is."""

    def __init__(self, engine: NatsEngine, channel: str, *, keys: bool) -> None:
        self.acknowledged: dict[int, Position] = {}
        self.unknown: set[int] = set()
        self._engine = engine
        self._channel = channel
        self._keys = keys
        self._task = asyncio.create_task(self._run())
        self._ending = False

    async def _run(self) -> None:
        number = 0
        while not self._ending:
            key = f"k{number}" if self._keys else ""
            try:
                outcome = await self._engine.publish(
                    self._channel, publication(number), log=LOG, idempotency_key=key
                )
            except EngineError:
                self.unknown.add(number)
                if self._keys:
                    continue
            else:
                self.acknowledged[number] = outcome.position
                self.unknown.discard(number)
            number += 1

    async def reach(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        goal = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= goal or self._task.done(), seconds=20)

    async def end(self) -> None:
        """Publish no more."""
        self._ending = True
        await self._task


async def verify(engine: NatsEngine, publisher: Publisher, channel: str) -> None:
    """The log has all that was acknowledged, once, in order, where it was said to be."""
    page = await engine.history(channel, log=LOG)
    found = {
        value: each.offset for value, each in zip(values(page.publications), page.publications, strict=True)
    }
    assert len(found) == len(page.publications), "something is there twice"
    assert list(found) == sorted(found), "another order"
    for number, position in publisher.acknowledged.items():
        assert found.pop(number) == position.offset
        assert position.epoch == page.top.epoch
    assert found.keys() <= publisher.unknown


def told_of_all(events: Recorder, channel: str, log: list[int]) -> bool:
    """Whether a node was told of each offset, or can tell from the next one that some are missing."""
    told = [each for each in events.publications if each.channel == channel]
    known = 0
    gaps = 0
    for each in told:
        assert each.position.offset > known, "told twice, or in another order"
        gaps += each.previous != known
        known = each.position.offset
    missing = len(log) - len(told)
    return bool(gaps) if missing else not gaps


def test_a_server_that_is_killed_comes_back_with_all_that_was_acknowledged(
    run: Run, server: NatsServer
) -> None:
    async def main() -> None:
        async with running(server.url) as (one, _), running(server.url, "two") as (two, events):
            for channel in ("keys", "plain"):
                await two.subscribe(channel)
            publishers = [Publisher(one, name, keys=name == "keys") for name in ("keys", "plain")]
            for _ in range(2):
                await asyncio.gather(*(each.reach(100) for each in publishers))
                await asyncio.to_thread(server.kill)
                await events.until(lambda: events.available[-1:] == [False])
                await asyncio.to_thread(server.start)
                await asyncio.gather(*(each.reach(100) for each in publishers))
                await events.until(lambda: events.available[-1:] == [True])
            for publisher, channel in zip(publishers, ("keys", "plain"), strict=True):
                await publisher.end()
                await verify(two, publisher, channel)
                page = await two.history(channel, log=LOG)
                last = page.top.offset
                await events.until(
                    lambda last=last: any(e.position.offset == last for e in events.publications)
                )
                assert told_of_all(events, channel, [each.offset for each in page.publications])

    run(main, timeout=60)


def test_a_server_that_has_lost_everything_gives_logs_another_epoch(run: Run, server: NatsServer) -> None:
    async def main() -> None:
        async with running(server.url) as (engine, events):
            await engine.subscribe("a")
            before = (await engine.publish("a", publication(1), log=LOG)).position
            await asyncio.to_thread(server.kill)
            shutil.rmtree(server.folder / "store")
            await asyncio.to_thread(server.start)
            await events.until(lambda: events.available[-1:] == [True])
            page = await engine.history("a", log=LOG, since=before)
            assert (page.complete, page.publications) == (False, [])
            assert page.top.epoch != before.epoch
            after = (await engine.publish("a", publication(2), log=LOG)).position
            assert after.epoch == page.top.epoch
            await events.until(lambda: len(events.publications) == 2)
            assert [each.position for each in events.publications] == [before, after]

    run(main, timeout=60)


def test_a_stream_that_is_deleted_gives_its_logs_another_epoch(run: Run, server: NatsServer) -> None:
    async def main() -> None:
        async with running(server.url) as (one, _), running(server.url, "two") as (two, _):
            before = [(await each.publish("a", publication(1), log=LOG)).position for each in (one, two)][1]
            async with running(server.url, "three", prefix="other") as (third, _):
                await third._started.requests.api("STREAM.DELETE.everwire_log")
            after = (await one.publish("a", publication(2), log=LOG)).position
            assert after.epoch != before.epoch
            again = (await two.publish("a", publication(3), log=LOG, expected=after)).position
            assert again.epoch == after.epoch
            assert not (await two.history("a", log=LOG, since=before)).complete

    run(main, timeout=60)


def test_a_frozen_server_is_not_waited_for_longer_than_said(run: Run, server: NatsServer) -> None:
    async def main() -> None:
        async with running(server.url, timeout=1.0) as (engine, events):
            await engine.publish("a", publication(1), log=LOG)
            server.freeze()
            began = time.monotonic()
            attempts = await asyncio.gather(
                engine.publish("a", publication(2), log=LOG),
                engine.publish("a", publication(2), log=LOG, idempotency_key="k"),
                engine.history("a", log=LOG),
                engine.subscribe("b"),
                engine.presence("a"),
                return_exceptions=True,
            )
            took = time.monotonic() - began
            assert all(isinstance(each, EngineError) for each in attempts), attempts
            assert took < 3
            assert not (await engine.health()).available
            server.thaw()
            await engine.publish("a", publication(3), log=LOG, idempotency_key="k")
            page = await engine.history("a", log=LOG)
            # What failed may be there; that with the key is there once.
            assert values(page.publications) in ([1, 2, 2], [1, 2], [1, 3], [1, 2, 3])
            assert (await engine.health()).available
            assert events.publications == []

    run(main, timeout=60)


def test_without_a_server_publications_wait_and_then_fail(run: Run, server: NatsServer) -> None:
    async def main() -> None:
        async with running(server.url, timeout=0.7) as (engine, events):
            await engine.publish("a", publication(1), log=LOG)
            await asyncio.to_thread(server.kill)
            await events.until(lambda: events.available[-1:] == [False])
            for attempt in (
                engine.publish("a", publication(2), log=LOG),
                engine.publish("a", publication(2), log=LogOptions()),
                engine.control(b"x"),
            ):
                with pytest.raises(EngineError, match="not reachable for"):
                    await attempt
            assert not (await engine.health()).available

        async with running_again(server) as engine:
            assert values((await engine.history("a", log=LOG)).publications) == [1]

    run(main, timeout=60)


@contextlib.asynccontextmanager
async def running_again(server: NatsServer) -> AsyncIterator[NatsEngine]:
    """A new engine on a server that was started anew."""
    await asyncio.to_thread(server.start)
    async with running(server.url) as (engine, _):
        yield engine


COPIED = (
    cluster.both_nodes_publish_and_see_one_order,
    cluster.nodes_agree_on_a_log_from_the_first_reader_on,
    cluster.an_idempotency_key_holds_on_all_nodes,
    cluster.conditions_hold_on_all_nodes,
    log.history_is_read_in_pages_both_ways,
    log.what_was_evicted_is_told,
    log.a_removed_history_keeps_its_position,
)
"""Checks of reading and of conditions, which go other ways where streams have copies."""


def bench(url: str) -> Bench:
    """A bench on a cluster."""
    prefix = f"t{secrets.token_hex(4)}"

    def make() -> NatsEngine:
        return NatsEngine(url, prefix=prefix, timeout=10)

    return Bench(make=make, peer=make, advance=asyncio.sleep)


def test_a_cluster_goes_on_without_the_leader_of_a_stream(run: Run, tmp_path: Path) -> None:
    async def main(servers: list[NatsServer]) -> None:
        hosts = ",".join(each.url.removeprefix("nats://") for each in servers)
        url = f"nats://{hosts}?replicas=3"
        async with running(url, timeout=10) as (one, _), running(url, "two", timeout=10) as (two, events):
            await two.subscribe("a")
            await asyncio.gather(*(check(bench(url)) for check in COPIED))
            publisher = Publisher(one, "a", keys=True)
            await publisher.reach(50)
            info = await one._started.requests.api("STREAM.INFO.everwire_log")
            leader = servers[int(info["cluster"]["leader"].removeprefix("n"))]
            await asyncio.to_thread(leader.kill)
            await publisher.reach(50)
            await asyncio.to_thread(leader.start)
            await publisher.reach(50)
            await publisher.end()
            await verify(two, publisher, "a")
            page = await two.history("a", log=LOG)
            await until(
                lambda: (
                    (bool(events.publications) and events.publications[-1].position == page.top)
                    or True in events.available
                )
            )

    with nats_cluster(tmp_path) as servers:
        run(lambda: main(servers), timeout=60)
