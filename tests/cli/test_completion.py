"""Shells complete the command line: bash itself is asked, and what is installed for zsh and fish."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from commands import Program, everwire

BIN = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def test_bash(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PATH": BIN, "PS1": "ready$ ", "INPUTRC": "/dev/null"}
    shell = ["bash", "--noprofile", "-i"]
    with Program(shell, env=env, cwd=tmp_path, terminal=True) as program:
        program.write("everwire --install-completion\r")
        program.wait_for("bash completion installed in ")
        program.write("exit\r")
        program.wait()
    with Program(shell, env=env, cwd=tmp_path, terminal=True) as program:
        program.write("PS1='again> '\r")
        program.wait_for("\n.*again> ")
        program.write("everwire conn\t")
        program.wait_for("everwire connect ")
        program.write("--reco\t")
        program.wait_for("everwire connect --reconnect ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_can_be_printed(shell: str) -> None:
    with everwire(env={"_EVERWIRE_COMPLETE": f"source_{shell}"}) as program:
        assert program.wait() == 0
    assert f"_EVERWIRE_COMPLETE=complete_{shell}" in program.output
    assert "everwire" in program.output


@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("bash", {"COMP_WORDS": "everwire ech", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "everwire ech"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "everwire ech", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_what_the_scripts_ask_for(shell: str, variables: dict[str, str]) -> None:
    with everwire(env={"_EVERWIRE_COMPLETE": f"complete_{shell}", **variables}) as program:
        assert program.wait() == 0
    assert "echo" in program.output
    assert "connect" not in program.output
