"""What MkDocs has to know of these pages, which are written to be read as plain Markdown, too.

- The navigation is the overview's: the links of docs/README.md under its headings, in its order.
- Comments, most of which are code for the tests, are left out.
- Docstrings are written for ``help()``, with the roles of reStructuredText, which Markdown does not know.
- A link out of this folder to a page of the project, such as CHANGELOG.md, leads to a copy of it in the site.
"""

from __future__ import annotations

import re
from os import path
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OVERVIEW = "README.md"
PROJECT = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "LICENSE": "project/license.txt",
    "SECURITY.md": "project/security.md",
}
"""Pages of the project outside of this folder, and where the site has them."""

_HEADING = re.compile(r"(###?) (.+)")
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_FENCE_OR_COMMENT = re.compile(r"^(```.*?^```)$|^<!--.*?-->\n?", re.DOTALL | re.MULTILINE)
_ROLE = re.compile(r":(?:attr|class|exc|func|meth|mod):(?=<code>)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Takes the navigation from the overview."""
    nav: list[Any] = [{"Overview": OVERVIEW}]
    pages = nav
    for line in (Path(config.docs_dir) / OVERVIEW).read_text().splitlines():
        if heading := _HEADING.fullmatch(line):
            pages = []
            if len(heading[1]) == 2:
                nav.append({heading[2]: pages})
            else:
                section = next(iter(nav[-1].values()))
                section.append({heading[2]: pages})
        elif line.startswith("- "):
            pages += [PROJECT.get(link[2].removeprefix("../"), link[2]) for link in _LINK.finditer(line)]
    config.nav = nav
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of the project."""
    for name, place in PROJECT.items():
        files.append(File.generated(config, place, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Leaves out comments, and leads links to where the site has their targets."""
    markdown = _FENCE_OR_COMMENT.sub(lambda found: found[1] or "", markdown)
    source = next((name for name, place in PROJECT.items() if place == page.file.src_uri), None)
    origin = source or f"docs/{page.file.src_uri}"
    here = path.dirname(page.file.src_uri)

    def led(link: re.Match[str]) -> str:
        target = path.normpath(path.join(path.dirname(origin), link[2]))
        if target in PROJECT:
            target = PROJECT[target]
        elif source and target.startswith("docs/"):
            target = target.removeprefix("docs/")
        else:
            return link[0]
        return f"{link[1]}{path.relpath(target, here or '.')}{link[3]}"

    return _LINK.sub(led, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Leaves out of docstrings what is for reStructuredText."""
    return _ROLE.sub("", html.replace("<p>::</p>\n", "")).replace("::</p>", ":</p>")
