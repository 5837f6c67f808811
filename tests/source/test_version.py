"""The version is the same wherever it is stated."""

from __future__ import annotations

import re
import tomllib

from source.tree import ROOT

import everwire

HEADING = re.compile(r"^## \[([^]]+)\](?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


def project() -> str:
    """The version in pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def test_the_package_states_the_version_of_the_project() -> None:
    assert everwire.__version__ == project()


def test_the_changelog_is_at_the_same_version() -> None:
    headings = HEADING.findall((ROOT / "CHANGELOG.md").read_text())
    assert headings[0] == ("Unreleased", ""), "the first heading takes what comes next"
    released = [version for version, _ in headings[1:]]
    if ".dev" in project():
        assert project().partition(".dev")[0] not in released, "a version that is out is in development"
    else:
        assert released[0] == project(), "a release needs its heading"


def test_released_versions_have_dates_and_descend() -> None:
    released = HEADING.findall((ROOT / "CHANGELOG.md").read_text())[1:]
    assert all(date for _, date in released)
    versions = [tuple(int(part) for part in version.split(".")) for version, _ in released]
    assert versions == sorted(versions, reverse=True)
