"""The site of the documentation is built without a warning, is complete, and needs nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs.pages import DOCS, ROOT

LOADED = {"img": "src", "link": "href", "script": "src"}
"""What a browser fetches by itself, and the attribute that says from where."""


class Parts(HTMLParser):
    """What a page of the site loads, what it links to, and what can be linked to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.comments: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        if (target := given.get(LOADED.get(tag, ""))) and given.get("rel") != "canonical":
            self.loaded.append(target)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built. Strict: whatever MkDocs or a plugin warns of fails it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Parts]:
    """The pages of the site; the one for addresses that do not exist is no page of its own."""
    return {page: Parts(page) for page in site.rglob("*.html") if page.name != "404.html"}


def test_every_page_is_in_the_navigation(site: Path, pages: dict[Path, Parts]) -> None:
    expected = {
        page.relative_to(DOCS).with_suffix("").as_posix()
        for page in DOCS.rglob("*.md")
        if page.name != "README.md"
    }
    home = site / "index.html"
    navigation = {link.partition("#")[0].strip("/") for link in pages[home].links}
    assert expected - navigation == set()
    assert {"project/changelog", "project/contributing", "project/security"} <= navigation


def test_links_lead_somewhere(site: Path, pages: dict[Path, Parts]) -> None:
    broken = []
    for page, parts in pages.items():
        for target in parts.links + parts.loaded:
            if target.startswith(("https://", "http://", "mailto:")):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            file = file / "index.html" if file.is_dir() else file
            if not file.is_file() or (anchor and file in pages and anchor not in pages[file].ids):
                broken.append(f"{page.relative_to(site)}: {target}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Parts]) -> None:
    assert [each for parts in pages.values() for each in parts.loaded if "//" in each] == []
    style = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"url\(\s*['\"]?https?:", style) == []


def test_what_is_for_tests_is_not_shown(site: Path, pages: dict[Path, Parts]) -> None:
    assert [page for page, parts in pages.items() if parts.comments] == []
    assert list(site.rglob("*.py")) == []
