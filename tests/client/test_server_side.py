"""Subscriptions that the server makes, as a client tells of them; and filters of its own ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Run

import everwire
from everwire.channels.context import Context, Credentials
from everwire.channels.options import SubscribeOptions
from everwire.client import Failure, Publication, Subscribed
from everwire.errors import BadRequest, Unrecovered
from everwire.testing import client
from everwire.wire.messages import FilterNode


def a_hub() -> everwire.Hub:
    """A hub with logs, of which one is short."""
    hub = everwire.Hub()
    options: Any = {"join_leave": True, "force_push_join_leave": True}
    hub.namespace("log", history=100, allowed_delta_types=("fossil",), **options)
    hub.namespace("short", history=2)
    hub.namespace("plain", allow_subscribe_for_client=True)
    return hub


def given(*channels: str) -> Credentials:
    """The credentials of a user who is in these channels from the start."""
    return Credentials(user="ann", channels=list(channels))


def kinds(events: list[Any]) -> list[tuple[str, str]]:
    """What happened where."""
    return [(type(each).__name__, each.channel) for each in events]


@pytest.mark.parametrize("format", ["json", "protobuf"])
def test_they_are_there_from_the_start_and_recovered_after_a_cut(run: Run, format: str) -> None:
    async def main() -> None:
        hub = a_hub()
        seen: list[Any] = []
        ann = client(hub, credentials=given("log:a", "plain:b"), format=format)
        for name in ("subscribed", "subscribing", "publication", "unsubscribed"):
            ann.on(name, seen.append)
        async with hub, ann:
            # Both were subscribed before the client counts as connected.
            # A map of Protobuf has no order.
            seen.sort(key=lambda each: each.channel)
            assert kinds(seen) == [("Subscribed", "log:a"), ("Subscribed", "plain:b")]
            assert [(each.recoverable, each.recovered) for each in seen] == [(True, False), (False, False)]
            seen.clear()
            async with ann.offline():
                await hub.publish("log:a", 1)
                await hub.publish("plain:b", "nobody hears it")
                await hub.publish("log:a", 2)
            assert sorted(kinds(seen)[:2]) == [("Subscribing", "log:a"), ("Subscribing", "plain:b")]
            back = [each for each in seen if isinstance(each, Subscribed) and each.channel == "log:a"]
            assert [(each.was_recovering, each.recovered) for each in back] == [(True, True)]
            missed = [each for each in seen if isinstance(each, Publication)]
            assert [(each.channel, each.data, each.offset) for each in missed] == [
                ("log:a", 1, 1),
                ("log:a", 2, 2),
            ]

    run(main)


def test_what_cannot_be_recovered_is_an_error_event(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        failures: list[Failure] = []
        seen: list[Any] = []
        ann = client(hub, credentials=given("short:a"))
        ann.on("error", failures.append)
        ann.on("publication", seen.append)
        async with hub, ann:
            async with ann.offline():
                for n in range(5):
                    await hub.publish("short:a", n)
            (failure,) = failures
            assert (failure.what, failure.channel) == ("recovery", "short:a")
            assert isinstance(failure.error, Unrecovered)
            assert (failure.error.since.offset, failure.error.now.offset) == (0, 5)
            assert seen == []

    run(main)


def test_an_invalidated_client_is_told_that_nothing_is_recovered(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        ann = client(hub, credentials=given("log:a"))
        told: asyncio.Queue[Any] = asyncio.Queue()
        ann.on("error", told.put_nowait)
        async with hub, ann:
            await hub.publish("log:a", 1)
            await hub.disconnect("ann", code=3014, reason="state invalidated")
            failure = await told.get()
            assert (failure.what, failure.channel) == ("recovery", "log:a")

    run(main)


def test_one_that_is_not_given_again_has_ended(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        channels = ["log:a", "log:b"]
        hub.on_connect(lambda ctx: given(*channels))
        async with hub, client(hub) as ann:
            events = ann.events("unsubscribed")
            channels.remove("log:b")
            async with ann.offline():
                pass
            assert await hub.unsubscribe("ann", "log:a") == 1
            ended = [await anext(events) for _ in range(2)]
            assert kinds(ended) == [("Unsubscribed", "log:b"), ("Unsubscribed", "log:a")]
            events.close()

    run(main)


def test_who_comes_and_leaves_is_told(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with hub, client(hub, credentials=given("log:a")) as ann:
            events = ann.events("join", "leave")
            bob = Credentials(user="bob", channels={"log:a": SubscribeOptions(info={"age": 7})})
            async with client(hub, credentials=bob):
                joined: Any = await anext(events)
                while joined.info.user == "ann":
                    joined = await anext(events)
                assert (type(joined).__name__, joined.channel) == ("Joined", "log:a")
                assert (joined.info.user, joined.info.chan_info) == ("bob", {"age": 7})
            left: Any = await anext(events)
            assert (type(left).__name__, left.info.user) == ("Left", "bob")
            events.close()

    run(main)


def test_the_server_adds_one_with_what_was_published_before(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with hub, client(hub, user="ann") as ann:
            events = ann.events("subscribed", "publication")
            start = await hub.publish("log:a", 1)
            await hub.publish("log:a", 2)
            await hub.subscribe_user("ann", "log:a", recover_since=start, data={"for": "you"})
            subscribed: Any = await anext(events)
            assert (subscribed.channel, subscribed.recoverable) == ("log:a", True)
            assert subscribed.data == {"for": "you"}
            publication: Any = await anext(events)
            assert (publication.data, publication.offset) == (2, 2)
            events.close()

    run(main)


@pytest.mark.parametrize("format", ["json", "protobuf"])
def test_a_filter_lets_some_publications_through_also_of_those_that_were_missed(
    run: Run, format: str
) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.namespace("tags", history=100, allow_subscribe_for_client=True)
        hub.namespace("bare", allow_subscribe_for_client=True, allow_tags_filter=False)
        wanted = FilterNode(
            op="and",
            nodes=[
                FilterNode(key="team", cmp="eq", val="red"),
                FilterNode(op="not", nodes=[FilterNode(key="goals", cmp="lt", val="2")]),
            ],
        )
        matches = [("red", 1), ("red", 2), ("blue", 3), ("red", 10), ("", 5)]

        async def publish_all() -> None:
            for team, goals in matches:
                tags = {"goals": str(goals)} | ({"team": team} if team else {})
                await hub.publish("tags:a", [team, goals], tags=tags)

        async with hub, client(hub, user="ann", format=format) as ann:
            async with ann.subscribe("tags:a", tags_filter=wanted) as news:
                await publish_all()
                found = [await anext(news) for _ in range(2)]
                assert [each.data for each in found] == [["red", 2], ["red", 10]]
                assert found[0].tags == {"team": "red", "goals": "2"}
                async with ann.offline():
                    await publish_all()
                assert news.recovered
                assert [(await anext(news)).data for _ in range(2)] == [["red", 2], ["red", 10]]
            with pytest.raises(BadRequest, match="not allowed here"):
                await ann.subscribe("bare:a", tags_filter=wanted)
            with pytest.raises(BadRequest, match="'sounds like'"):
                await ann.subscribe(
                    "tags:a", tags_filter=FilterNode(key="team", cmp="sounds like", val="read")
                )
            with pytest.raises(ValueError, match="cannot be combined"):
                ann.subscribe("tags:a", tags_filter=wanted, delta="fossil")

    run(main)


def test_a_hook_sees_what_the_client_sends(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        @hub.on_connect
        async def connect(ctx: Context) -> Credentials:
            return given(*ctx.data["channels"])

        async with client(hub, data={"channels": ["log:x"]}) as ann:
            (session,) = hub.sessions_of("ann")
            assert set(session.subscriptions) == {"log:x"}
            assert session.client == ann.id

    run(main)
