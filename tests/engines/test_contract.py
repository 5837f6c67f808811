"""What every engine promises holds for each of ours; hypothesis looks for more than the fixed runs do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run
from hypothesis import given, settings
from hypothesis import strategies as st

from everwire.channels.engine import LogOptions
from everwire.engines.contract import CHECKS, Bench, Check, ManualClock
from everwire.engines.contract.model import Step, follow
from everwire.engines.memory import MemoryEngine
from everwire.engines.sqlite import SqliteEngine

BENCHES: dict[str, Callable[[Path], Bench]] = {}
"""How each engine is made; it may use the folder."""


def bench(make: Callable[[Path], Bench]) -> Callable[[Path], Bench]:
    """Register a function of this name."""
    BENCHES[make.__name__] = make
    return make


@bench
def memory(folder: Path) -> Bench:
    clock = ManualClock()
    return Bench(make=lambda: MemoryEngine(clock=clock), advance=clock.advance)


@bench
def sqlite(folder: Path) -> Bench:
    clock, number = ManualClock(), itertools.count()
    return Bench(
        make=lambda: SqliteEngine(folder / f"{next(number)}.db", synchronous="normal", clock=clock),
        advance=clock.advance,
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("engine", BENCHES)
def test_an_engine_keeps_the_contract(run: Run, engine: str, check: Check, tmp_path: Path) -> None:
    run(lambda: check(BENCHES[engine](tmp_path)))


STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.just("publish"), st.integers(0, 3)),
        st.builds(Step, st.just("read"), st.integers(-1, 9), st.sampled_from((-1, 0, 1, 3)), st.booleans()),
        st.builds(Step, st.just("remove")),
        st.builds(Step, st.just("advance"), st.integers(1, 4)),
    ),
    max_size=40,
)
OPTIONS = st.builds(
    LogOptions, size=st.integers(1, 6), ttl=st.sampled_from((2, 5, 60)), meta_ttl=st.just(3600)
)


@pytest.mark.loops("asyncio")
@pytest.mark.parametrize("engine", BENCHES)
@settings(max_examples=40)
@given(options=OPTIONS, steps=STEPS)
def test_a_log_agrees_with_the_model(
    run: Run, engine: str, options: LogOptions, steps: list[Step], tmp_path_factory: pytest.TempPathFactory
) -> None:
    run(lambda: follow(BENCHES[engine](tmp_path_factory.mktemp("engine")), options, steps))
