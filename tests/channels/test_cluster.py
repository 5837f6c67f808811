"""Hubs that share an engine: whom they know, and what they do to each other's sessions."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import msgspec
import pytest
from conftest import Run
from live import until

from channels.bus import Bus, acquainted, nodes
from channels.peer import Peer, settled
from everwire.channels.control import Announce
from everwire.channels.hub import Hub
from everwire.errors import CommandError, EngineError, NodeUnreachable, UnknownChannel

pytestmark = pytest.mark.loops("asyncio")


async def connected(hub: Any, user: str = "") -> Peer:
    """A client, of a user if the hub asks who it is."""
    peer = Peer(hub)
    await peer.ask("connect", data={"user": user})
    return peer


def by_name(hub: Any) -> None:
    """Believe clients who they say they are."""

    @hub.on_connect
    async def connect(ctx: Any) -> dict[str, Any]:
        return {"user": ctx.data["user"]}


def test_nodes_find_each_other_and_part(run: Run) -> None:
    async def main() -> None:
        bus = Bus()
        options = {"node_info_interval": 0.1, "insecure": True}
        async with Hub(bus.engine(), name="one", **options) as one:
            assert [each.name for each in one.nodes()] == ["one"]
            async with Hub(bus.engine(), name="two", **options) as two, Hub(bus.engine(), **options) as three:
                await acquainted(one, two, three)
                assert {each.node for each in three.nodes()} == {one.node, two.node, three.node}
                assert two.nodes()[0].node == two.node
                await connected(two)
                await until(lambda: one.cluster.members[two.node].clients == 1)
                found = one.cluster.members[two.node]
                assert found == two.info()._replace(uptime=found.uptime)
            await settled()
            assert one.cluster.members == {}

    run(main)


def test_a_node_that_is_not_heard_of_is_forgotten_and_what_waits_for_it_ends(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with nodes(2, node_info_interval=0.05, survey_timeout=60.0) as (one, two):
            two.cluster.handle("never", lambda data: asyncio.Event().wait())
            call = asyncio.ensure_future(one.cluster.call(two.node, "never", b"", timeout=60))
            survey = asyncio.ensure_future(one.cluster.survey("never", b""))
            await settled()
            two.engine.mute.add(one.node)
            with pytest.raises(NodeUnreachable, match="has ended") as gone:
                await call
            assert not gone.value.known
            assert (await survey).silent == []
            assert one.cluster.members == {}
            with pytest.raises(NodeUnreachable, match="there is no node"):
                await one.cluster.call(two.node, "never", b"", timeout=60)
            two.engine.mute.clear()
            await acquainted(one, two)

    run(main)
    assert "was not heard of any more" in caplog.text
    caplog.clear()


def test_nodes_are_not_forgotten_while_the_engine_is_away(run: Run, caplog: Any) -> None:
    async def main() -> None:
        async with nodes(2, node_info_interval=0.05) as (one, two):
            one.engine.cut()
            two.engine.cut()
            await asyncio.sleep(0.4)
            assert two.node in one.cluster.members
            with pytest.raises(EngineError, match="cannot be reached"):
                await one.cluster.call(two.node, "channels", b"", timeout=1)
            one.engine.mend()
            two.engine.mend()
            await asyncio.sleep(0.3)
            assert two.node in one.cluster.members and one.node in two.cluster.members

    run(main)
    caplog.clear()


def test_users_are_reached_on_all_nodes(run: Run) -> None:
    async def main() -> None:
        async with nodes(3) as hubs:
            for hub in hubs:
                by_name(hub)
            anna = [await connected(hub, "anna") for hub in hubs]
            bert = await connected(hubs[1], "bert")
            one = hubs[0]

            assert await one.subscribe_user("anna", "news", data={"a": 1}, info={"b": 2}) == 3
            for peer in anna:
                pushes = [push["subscribe"] for push in await peer.pushes(1) if "subscribe" in push]
                assert [push["data"] for push in pushes] == [{"a": 1}]
            await until(lambda: one.cluster.members[hubs[2].node].subscriptions == 1)
            assert await one.channels() == {"news": 3} == await hubs[2].channels("n*")
            assert await one.channels("x*") == {}
            present = await hubs[1].presence("news")
            assert {info.user for info in present.values()} == {"anna"} and len(present) == 3
            assert all(bytes(info.chan_info) == b'{"b":2}' for info in present.values())

            for peer in anna:
                peer.got.clear()
            assert await one.send("anna", {"hello": 1}) == 3
            for peer in anna:
                assert await peer.pushes(1) == [{"message": {"data": {"hello": 1}}}]
            assert await one.refresh("anna", expire_at=time.time() + 100) == 3
            for peer in anna:
                [push] = await peer.pushes(1)
                assert push["refresh"]["expires"]
            assert await one.unsubscribe("anna", "news", code=2001, reason="so") == 3
            for peer in anna:
                await peer.until(lambda peer=peer: any("unsubscribe" in m.get("push", ()) for m in peer.got))
            keep = anna[1].session.client
            assert await one.disconnect("anna", code=4500, reason="enough", whitelist=[keep]) == 2
            assert [await anna[0].end(), await anna[2].end()] == [(4500, "enough")] * 2
            assert anna[1].ended is None and bert.ended is None
            assert await one.refresh("anna", expired=True) == 1
            assert (await anna[1].end())[0] == 3005
            assert await one.disconnect("nobody") == 0

    run(main)


def test_one_client_or_session_is_reached_wherever_it_is(run: Run) -> None:
    async def main() -> None:
        async with nodes(2) as (one, two):
            here, there = await connected(one), await connected(two)
            streamed = Peer(two, emulated=True)
            session = (await streamed.ask("connect"))["session"]
            sent = len(one.engine.sent)
            assert await one.send("", 1, client=here.session.client) == 1
            assert not [data for data in one.engine.sent[sent:] if b"send" in data], "nobody else was asked"
            assert await one.send("", 2, client=there.session.client) == 1
            assert await there.pushes(1) == [{"message": {"data": 2}}]
            assert await one.send("", 3, session=session) == 1
            assert await one.disconnect("", session=session, code=3000) == 1
            assert (await streamed.end())[0] == 3000
            assert await one.send("", 3, session=session) == 0

    run(main)


def test_what_another_node_refuses_is_raised_here(run: Run) -> None:
    async def main() -> None:
        async with nodes(2) as (one, two):
            await connected(two)
            two.namespace("few", max_subscribers=1)
            one.namespace("few", max_subscribers=1)
            await (await connected(two)).ask("subscribe", channel="few:a")
            with pytest.raises(CommandError) as refused:
                await one.subscribe_user("", "few:a")
            assert refused.value.code == 106
            with pytest.raises(UnknownChannel):
                await one.subscribe_user("", "none:a")
            with pytest.raises(TypeError):
                await one.subscribe_user("", "few:b", forced=True)
            with pytest.raises(CommandError) as unknown:
                await one.cluster.call(two.node, "new in another version", b"", timeout=5)
            assert unknown.value.code == 104

    run(main)


def test_a_node_that_does_not_answer_is_not_counted_but_named(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with nodes(3, survey_timeout=0.1) as (one, two, three):
            for hub in (two, three):
                await connected(hub)
            two.engine.mute.add(one.node)
            assert await one.send("", 1) == 1
            assert two.node in caplog.text and three.node not in caplog.text
            with pytest.raises(NodeUnreachable) as silent:
                await one.cluster.call(two.node, "channels", msgspec.msgpack.encode(""), timeout=0.05)
            assert silent.value.known

    run(main)
    caplog.clear()


def test_without_the_engine_it_is_done_here_and_an_error_is_raised(run: Run, caplog: Any) -> None:
    async def main() -> None:
        async with nodes(2) as (one, two):
            here, there = await connected(one), await connected(two)
            one.engine.cut()
            with pytest.raises(EngineError):
                await one.disconnect("")
            assert (await here.end())[0] == 3503
            assert there.ended is None
            one.engine.mend()
            assert await one.disconnect("") == 1
            assert (await there.end())[0] == 3503

    run(main)
    caplog.clear()


def test_large_answers_come_in_parts_and_too_large_ones_are_an_error(run: Run) -> None:
    async def main() -> None:
        async with nodes(2) as (one, two):
            large = bytes(range(256)) * (3 << 12)  # 3 MiB

            async def twice(data: bytes) -> bytes:
                return data * 2

            async def echo(data: bytes) -> bytes:
                return data

            two.cluster.handle("echo", echo)
            two.cluster.handle("twice", twice)
            before = len(two.engine.sent)
            answers = await asyncio.gather(
                *(one.cluster.call(two.node, "echo", large + b"%d" % n, timeout=5) for n in range(3))
            )
            assert answers == [large + b"%d" % n for n in range(3)]
            assert max(map(len, two.engine.sent[before:])) < (1 << 18) + 200
            with pytest.raises(CommandError, match="most is 4194304") as too_large:
                await one.cluster.call(two.node, "twice", large, timeout=5)
            assert too_large.value.code == 106
            with pytest.raises(ValueError, match="most is"):
                await one.cluster.call(two.node, "echo", large * 2, timeout=5)

    run(main)


def test_nonsense_and_news_of_later_versions_are_passed_over(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with nodes(2) as (one, _):
            caplog.clear()
            encode = msgspec.msgpack.encode
            before = one.cluster.members
            for data in (b"", b"\xc1", b"{}", encode({}), encode([]), encode([3]), encode([1, 2, 3])):
                one.on_control(data)
            assert len(caplog.records) == 7 and "of another node" in caplog.text
            caplog.clear()
            one.on_control(encode([99, "node", {"what": "ever"}]))
            news = Announce("later", "n", "everwire 9", 1, 2, 3, 4, 5, 0.2)
            one.on_control(encode([*msgspec.to_builtins(news), "a field of a later version"]))
            assert one.cluster.members.keys() == {*before, "later"} and not caplog.records
            one.on_control(encode([2, "later"]))
            assert one.cluster.members.keys() == before.keys()

    run(main)


def test_everything_is_told_over_nodes(run: Run) -> None:
    """Publications, joins, leaves, presence, and a publish that is tried again elsewhere."""

    async def main() -> None:
        async with nodes(2) as (one, two):
            here = await connected(one)
            await here.ask("subscribe", channel="news")
            there = await connected(two)
            await there.ask("subscribe", channel="news")
            join = (await here.pushes(2))[-1]
            assert join["join"]["info"]["client"] == there.session.client
            there.got.clear()
            first = await one.publish("news", 1, idempotency_key="k")
            again = await two.publish("news", 1, idempotency_key="k")
            assert first == again
            await two.publish("news", 2)
            assert await here.publications(2) == [1, 2] == await there.publications(2)
            assert set(await one.presence("news")) == {here.session.client, there.session.client}
            assert (await here.ask("presence_stats", channel="news"))["num_clients"] == 2
            there.session.closed()
            [leave] = await here.pushes(1)
            assert leave["leave"]["info"]["client"] == there.session.client
            assert set(await two.presence("news")) == {here.session.client}
            back = await connected(two)
            reply = await back.ask("subscribe", channel="news", recover=True, epoch=first.epoch, offset=1)
            assert [each["data"] for each in reply["publications"]] == [2] and reply["recovered"]

    run(main)


def test_the_server_api_knows_all_nodes(run: Run) -> None:
    async def main() -> None:
        from everwire.channels.api import Api

        async with nodes(2, name="n") as (one, two):
            api = Api(one)
            peer = await connected(two)
            await peer.ask("subscribe", channel="news")
            await until(lambda: one.cluster.members[two.node].subscriptions == 1)
            info = json.loads((await api.call("info", b"")).body)["result"]["nodes"]
            assert [node["uid"] for node in info] == [one.node, two.node]
            assert info[1] == {
                "uid": two.node,
                "name": "n",
                "version": two.version,
                "num_clients": 1,
                "num_users": 1,
                "num_channels": 1,
                "num_subs": 1,
                "uptime": info[1]["uptime"],
            }
            found = json.loads((await api.call("channels", b"{}")).body)["result"]
            assert found == {"channels": {"news": {"num_clients": 1}}}
            client = {"user": "", "client": peer.session.client, "channel": "news"}
            await api.call("unsubscribe", json.dumps(client).encode())
            assert (await peer.pushes(2))[-1]["unsubscribe"]["code"] == 2000

    run(main)


def test_a_hub_in_memory_looks_for_nobody(run: Run) -> None:
    async def main() -> None:
        async with Hub(insecure=True, engine=Bus().log) as hub:
            assert hub.cluster._announcing is None and len(hub.nodes()) == 1
            assert await hub.disconnect("") == 0

    run(main)
