"""Subscribing: permission, positions, recovery, what comes while the log is read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Run
from msgspec import Raw

from channels.peer import Ended, Peer, Refused, a_hub, settled
from everwire.channels.context import Context, Credentials
from everwire.channels.engine import HistoryPage, LogOptions, Position
from everwire.channels.hub import Hub
from everwire.channels.options import ChannelOptions, SubscribeOptions
from everwire.engines.contract import ManualClock
from everwire.engines.memory import MemoryEngine
from everwire.errors import Forbidden
from everwire.wire.messages import Publication


def open_hub(clock: ManualClock | None = None, **options: Any) -> Hub:
    """A hub in which everybody may subscribe to what has no colon."""
    hub = a_hub(clock)
    options = {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True} | options
    hub.namespace("", ChannelOptions(**options))
    return hub


async def connected(hub: Hub, **fields: Any) -> Peer:
    peer = Peer(hub)
    await peer.ask("connect", **fields)
    return peer


# Permission


def test_the_function_of_a_channel_decides(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        asked: list[Any] = []

        @hub.channel("room:{room}:{seat:int}", presence=True)
        async def room(ctx: Context, room: str, seat: int) -> SubscribeOptions | None:
            asked.append((ctx.channel, room, seat, ctx.data))
            if seat > 10:
                raise Forbidden("no such seat")
            return SubscribeOptions(info={"seat": seat}, data="welcome")

        async with hub:
            peer = await connected(hub)
            reply = await peer.ask("subscribe", channel="room:a:3", data=[1])
            assert reply == {"data": "welcome"}
            assert asked == [("room:a:3", "a", 3, [1])]
            [info] = (await peer.ask("presence", channel="room:a:3"))["presence"].values()
            assert info["chan_info"] == {"seat": 3}
            with pytest.raises(Refused, match="no such seat"):
                await peer.ask("subscribe", channel="room:a:11")
            with pytest.raises(Refused, match="unknown channel"):
                await peer.ask("subscribe", channel="room:a:x")
            with pytest.raises(Refused, match="already subscribed"):
                await peer.ask("subscribe", channel="room:a:3")
            with pytest.raises(Refused) as refused:
                await peer.ask("subscribe", channel="room:" + "a" * 300)
            assert refused.value.args[0] == 107

    run(main)


@pytest.mark.parametrize(
    ("options", "user", "channel", "allowed"),
    [
        ({}, "ann", "n:a", False),
        ({"allow_subscribe_for_client": True}, "ann", "n:a", True),
        ({"allow_subscribe_for_client": True}, "", "n:a", False),
        ({"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}, "", "n:a", True),
        ({"allow_subscribe_for_client": True}, "ann", "$n:a", False),
        ({"allow_user_limited_channels": True}, "ann", "n:a#ann", True),
        ({"allow_user_limited_channels": True}, "ann", "n:a#bob,ann", True),
        ({"allow_user_limited_channels": True, "allow_subscribe_for_client": True}, "ann", "n:a#bob", False),
        ({"allow_user_limited_channels": True, "allow_subscribe_for_anonymous": True}, "", "n:a#", False),
        ({"allow_subscribe_for_client": True}, "ann", "other:a", None),
    ],
)
def test_the_options_of_a_namespace_decide(
    run: Run, options: dict[str, Any], user: str, channel: str, allowed: bool | None
) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.namespace("n", **options)
        hub.on_connect(lambda ctx: Credentials(user=user))
        async with hub:
            peer = await connected(hub)
            if allowed:
                await peer.ask("subscribe", channel=channel)
            else:
                with pytest.raises(Refused) as refused:
                    await peer.ask("subscribe", channel=channel)
                assert refused.value.args[0] == (102 if allowed is None else 103)

    run(main)


def test_the_hubs_hook_decides_where_nothing_else_does(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.namespace("n")

        @hub.on_subscribe
        def ask(ctx: Context) -> dict[str, Any]:
            if ctx.channel != "n:yes":
                raise Forbidden
            return {"data": 1}

        async with hub:
            peer = await connected(hub)
            assert await peer.ask("subscribe", channel="n:yes") == {"data": 1}
            with pytest.raises(Refused):
                await peer.ask("subscribe", channel="n:no")

    run(main)


def test_limits(run: Run) -> None:
    async def main() -> None:
        hub = a_hub(channel_limit=2)
        hub.namespace(
            "", allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True, max_subscribers=1
        )
        async with hub:
            peer, other = await connected(hub), await connected(hub)
            await peer.ask("subscribe", channel="a")
            await peer.ask("subscribe", channel="b")
            for who, channel in ((peer, "c"), (other, "a")):
                with pytest.raises(Refused) as refused:
                    await who.ask("subscribe", channel=channel)
                assert refused.value.args == (106, "limit exceeded")
            await peer.ask("unsubscribe", channel="a")
            await other.ask("subscribe", channel="a")

    run(main)


def test_a_filter_that_is_refused_leaves_nothing(run: Run) -> None:
    async def main() -> None:
        async with open_hub() as hub:
            peer = await connected(hub)
            for tf in ({"op": "nonsense"}, {"cmp": "eq"}):
                with pytest.raises(Refused) as refused:
                    await peer.ask("subscribe", channel="a", tf=tf)
                assert refused.value.args[0] == 107
            await settled()
            assert hub._channels == {}

    run(main)


# Positions


def test_a_position_exists_from_the_first_answer_on(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=10) as hub:
            peer = await connected(hub)
            reply = await peer.ask("subscribe", channel="a")
            assert reply["positioned"] and reply["recoverable"] and reply["epoch"]
            assert reply.get("offset", 0) == 0
            again = await (await connected(hub)).ask(
                "subscribe", channel="a", recover=True, epoch=reply["epoch"], offset=0
            )
            assert again["was_recovering"] and again["recovered"] and "publications" not in again

    run(main)


@pytest.mark.parametrize(
    ("offset", "epoch", "recovered"),
    [
        (10, "same", []),
        (7, "same", [8, 9, 10]),
        (5, "same", [6, 7, 8, 9, 10]),
        (4, "same", None),  # the next one was evicted
        (11, "same", None),  # ahead of the log: it is another one
        (7, "", [8, 9, 10]),
        (7, "other", None),
        (0, "", None),
    ],
)
def test_recovery_is_whole_or_says_so(run: Run, offset: int, epoch: str, recovered: list[int] | None) -> None:
    async def main() -> None:
        async with open_hub(history=5) as hub:
            for number in range(1, 11):
                position = await hub.publish("a", number)
            peer = await connected(hub)
            asked = position.epoch if epoch == "same" else epoch
            reply = await peer.ask("subscribe", channel="a", recover=True, epoch=asked, offset=offset)
            assert reply["was_recovering"]
            got = [each["data"] for each in reply.get("publications", [])]
            if recovered is None:
                assert not reply.get("recovered") and got == []
                assert (reply["offset"], reply["epoch"]) == position
                with pytest.raises(Refused) as refused:
                    await (await connected(hub)).ask(
                        "subscribe", channel="a", recover=True, epoch=asked, offset=offset, flag=2
                    )
                assert refused.value.args == (112, "unrecoverable position")
            else:
                assert reply["recovered"] and got == recovered
                assert reply.get("offset", 0) == offset
            await hub.publish("a", 11)
            [push] = await peer.pushes(1)
            assert (push["pub"]["data"], push["pub"]["offset"]) == (11, 11)

    run(main)


def test_more_than_the_limit_is_not_recovered_in_part(run: Run) -> None:
    async def main() -> None:
        hub = a_hub(recovery_max_publication_limit=3)
        hub.namespace("", allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True, history=100)
        async with hub:
            for number in range(10):
                position = await hub.publish("a", number)
            for offset, whole in ((7, True), (6, False)):
                reply = await (await connected(hub)).ask(
                    "subscribe", channel="a", recover=True, epoch=position.epoch, offset=offset
                )
                assert reply.get("recovered", False) is whole
                assert len(reply.get("publications", [])) == (3 if whole else 0)

    run(main)


def test_what_has_expired_is_not_recovered(run: Run) -> None:
    async def main() -> None:
        clock = ManualClock()
        async with open_hub(clock, history=10, ttl=60) as hub:
            position = await hub.publish("a", 1)
            await hub.publish("a", 2)
            clock.now += 61
            reply = await (await connected(hub)).ask(
                "subscribe", channel="a", recover=True, epoch=position.epoch, offset=1
            )
            assert not reply.get("recovered")
            assert reply["offset"] == 2
            reply = await (await connected(hub)).ask(
                "subscribe", channel="a", recover=True, epoch=position.epoch, offset=2
            )
            assert reply["recovered"]

    run(main)


def test_cache_recovery_gives_the_latest(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=3, force_recovery_mode="cache", auto_cache_recover=True) as hub:
            reply = await (await connected(hub)).ask("subscribe", channel="a")
            assert "publications" not in reply and not reply.get("recovered")
            for number in range(1, 9):
                position = await hub.publish("a", number)
            for fields in ({}, {"recover": True}, {"recover": True, "offset": 3, "epoch": "gone"}):
                reply = await (await connected(hub)).ask("subscribe", channel="a", **fields)
                assert reply["recovered"] and [each["data"] for each in reply["publications"]] == [8]
            reply = await (await connected(hub)).ask(
                "subscribe", channel="a", recover=True, offset=8, epoch=position.epoch
            )
            assert reply["recovered"] and "publications" not in reply

    run(main)


def test_a_client_may_ask_for_positions_where_that_is_allowed(run: Run) -> None:
    async def main() -> None:
        off = {"history": 5, "force_recovery": False, "force_positioning": False}
        for options, positioned in (
            (off, True),  # who may read the log may ask
            ({**off, "allow_history_for_subscriber": False}, False),
            ({**off, "allow_history_for_subscriber": False, "allow_recovery": True}, True),
        ):
            async with open_hub(**options) as hub:
                reply = await (await connected(hub)).ask("subscribe", channel="a")
                assert "positioned" not in reply
                reply = await (await connected(hub)).ask("subscribe", channel="a", recoverable=True)
                assert reply.get("positioned", False) is reply.get("recoverable", False) is positioned

    run(main)


class SlowLog(MemoryEngine):
    """A log whose reading takes until the gate is opened: once before it is read, once after."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = asyncio.Event(), asyncio.Event()
        self.read = asyncio.Event()

    async def history(
        self,
        channel: str,
        *,
        log: LogOptions,
        since: Position | None = None,
        limit: int = -1,
        reverse: bool = False,
    ) -> HistoryPage:
        await self.before.wait()
        page = await super().history(channel, log=log, since=since, limit=limit, reverse=reverse)
        self.read.set()
        await self.after.wait()
        return page


