"""Other people's suites against a hub: centrifuge-python's, and how Centrifugo itself has answered."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from sdk import differential, suites
from sdk.peer import everwire


def test_centrifuge_pythons_own_suite(tmp_path: Path) -> None:
    with everwire("python") as base:
        port = urlsplit(base).port or 0
        for module, count in suites.PYTHON_MODULES.items():
            outcome = suites.run_python(module, port, tmp_path)
            assert outcome.complaints(count) == []


def test_answers_are_centrifugos() -> None:
    assert differential.compare(differential.SCENES, differential.load()) == []
