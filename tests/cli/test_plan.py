"""``everwire plan``: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import everwire


def run(*args: str | Path) -> tuple[int, str]:
    with everwire("plan", *args, env={"COLUMNS": "140"}) as program:
        return program.wait(), program.output


def test_a_table() -> None:
    code, output = run(
        "-c", "1M", "--channels", "100k", "--subscribers", "10", "--rate", "5k", "--egress-cost", "0.05"
    )
    assert code == 0
    assert "nodes of 2 CPU and 4 GiB" in output
    assert "50,000  a second, of 175 B each" in output
    assert " a month: " in output
    assert "ulimit -n" in output
    assert "figures measured on 2 shared virtual cores" in output


def test_json_with_figures_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text('{"delivery_us": 1.5, "nats": {"replicas": 5}}')
    code, output = run("--connections", "1.5k", "--measured", file, "--json", "--format", "protobuf")
    assert code == 0
    found = json.loads(output)
    assert found["load"]["connections"] == found["load"]["subscribers"] == 1500
    assert (found["measured"]["delivery_us"], found["engine"]["replicas"]) == (1.5, 5)
    assert found["plan"]["engine_servers"] == 5


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "Missing option"),
        (("-c", "many"), "'many' is not a number"),
        (("-c", "-5"), "'-5' is not a number"),
        (("-c", "0"), "connections is 1 or more"),
        (("-c", "10", "--channels", "2", "--subscribers", "20"), "needs as many connections"),
        (("-c", "10", "--memory", "none"), "a size is needed"),
        (("-c", "10", "--session-time", "soon"), "expected a duration"),
        (("-c", "10", "--target", "2"), "target is a share"),
        (("-c", "1M", "--rate", "1M", "--engine", "memory"), "take nats or redis"),
        (("-c", "10", "--measured", "missing.json"), "missing.json: No such file"),
    ],
)
def test_what_is_refused(args: tuple[str, ...], says: str) -> None:
    code, output = run(*args)
    assert code == 2
    assert says in " ".join(output.replace("│", " ").split())


def test_it_is_completed() -> None:
    args = {"_EVERWIRE_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    for typed, offered in (("everwire pla", "plan"), ("everwire plan --engine re", "redis")):
        with everwire(env={**args, "_TYPER_COMPLETE_ARGS": typed}) as program:
            assert program.wait() == 0
        assert offered in program.output
