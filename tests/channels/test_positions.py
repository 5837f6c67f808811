"""What was lost between the engine and a node is found, and told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Run

from channels.bus import Bus, nodes
from channels.peer import Peer, settled
from everwire.channels import positions
from everwire.channels.hub import Hub
from everwire.errors import EngineError

pytestmark = pytest.mark.loops("asyncio")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for what may be on its way."""
    monkeypatch.setattr(positions, "GRACE", 0.05)
    monkeypatch.setattr(positions, "PAUSE", 0.05)


async def subscribed(hub: Any, *channels: str) -> Peer:
    """A client that follows channels."""
    peer = Peer(hub)
    await peer.ask("connect")
    for channel in channels:
        await peer.ask("subscribe", channel=channel)
    await settled()
    peer.got.clear()
    return peer


def test_a_lost_publication_with_none_after_it_is_found(run: Run, caplog: Any) -> None:
    async def main() -> None:
        async with nodes(2, position_check_interval=0.4) as (one, two):
            peer = await subscribed(one, "lost", "quiet")
            await two.publish("quiet", 1)
            assert await peer.publications(1) == [1]
            one.engine.followed.discard("lost")
            await two.publish("lost", 1)
            one.engine.followed.add("lost")
            begun = asyncio.get_running_loop().time()
            [push] = await peer.pushes(1)
            assert push["channel"] == "lost" and push["unsubscribe"]["code"] == 2500
            assert asyncio.get_running_loop().time() - begun < 1.0
            reply = await peer.ask("subscribe", channel="lost", recover=True, epoch="", offset=0)
            assert [each["data"] for each in reply["publications"]] == [1]

    run(main)
    assert "'lost' were lost" in caplog.text and "quiet" not in caplog.text
    caplog.clear()


def test_what_is_only_late_is_not_lost(run: Run) -> None:
    async def main() -> None:
        async with nodes(2) as (one, two):
            peer = await subscribed(one, "late")
            one.engine.followed.discard("late")
            held: list[Any] = []
            two.engine.bus.log._events, bus = _Holding(held), two.engine.bus.log._events
            two.engine.bus.log._followed.add("late")
            await two.publish("late", 1)
            two.engine.bus.log._events = bus
            check = asyncio.ensure_future(one.positions.check(grace=0.1))
            await settled()
            one.on_publication(*held[0])
            await check
            await asyncio.sleep(0.25)
            assert await peer.publications(1) == [1] and peer.got == []

    run(main)


class _Holding:
    """Takes publications, and tells nobody."""

    def __init__(self, held: list[Any]) -> None:
        self.held = held

    def on_publication(self, *what: Any) -> None:
        self.held.append(what)


def test_all_are_checked_when_the_engine_is_back_some_at_a_time(run: Run, caplog: Any) -> None:
    async def main() -> None:
        names = [f"c{number}" for number in range(100)]
        async with nodes(2, channel_limit=200) as (one, two):
            peer = await subscribed(one, *names)
            for name in names[:2]:
                await two.publish(name, 0)
            assert await peer.publications(2) == [0, 0]
            reading = most = 0
            read = two.engine.bus.log.history

            async def history(*args: Any, **options: Any) -> Any:
                nonlocal reading, most
                reading += 1
                most = max(most, reading)
                await settled()
                reading -= 1
                return await read(*args, **options)

            two.engine.bus.log.history = history
            one.engine.cut()
            assert not one.health.ready
            for name in names[::2]:
                await two.publish(name, 1)
            with pytest.raises(EngineError):
                await one.publish("c1", 1)
            one.engine.reads = 0
            one.engine.mend()
            one.engine.events.on_available(True)  # said twice, it is checked once more at most
            pushes = await peer.pushes(50)
            assert {push["channel"] for push in pushes} == set(names[::2])
            assert {push["unsubscribe"]["code"] for push in pushes} == {2500}
            assert most == positions.AT_ONCE and one.engine.reads <= 250
            assert one.health.ready and peer.got == []

    run(main)
    caplog.clear()


def test_commands_fail_while_the_engine_is_away_and_what_cannot_be_checked_is_checked_later(
    run: Run, caplog: Any
) -> None:
    async def main() -> None:
        async with nodes(2) as (one, two):
            peer = await subscribed(one, "a")
            one.engine.cut()
            peer.session.receive('{"id": 7, "publish": {"channel": "a", "data": 1}}')
            peer.session.receive('{"id": 8, "subscribe": {"channel": "b"}}')
            await peer.until(lambda: len(peer.got) == 2)
            error = {"code": 100, "message": "internal server error", "temporary": True}
            assert peer.got == [{"id": 7, "error": error}, {"id": 8, "error": error}]
            peer.got.clear()
            await two.publish("a", 1)
            one.on_available(True)  # though it cannot be read yet
            await asyncio.sleep(0.05)
            one.engine.mend()
            [push] = await peer.pushes(1)
            assert push["unsubscribe"]["code"] == 2500

    run(main)
    caplog.clear()


def test_a_node_waits_for_its_engine_at_the_start_as_long_as_it_is_told_to(run: Run, caplog: Any) -> None:
    async def main() -> None:
        bus = Bus()
        engine = bus.engine()
        engine.is_up = False
        hub = Hub(engine, insecure=True)
        with pytest.raises(EngineError, match="cannot be reached"):
            await hub.start()
        assert not hub.health.ready
        patient = Hub(engine, insecure=True, engine_start_timeout=5)
        starting = asyncio.ensure_future(patient.start())
        await asyncio.sleep(0.1)
        assert not starting.done()
        engine.is_up = True
        await starting
        assert patient.health.ready
        await patient.close()

    run(main)
    assert "not reachable yet" in caplog.text
    caplog.clear()
