"""What becomes of publications when Redis ends, is frozen, fails over, or loses a connection."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from conftest import Run

from engines.redis_servers import RedisServer, Sentinel, ask, binary_client, wait_until
from everwire.channels.engine import LogOptions, Position
from everwire.engines.contract import Recorder, publication, values
from everwire.engines.redis import RedisEngine, line
from everwire.engines.redis.link import LinkLost
from everwire.errors import EngineError

pytestmark = pytest.mark.loops("asyncio")

LOG = LogOptions(size=10_000, ttl=300.0, meta_ttl=3600.0)
AOF = ("appendonly yes", "appendfsync everysec")


@contextlib.asynccontextmanager
async def started(url: str, **options: object) -> AsyncGenerator[tuple[RedisEngine, Recorder]]:
    engine, events = RedisEngine(url, **{"heartbeat": 0.2, **options}), Recorder()  # type: ignore[arg-type]
    await engine.start(events, node="n")
    try:
        yield engine, events
    finally:
        await engine.close()


class Publisher:
    """Publishes numbers into a channel, one after the other, until each is acknowledged; counts all of it."""

    def __init__(self, engine: RedisEngine, channel: str = "a") -> None:
        self.engine = engine
        self.channel = channel
        self.acknowledged: dict[int, Position] = {}
        self.errors = 0
        self.progress = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        for number in itertools.count():
            while True:
                try:
                    outcome = await self.engine.publish(
                        self.channel, publication(number), log=LOG, idempotency_key=str(number)
                    )
                    break
                except EngineError:
                    self.errors += 1
                    await asyncio.sleep(0.01)
            self.acknowledged[number] = outcome.position
            self.progress.set()

    async def more(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        while len(self.acknowledged) < wanted:
            self.progress.clear()
            await self.progress.wait()

    async def stop(self) -> None:
        """Publish no more."""
        self._task.cancel()
        await asyncio.wait([self._task])


def check_chain(events: Recorder) -> int:
    """See that what was told is in order, each once; return before how many of it something was missing."""
    last, gaps = None, 0
    for told in events.publications:
        if last is not None:
            assert told.position.offset > last.position.offset
            assert told.position.epoch == last.position.epoch
            gaps += told.previous != last.position.offset
        last = told
    return gaps


async def back(events: Recorder) -> None:
    """Wait until the engine was gone and is there again; a busy machine may need a while for it."""
    async with asyncio.timeout(20):
        while False not in events.available or not events.available[-1]:
            events.changed.clear()
            await events.changed.wait()


async def in_thread(function: object) -> None:
    assert callable(function)
    await asyncio.to_thread(function)


def test_nothing_acknowledged_is_lost_when_a_server_is_killed_and_comes_back(
    run: Run, tmp_path: Path
) -> None:
    with RedisServer(tmp_path, *AOF) as server:

        async def main() -> None:
            async with started(server.url) as (engine, events):
                await engine.subscribe("a")
                publisher = Publisher(engine)
                await publisher.more(200)
                server.kill()
                await events.until(lambda: events.available == [False])
                assert not (await engine.health()).available
                await in_thread(server.start)
                await back(events)
                await publisher.more(200)
                await publisher.stop()
                page = await engine.history("a", log=LOG, since=Position(0, ""))
                assert page.complete
                there = dict(zip(values(page.publications), page.publications, strict=True))
                assert len(there) == len(page.publications), "one is there twice"
                assert len({position.epoch for position in publisher.acknowledged.values()}) == 1
                for number, position in publisher.acknowledged.items():
                    assert there[number].offset == position.offset
                # Whoever had the last one before the server ended goes on from there: nothing is missing.
                offsets = [each.offset for each in page.publications]
                jump = next(n for n, offset in enumerate(offsets) if offset > 10**15)
                before = Position(offsets[jump - 1], page.top.epoch)
                assert (await engine.history("a", log=LOG, since=before)).complete
                assert (await engine.health()).available
                assert check_chain(events) <= 1

        run(main, timeout=60)


def test_a_server_that_comes_back_empty_has_other_epochs(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:

        async def main() -> None:
            async with started(server.url) as (engine, events):
                await engine.subscribe("a")
                before = (await engine.publish("a", publication(1), log=LOG)).position
                await events.until(lambda: len(events.publications) == 1)
                server.kill()
                await in_thread(server.start)
                await back(events)
                page = await engine.history("a", log=LOG, since=before)
                assert not page.complete
                assert page.top.epoch != before.epoch
                after = (await engine.publish("a", publication(2), log=LOG)).position
                assert after.epoch == page.top.epoch
                # What was followed before is followed again.
                await events.until(lambda: len(events.publications) == 2)
                assert events.publications[1].position == after

        run(main, timeout=60)


def test_who_has_seen_what_was_lost_is_told(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:

        async def main() -> None:
            async with started(server.url) as (engine, events):
                await engine.subscribe("a")
                at = [(await engine.publish("a", publication(n), log=LOG)).position for n in (1, 2, 3)]
                await in_thread(lambda: server.ask("SAVE"))
                at += [(await engine.publish("a", publication(n), log=LOG)).position for n in (4, 5)]
                await events.until(lambda: len(events.publications) == 5)
                server.kill()
                await in_thread(server.start)
                await back(events)
                assert (await engine.history("a", log=LOG)).top == at[2]
                assert not (await engine.history("a", log=LOG, since=at[4])).complete
                for number in (6, 7, 8):
                    await engine.publish("a", publication(number), log=LOG)
                page = await engine.history("a", log=LOG, since=at[2])
                assert (page.complete, values(page.publications)) == (True, [6, 7, 8])
                assert page.top.epoch == at[2].epoch
                for seen in at[3:]:
                    assert not (await engine.history("a", log=LOG, since=seen)).complete
                page = await engine.history("a", log=LOG, reverse=True, limit=4)
                assert values(page.publications) == [8, 7, 6, 3]
                first = page.publications[2].offset
                page = await engine.history("a", log=LOG, since=Position(first, page.top.epoch), reverse=True)
                assert (page.complete, values(page.publications)) == (True, [3, 2, 1])
                await events.until(lambda: len(events.publications) == 8)
                assert events.publications[4].position == at[4]
                assert events.publications[5].previous == at[2].offset

        run(main, timeout=60)


def test_a_failover_loses_nothing_that_replicas_have(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "a") as master, RedisServer(tmp_path / "b") as replica:
        replica.follow(master)
        with Sentinel(tmp_path / "s", master) as sentinel:
            wait_until(sentinel.knows_replica)

            async def main() -> None:
                async with started(sentinel.url, wait_replicas=1) as (engine, events):
                    await engine.subscribe("a")
                    publisher = Publisher(engine)
                    await publisher.more(100)
                    master.kill()
                    await events.until(lambda: events.available == [False])
                    await back(events)
                    acknowledged = dict(publisher.acknowledged)
                    await publisher.stop()
                    page = await engine.history("a", log=LOG, since=Position(0, ""))
                    there = {
                        n: each.offset
                        for n, each in zip(values(page.publications), page.publications, strict=True)
                    }
                    assert {
                        n: position.offset for n, position in acknowledged.items()
                    }.items() <= there.items()
                    # No replica is left: what is published now is not acknowledged.
                    with pytest.raises(
                        EngineError, match=r"only 0 replicas have it, not 1 \(wait_replicas\)"
                    ):
                        await engine.publish("b", publication(1), log=LOG)
                    check_chain(events)
                async with started(f"redis://127.0.0.1:{replica.port}") as (engine, events):
                    publisher = Publisher(engine, "c")
                    await publisher.more(10)
                    await publisher.stop()

            run(main, timeout=60)


def test_a_replica_that_is_missing_fails_publications_and_nothing_else(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:

        async def main() -> None:
            async with started(server.url, timeout=2, wait_replicas=1) as (engine, events):
                await engine.subscribe("a")
                tasks: list[asyncio.Task[object]] = []
                for number in range(20):
                    tasks.append(asyncio.create_task(engine.publish("a", publication(number), log=LOG)))
                    for _ in range(5):  # turns of the event loop: each goes out by itself
                        await asyncio.sleep(0)
                tasks[5].cancel()  # it waits together with others
                # What waits for no replica waits for nothing.
                await engine.history("a", log=LOG)
                assert (await engine.health()).available
                assert not any(each.done() and not each.cancelled() for each in tasks)
                async with asyncio.timeout(6):
                    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                assert isinstance(outcomes.pop(5), asyncio.CancelledError)
                for outcome in outcomes:
                    assert "only 0 replicas have it, not 1 (wait_replicas)" in str(outcome)
                assert (await engine.history("a", log=LOG)).top.offset == 20
                assert not events.available

        run(main, timeout=20)


def test_a_frozen_server_fails_publications_in_bounded_time(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:

        async def main() -> None:
            async with started(server.url, timeout=0.5) as (engine, events):
                await engine.subscribe("a")
                await engine.publish("a", publication(1), log=LOG)
                await events.until(lambda: len(events.publications) == 1)
                server.freeze()
                loop = asyncio.get_running_loop()
                begin = loop.time()
                with pytest.raises(EngineError, match="may have done it all the same"):
                    await engine.publish("a", publication(2), log=LOG)
                assert loop.time() - begin < 3
                await events.until(lambda: events.available == [False])
                with pytest.raises(EngineError, match=r"has not answered|does not answer"):
                    await engine.publish("a", publication(3), log=LOG)
                assert not (await engine.health()).available
                server.thaw()
                await back(events)
                last = await engine.publish("a", publication(4), log=LOG)
                await events.until(lambda: events.publications[-1].position == last.position)
                found = values((await engine.history("a", log=LOG)).publications)
                # The second was on its way: nobody knows. The third never left.
                assert found in ([1, 2, 4], [1, 4])

        run(main, timeout=30)


def test_more_than_may_wait_for_a_connection_are_refused_at_once(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:

        async def main() -> None:
            async with started(server.url, timeout=0.5, max_waiting=10) as (engine, events):
                server.freeze()
                # It accepts connections, but the answer to the first question never comes.
                await events.until(lambda: events.available == [False])
                for attempt in (
                    lambda n: engine.subscribe(f"c{n}"),
                    lambda n: engine.publish(f"c{n}", publication(n), log=LOG),
                ):
                    outcomes = await asyncio.gather(*map(attempt, range(30)), return_exceptions=True)
                    for outcome in outcomes:
                        assert isinstance(outcome, EngineError)
                        assert not isinstance(outcome, LinkLost)
                server.thaw()

        run(main, timeout=20)


def test_more_channels_than_may_wait_for_an_answer_are_followed_anew(run: Run, tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(50)]
    with RedisServer(tmp_path) as server:

        async def main() -> None:
            async with started(server.url, max_waiting=10) as (engine, events):

                async def all_are_heard() -> None:
                    events.publications.clear()
                    for name in names:
                        await engine.publish(name, publication(name), log=LOG)
                    await events.until(lambda: len(events.publications) == len(names))

                for name in names:
                    await engine.subscribe(name)
                await all_are_heard()
                await in_thread(lambda: server.ask("CLIENT", "KILL", "TYPE", "pubsub"))
                await back(events)
                await all_are_heard()
                # As after slots have moved to a server: it has names to follow on the connection that it has.
                (one,) = engine._started.all
                wanted = dict(one.wanted)
                for name in wanted:
                    await one.leave(name)
                one.wanted.update(wanted)
                await one.catch_up()
                await all_are_heard()
                assert events.available == [False, True]

        run(main, timeout=20)


def test_what_was_missed_while_the_followers_connection_was_gone_shows(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:

        async def main() -> None:
            async with started(server.url) as (engine, events):
                await engine.subscribe("a")
                await engine.publish("a", publication(1), log=LOG)
                await events.until(lambda: len(events.publications) == 1)
                # One after the other on the server: the second publication comes when nobody follows.
                killed = asyncio.create_task(
                    in_thread(lambda: server.ask("CLIENT", "KILL", "TYPE", "pubsub"))
                )
                await events.until(lambda: events.available[:1] == [False])
                missed = await engine.publish("a", publication(2), log=LOG)
                await killed
                await back(events)
                assert (await engine.health()).available
                await engine.publish("a", publication(3), log=LOG)
                await events.until(lambda: values([events.publications[-1].publication]) == [3])
                told = events.publications[-1]
                assert told.previous == missed.position.offset
                if len(events.publications) == 2:  # it was missed indeed, and it shows
                    assert told.previous != events.publications[0].position.offset

        run(main, timeout=60)


def test_a_script_that_the_server_has_forgotten_is_loaded_again(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:

        async def main() -> None:
            async with started(server.url) as (engine, _):
                await in_thread(lambda: server.ask("SCRIPT", "FLUSH"))
                await asyncio.gather(*(engine.publish("a", publication(n), log=LOG) for n in range(50)))
                assert sorted(values((await engine.history("a", log=LOG)).publications)) == list(range(50))

        run(main, timeout=60)


def test_a_full_server_refuses_and_keeps_nothing_of_it(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:

        async def main() -> None:
            async with started(server.url) as (engine, events):
                await engine.subscribe("a")
                before = await engine.publish("a", publication(1), log=LOG)
                await in_thread(lambda: server.ask("CONFIG", "SET", "maxmemory", "1"))
                with pytest.raises(EngineError, match="has reached its maxmemory"):
                    await engine.publish("a", publication(2), log=LOG, idempotency_key="k")
                await in_thread(lambda: server.ask("CONFIG", "SET", "maxmemory", "0"))
                after = await engine.publish("a", publication(2), log=LOG, idempotency_key="k")
                assert not after.duplicate
                assert after.position.offset == before.position.offset + 1
                await events.until(lambda: len(events.publications) == 2)

        run(main, timeout=60)


def test_a_master_that_its_sentinels_have_given_up_is_left(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "LOOK", 0.1)
    with (
        RedisServer(tmp_path / "a") as old,
        RedisServer(tmp_path / "b") as new,
        Sentinel(tmp_path / "s", old) as sentinel,
    ):

        async def main() -> None:
            async with started(sentinel.url) as (engine, events):
                await engine.publish("a", publication(1), log=LOG)
                # The old one runs on, and takes it for itself that it is the master.
                await in_thread(lambda: ask(sentinel.port, "SENTINEL", "REMOVE", "main"))
                await in_thread(
                    lambda: ask(sentinel.port, "SENTINEL", "MONITOR", "main", "127.0.0.1", str(new.port), "1")
                )
                await events.until(lambda: events.available[-1:] == [True])
                await engine.subscribe("a")
                await engine.publish("a", publication(2), log=LOG)
                await events.until(lambda: len(events.publications) == 1)
                assert int(await asyncio.to_thread(new.ask, "DBSIZE")) > 0
                assert (await engine.health()).available

        run(main, timeout=60)


def test_no_position_is_taken_for_another_whatever_is_lost(run: Run, tmp_path: Path) -> None:
    """A log that loses its end again and again, beside all that was ever acknowledged."""
    chance = random.Random(5)
    with RedisServer(tmp_path) as server, contextlib.closing(binary_client(server.port)) as client:
        assert client.ping()
        saved: dict[bytes, bytes] = {}

        def lose() -> None:
            """What a failover to a replica does that lags behind: the state of before, another generation."""
            client.flushall()
            for key, value in saved.items():
                client.restore(key, 0, value)
            client.execute_command("DEBUG", "CHANGE-REPL-ID")
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        def save() -> None:
            saved.clear()
            saved.update({key: client.dump(key) for key in client.keys("*")})

        async def main() -> None:
            async with started(server.url) as (engine, events):
                # Each position that was ever acknowledged, with all publications up to it.
                seen: dict[Position, list[int]] = {(await engine.history("a", log=LOG)).top: []}
                there: list[int] = []
                kept: list[int] = []
                await in_thread(save)
                for number in range(150):
                    what = chance.choices(("publish", "save", "lose"), (70, 10, 12))[0]
                    if what == "publish":
                        outcome = await engine.publish("a", publication(number), log=LOG)
                        there = [*there, number]
                        seen[outcome.position] = there
                    elif what == "save":
                        await in_thread(save)
                        kept = there
                    else:
                        told = len(events.available)
                        await in_thread(lose)
                        await events.until(lambda told=told: events.available[told:] == [False, True])
                        there = kept
                    for position, before in chance.sample(sorted(seen.items()), min(5, len(seen))):
                        page = await engine.history("a", log=LOG, since=position)
                        assert page.complete == (there[: len(before)] == before)
                        if page.complete:
                            assert values(page.publications) == there[len(before) :]
                assert len({position.epoch for position in seen}) == 1
                assert len(seen) > 50

        run(main, timeout=60)
