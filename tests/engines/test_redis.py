"""The Redis engine: the contract on one server, and what is its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from conftest import Run

from engines.redis_servers import RedisServer
from everwire.engines.contract import CHECKS, Bench, Check
from everwire.engines.contract.log import an_idempotency_key_is_forgotten_in_time, what_has_expired_is_told
from everwire.engines.contract.model import a_log_agrees_with_a_simple_model
from everwire.engines.contract.presence import presence_ends_unless_said_again
from everwire.engines.redis import RedisEngine

SLOW: tuple[Check, ...] = (
    what_has_expired_is_told,
    an_idempotency_key_is_forgotten_in_time,
    presence_ends_unless_said_again,
    a_log_agrees_with_a_simple_model,
)
"""Checks in which time passes: that of a Redis server passes as it does."""

numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


def bench(server: RedisServer) -> Bench:
    return Bench(make=lambda: RedisEngine(server.url, prefix=f"p{next(numbers)}"), advance=asyncio.sleep)


@pytest.mark.parametrize(
    "check", [each for each in CHECKS if each not in SLOW], ids=lambda check: check.__name__
)
def test_redis_keeps_the_contract(run: Run, check: Check, server: RedisServer) -> None:
    run(lambda: check(bench(server)))


@pytest.mark.loops("asyncio")
def test_redis_keeps_the_contract_as_time_passes(run: Run, server: RedisServer) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            for check in SLOW:
                tasks.create_task(check(bench(server)))

    run(main, timeout=60)
