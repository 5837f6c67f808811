"""The linters and the type checkers have nothing to say, with the versions that pyproject.toml pins."""

from __future__ import annotations

import subprocess
import sys

import pytest
from source.tree import ROOT

COMMANDS = {
    "ruff-format": ["ruff", "format", "--check", "--diff", "."],
    "ruff-check": ["ruff", "check", "."],
    "mypy": ["mypy"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_lint(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} found:\n{done.stdout}{done.stderr}", pytrace=False)
