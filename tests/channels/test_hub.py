"""The hub's own methods: publishing, following, reaching sessions, from threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from conftest import Run
from msgspec import Raw

from channels.peer import Peer, a_hub, settled
from channels.test_subscribing import connected, open_hub
from everwire.channels import following
from everwire.channels.context import Credentials
from everwire.channels.engine import Position
from everwire.channels.hub import Hub
from everwire.errors import (
    BadRequest,
    CommandError,
    ConcurrencyError,
    Disconnected,
    EngineError,
    UnknownChannel,
)
from everwire.wire.messages import Publication


def test_publishing_returns_positions(run: Run) -> None:
    async def main() -> None:
        hub = open_hub(history=10)
        hub.namespace("plain")
        async with hub:
            first, second = await hub.publish("a", 1), await hub.publish("a", 2)
            assert (first.offset, second.offset) == (1, 2) and first.epoch == second.epoch != ""
            assert await hub.publish("plain:a", 1) == (0, "")
            with pytest.raises(BadRequest, match="not empty"):
                await hub.publish("", 1)
            with pytest.raises(UnknownChannel, match="was declared"):
                await hub.publish("other:a", 1)
            with pytest.raises(TypeError):
                await hub.publish("a", object())
            once = [await hub.publish("a", 3, idempotency_key="k") for _ in range(3)]
            assert {each.offset for each in once} == {3}
            await hub.publish("a", 4, version=2)
            await hub.publish("a", 5, version=1)
            await hub.publish("a", 6, skip_history=True)
            page = await hub.history("a", limit=-1)
            assert [bytes(each.data) for each in page.publications] == [b"1", b"2", b"3", b"4"]
            results = await hub.broadcast(["a", "nope:b", "c"], {"x": 1}, tags={"t": "1"})
            assert isinstance(results[0], Position) and isinstance(results[1], UnknownChannel)
            for call in (hub.presence("a"), hub.presence_stats("a"), hub.history("plain:a")):
                with pytest.raises(CommandError, match="declare it with"):
                    await call

    run(main)


def test_following_in_this_process(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=10) as hub:
            await hub.publish("a", 0)
            async with hub.subscribe("a") as new:
                position = new.position
                assert position is not None and position.offset == 1
                await hub.publish("a", 1)
                assert (await anext(new)).offset == 2
                waiting = asyncio.create_task(anext(new))
                await settled()
                await hub.publish("a", 2)
                assert (await waiting).offset == 3
            with pytest.raises(StopAsyncIteration):
                await anext(new)
            async with hub.subscribe("a", since=Position(0, position.epoch)) as old:
                assert [(await anext(old)).offset for _ in range(3)] == [1, 2, 3]
                assert old.position == (3, position.epoch)
            gone = hub.subscribe("a", since=Position(1, "another"))
            with pytest.raises(Disconnected) as ended:
                await anext(gone)
            assert ended.value.code == 3010
            await settled()
            assert hub._channels == {}
            with pytest.raises(UnknownChannel):
                hub.subscribe("x:a")

    run(main)


def test_who_follows_too_slowly_reads_on_from_the_log(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(following, "MAX_AHEAD", 5)
        hub = open_hub(history=100)
        hub.namespace("plain")
        async with hub:
            async with hub.subscribe("a") as slow:
                for number in range(1, 31):
                    await hub.publish("a", number)
                assert [(await anext(slow)).offset for _ in range(20)] == list(range(1, 21))
                for number in range(31, 41):
                    await hub.publish("a", number)
                assert [(await anext(slow)).offset for _ in range(20)] == list(range(21, 41))
            async with hub.subscribe("plain:a") as lost:
                for number in range(7):
                    await hub.publish("plain:a", number)
                assert [bytes((await anext(lost)).data) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
                with pytest.raises(Disconnected) as ended:
                    await anext(lost)
                assert ended.value.code == 3008

    run(main)


def comes(hub: Hub, offset: int, *, previous: int, epoch: str) -> None:
    """Have a publication come from the engine."""
    publication = Publication(data=Raw(b"%d" % offset), offset=offset)
    hub.on_publication("a", publication, Position(offset, epoch), previous, False)


def test_what_was_read_before_it_has_come_comes_once(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=10) as hub, hub.subscribe("a") as first:
            position = await hub.publish("a", 1)
            await hub.engine.unsubscribe("a")
            await hub.publish("a", 2)
            async with hub.subscribe("a", since=position) as late:
                assert (await anext(late)).offset == 2
                comes(hub, 2, previous=1, epoch=position.epoch)
                comes(hub, 3, previous=2, epoch=position.epoch)
                assert (await anext(late)).offset == 3
                assert [(await anext(first)).offset for _ in range(3)] == [1, 2, 3]

    run(main)


def test_what_was_read_and_is_lost_by_a_failover_is_told(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=10) as hub, hub.subscribe("a") as behind:
            position = await hub.publish("a", 1)
            await hub.engine.unsubscribe("a")
            await hub.publish("a", 2)
            async with hub.subscribe("a", since=position) as ahead:
                assert (await anext(ahead)).offset == 2
                await hub.publish("a", 3)
                await hub.remove_history("a")
                # Another server has the log now, which has never had the second.
                comes(hub, 9, previous=1, epoch=position.epoch)
                assert [(await anext(behind)).offset for _ in range(2)] == [1, 9]
                with pytest.raises(Disconnected):
                    await anext(ahead)

    run(main)


def test_following_can_be_cancelled(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=10) as hub, hub.subscribe("a") as here:
            task = asyncio.create_task(anext(here))
            await settled()
            task.cancel()
            await asyncio.wait([task])
            await hub.publish("a", 1)
            assert (await anext(here)).offset == 1

    run(main)


def test_sessions_are_reached_by_user_client_and_id(run: Run) -> None:
    async def main() -> None:
        hub = open_hub()
        hub.on_connect(lambda ctx: Credentials(user=ctx.data))
        async with hub:
            ann, ann2, bob = [await connected(hub, data=user) for user in ("ann", "ann", "bob")]
            assert await hub.subscribe_user("ann", "news", data={"hi": 1}) == 2
            assert await hub.subscribe_user("ann", "news") == 0
            for peer in (ann, ann2):
                [push] = await peer.pushes(1)
                assert push["subscribe"]["data"] == {"hi": 1}
            await hub.publish("news", 1)
            assert await ann.publications(1) == await ann2.publications(1) == [1]
            assert await hub.channels() == {"news": 2}
            assert await hub.channels("n*") == {"news": 2} and await hub.channels("x*") == {}
            assert await hub.unsubscribe("ann", client=ann.session.client) == 1
            assert (await ann.pushes(1))[0]["unsubscribe"] == {"code": 2000, "reason": "server unsubscribe"}
            assert await hub.unsubscribe("bob", client=ann2.session.client) == 0
            assert await hub.refresh("bob", expire_at=hub.clock() + 100) == 1
            assert (await bob.pushes(1))[0]["refresh"] == {"expires": True, "ttl": 99}
            assert await hub.disconnect("ann", whitelist=[ann2.session.client]) == 1
            assert await ann.end() == (3503, "force disconnect")
            assert await hub.refresh("ann", expired=True) == 1
            assert await ann2.end() == (3005, "connection expired")
            assert await hub.disconnect("bob", code=4000, reason="later") == 1
            assert await bob.end() == (4000, "later")
            with pytest.raises(ValueError, match="3000 to 4999"):
                await hub.disconnect("x", code=1000)
            with pytest.raises(ValueError, match="2000 to 2999"):
                await hub.unsubscribe("x", code=1000)
            with pytest.raises(CommandError):
                await hub.refresh("x", expire_at=1)
            with pytest.raises(UnknownChannel):
                await hub.subscribe_user("x", "no:x")

    run(main)


def test_a_server_side_subscription_is_recovered_by_pushes(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=10) as hub:
            for number in range(1, 5):
                position = await hub.publish("a", number)
            peer = await connected(hub)
            await hub.subscribe_user("", "a", recover_since=Position(2, position.epoch))
            await hub.publish("a", 5)
            pushes = await peer.pushes(4)
            assert pushes[0]["subscribe"]["recoverable"]
            assert [each["pub"]["data"] for each in pushes[1:]] == [3, 4, 5]

    run(main)


def test_other_threads_publish_and_read(run: Run) -> None:
    async def main() -> None:
        async with open_hub(history=10, presence=True) as hub:
            peer = await connected(hub)
            await peer.ask("subscribe", channel="a")
            results: list[Any] = []

            def work() -> None:
                results.append(hub.sync.publish("a", 1).offset)
                results.append(hub.publish_threadsafe("a", 2).result(5).offset)
                results.append(len(hub.sync.history("a", limit=-1).publications))
                results.append(hub.sync.presence_stats("a"))
                results.append(list(hub.sync.presence("a")))
                try:
                    hub.sync.publish("x:a", 1)
                except UnknownChannel:
                    results.append("unknown")

            thread = threading.Thread(target=work)
            thread.start()
            await asyncio.to_thread(thread.join, 5)
            assert results == [1, 2, 2, (1, 1), [peer.session.client], "unknown"]
            assert await peer.publications(2) == [1, 2]
            with pytest.raises(ConcurrencyError, match="other threads"):
                hub.sync.publish("a", 1)

    run(main)


def test_presence_lasts_as_long_as_the_session_is_heard_of(run: Run) -> None:
    async def main() -> None:
        hub = a_hub(ping_interval=0.6, pong_timeout=0.3, presence_ttl=1.0)
        hub.namespace("", allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True, presence=True)
        async with hub:
            peer = Peer(hub)
            await peer.ask("connect")
            await peer.ask("subscribe", channel="a")
            for _ in range(3):
                peer.got.clear()
                await peer.until(lambda: {} in peer.got)
                peer.session.receive("{}")
                assert len(await hub.presence("a")) == 1

    run(main)


def test_a_hub_begins_when_it_is_first_used(run: Run) -> None:
    async def main() -> None:
        hub = open_hub(history=10)
        first, second = await asyncio.gather(hub.publish("a", 1), hub.publish("a", 2))
        assert {first.offset, second.offset} == {1, 2}
        await hub.close()
        with pytest.raises(EngineError):
            await hub.publish("a", 3)

        hub = open_hub(history=10)
        async with hub.subscribe("a") as here:
            await hub.publish("a", 1)
            assert (await anext(here)).offset == 1
        await hub.close()

    run(main)
