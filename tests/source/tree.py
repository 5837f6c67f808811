"""The source tree as the checks of this folder see it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "everwire"
CORE = PACKAGE / "_core"

_STRING = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""', re.DOTALL)
_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+(\S+)[ \t]+)?c?import[ \t]+(\([^)]*\)|[^#\n]*)", re.MULTILINE)


def sources(*suffixes: str) -> list[Path]:
    """The files of the package with these suffixes, in a stable order."""
    return sorted(path for path in PACKAGE.rglob("*") if path.suffix in suffixes)


def name(path: Path) -> str:
    """The dotted name of the module in this file."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, text: str) -> Iterator[str]:
    """The dotted names that a module imports or cimports when it runs, ``from`` imports name by name."""
    package = name(path) if path.stem == "__init__" else name(path).rpartition(".")[0]
    found = _python_imports(text) if path.suffix == ".py" else _cython_imports(text)
    for module, names in found:
        level = len(module) - len(module.lstrip("."))
        base = module[level:]
        if level:
            above = package.rsplit(".", level - 1)[0] if level > 1 else package
            base = f"{above}.{base}" if base else above
        yield from (f"{base}.{each}" for each in names) if names else (base,)


def _python_imports(text: str) -> Iterator[tuple[str, list[str]]]:
    pending: list[ast.AST] = [ast.parse(text)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            pending += node.orelse  # what only a type checker imports is not a dependency
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), [alias.name for alias in node.names]
        pending += ast.iter_child_nodes(node)


def _cython_imports(text: str) -> Iterator[tuple[str, list[str]]]:
    for match in _IMPORT.finditer(_STRING.sub('""', text)):
        module, rest = match.groups()
        names = [each.split(" as ")[0].strip() for each in rest.strip("() \t\n").split(",")]
        names = [each for each in names if each]
        if module is None:
            yield from ((each, []) for each in names)
        else:
            yield module, names
