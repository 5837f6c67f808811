"""Short runs of ``tests/chaos/run.py``: nothing is lost, whatever happens to clients, nodes and engines."""

from __future__ import annotations

import asyncio

import pytest

from chaos.report import report
from chaos.run import Options, Outcome, parse, run


def check(options: Options) -> Outcome:
    outcome = asyncio.run(run(options))
    assert not outcome.problems, report(outcome)
    assert outcome.ledger.acknowledged > options.channels, report(outcome)
    assert all(follower.connections for follower in outcome.crew), report(outcome)
    return outcome


def test_nothing_is_lost_though_the_server_is_killed() -> None:
    outcome = check(Options(clients=9, seconds=2, lasts=(0.1, 0.5), seed=3))
    assert outcome.faults == {"kill-node": 1}
    assert outcome.verdict.told == 0, report(outcome)


def test_what_is_lost_with_a_small_log_is_told() -> None:
    outcome = check(Options(engine="memory", clients=9, faults="", history=8, seconds=1, keys=True, seed=4))
    assert outcome.verdict.told > 0, report(outcome)


@pytest.mark.parametrize(
    ("engine", "faults"),
    [("redis-sentinel", "isolate-leader,kill-node,cut"), ("nats-cluster", "kill-leader")],
)
def test_nothing_is_lost_though_nodes_and_the_leader_of_the_engine_are_killed(
    engine: str, faults: str
) -> None:
    options = Options(
        engine=engine,
        nodes=2,
        clients=16,
        channels=6,
        rate=100,
        publishers=8,
        cuts=0.5,
        faults=faults,
        lasts=(0.2, 0.6),
        seconds=2,
        seed=5,
    )
    outcome = check(options)
    assert outcome.faults == dict.fromkeys(faults.split(","), 1)
    # The logs are long enough: whoever is told of a gap has seen what was never acknowledged, and is gone.
    assert outcome.verdict.needless == 0, report(outcome)


def test_the_command_line_has_more_of_everything_for_engines_with_servers() -> None:
    options = parse(["--engine", "nats-cluster", "--seed", "7"])
    assert (options.nodes, options.clients, options.rate, options.seed) == (2, 200, 1000, 7)
    assert parse(["--lasts", "1", "2"]) == Options(lasts=(1, 2))
