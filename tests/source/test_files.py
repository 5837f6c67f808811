"""Files of the package: their size, their docstrings, no notes to self."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from source.tree import PACKAGE, ROOT, name, sources

MAX_LINES = 500
"""A file that is longer has two jobs."""

EXEMPT: dict[str, str] = {
    "wire/messages.py": "a list: the messages of one protocol, and nothing else",
}
"""Files that may be longer, as paths below the package, and why."""

TEXT = {".py", ".pyi", ".pyx", ".pxd", ".h", ".c", ".md", ".toml", ".yml", ".yaml", ".html", ".js", ".css"}
NOTE = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")  # in halves, or it would find itself


@pytest.mark.parametrize("path", sources(".py", ".pyx"), ids=name)
def test_a_file_has_one_job(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    if path.relative_to(PACKAGE).as_posix() in EXEMPT:
        assert lines > MAX_LINES, "not long any more: remove it from EXEMPT"
    else:
        assert lines <= MAX_LINES, "split it, or state in EXEMPT why it is one job all the same"


def test_exemptions_are_of_files_that_exist() -> None:
    assert [file for file, why in EXEMPT.items() if not (PACKAGE / file).is_file() or not why] == []


@pytest.mark.parametrize("path", sources(".py"), ids=name)
def test_a_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", sources(".pyx"), ids=name)
def test_a_native_module_has_a_docstring(path: Path) -> None:
    lines = path.read_text().splitlines()
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    assert first.startswith(('"""', 'r"""')), "directives may come before the docstring, nothing else"


def texts() -> list[Path]:
    """The text files that people write: the package, its tests, its documentation, what is in the root."""
    folders = [PACKAGE, *(ROOT / each for each in ("tests", "docs", "examples", "bench", ".github"))]
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix in TEXT]
    found += [path for path in ROOT.iterdir() if path.is_file() and path.suffix in TEXT]
    fetched = {".cache", "node_modules"}
    found = [path for path in found if not fetched & set(path.parts)]
    # Cython writes a .c file beside each .pyx.
    return sorted(path for path in found if not path.with_suffix(".pyx").exists() or path.suffix != ".c")


def test_nobody_left_a_note_to_self() -> None:
    notes = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if NOTE.search(line)
    ]
    assert notes == []


def test_text_files_end_in_one_newline_and_have_no_tabs() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in texts()
        if (text := path.read_text()) and (not text.endswith("\n") or text.endswith("\n\n") or "\t" in text)
    ]
    assert wrong == []
