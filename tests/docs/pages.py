"""The pages of the documentation, taken apart: code, links, tables.

Every fenced block of Python is run. By itself, unless the line above it says otherwise:

- ``<!-- run: NAME -->``: all blocks of a page with this name run together, in order, as one program;
- ``<!-- run: NAME +4 -->``: likewise, indented by so much, below what a block before it has opened;
- ``<!-- file: NAME.py -->``: it is written to a file, which programs of the page run by ``start("NAME.py")``.

A comment that goes on after ``run: NAME`` or ``file: NAME`` is code that readers do not see: what a snippet
needs around it to run, and what checks that it did what the page says. Programs may use ``await`` outside of
functions.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PORT = "8765"
"""The port that the pages use; programs run on a free one."""

_FENCE = re.compile(r"```(\w*)")
_MARK = re.compile(r"<!-- (run|file): ([\w. -]*\w)(?: \+(\d+))?( -->)?")
_HEADING = re.compile(r"#{1,6} (.+)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


@dataclass(frozen=True, slots=True)
class Block:
    """Code of a page: fenced, or hidden in a comment."""

    page: Path
    line: int
    """The number of its first line."""
    language: str
    code: str
    kind: str = ""
    """``run``, ``file`` or nothing: what the mark above it says."""
    name: str = ""
    indent: int = 0


@dataclass(slots=True)
class Program:
    """The blocks of a page that run together."""

    page: Path
    name: str
    blocks: list[Block] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.name}"

    def compile(self, port: int | str = PORT) -> CodeType:
        """The code, with the line numbers that it has on the page."""
        lines: list[str] = []
        for block in self.blocks:
            lines += [""] * (block.line - 1 - len(lines))
            lines += textwrap.indent(block.code.replace(PORT, str(port)), " " * block.indent).splitlines()
        source = "\n".join(lines) + "\n"
        return compile(source, str(self.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    @property
    def awaits(self) -> bool:
        """Whether it has to run on an event loop."""
        return bool(self.compile().co_flags & inspect.CO_COROUTINE)


def blocks(page: Path) -> Iterator[Block]:
    """The code of a page, hidden code included, in order."""
    lines = page.read_text().splitlines()
    kind = name = ""
    indent = at = 0
    while at < len(lines):
        fence, mark = _FENCE.fullmatch(lines[at]), _MARK.fullmatch(lines[at])
        at += 1
        if mark is not None:
            kind, name, indent = mark[1], mark[2], int(mark[3] or 0)
        if fence is not None or (mark is not None and mark[4] is None):
            end = lines.index("```" if fence else "-->", at)
            code = "\n".join(lines[at:end]) + "\n"
            yield Block(page, at + 1, fence[1] if fence else "python", code, kind, name, indent)
            at = end + 1
            kind, name, indent = "", "", 0
        elif mark is None:
            assert not kind, f"{page}:{at}: no code follows the mark of {name}"
            assert not lines[at - 1].startswith(("<!-- run", "<!-- file", "```")), (
                f"{page}:{at}: what is this?"
            )


def programs(page: Path) -> list[Program]:
    """What is to be run of a page."""
    found: dict[str, Program] = {}
    for block in blocks(page):
        if block.language == "python" and block.kind != "file":
            name = block.name or f"line {block.line}"
            found.setdefault(name, Program(page, name)).blocks.append(block)
    return list(found.values())


def files(page: Path) -> dict[str, str]:
    """The files of a page by name."""
    found: dict[str, str] = {}
    for block in blocks(page):
        if block.kind == "file":
            found[block.name] = found.get(block.name, "") + block.code
    return found


def prose(page: Path) -> list[str]:
    """The lines of a page without those of its code, which are empty instead."""
    lines = page.read_text().splitlines()
    for block in blocks(page):
        count = len(block.code.splitlines())
        lines[block.line - 1 : block.line - 1 + count] = [""] * count
    return lines


def links(page: Path) -> Iterator[tuple[int, str]]:
    """The links and images of a page, with the numbers of their lines."""
    for number, line in enumerate(prose(page), 1):
        for found in _LINK.finditer(line):
            yield number, found[1] or found[2]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are linked by."""
    headings = [found[1] for line in prose(page) if (found := _HEADING.fullmatch(line))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def tables(page: Path, heading: str) -> Iterator[dict[str, str]]:
    """The rows of all tables under a heading, to the next one: cells by the names of their columns."""
    lines = prose(page)
    starts = [number for number, line in enumerate(lines) if _HEADING.fullmatch(line)]
    start = next(number for number in starts if lines[number].lstrip("# ") == heading)
    end = next((number for number in starts if number > start), len(lines))
    names: list[str] = []
    for line in lines[start + 1 : end]:
        if not line.startswith("|"):
            names = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not names:
            names = cells
        elif not set(line) <= set("|-: "):
            assert len(cells) == len(names), f"{page}: {line}"
            yield dict(zip(names, cells, strict=True))
