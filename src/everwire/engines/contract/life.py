"""Checks: how an engine begins and ends, and what it tells whom."""

from __future__ import annotations

import asyncio

import msgspec

from everwire.channels.engine import LogOptions, Position
from everwire.engines.contract.bench import LOG, Bench, Check, publication, values
from everwire.errors import EngineError
from everwire.wire.messages import ClientInfo, Publication

__all__ = ["CHECKS"]

NAMES = (
    "a",
    "news:sport.tennis",
    "$private",
    "#42",
    "chat:index#3,42",
    "*",
    ">",
    "a.*.>",
    "with space",
    "tab\tand\nline",
    "quote'\"`",
    "percent%20",
    "null\0inside",
    "größe",
    "日本語",
    "🎾" * 20,
    "x" * 255,
)
"""Names of channels that something on the way may give a meaning of its own."""


async def what_is_followed_is_told(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")
        info = ClientInfo(user="u", client="c", conn_info=msgspec.Raw(b'{"n":1}'))
        sent = Publication(data=msgspec.Raw(b'{"x":1}'), info=info, tags={"k": "v"})
        outcome = await engine.publish("a", sent, log=LOG)
        await events.until(lambda: len(events.publications) == 1)
        told = events.publications[0]
        assert told.channel == "a"
        assert told.position == outcome.position
        assert told.publication.offset == outcome.position.offset > 0
        assert bytes(told.publication.data) == b'{"x":1}'
        assert told.publication.info == info
        assert told.publication.tags == {"k": "v"}
        assert told.publication.time > 0
        assert not told.delta


async def what_is_not_followed_is_not_told(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")
        await engine.subscribe("b")
        await engine.publish("other", publication(0), log=LOG)
        await engine.publish("b", publication(1), log=LOG)
        await events.until(lambda: len(events.publications) == 1)
        await engine.unsubscribe("b")
        await engine.publish("b", publication(2), log=LOG)
        await engine.publish_join("b", ClientInfo(client="c"))
        await engine.publish("a", publication(3), log=LOG)
        await events.until(lambda: bool(events.publications) and events.publications[-1].channel == "a")
        assert values([each.publication for each in events.publications]) == [1, 3]
        assert events.joins == []
        await engine.subscribe("b")
        await engine.publish("b", publication(4), log=LOG)
        await events.until(lambda: len(events.publications) == 3)
        assert values([each.publication for each in events.publications]) == [1, 3, 4]


async def a_channel_without_a_log_tells_and_keeps_nothing(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")
        for log in (LogOptions(), LogOptions(size=5), LogOptions(ttl=5)):
            outcome = await engine.publish("a", publication(1), log=log)
            assert outcome.position == Position(0, "")
        await events.until(lambda: len(events.publications) == 3)
        assert {each.position for each in events.publications} == {Position(0, "")}
        assert {each.publication.offset for each in events.publications} == {0}
        page = await engine.history("a", log=LOG)
        assert page.publications == []
        assert page.top.offset == 0


async def events_come_in_the_order_of_offsets(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")
        outcomes = await asyncio.gather(
            *(engine.publish("a", publication(number), log=LOG) for number in range(100))
        )
        await events.until(lambda: len(events.publications) == 100)
        offsets = [each.position.offset for each in events.publications]
        assert offsets == sorted(set(offsets))
        assert [each.previous for each in events.publications] == [0, *offsets[:-1]]
        assert sorted(each.position.offset for each in outcomes) == offsets
        numbers: list[int] = values([each.publication for each in events.publications])
        assert [outcomes[number].position.offset for number in numbers] == offsets


async def the_wish_for_a_difference_is_passed_on(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")
        await engine.publish("a", publication(1), log=LOG, delta=True)
        await engine.publish("a", publication(2), log=LOG)
        await events.until(lambda: len(events.publications) == 2)
        assert [each.delta for each in events.publications] == [True, False]
        assert not any(each.publication.delta for each in events.publications)


async def a_publication_belongs_to_its_publisher(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        sent = publication("same")
        first = await engine.publish("a", publication(0), log=LOG)
        for channel in ("a", "b"):
            await engine.publish(channel, sent, log=LOG)
        sent.data = msgspec.Raw(b"0")
        a, b = await engine.history("a", log=LOG), await engine.history("b", log=LOG)
        assert values(a.publications) == [0, "same"]
        assert values(b.publications) == ["same"]
        assert a.publications[1].offset > first.position.offset
        assert sent.offset == 0


async def any_payload_comes_back_as_it_was(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")
        payloads = [b"{}", b"\0\xff\xfe\r\n", bytes(range(256)) * 40, "ü".encode(), b"0", b" "]
        for payload in payloads:
            await engine.publish("a", Publication(data=msgspec.Raw(payload)), log=LOG)
        await events.until(lambda: len(events.publications) == len(payloads))
        assert [bytes(each.publication.data) for each in events.publications] == payloads
        page = await engine.history("a", log=LOG)
        assert [bytes(each.data) for each in page.publications] == payloads


async def any_name_of_a_channel_is_only_a_name(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        for name in NAMES:
            await engine.subscribe(name)
        for name in NAMES:
            await engine.publish(name, publication(name), log=LOG, idempotency_key="k")
            await engine.add_presence(name, ClientInfo(client=name), ttl=60)
        await events.until(lambda: len(events.publications) >= len(NAMES))
        assert [each.channel for each in events.publications] == list(NAMES)
        for name in NAMES:
            assert values((await engine.history(name, log=LOG)).publications) == [name]
            assert list(await engine.presence(name)) == [name]
        assert set(NAMES) <= set(await engine.channels())


async def joins_and_leaves_are_told(bench: Bench) -> None:
    async with bench.started() as (engine, events):
        await engine.subscribe("a")
        info = ClientInfo(user="u", client="c", chan_info=msgspec.Raw(b"[1]"))
        await engine.publish_join("a", info)
        await engine.publish_leave("a", info)
        await events.until(lambda: len(events.leaves) == 1)
        assert events.joins == [("a", info)] == events.leaves


async def channels_are_known_by_log_follower_and_presence(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        await engine.publish("log", publication(1), log=LOG)
        await engine.subscribe("followed")
        await engine.add_presence("present", ClientInfo(client="c"), ttl=60)
        assert {"log", "followed", "present"} <= set(await engine.channels())
        await engine.unsubscribe("followed")
        await engine.remove_presence("present", "c")
        assert not {"followed", "present"} & set(await engine.channels())


async def a_closed_engine_refuses(bench: Bench) -> None:
    engine = bench.make()
    async with bench.started() as (other, _):
        await other.history("a", log=LOG)
    for each in (engine, other):
        try:
            await each.publish("a", publication(1), log=LOG)
        except EngineError as error:
            assert str(error)
        else:
            raise AssertionError("an engine that does not run has taken a publication")
    await other.close()


async def health_is_told(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        assert (await engine.health()).available
    health = await engine.health()
    assert not health.available
    assert health.detail


CHECKS: tuple[Check, ...] = (
    what_is_followed_is_told,
    what_is_not_followed_is_not_told,
    a_channel_without_a_log_tells_and_keeps_nothing,
    events_come_in_the_order_of_offsets,
    the_wish_for_a_difference_is_passed_on,
    a_publication_belongs_to_its_publisher,
    any_payload_comes_back_as_it_was,
    any_name_of_a_channel_is_only_a_name,
    joins_and_leaves_are_told,
    channels_are_known_by_log_follower_and_presence,
    a_closed_engine_refuses,
    health_is_told,
)
