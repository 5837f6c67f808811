"""The tests that the page of promises names are there."""

from __future__ import annotations

import re

import pytest

from docs.pages import DOCS, ROOT, tables

ROWS = list(
    tables(DOCS / "explanation" / "promises.md", "What channels promise, and the test that proves it")
)
NAMED = sorted({name for row in ROWS for name in re.findall(r"`(tests/[^`]+)`", row["proved by"])})


@pytest.mark.parametrize("name", NAMED)
def test_it_is_there(name: str) -> None:
    path, _, function = name.partition("::")
    text = (ROOT / path).read_text()
    wanted = rf"def {function}\(" if function else r"def test_|TestCase"
    assert re.search(wanted, text), name


def test_each_promise_has_one() -> None:
    assert len(ROWS) > 10
    assert all("`tests/" in row["proved by"] for row in ROWS)