@pytest.mark.parametrize("recover", [True, False])
def test_what_is_published_while_the_log_is_read_comes_once_and_in_order(run: Run, recover: bool) -> None:
    async def main() -> None:
        engine = SlowLog()
        hub = Hub(engine)
        hub.namespace("", allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True, history=100)
        async with hub:
            await hub.publish("a", 1)
            peer = await connected(hub)
            task = asyncio.create_task(peer.ask("subscribe", channel="a", recover=recover))
            await settled()
            await hub.publish("a", 2)  # read, and kept
            engine.before.set()
            await engine.read.wait()
            await hub.publish("a", 3)  # kept only
            engine.after.set()
            reply = await task
            await hub.publish("a", 4)
            answered = [each["data"] for each in reply.get("publications", [])]
            if recover:
                assert answered == [1, 2, 3]
                assert await peer.publications(1) == [4]
            else:
                assert answered == [] and reply["offset"] == 2
                assert await peer.publications(2) == [3, 4]

    run(main)


def test_who_was_seen_but_never_live_is_told_to_have_left(run: Run) -> None:
    async def main() -> None:
        engine = SlowLog()
        hub = Hub(engine)
        hub.namespace("slow", history=100)
        hub.namespace("", allow_subscribe_for_client=True, presence=True, join_leave=True)
        hub.on_connect(lambda ctx: Credentials(user="u", channels=["a", "slow:b"] if ctx.data else []))
        async with hub:
            watcher = await connected(hub)
            await watcher.ask("subscribe", channel="a", join_leave=True)
            await watcher.pushes(1)  # it has come itself
            late = Peer(hub)
            task = asyncio.create_task(late.ask("connect", data=1))
            await settled()
            assert late.session.client in await hub.presence("a")
            late.session.closed()
            task.cancel()
            engine.before.set()
            engine.after.set()
            [push] = await watcher.pushes(1)
            assert push["leave"]["info"]["client"] == late.session.client
            assert set(await hub.presence("a")) == {watcher.session.client}

    run(main)


