"""Type checkers accept the code that users write, and see when it is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from source.tree import ROOT

EXAMPLES = Path(__file__).with_name("typed_examples.py")
CHECKERS = {
    "mypy": ["mypy", "--config-file", "pyproject.toml"],
    "pyright": ["pyright", "--pythonpath", sys.executable, "--warnings"],
}
MISTAKES = """
import everwire

async def wrong(ws: everwire.Connection) -> None:
    await ws.send(5)

async def main() -> None:
    everwire.serve(wrong, "127.0.0.1", 0, max_sise=5)
"""


def check(command: list[str], path: Path) -> subprocess.CompletedProcess[str]:
    """What the checker says of a file."""
    return subprocess.run(
        [sys.executable, "-m", *command, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize("command", CHECKERS.values(), ids=CHECKERS.keys())
def test_examples_are_accepted(command: list[str]) -> None:
    done = check(command, EXAMPLES)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


@pytest.mark.parametrize("command", CHECKERS.values(), ids=CHECKERS.keys())
def test_mistakes_are_seen(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "mistakes.py"
    path.write_text(MISTAKES)
    done = check(command, path)
    assert done.returncode == 1
    assert "max_sise" in done.stdout, done.stdout
    assert len([line for line in done.stdout.splitlines() if ": error:" in line or " - error:" in line]) == 2
