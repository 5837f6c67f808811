"""Checks: what holds when several nodes share the logs."""

from __future__ import annotations

import asyncio

import msgspec

from everwire.channels.engine import LogOptions, Position, PublishOutcome
from everwire.engines.contract.bench import LOG, Bench, Check, Recorder, publication, values
from everwire.errors import PositionConflict
from everwire.wire.messages import ClientInfo, Publication

__all__ = ["CHECKS"]


def offsets(events: Recorder) -> list[int]:
    """The offsets that were told, after having seen that each one names the one before."""
    told = [each.position.offset for each in events.publications]
    assert [each.previous for each in events.publications] == [0, *told[:-1]]
    return told


async def what_one_node_publishes_reaches_the_other(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        await two.engine.subscribe("a")
        info = ClientInfo(user="u", client="c", conn_info=msgspec.Raw(b'{"n":1}'))
        sent = Publication(data=msgspec.Raw(b"[1]"), info=info, tags={"k": "v"})
        first = await one.engine.publish("a", sent, log=LOG, delta=True)
        await one.engine.publish("a", publication(2), log=LogOptions())
        third = await one.engine.publish("a", publication(3), log=LOG)
        await two.events.until(lambda: len(two.events.publications) == 3)
        told = two.events.publications
        assert told[0].publication.info == info
        assert told[0].publication.tags == {"k": "v"}
        assert told[0].delta
        assert [each.position for each in told] == [first.position, Position(0, ""), third.position]
        assert told[2].previous == first.position.offset
        assert values([each.publication for each in told]) == [[1], 2, 3]
        assert one.events.publications == []


async def both_nodes_publish_and_see_one_order(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        for node in (one, two):
            await node.engine.subscribe("a")
        outcomes = await asyncio.gather(
            *((one, two)[n % 2].engine.publish("a", publication(n), log=LOG) for n in range(60))
        )
        await one.events.until(lambda: len(one.events.publications) == 60)
        await two.events.until(lambda: len(two.events.publications) == 60)
        assert offsets(one.events) == offsets(two.events)
        assert sorted(each.position.offset for each in outcomes) == offsets(one.events)
        assert len({each.position.epoch for each in outcomes}) == 1
        page = await two.engine.history("a", log=LOG)
        told = [each.publication for each in one.events.publications]
        assert values(page.publications) == values(told)


async def nodes_agree_on_a_log_from_the_first_reader_on(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        pages = await asyncio.gather(*(each.engine.history("a", log=LOG) for each in (one, two, one, two)))
        assert len({page.top for page in pages}) == 1
        outcome = await two.engine.publish("a", publication(1), log=LOG)
        assert outcome.position.epoch == pages[0].top.epoch
        page = await one.engine.history("a", log=LOG, since=pages[0].top)
        assert (page.complete, values(page.publications), page.top) == (True, [1], outcome.position)


async def an_idempotency_key_holds_on_all_nodes(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        for channel, log in (("a", LOG), ("b", LogOptions())):
            outcomes = await asyncio.gather(
                *(
                    (one, two)[n % 2].engine.publish(channel, publication(n), log=log, idempotency_key="k")
                    for n in range(10)
                )
            )
            # The same key is another one in another channel.
            assert [each.duplicate for each in outcomes].count(False) == 1
            assert len({each.position for each in outcomes}) == 1
        assert len((await one.engine.history("a", log=LOG)).publications) == 1


async def conditions_hold_on_all_nodes(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        top = (await one.engine.history("a", log=LOG, limit=0)).top
        for _ in range(3):
            outcomes = await asyncio.gather(
                *(
                    (one, two)[n % 2].engine.publish("a", publication(n), log=LOG, expected=top)
                    for n in range(6)
                ),
                return_exceptions=True,
            )
            won = [each for each in outcomes if isinstance(each, PublishOutcome)]
            assert len(won) == 1, outcomes
            assert all(each is won[0] or isinstance(each, PositionConflict) for each in outcomes), outcomes
            top = won[0].position
        versions = await asyncio.gather(
            *((one, two)[n % 2].engine.publish("v", publication(n), log=LOG, version=1) for n in range(6))
        )
        assert [each.stale for each in versions].count(False) == 1
        assert (await one.engine.publish("v", publication(0), log=LOG, version=1)).stale
        assert not (await two.engine.publish("v", publication(0), log=LOG, version=2)).stale


async def a_history_is_removed_for_all_nodes(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        await two.engine.subscribe("a")
        for number in (1, 2):
            last = await one.engine.publish("a", publication(number), log=LOG)
        await one.engine.remove_history("a", log=LOG)
        page = await two.engine.history("a", log=LOG)
        assert (page.publications, page.top) == ([], last.position)
        await one.engine.publish("a", publication(3), log=LOG)
        await two.events.until(lambda: len(two.events.publications) == 3)
        assert len(offsets(two.events)) == 3
        # Who begins to follow now reads where the log stands, and has to be told the same.
        await one.engine.remove_history("a", log=LOG)
        await one.engine.subscribe("a")
        top = (await one.engine.history("a", log=LOG, limit=0)).top
        await two.engine.publish("a", publication(4), log=LOG)
        await one.events.until(lambda: len(one.events.publications) == 1)
        assert one.events.publications[0].previous == top.offset


async def presence_is_seen_by_all_nodes(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        await one.engine.add_presence("a", ClientInfo(user="u", client="1"), ttl=60)
        await two.engine.add_presence("a", ClientInfo(user="u", client="2"), ttl=60)
        for node in (one, two):
            assert sorted(await node.engine.presence("a")) == ["1", "2"]
            assert await node.engine.presence_stats("a") == (2, 1)
        await two.engine.remove_presence("a", "1")
        assert list(await one.engine.presence("a")) == ["2"]
        assert "a" in await one.engine.channels()


async def the_presence_of_a_node_that_is_gone_ends(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        await one.engine.add_presence("a", ClientInfo(client="1"), ttl=2)
        await two.engine.add_presence("a", ClientInfo(client="2"), ttl=60)
        await one.engine.close()
        assert "2" in await two.engine.presence("a")
        await bench.advance(3)
        assert list(await two.engine.presence("a")) == ["2"]


async def joins_and_leaves_reach_all_nodes(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        info = ClientInfo(user="u", client="c", chan_info=msgspec.Raw(b"[1]"))
        await two.engine.subscribe("a")
        await one.engine.publish_join("a", info)
        await one.engine.publish_leave("a", info)
        await two.events.until(lambda: len(two.events.leaves) == 1)
        assert two.events.joins == [("a", info)] == two.events.leaves
        assert one.events.joins == one.events.leaves == []


async def a_control_message_reaches_the_other_nodes_or_the_one_it_is_for(bench: Bench) -> None:
    async with bench.nodes() as (one, two):
        await one.engine.control(b"to one that is not there", node="three")
        await one.engine.control(b"to myself", node="one")
        await one.engine.control(b"to all others")
        await one.engine.control(bytes(range(256)), node="two")
        await two.engine.control(b"back")
        await two.events.until(lambda: len(two.events.controls) == 2)
        await one.events.until(lambda: b"back" in one.events.controls)
        assert two.events.controls == [b"to all others", bytes(range(256))]
        assert [each for each in one.events.controls if each != b"to myself"] == [b"back"]


async def a_node_that_starts_anew_finds_the_log(bench: Bench) -> None:
    assert bench.peer is not None
    async with bench.started() as (one, _):
        outcomes = [await one.publish("a", publication(number), log=LOG) for number in (1, 2, 3)]
        await one.publish("a", publication(4), log=LOG, idempotency_key="k")
    engine, events = bench.peer(), Recorder()
    await engine.start(events, node="contract")
    try:
        page = await engine.history("a", log=LOG, since=outcomes[0].position)
        assert (page.complete, values(page.publications)) == (True, [2, 3, 4])
        assert (await engine.publish("a", publication(5), log=LOG, idempotency_key="k")).duplicate
        fifth = await engine.publish("a", publication(5), log=LOG)
        assert fifth.position.epoch == outcomes[0].position.epoch
        assert fifth.position.offset > page.top.offset
    finally:
        await engine.close()


CHECKS: tuple[Check, ...] = (
    what_one_node_publishes_reaches_the_other,
    both_nodes_publish_and_see_one_order,
    nodes_agree_on_a_log_from_the_first_reader_on,
    an_idempotency_key_holds_on_all_nodes,
    conditions_hold_on_all_nodes,
    a_history_is_removed_for_all_nodes,
    presence_is_seen_by_all_nodes,
    the_presence_of_a_node_that_is_gone_ends,
    joins_and_leaves_reach_all_nodes,
    a_control_message_reaches_the_other_nodes_or_the_one_it_is_for,
    a_node_that_starts_anew_finds_the_log,
)
