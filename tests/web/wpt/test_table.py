"""The table in the documentation says which files there are, which are ported, and their cases."""

from __future__ import annotations

import importlib
import re
from collections import Counter
from pathlib import Path

from docs.pages import DOCS, tables

PAGE = DOCS / "reference" / "web-platform-tests.md"
MODULES = [path.stem for path in Path(__file__).parent.glob("test_*.py") if path.stem != "test_table"]

ROWS = list(tables(PAGE, "Files"))


def ported() -> Counter[str]:
    """How many cases of each file are ported."""
    modules = [importlib.import_module(f"web.wpt.{name}") for name in MODULES]
    return Counter(case.file for module in modules for case in module.cases)


def test_what_is_ported_is_in_the_table() -> None:
    listed = {row["file"].strip("`"): int(row["cases"]) for row in ROWS if row["cases"]}
    assert listed == ported()


def test_the_table_gives_a_reason_for_the_rest() -> None:
    names = [row["file"] for row in ROWS]
    assert len(set(names)) == len(names)
    for row in ROWS:
        expected = r"passes(: .+)?" if row["cases"] else r"does not apply: .+"
        assert re.fullmatch(expected, row["result"]), row


def test_the_page_counts_right() -> None:
    files, apply = len(ROWS), sum(bool(row["cases"]) for row in ROWS)
    assert f"Of {files} files {apply} apply, and pass" in PAGE.read_text().replace("\n", " ")


def test_a_case_has_a_name_of_its_own() -> None:
    modules = [importlib.import_module(f"web.wpt.{name}") for name in MODULES]
    names = [str(case) for module in modules for case in module.cases]
    assert [name for name, times in Counter(names).items() if times > 1] == []