def test_a_gap_found_as_a_subscription_goes_live_leaves_the_others_alone(run: Run) -> None:
    async def main() -> None:
        engine = SlowLog()
        hub = Hub(engine)
        told: list[str] = []

        @hub.channel("room", history=100)
        def room(ctx: Any) -> None: ...

        room.on_occupied(lambda channel: told.append("occupied"))
        room.on_vacated(lambda channel: told.append("vacated"))
        engine.before.set()
        engine.after.set()
        async with hub, hub.subscribe("room"):
            first = await connected(hub)
            epoch = (await first.ask("subscribe", channel="room"))["epoch"]
            engine.after.clear()
            engine.read.clear()
            late = await connected(hub)
            task = asyncio.create_task(late.ask("subscribe", channel="room"))
            await engine.read.wait()
            # The first publication was lost on its way from the engine, the second comes.
            hub.on_publication("room", Publication(offset=2), Position(2, epoch), 1, False)
            engine.after.set()
            assert "epoch" in await task
            [push] = await late.pushes(1)
            assert push["unsubscribe"]["code"] == 2500
            await first.pushes(1)
            await first.ask("subscribe", channel="room")
            await settled()
            assert told == ["occupied", "vacated", "occupied"]

    run(main)


def test_a_gap_on_the_way_is_told_at_once(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=100) as hub:
            positioned, told = await connected(hub), await connected(hub)
            for peer in (positioned, told):
                await peer.ask("subscribe", channel="a")
            position = await hub.publish("a", 1)
            for peer in (positioned, told):
                assert await peer.publications(1) == [1]
            # The engine tells of the third, but not of the second.
            channel = hub._channels["a"]
            await hub.engine.unsubscribe("a")
            await hub.publish("a", 2)
            await hub.engine.subscribe("a")
            await hub.publish("a", 3)
            [push] = await positioned.pushes(1)
            assert push == {"channel": "a", "unsubscribe": {"code": 2500, "reason": "insufficient state"}}
            assert channel.subscribers == {}
            reply = await positioned.ask(
                "subscribe", channel="a", recover=True, epoch=position.epoch, offset=1
            )
            assert [each["data"] for each in reply["publications"]] == [2, 3]

    run(main)


