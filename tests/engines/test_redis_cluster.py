"""The Redis engine on a cluster: the contract, and slots that move while it is used."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import subprocess
from collections.abc import Iterator

import pytest
from conftest import Run

from engines.redis_servers import RedisServer, redis_client, redis_cluster
from engines.servers import HOST
from engines.test_redis import QUICK, bench
from everwire.channels.engine import LogOptions, Position
from everwire.engines.contract import Check, Recorder, publication, values
from everwire.engines.redis import RedisEngine
from everwire.engines.redis.keys import slot_of
from everwire.errors import EngineError

pytestmark = pytest.mark.loops("asyncio")

LOG = LogOptions(size=10_000, ttl=300.0, meta_ttl=3600.0)

numbers = itertools.count()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


def url_of(servers: list[RedisServer]) -> str:
    return "redis+cluster://" + ",".join(f"{HOST}:{server.port}" for server in servers)


def engine_at(servers: list[RedisServer]) -> RedisEngine:
    return RedisEngine(url_of(servers), prefix=f"c{next(numbers)}", heartbeat=0.2)


@pytest.mark.parametrize("check", QUICK, ids=lambda check: check.__name__)
def test_a_cluster_keeps_the_contract(run: Run, check: Check, servers: list[RedisServer]) -> None:
    run(lambda: check(bench(url_of(servers))))


def test_channels_are_on_all_servers(run: Run, servers: list[RedisServer]) -> None:
    async def main() -> None:
        engine, events = engine_at(servers[:1]), Recorder()
        await engine.start(events, node="n")
        try:
            names = [f"c{number}" for number in range(100)]
            await asyncio.gather(*(engine.subscribe(name) for name in names))
            await asyncio.gather(*(engine.publish(name, publication(name), log=LOG) for name in names))
            await events.until(lambda: len(events.publications) == 100)
            assert await engine.channels() == sorted(names)
            for server in servers:
                assert "meta:{c" in await asyncio.to_thread(server.ask, "KEYS", "*")
        finally:
            await engine.close()

    run(main)


def test_nothing_is_lost_while_a_channel_moves_to_another_server(
    run: Run, servers: list[RedisServer]
) -> None:
    ids = [each.ask("CLUSTER", "MYID") for each in servers]
    # The server with the lowest slots gives the first of them away: a channel among these moves.
    channel = next(name for number in itertools.count() if slot_of((name := f"m{number}").encode()) < 20)

    def move() -> None:
        subprocess.run(
            [
                *(redis_client(), "--cluster", "reshard", f"{HOST}:{servers[0].port}"),
                *("--cluster-from", ids[0], "--cluster-to", ids[1], "--cluster-slots", "20", "--cluster-yes"),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )

    async def main() -> None:
        engine, events = engine_at(servers), Recorder()
        await engine.start(events, node="n")
        try:
            await engine.subscribe(channel)
            moving = asyncio.create_task(asyncio.to_thread(move))
            count = 0
            while not moving.done() or count < 100:
                await engine.publish(channel, publication(count), log=LOG, idempotency_key=str(count))
                count += 1
            await moving
            assert int(servers[1].ask("CLUSTER", "COUNTKEYSINSLOT", str(slot_of(channel.encode())))) > 0
            await engine.publish(channel, publication(count), log=LOG)
            page = await engine.history(channel, log=LOG, since=Position(0, ""))
            assert page.complete
            assert values(page.publications) == list(range(count + 1))
            # It is followed where it is now; what was missed on the way shows, and the node is told to look.
            async with asyncio.timeout(10):
                while not (await engine.health()).available:
                    await asyncio.sleep(0.01)
            last = await engine.publish(channel, publication("last"), log=LOG)
            await events.until(lambda: events.publications[-1].position == last.position)
            told = [each.position.offset for each in events.publications]
            assert told == sorted(set(told))
            missed = any(
                after.previous != before.position.offset
                for before, after in itertools.pairwise(events.publications)
            )
            assert not missed or events.available[-2:] == [False, True]
        finally:
            await engine.close()

    run(main, timeout=60)


def test_what_is_on_other_servers_goes_on_without_one(run: Run, servers: list[RedisServer]) -> None:
    gone = servers[2]
    names = [f"c{number}" for number in range(30)]

    async def main() -> None:
        engine = RedisEngine(url_of(servers), prefix=f"c{next(numbers)}", heartbeat=0.2, timeout=0.5)
        events = Recorder()
        await engine.start(events, node="n")
        try:
            await asyncio.gather(*(engine.subscribe(name) for name in names))
            await asyncio.gather(*(engine.publish(name, publication(1), log=LOG) for name in names))
            there = await asyncio.to_thread(gone.ask, "KEYS", "*:log:*")
            gone.kill()
            await events.until(lambda: events.available == [False])
            outcomes = await asyncio.gather(
                *(engine.publish(name, publication(2), log=LOG) for name in names), return_exceptions=True
            )
            for name, outcome in zip(names, outcomes, strict=True):
                assert isinstance(outcome, EngineError) == (f"{{{name}}}" in there), (name, outcome)
            assert f":{gone.port}" in (await engine.health()).detail
            await asyncio.to_thread(gone.start)

            async def insist(name: str) -> None:
                # A server that has just come back does not take part in its cluster yet.
                while True:
                    with contextlib.suppress(EngineError):
                        await engine.publish(name, publication(3), log=LOG, idempotency_key="3")
                        return
                    await asyncio.sleep(0.05)

            await asyncio.gather(*(insist(name) for name in names))
            # All are followed again, wherever they are.
            await events.until(
                lambda: values([each.publication for each in events.publications]).count(3) == 30
            )
            assert events.available[-1]
        finally:
            await engine.close()

    run(main, timeout=60)
