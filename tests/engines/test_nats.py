"""The NATS engine: the contract on one server, and what is its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Run
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.servers import NatsServer
from everwire.channels.engine import LogOptions
from everwire.engines.contract import CHECKS, CLUSTER_CHECKS, Bench, Check
from everwire.engines.contract.cluster import the_presence_of_a_node_that_is_gone_ends
from everwire.engines.contract.log import an_idempotency_key_is_forgotten_in_time, what_has_expired_is_told
from everwire.engines.contract.model import Step, a_log_agrees_with_a_simple_model, follow
from everwire.engines.contract.presence import presence_ends_unless_said_again
from everwire.engines.nats import NatsEngine

SLOW: tuple[Check, ...] = (
    what_has_expired_is_told,
    an_idempotency_key_is_forgotten_in_time,
    presence_ends_unless_said_again,
    a_log_agrees_with_a_simple_model,
    the_presence_of_a_node_that_is_gone_ends,
)
"""Checks in which time passes: that of a server passes as it does."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


def engine(server: NatsServer, **options: Any) -> NatsEngine:
    """An engine with a prefix of its own."""
    return NatsEngine(server.url, **{"prefix": f"t{secrets.token_hex(4)}", **options})


def bench(server: NatsServer) -> Bench:
    prefix = ""

    def make() -> NatsEngine:
        nonlocal prefix
        prefix = f"t{secrets.token_hex(4)}"
        return engine(server, prefix=prefix)

    return Bench(make=make, peer=lambda: engine(server, prefix=prefix), advance=asyncio.sleep)


@pytest.mark.parametrize(
    "check",
    [each for each in (*CHECKS, *CLUSTER_CHECKS) if each not in SLOW],
    ids=lambda check: check.__name__,
)
def test_nats_keeps_the_contract(run: Run, check: Check, server: NatsServer) -> None:
    run(lambda: check(bench(server)))


@pytest.mark.loops("asyncio")
def test_nats_keeps_the_contract_as_time_passes(run: Run, server: NatsServer) -> None:
    async def main() -> None:
        await asyncio.gather(*(check(bench(server)) for check in SLOW))

    run(main, timeout=60)


STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.just("publish"), st.integers(0, 3)),
        st.builds(Step, st.just("read"), st.integers(-1, 9), st.sampled_from((-1, 0, 1, 3)), st.booleans()),
        st.builds(Step, st.just("remove")),
    ),
    max_size=60,
)


@pytest.mark.loops("asyncio")
@settings(max_examples=20)
@given(size=st.integers(1, 6), steps=STEPS)
def test_a_log_in_nats_agrees_with_the_model(
    run: Run, server: NatsServer, size: int, steps: list[Step]
) -> None:
    log = LogOptions(size=size, ttl=60, meta_ttl=3600)
    run(lambda: follow(bench(server), log, steps))
