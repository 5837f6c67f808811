"""Channels: what reaches whom, presence, joins, hooks of a channel."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest
from conftest import Run

from channels.peer import Peer, Refused, a_hub, settled
from channels.test_subscribing import connected, open_hub
from everwire.channels.context import Context, Credentials
from everwire.channels.options import ChannelOptions, SubscribeOptions
from everwire.errors import BadRequest, Forbidden


def test_a_publication_is_encoded_once_for_all(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=10) as hub:
            peers = [await connected(hub) for _ in range(5)]
            for peer in peers:
                await peer.ask("subscribe", channel="a")
            await hub.publish("a", {"x": 1})
            await settled()
            assert {id(peer.frames[-1]) for peer in peers} == {id(peers[0].frames[-1])}

    run(main)


def test_a_channels_number_stands_for_its_name(run: Run) -> None:
    async def main() -> None:
        async with open_hub(join_leave=True, allow_channel_compaction=True) as hub:
            peer, plain = await connected(hub), await connected(hub)
            number = (await peer.ask("subscribe", channel="a", flag=1, join_leave=True))["id"]
            assert "id" not in await plain.ask("subscribe", channel="a")
            await hub.publish("a", 1)
            await settled()
            assert next(each["push"] for each in peer.got if "pub" in each["push"])["id"] == number
            assert all("channel" not in each["push"] for each in peer.got)
            assert (await plain.pushes(1))[0]["channel"] == "a"

    run(main)


def test_unidirectional_transports_get_pushes_without_replies(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.namespace("")
        hub.on_connect(lambda ctx: Credentials(user="u", channels=["a"]))
        async with hub:
            from everwire.wire.messages import ConnectRequest

            peer = Peer(hub, unidirectional=True)
            peer.session.start(ConnectRequest())
            await peer.until(lambda: bool(peer.got))
            connect = peer.got[0]["connect"]
            assert connect["subs"] == {"a": {}} and connect["session"] == peer.session.secret
            await hub.publish("a", 1)
            await peer.until(lambda: len(peer.got) == 2)
            assert peer.got[1]["channel"] == "a" and peer.got[1]["pub"]["data"] == 1
            assert hub.find_session(peer.session.secret) is peer.session
            peer.session.closed()
            assert hub.find_session(peer.session.secret) is None

    run(main)


def test_what_json_cannot_carry_ends_those_who_speak_it(run: Run) -> None:
    async def main() -> None:
        async with open_hub() as hub:
            peer = await connected(hub)
            await peer.ask("subscribe", channel="a")
            await hub.publish("a", b"\xff\x00 no JSON")
            assert await peer.end() == (3506, "inappropriate protocol")

    run(main)


# Presence and joins


def test_presence_and_joins(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.on_connect(lambda ctx: Credentials(user=ctx.data, info={"n": ctx.data}))
        hub.namespace("", ChannelOptions(allow_subscribe_for_client=True, presence=True, join_leave=True))
        async with hub:
            ann, bob = await connected(hub, data="ann"), await connected(hub, data="bob")
            await ann.ask("subscribe", channel="a", join_leave=True)
            await bob.ask("subscribe", channel="a")
            joins = await ann.pushes(2)
            assert [each["join"]["info"]["user"] for each in joins] == ["ann", "bob"]
            assert joins[1]["join"]["info"]["conn_info"] == {"n": "bob"}
            assert bob.got == []  # it did not ask
            stats = await ann.ask("presence_stats", channel="a")
            assert stats == {"num_clients": 2, "num_users": 2}
            assert set((await ann.ask("presence", channel="a"))["presence"]) == {
                ann.session.client,
                bob.session.client,
            }
            bob.session.closed()
            [leave] = await ann.pushes(1)
            assert leave["leave"]["info"]["user"] == "bob"
            await ann.ask("unsubscribe", channel="a")
            await settled()
            assert (await hub.presence_stats("a")) == (0, 0)

    run(main)


def test_a_join_that_json_cannot_carry_ends_those_who_speak_it(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        @hub.channel("a", join_leave=True, force_push_join_leave=True)
        def channel(ctx: Context) -> SubscribeOptions:
            return SubscribeOptions(info=b"\xff no JSON" if ctx.data else None)

        async with hub:
            watcher, strange = await connected(hub), await connected(hub)
            await watcher.ask("subscribe", channel="a")
            await watcher.pushes(1)
            await strange.ask("subscribe", channel="a", data=1)
            assert await watcher.end() == (3506, "inappropriate protocol")

    run(main)


def test_who_leaves_and_comes_back_in_one_frame_is_present(run: Run) -> None:
    async def main() -> None:
        hub = open_hub(presence=True, join_leave=True, force_push_join_leave=True)
        async with hub:
            watcher, peer = await connected(hub), await connected(hub)
            await watcher.ask("subscribe", channel="a")
            await watcher.pushes(1)
            await peer.ask("subscribe", channel="a")
            for _ in range(3):
                peer.session.receive(
                    '{"id":91,"unsubscribe":{"channel":"a"}}\n{"id":92,"subscribe":{"channel":"a"}}'
                )
            told = [next(iter(each.keys() - {"channel"})) for each in await watcher.pushes(7)]
            assert told == ["join"] + ["leave", "join"] * 3
            assert len(await hub.presence("a")) == 2

    run(main)


def test_who_may_see_presence_and_history(run: Run) -> None:
    async def main() -> None:
        hub = open_hub()
        hub.namespace("on", presence=True, history=5, allow_presence_for_client=True)
        hub.on_connect(lambda ctx: Credentials(user="u"))
        async with hub:
            peer = await connected(hub)
            await peer.ask("presence", channel="on:a")
            for command, channel, code in (
                ("presence", "a", 108),
                ("presence_stats", "a", 108),
                ("history", "a", 108),
                ("history", "on:a", 103),
                ("history", "no:a", 102),
                ("presence", "no:a", 102),
            ):
                with pytest.raises(Refused) as refused:
                    await peer.ask(command, channel=channel)
                assert refused.value.args[0] == code

    run(main)


def test_first_and_last_subscribers_are_told_of(run: Run) -> None:
    async def main() -> None:
        hub, told = a_hub(), list[Any]()

        @hub.channel("room:{room}")
        def room(ctx: Context, room: str) -> None: ...

        @room.on_occupied
        async def occupied(channel: str, room: str) -> None:
            await asyncio.sleep(0.01)  # what comes later is told of later all the same
            told.append(("occupied", channel, room))

        room.on_vacated(lambda channel, room: told.append(("vacated", channel, room)))
        room.on_unsubscribe(lambda ctx, room: told.append(("unsubscribed", ctx.client, room)))
        async with hub:
            first, second = await connected(hub), await connected(hub)
            await first.ask("subscribe", channel="room:a")
            await second.ask("subscribe", channel="room:a")
            await first.ask("unsubscribe", channel="room:a")
            second.session.closed()
        assert [each for each in told if each[0] == "unsubscribed"] == [
            ("unsubscribed", first.session.client, "a"),
            ("unsubscribed", second.session.client, "a"),
        ]
        assert [each for each in told if each[0] != "unsubscribed"] == [
            ("occupied", "room:a", "a"),
            ("vacated", "room:a", "a"),
        ]

    run(main)


# Publishing by clients


class Point(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    x: int


@dataclass
class Plain:
    x: int


@pytest.mark.parametrize("kind", [Point, Model, Plain])
def test_payloads_fit_their_type(run: Run, kind: Any) -> None:
    async def main() -> None:
        hub, seen = a_hub(), list[Any]()

        @hub.channel("typed", type=kind)
        def typed(ctx: Context) -> None: ...

        @typed.on_publish
        def publish(ctx: Context, data: Any) -> None:
            seen.append(data)

        async with hub:
            peer = await connected(hub)
            await peer.ask("subscribe", channel="typed")
            await peer.ask("publish", channel="typed", data={"x": 1})
            assert seen == [kind(x=1)]
            with pytest.raises(Refused, match=r"\$\.x") as refused:
                await peer.ask("publish", channel="typed", data={"x": "no"})
            assert refused.value.args[0] == 107
            await hub.publish("typed", kind(x=2))
            assert await peer.publications(2) == [{"x": 1}, {"x": 2}]
            with pytest.raises(BadRequest):
                await hub.publish("typed", {"y": 1})

    run(main)


def test_a_publish_hook_refuses_changes_and_lets_pass(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        @hub.channel("a:{x}")
        def channel(ctx: Context, x: str) -> None: ...

        @channel.on_publish
        async def publish(ctx: Context, data: str, x: str) -> str | None:
            if data == "bad":
                raise Forbidden("mind your language")
            return data.upper() if x == "loud" else None

        async with hub:
            peer = await connected(hub)
            for name in ("a:loud", "a:b"):
                await peer.ask("subscribe", channel=name)
                await peer.ask("publish", channel=name, data="hi")
            pushes = await peer.pushes(2)
            assert [each["pub"]["data"] for each in pushes] == ["HI", "hi"]
            assert pushes[0]["pub"]["info"]["client"] == peer.session.client
            with pytest.raises(Refused, match="mind your language"):
                await peer.ask("publish", channel="a:b", data="bad")

    run(main)


@pytest.mark.parametrize(
    ("options", "user", "subscribed", "allowed"),
    [
        ({}, "u", True, False),
        ({"allow_publish_for_client": True}, "u", False, True),
        ({"allow_publish_for_client": True}, "", False, False),
        ({"allow_publish_for_client": True, "allow_publish_for_anonymous": True}, "", False, True),
        ({"allow_publish_for_subscriber": True}, "u", True, True),
        ({"allow_publish_for_subscriber": True}, "u", False, False),
    ],
)
def test_the_options_say_who_publishes(
    run: Run, options: dict[str, Any], user: str, subscribed: bool, allowed: bool
) -> None:
    async def main() -> None:
        hub = open_hub(**options)
        hub.on_connect(lambda ctx: Credentials(user=user))
        async with hub:
            peer = await connected(hub)
            if subscribed:
                await peer.ask("subscribe", channel="a")
            if allowed:
                await peer.ask("publish", channel="a", data=1)
            else:
                with pytest.raises(Refused, match="permission denied"):
                    await peer.ask("publish", channel="a", data=1)

    run(main)


def test_history_by_clients(run: Run) -> None:
    async def main() -> None:
        hub = a_hub(history_max_publication_limit=4)
        hub.namespace("", allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True, history=10)
        async with hub:
            for number in range(1, 7):
                position = await hub.publish("a", number)
            peer = await connected(hub)
            await peer.ask("subscribe", channel="a")

            async def read(**fields: Any) -> list[int]:
                reply = await peer.ask("history", channel="a", **fields)
                assert (reply["offset"], reply["epoch"]) == position
                return [each["data"] for each in reply.get("publications", [])]

            since = {"offset": 2, "epoch": position.epoch}
            assert await read() == []
            assert await read(limit=2) == [1, 2]
            assert await read(limit=-1) == [1, 2, 3, 4]
            assert await read(limit=100, reverse=True) == [6, 5, 4, 3]
            assert await read(limit=2, since=since) == [3, 4]
            assert await read(limit=2, since={"offset": 5, "epoch": position.epoch}, reverse=True) == [4, 3]
            with pytest.raises(Refused, match="unrecoverable position"):
                await read(limit=1, since={"offset": 2, "epoch": "other"})
            await hub.remove_history("a")
            assert await read(limit=-1) == []

    run(main)


def test_everything_that_is_sent_is_one_line(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=5) as hub:
            peer = await connected(hub)
            await peer.ask("subscribe", channel="a")
            await hub.publish("a", b'{\n  "pretty": [\n 1 ]\n}')
            await settled()
            [line] = peer.frames[-1].splitlines()
            assert json.loads(line)["push"]["pub"]["data"] == {"pretty": [1]}

    run(main)
