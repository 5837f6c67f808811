"""A short run of ``tests/soak.py``: a server under load gives everything back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import Program


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_server_under_load_gives_everything_back() -> None:
    script = Path(__file__).with_name("soak.py")
    with Program([sys.executable, script, "--minutes", "0.1", "--clients", "12"]) as program:
        code = program.wait(timeout=90)
        assert code == 0, program.output
        assert program.output.endswith("passed\n")
