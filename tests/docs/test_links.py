"""Links between pages, and to files, lead somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.pages import DOCS, PAGES, ROOT, anchors, links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    broken = []
    for line, target in links(page):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        known = file.exists()
        if not known or (anchor and anchor not in anchors(file)):
            broken.append(f"{page.relative_to(ROOT)}:{line}: {target}")
    assert broken == []


def test_every_page_can_be_reached() -> None:
    reached = set()
    pending = [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [(page.parent / target.partition("#")[0]).resolve() for _, target in links(page)]
        pending += [each for each in targets if each.suffix == ".md" and each in PAGES]
    assert [page for page in DOCS.rglob("*.md") if page not in reached] == []


def test_images_are_used_and_small() -> None:
    used = {(page.parent / target).resolve() for page in PAGES for _, target in links(page)}
    images = [path for path in (DOCS / "images").iterdir() if path.is_file()]
    assert [path for path in images if path not in used or path.stat().st_size > 150_000] == []
