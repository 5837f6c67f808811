"""Checks: positions, history, and publishing once."""

from __future__ import annotations

import asyncio
from typing import Any

from everwire.channels.engine import Engine, LogOptions, Position, PublishOutcome
from everwire.engines.contract.bench import LOG, Bench, Check, publication, values
from everwire.errors import PositionConflict

__all__ = ["CHECKS"]


async def fill(engine: Engine, count: int, log: LogOptions = LOG, *, channel: str = "a") -> list[Position]:
    """Publish 1, 2, ...; return the positions, before the first one too."""
    positions = [(await engine.history(channel, log=log, limit=0)).top]
    for number in range(1, count + 1):
        outcome = await engine.publish(channel, publication(number), log=log)
        assert not outcome.duplicate
        assert not outcome.stale
        positions.append(outcome.position)
    return positions


async def a_position_exists_before_the_first_publication(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        page = await engine.history("a", log=LOG)
        assert page.publications == []
        assert page.complete
        assert page.top.offset == 0
        assert page.top.epoch
        assert (await engine.history("a", log=LOG)).top == page.top
        outcome = await engine.publish("a", publication(1), log=LOG)
        assert outcome.position.epoch == page.top.epoch
        after = await engine.history("a", log=LOG, since=page.top)
        assert after.complete
        assert values(after.publications) == [1]


async def offsets_rise_and_the_epoch_stays(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        positions = await fill(engine, 20)
        offsets = [each.offset for each in positions]
        assert offsets == sorted(set(offsets))
        assert len({each.epoch for each in positions}) == 1
        page = await engine.history("a", log=LOG)
        assert page.top == positions[-1]
        assert [each.offset for each in page.publications] == offsets[1:]


async def history_is_read_in_pages_both_ways(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        at = await fill(engine, 5)

        async def read(since: int | None = None, limit: int = -1, reverse: bool = False) -> list[object]:
            position = None if since is None else at[since]
            page = await engine.history("a", log=LOG, since=position, limit=limit, reverse=reverse)
            assert page.complete
            assert page.top == at[5]
            return values(page.publications)

        assert await read() == [1, 2, 3, 4, 5]
        assert await read(limit=0) == []
        assert await read(limit=2) == [1, 2]
        assert await read(reverse=True) == [5, 4, 3, 2, 1]
        assert await read(limit=2, reverse=True) == [5, 4]
        assert await read(since=0) == [1, 2, 3, 4, 5]
        assert await read(since=2) == [3, 4, 5]
        assert await read(since=2, limit=1) == [3]
        assert await read(since=5) == []
        assert await read(since=3, reverse=True) == [2, 1]
        assert await read(since=3, limit=1, reverse=True) == [2]
        assert await read(since=1, reverse=True) == []
        assert await read(limit=100) == [1, 2, 3, 4, 5]


async def a_page_has_all_up_to_its_top(bench: Bench) -> None:
    """Who reads while others publish misses nothing: what comes after the top it is told."""

    async def read_until(engine: Engine, channel: str, count: int) -> None:
        start = Position(0, "")
        while True:
            page = await engine.history(channel, log=LOG, since=start)
            offsets = [each.offset for each in page.publications]
            assert page.complete
            assert offsets[-1:] == [page.top.offset] or (not offsets and not page.top.offset)
            if len(offsets) == count:
                return
            await asyncio.sleep(0)

    async with bench.started() as (engine, _):
        for number in range(30):
            readers = [asyncio.create_task(read_until(engine, f"c{number}", 3)) for _ in range(3)]
            await asyncio.sleep(0)
            await fill(engine, 3, channel=f"c{number}")
            await asyncio.gather(*readers)


async def logs_of_channels_are_apart(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        await fill(engine, 3)
        await fill(engine, 2, channel="b")
        assert values((await engine.history("a", log=LOG)).publications) == [1, 2, 3]
        assert values((await engine.history("b", log=LOG)).publications) == [1, 2]


async def what_was_evicted_is_told(bench: Bench) -> None:
    log = LogOptions(size=3, ttl=300, meta_ttl=3600)
    async with bench.started() as (engine, _):
        at = await fill(engine, 5, log)
        assert values((await engine.history("a", log=log)).publications) == [3, 4, 5]
        for since, complete, expected in [
            (0, False, [3, 4, 5]),
            (1, False, [3, 4, 5]),
            (2, True, [3, 4, 5]),
            (3, True, [4, 5]),
            (5, True, []),
        ]:
            page = await engine.history("a", log=log, since=at[since])
            assert (page.complete, values(page.publications)) == (complete, expected)
        page = await engine.history("a", log=log, since=at[4], reverse=True)
        assert (page.complete, values(page.publications)) == (True, [3])
        assert not (await engine.history("a", log=log, since=at[3], reverse=True)).complete


async def what_has_expired_is_told(bench: Bench) -> None:
    log = LogOptions(size=10, ttl=2, meta_ttl=60)
    async with bench.started() as (engine, _):
        at = await fill(engine, 2, log)
        await bench.advance(3)
        page = await engine.history("a", log=log, since=at[0])
        assert (page.complete, page.publications, page.top) == (False, [], at[2])
        assert not (await engine.history("a", log=log, since=at[1])).complete
        assert (await engine.history("a", log=log, since=at[2])).complete
        third = await engine.publish("a", publication(3), log=log)
        assert third.position.epoch == at[0].epoch
        assert third.position.offset > at[2].offset
        assert not (await engine.history("a", log=log, since=at[1])).complete
        page = await engine.history("a", log=log, since=at[2])
        assert (page.complete, values(page.publications)) == (True, [3])


async def a_position_of_another_log_is_told(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        at = await fill(engine, 3)
        for position in (
            Position(at[1].offset, at[1].epoch + "x"),
            Position(0, "other"),
            Position(at[3].offset + 1, at[3].epoch),
            Position(at[3].offset + 10**6, at[3].epoch),
        ):
            page = await engine.history("a", log=LOG, since=position)
            assert not page.complete
            assert page.publications == []
            assert page.top == at[3]


async def the_start_needs_no_epoch(bench: Bench) -> None:
    log = LogOptions(size=3, ttl=300, meta_ttl=3600)
    async with bench.started() as (engine, _):
        start = Position(0, "")
        assert (await engine.history("a", log=log, since=start)).complete
        for number in range(1, 4):
            await engine.publish("a", publication(number), log=log)
            page = await engine.history("a", log=log, since=start)
            assert (page.complete, values(page.publications)) == (True, list(range(1, number + 1)))
        await engine.publish("a", publication(4), log=log)
        page = await engine.history("a", log=log, since=start)
        assert (page.complete, values(page.publications)) == (False, [2, 3, 4])


async def a_removed_history_keeps_its_position(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        await engine.remove_history("unknown", log=LOG)
        at = await fill(engine, 3)
        await engine.remove_history("a", log=LOG)
        page = await engine.history("a", log=LOG, since=at[1])
        assert (page.complete, page.publications, page.top) == (False, [], at[3])
        assert (await engine.history("a", log=LOG, since=at[3])).complete
        outcome = await engine.publish("a", publication(4), log=LOG)
        assert outcome.position.epoch == at[3].epoch
        page = await engine.history("a", log=LOG, since=at[3])
        assert (page.complete, values(page.publications)) == (True, [4])
        assert not (await engine.history("a", log=LOG, since=at[2])).complete


async def an_idempotency_key_publishes_once(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")
        first = await engine.publish("a", publication(1), log=LOG, idempotency_key="k")
        await engine.publish("a", publication(2), log=LOG)
        again = await engine.publish("a", publication(3), log=LOG, idempotency_key="k")
        assert not first.duplicate
        assert again.duplicate
        assert again.position == first.position
        other = await engine.publish("a", publication(4), log=LOG, idempotency_key="l")
        assert not other.duplicate
        assert not (await engine.publish("b", publication(5), log=LOG, idempotency_key="k")).duplicate
        assert values((await engine.history("a", log=LOG)).publications) == [1, 2, 4]
        await events.until(lambda: len(events.publications) >= 3)
        assert values([each.publication for each in events.publications]) == [1, 2, 4]


async def an_idempotency_key_works_without_a_log(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")
        for duplicate in (False, True):
            outcome = await engine.publish("a", publication(1), log=LogOptions(), idempotency_key="k")
            assert outcome.position == Position(0, "")
            assert outcome.duplicate == duplicate
        await engine.publish("a", publication(2), log=LogOptions())
        await events.until(lambda: len(events.publications) >= 2)
        assert values([each.publication for each in events.publications]) == [1, 2]


async def an_idempotency_key_is_forgotten_in_time(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        await engine.publish("a", publication(1), log=LOG, idempotency_key="k", idempotency_ttl=2)
        await bench.advance(3)
        outcome = await engine.publish("a", publication(2), log=LOG, idempotency_key="k", idempotency_ttl=2)
        assert not outcome.duplicate
        assert values((await engine.history("a", log=LOG)).publications) == [1, 2]


async def an_old_version_is_left_out(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")

        async def publish(value: int, version: int, epoch: str = "") -> bool:
            outcome = await engine.publish(
                "a", publication(value), log=LOG, version=version, version_epoch=epoch
            )
            if outcome.stale:
                top = (await engine.history("a", log=LOG, limit=0)).top
                assert outcome.position == top
            return outcome.stale

        assert not await publish(1, 5)
        assert await publish(2, 5)
        assert await publish(3, 4)
        assert not await publish(4, 0)
        assert await publish(5, 5)
        assert not await publish(6, 6)
        assert not await publish(7, 1, "e")
        assert await publish(8, 1, "e")
        assert not await publish(9, 2, "e")
        assert not await publish(10, 1, "f")
        assert values((await engine.history("a", log=LOG)).publications) == [1, 4, 6, 7, 9, 10]
        await events.until(lambda: len(events.publications) >= 6)
        assert values([each.publication for each in events.publications]) == [1, 4, 6, 7, 9, 10]


async def a_retry_after_a_newer_version_is_a_duplicate(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        first = await engine.publish("a", publication(1), log=LOG, idempotency_key="k", version=1)
        await engine.publish("a", publication(2), log=LOG, version=2)
        again = await engine.publish("a", publication(1), log=LOG, idempotency_key="k", version=1)
        assert again.duplicate
        assert again.position == first.position


async def an_expected_position_is_held(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")

        async def publish(value: int, expected: Position, **options: Any) -> PublishOutcome | Position:
            try:
                return await engine.publish("a", publication(value), log=LOG, expected=expected, **options)
            except PositionConflict as error:
                return Position(error.offset, error.epoch)

        first = await publish(1, Position(0, ""))
        assert isinstance(first, PublishOutcome)
        top = first.position
        assert await publish(2, Position(0, "")) == top
        assert await publish(3, Position(top.offset + 1, top.epoch)) == top
        assert await publish(4, Position(top.offset, top.epoch + "x")) == top
        second = await publish(5, top, idempotency_key="k")
        assert isinstance(second, PublishOutcome)
        assert await publish(6, top, idempotency_key="k") == PublishOutcome(second.position, duplicate=True)
        assert await publish(7, top, idempotency_key="l") == second.position
        # What conflicted has not used up its key.
        assert isinstance(await publish(8, second.position, idempotency_key="l"), PublishOutcome)
        assert values((await engine.history("a", log=LOG)).publications) == [1, 5, 8]
        await events.until(lambda: len(events.publications) >= 3)
        assert values([each.publication for each in events.publications]) == [1, 5, 8]


async def one_of_several_that_expect_the_same_wins(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        top = (await engine.history("a", log=LOG, limit=0)).top
        for _ in range(5):
            outcomes = await asyncio.gather(
                *(engine.publish("a", publication(n), log=LOG, expected=top) for n in range(8)),
                return_exceptions=True,
            )
            won = [each for each in outcomes if isinstance(each, PublishOutcome)]
            assert len(won) == 1
            assert all(each is won[0] or isinstance(each, PositionConflict) for each in outcomes), outcomes
            top = won[0].position
        assert len((await engine.history("a", log=LOG)).publications) == 5


CHECKS: tuple[Check, ...] = (
    a_position_exists_before_the_first_publication,
    offsets_rise_and_the_epoch_stays,
    history_is_read_in_pages_both_ways,
    a_page_has_all_up_to_its_top,
    logs_of_channels_are_apart,
    what_was_evicted_is_told,
    what_has_expired_is_told,
    a_position_of_another_log_is_told,
    the_start_needs_no_epoch,
    a_removed_history_keeps_its_position,
    an_idempotency_key_publishes_once,
    an_idempotency_key_works_without_a_log,
    an_idempotency_key_is_forgotten_in_time,
    an_old_version_is_left_out,
    a_retry_after_a_newer_version_is_a_duplicate,
    an_expected_position_is_held,
    one_of_several_that_expect_the_same_wins,
)
