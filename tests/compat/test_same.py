"""Programs written for ``websockets`` see the same with everwire in its place; ``websockets`` tells what."""

from __future__ import annotations

import pytest
import websockets
from conftest import Run

import everwire.compat.websockets
from compat import opening
from compat.programs import PROGRAMS, Program

assert opening.__doc__, "its programs are in the list"


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_same_is_seen(program: Program, run: Run) -> None:
    expected = run(lambda: program(websockets))
    assert run(lambda: program(everwire.compat.websockets)) == expected
    assert expected, "the program saw nothing"