def test_who_has_read_further_than_what_has_come_is_told_if_that_is_lost(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=100) as hub:
            behind, ahead = await connected(hub), await connected(hub)
            await behind.ask("subscribe", channel="a")
            first = await hub.publish("a", 1)
            assert await behind.publications(1) == [1]
            await hub.engine.unsubscribe("a")
            await hub.publish("a", 2)
            await hub.engine.subscribe("a")
            reply = await ahead.ask("subscribe", channel="a", recover=True, epoch=first.epoch, offset=1)
            assert [each["data"] for each in reply["publications"]] == [2]
            # The second is lost with the server that had it: what follows comes after the first.
            third = Publication(data=Raw(b"3"), offset=9)
            hub.on_publication("a", third, Position(9, first.epoch), 1, False)
            assert await behind.publications(1) == [3]
            [push] = await ahead.pushes(1)
            assert push == {"channel": "a", "unsubscribe": {"code": 2500, "reason": "insufficient state"}}

    run(main)


def test_positions_are_checked_when_the_engine_is_back(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=100) as hub:
            peer = await connected(hub)
            await peer.ask("subscribe", channel="a")
            await hub.positions.check(grace=0)
            assert peer.got == []
            await hub.engine.unsubscribe("a")
            await hub.publish("a", 1)
            await hub.engine.subscribe("a")
            hub.on_available(False)
            hub.on_available(True)
            [push] = await peer.pushes(1)
            assert push["unsubscribe"]["code"] == 2500

    run(main)


