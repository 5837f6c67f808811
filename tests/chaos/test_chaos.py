"""Short runs of ``tests/chaos/run.py``: nothing is lost, whatever happens to connections and server."""

from __future__ import annotations

import asyncio

from chaos.run import Options, run


def check(options: Options) -> str:
    outcome, table = asyncio.run(run(options))
    assert not outcome.problems, table
    assert sum(map(len, outcome.acknowledged.values())) == options.messages
    return table


def test_nothing_is_lost_though_the_server_is_killed() -> None:
    table = check(Options(messages=400, rounds=1, kills=1, seed=3, pause=0.004))
    assert "killed 1 times" in table


def test_what_is_lost_with_a_small_log_is_told() -> None:
    table = check(Options(messages=250, rounds=1, kills=0, engine="memory", history=8, seed=4, pause=0.002))
    told = [int(line.split()[-1]) for line in table.splitlines()[4:]]
    assert sum(told) > 0, table
