"""Departures over a time, and the limit of arrivals."""

from __future__ import annotations

import asyncio

import pytest
from conftest import Run

from everwire.errors import HandshakeError
from everwire.pacing import AT_ONCE, LONGEST, MAX_RETRY_AFTER, Departure, RateLimit, as_rate_limit, spread_of


def test_a_departure_is_even(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        gone: list[tuple[float, int]] = []
        begin = loop.time()
        crowd = range(400)
        departure = Departure(
            crowd, lambda one: gone.append((loop.time() - begin, one)), is_there=lambda one: True, spread=1.0
        )
        await departure.run()
        assert sorted(one for _, one in gone) == list(crowd)
        assert [one for _, one in gone] != list(crowd), "in random order"
        # None is early: a machine that is busy has them leave late, and then more at once.
        for i, (at, _) in enumerate(gone):
            assert at >= i / len(crowd) - 0.1
        assert gone[-1][0] >= 0.85

    run(main)


def test_a_turn_of_the_loop_tells_so_many_at_most(run: Run) -> None:
    async def main() -> None:
        told: list[int] = []
        departure = Departure(range(10**6), told.append, is_there=lambda one: True, spread=10.0)
        departing = asyncio.create_task(departure.run())
        await asyncio.sleep(0)
        assert len(told) == AT_ONCE
        departing.cancel()
        await asyncio.wait([departing])

    run(main)


def test_those_who_have_left_by_themselves_are_not_waited_for(run: Run) -> None:
    async def main() -> None:
        told: list[int] = []
        departure = Departure(range(100), told.append, is_there=lambda one: one == 7, spread=3600.0)
        departing = asyncio.create_task(departure.run())
        await asyncio.sleep(0)
        assert told == [7]
        departure.hasten(0.0)
        await departing

    run(main)


def test_a_departure_makes_haste_when_it_is_told_to(run: Run) -> None:
    async def main() -> None:
        told: list[int] = []
        departure = Departure(range(2000), told.append, is_there=lambda one: True, spread=3600.0)
        departing = asyncio.create_task(departure.run())
        await asyncio.sleep(0)
        assert len(told) == 1
        departure.hasten(7200.0)
        await asyncio.sleep(0)
        assert len(told) == 1, "later is not sooner"
        departure.hasten(0.0)
        await asyncio.wait_for(departing, 10)
        assert sorted(told) == list(range(2000))

    run(main)


def test_where_nothing_is_said_it_goes_by_how_many_there_are() -> None:
    assert [spread_of(count) for count in (0, 1, 500, 10_000, 1_000_000)] == [0, 0.001, 0.5, 10, LONGEST]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_limit_lets_in_as_many_as_it_says() -> None:
    clock = Clock()
    limit = RateLimit(10, clock=clock)
    assert [limit.take() for _ in range(10)] == [0] * 10
    assert limit.take() > 0
    clock.now += 0.125
    assert limit.take() == 0
    assert limit.take() > 0
    clock.now += 3600
    assert sum(limit.take() == 0 for _ in range(100)) == 10, "it holds those of one second"
    assert limit.refused == 92


def test_those_who_are_refused_are_sent_away_one_after_the_other() -> None:
    clock = Clock()
    limit = RateLimit(10, clock=clock)
    waits = [limit.take() for _ in range(60)]
    assert waits == [0] * 10 + [1 + i // 10 for i in range(50)]
    assert max(limit.take() for _ in range(1000)) == MAX_RETRY_AFTER
    clock.now += 200
    assert [limit.take() for _ in range(11)][-1] == 1, "who was refused long ago waits no more"


@pytest.mark.parametrize("rate", [0.5, 0.1])
def test_a_rate_below_one(rate: float) -> None:
    clock = Clock()
    limit = RateLimit(rate, clock=clock)
    assert limit.take() == 0
    assert limit.take() == 1 / rate
    clock.now += 1 / rate
    assert limit.take() == 0


def test_the_option() -> None:
    assert as_rate_limit(0) is None
    for rate in (-1, float("nan")):
        with pytest.raises(ValueError, match="connection_rate_limit"):
            as_rate_limit(rate)
    limit = as_rate_limit(1)
    assert limit is not None
    limit.admit()
    with pytest.raises(HandshakeError, match="connection_rate_limit") as caught:
        limit.admit()
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