# From the server's side


def test_server_side_subscriptions_are_there_from_the_start_and_recovered(run: Run) -> None:
    async def main() -> None:
        hub = a_hub(user_personal_channel="")
        hub.namespace("", history=10)
        hub.on_connect(lambda ctx: Credentials(user="ann", channels=["news"]))
        async with hub:
            peer = Peer(hub)
            subs = (await peer.ask("connect"))["subs"]
            assert set(subs) == {"news", "#ann"}
            for number in range(3):
                await hub.publish("news", number)
            assert await peer.publications(3) == [0, 1, 2]
            again = Peer(hub)
            asked = {"news": {"recover": True, "epoch": subs["news"]["epoch"], "offset": 1}}
            reply = (await again.ask("connect", subs=asked))["subs"]["news"]
            assert reply["recovered"] and [each["data"] for each in reply["publications"]] == [1, 2]
            with pytest.raises(Refused, match="already subscribed"):
                await again.ask("subscribe", channel="news")

    run(main)


def test_a_gap_in_a_server_side_subscription_ends_the_session(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.namespace("", history=10)
        hub.on_connect(lambda ctx: Credentials(user="ann", channels=["news"]))
        async with hub:
            peer = await connected(hub)
            await hub.publish("news", 1)
            await hub.engine.unsubscribe("news")
            await hub.publish("news", 2)
            await hub.engine.subscribe("news")
            await hub.publish("news", 3)
            assert await peer.end() == (3010, "insufficient state")

    run(main)


def test_too_many_or_unknown_server_side_channels(run: Run) -> None:
    async def main() -> None:
        hub = a_hub(channel_limit=1)
        hub.namespace("")
        hub.on_connect(lambda ctx: Credentials(user="ann", channels=ctx.data))
        async with hub:
            with pytest.raises(Ended, match="channel limit"):
                await Peer(hub).ask("connect", data=["a", "b"])
            with pytest.raises(Refused, match="unknown channel"):
                await Peer(hub).ask("connect", data=["x:a"])
            await settled()
            assert hub.info()[1:5] == (0, 0, 0, 0)

    run(main)


# Expiry


@pytest.mark.parametrize("server_side", [True, False])
def test_a_subscription_expires(run: Run, server_side: bool) -> None:
    async def main() -> None:
        hub = a_hub(expired_close_delay=0.1)

        @hub.channel("a")
        def channel(ctx: Context) -> SubscribeOptions:
            return SubscribeOptions(expire_at=hub.clock() + 0.1)

        async with hub:
            peer = await connected(hub)
            if server_side:
                assert await hub.subscribe_user("", "a", expire_at=hub.clock() + 0.1) == 1
                [push] = await peer.pushes(1)
                assert push["channel"] == "a" and "subscribe" in push
                assert await peer.end() == (3006, "subscription expired")
            else:
                reply = await peer.ask("subscribe", channel="a")
                assert reply["expires"] and reply["ttl"] == 1
                [push] = await peer.pushes(1)
                assert push["unsubscribe"] == {"code": 2501, "reason": "subscription expired"}

    run(main)


def test_a_channels_hook_prolongs_a_subscription(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        asked: list[str] = []

        @hub.channel("a:{x}")
        def channel(ctx: Context, x: str) -> SubscribeOptions:
            return SubscribeOptions(expire_at=hub.clock() + 0.1, client_side_refresh=False)

        @channel.on_refresh
        def prolong(ctx: Context, x: str) -> float | None:
            asked.append(x)
            return hub.clock() + 0.1 if len(asked) == 1 else None

        async with hub:
            peer = await connected(hub)
            assert "expires" not in await peer.ask("subscribe", channel="a:1")
            [push] = await peer.pushes(1)
            assert push["unsubscribe"]["code"] == 2501
            assert asked == ["1", "1"]

    run(main)
