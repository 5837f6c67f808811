"""Checks: who is in a channel."""

from __future__ import annotations

import msgspec

from everwire.channels.engine import PresenceStats
from everwire.engines.contract.bench import Bench, Check
from everwire.wire.messages import ClientInfo

__all__ = ["CHECKS"]


async def presence_has_who_came_and_did_not_leave(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        one = ClientInfo(user="u", client="1", conn_info=msgspec.Raw(b'{"n":1}'), chan_info=msgspec.Raw(b"2"))
        two = ClientInfo(user="u", client="2")
        three = ClientInfo(user="v", client="3")
        for info in (one, two, three, one):
            await engine.add_presence("a", info, ttl=60)
        await engine.add_presence("b", three, ttl=60)
        assert dict(await engine.presence("a")) == {"1": one, "2": two, "3": three}
        assert await engine.presence_stats("a") == PresenceStats(clients=3, users=2)
        await engine.remove_presence("a", "3")
        await engine.remove_presence("a", "never there")
        assert dict(await engine.presence("a")) == {"1": one, "2": two}
        assert await engine.presence_stats("a") == PresenceStats(clients=2, users=1)
        assert dict(await engine.presence("b")) == {"3": three}
        assert dict(await engine.presence("nobody")) == {}
        assert await engine.presence_stats("nobody") == PresenceStats(clients=0, users=0)


async def presence_ends_unless_said_again(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        for client in ("stays", "goes"):
            await engine.add_presence("a", ClientInfo(user=client, client=client), ttl=3)
        await bench.advance(2)
        assert sorted(await engine.presence("a")) == ["goes", "stays"]
        await engine.add_presence("a", ClientInfo(user="stays", client="stays"), ttl=3)
        await bench.advance(2)
        assert list(await engine.presence("a")) == ["stays"]
        assert await engine.presence_stats("a") == PresenceStats(clients=1, users=1)


async def presence_says_what_was_said_last(bench: Bench) -> None:
    async with bench.started() as (engine, _):
        await engine.add_presence("a", ClientInfo(client="c", conn_info=msgspec.Raw(b"1")), ttl=60)
        await engine.add_presence("a", ClientInfo(client="c", conn_info=msgspec.Raw(b"2")), ttl=60)
        assert bytes((await engine.presence("a"))["c"].conn_info) == b"2"


CHECKS: tuple[Check, ...] = (
    presence_has_who_came_and_did_not_leave,
    presence_ends_unless_said_again,
    presence_says_what_was_said_last,
)
