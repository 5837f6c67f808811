"""Draining a hub: clients leave evenly, are told to come back, and no new ones are taken."""

from __future__ import annotations

import asyncio

import pytest
from conftest import Run

from channels.peer import Ended, Peer, a_hub, settled
from everwire.channels.context import Context


async def connected(hub_peers: list[Peer]) -> None:
    for peer in hub_peers:
        await peer.ask("connect")


def test_clients_leave_one_by_one_and_are_told_to_come_back(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            peers = [Peer(hub) for _ in range(20)]
            await connected(peers)
            loop = asyncio.get_running_loop()
            begin = loop.time()
            draining = asyncio.create_task(hub.drain(spread=1.0))
            await peers[0].until(lambda: True)
            await settled()
            assert hub.draining
            assert not hub.health.ready
            assert "drain" in hub.health.problems
            assert sum(peer.ended is not None for peer in peers) == 1, "the first one at once"
            ends = [loop.time() - begin for peer in peers if await peer.end() == (3001, "shutdown")]
            assert len(ends) == 20
            await draining
            assert loop.time() - begin >= 0.9
            assert hub.info().clients == 0
            # Who comes all the same is sent on at once.
            late = Peer(hub)
            assert await late.end() == (3001, "shutdown")

    run(main)


def test_a_deadline_ends_it_though_a_hook_does_not(run: Run) -> None:
    async def main() -> None:
        hub, gate = a_hub(), asyncio.Event()

        @hub.on_disconnect
        async def slow(ctx: Context, code: int, reason: str) -> None:
            await gate.wait()

        async with hub:
            peers = [Peer(hub) for _ in range(3)]
            await connected(peers)
            await asyncio.wait_for(hub.drain(spread=3600, deadline=0.1), 10)
            assert [await peer.end() for peer in peers] == [(3001, "shutdown")] * 3
            gate.set()

    run(main)


def test_hooks_of_the_ends_are_waited_for(run: Run) -> None:
    async def main() -> None:
        hub, ended = a_hub(), list[int]()

        @hub.on_disconnect
        async def slow(ctx: Context, code: int, reason: str) -> None:
            await settled()
            ended.append(code)

        async with hub:
            await connected([Peer(hub) for _ in range(3)])
            await hub.drain(spread=0)
            assert ended == [3001] * 3

    run(main)


def test_a_second_drain_makes_haste_and_closing_does_so_too(run: Run) -> None:
    async def main() -> None:
        for how in ("drain", "close"):
            async with a_hub() as hub:
                peers = [Peer(hub) for _ in range(5)]
                await connected(peers)
                draining = asyncio.create_task(hub.drain(spread=3600))
                await settled()
                assert sum(peer.ended is None for peer in peers) == 4
                await asyncio.wait_for(hub.drain(spread=0) if how == "drain" else hub.close(), 10)
                assert all(peer.ended == (3001, "shutdown") for peer in peers)
                await draining

    run(main)


def test_a_hub_that_was_drained_and_closed_can_begin_anew(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with hub:
            await hub.drain(spread=0)
        async with hub:
            peer = Peer(hub)
            await peer.ask("connect")
            assert not hub.draining
            assert "drain" not in hub.health.problems

    run(main)


def test_a_drain_that_is_given_up_goes_on(run: Run) -> None:
    """Who waits for it may be cancelled: clients that were half sent away would be worse."""

    async def main() -> None:
        async with a_hub() as hub:
            peers = [Peer(hub) for _ in range(3)]
            await connected(peers)
            draining = asyncio.create_task(hub.drain(spread=0.2))
            await settled()
            draining.cancel()
            for peer in peers:
                assert await peer.end() == (3001, "shutdown")

    run(main)


def test_sessions_of_nobody_known_leave_too(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            peer = Peer(hub)
            await hub.drain(spread=0)
            assert await peer.end() == (3001, "shutdown")
            with pytest.raises(Ended):
                await peer.ask("connect")

    run(main)
