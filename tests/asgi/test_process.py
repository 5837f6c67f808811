"""The process that serves an application."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgi.programs import APP, get, hosting

TELLS = APP.replace("import asyncio, os", "import asyncio, gc, os").replace(
    "found = {", 'found = {"/gc": f"{gc.get_threshold()[0]} {gc.get_freeze_count() > 0}", '
)


@pytest.mark.parametrize(
    ("before", "expected"),
    [("", "10000 True"), ("import gc; gc.set_threshold(500, 7, 7)", "500 False")],
    ids=["default", "its own"],
)
def test_cycles_are_looked_for_less_often_unless_the_application_says_when(
    tmp_path: Path, before: str, expected: str
) -> None:
    with hosting(tmp_path, source=f"{before}\n{TELLS}") as (_, page):
        assert get(page, "/gc") == expected
