"""The commands that the documents name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from source.tree import ROOT

TARGET = re.compile(r"^([a-z][a-z-]*):(?!=).*##", re.MULTILINE)
MENTION = re.compile(r"(?:^|`)(?:\$ )?make ([a-z][a-z-]*)", re.MULTILINE)

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/workflows/*.yml")])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_exist(path: Path) -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    assert {"serve", "test", "bench", "conformance", "build", "lint", "help"} <= targets
    assert set(MENTION.findall(path.read_text())) <= targets
