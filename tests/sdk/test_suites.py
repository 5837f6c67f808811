"""Other people's suites against a hub: centrifuge-python's, and how Centrifugo itself has answered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sdk.differential import BETTER, SCENES, compare, load
from sdk.peer import everwire
from sdk.suites import PYTHON_MODULES, Unavailable, find_python, run_python

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "centrifugo.md"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server; skipped where centrifuge-python cannot be had, which in CI is a failure."""
    try:
        find_python()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    with everwire("python") as base:
        yield urlsplit(base).port or 0


@pytest.mark.parametrize(("module", "count"), PYTHON_MODULES.items())
def test_centrifuge_pythons_own_suite(port: int, tmp_path: Path, module: str, count: int) -> None:
    complaints = run_python(module, port, tmp_path).complaints(count)
    assert not complaints, "\n".join(complaints)


def test_answers_are_centrifugos() -> None:
    complaints = compare(SCENES, load())
    assert not complaints, "\n".join(complaints)


def test_each_scene_has_a_name_of_its_own_and_was_recorded() -> None:
    names = [scene.name for scene in SCENES]
    assert sorted(names) == sorted(load())
    assert set(BETTER) < set(names)


def test_the_documentation_has_what_differs() -> None:
    page = PAGE.read_text()
    table = page.partition("<!-- better -->")[2].partition("<!-- /better -->")[0]
    rows = [tuple(cell.strip() for cell in line.strip("| ").split(" | ")) for line in table.splitlines()[3:]]
    assert rows == list(BETTER.items())
    assert f" to {len(SCENES)} sequences " in page
