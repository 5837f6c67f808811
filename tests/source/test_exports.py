"""What everwire exports is listed, there, and documented; that the lists are sorted, ruff checks."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
from source.tree import PACKAGE, name, sources

import everwire

MODULES = [
    path
    for path in sources(".py")
    if path.parent.name in ("client", "web", "websocket", "wire")
    or path in (PACKAGE / "errors.py", PACKAGE / "hub.py")
    if not path.stem.startswith("_")
]
"""The modules whose names the package exports."""

SIGNATURE = re.compile(r"\A(?:\w+\.\w+\(.*\)(?: -> .*)?|\w+: \w+)$", re.MULTILINE)
"""``Class.method(self, ...) -> type`` or ``attribute: type``."""


def listed(path: Path) -> list[str] | None:
    """The ``__all__`` of a module, read without importing it; None if it has none."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def members(exported: type) -> dict[str, str]:
    """The public methods and properties that a class has from this package, and their docstrings."""
    found: dict[str, str] = {}
    for base in exported.__mro__:
        if base.__module__.partition(".")[0] != "everwire":
            continue
        for attribute, value in vars(base).items():
            if attribute.startswith("_") or inspect.ismemberdescriptor(value):
                continue  # of slots, the docstring of the class tells
            if inspect.isroutine(value) or inspect.isdatadescriptor(value):
                found.setdefault(attribute, documentation(value))
    return found


def documentation(thing: object) -> str:
    """A docstring without what Cython adds: the signature, or the type, on a line of its own at the top."""
    return SIGNATURE.sub("", inspect.getdoc(thing) or "").strip()


def test_the_names_are_there_once() -> None:
    assert everwire.__all__
    assert len(set(everwire.__all__)) == len(everwire.__all__)
    assert [each for each in everwire.__all__ if not hasattr(everwire, each)] == []
    assert set(everwire.__all__) <= set(dir(everwire))


def test_a_star_import_brings_them_all() -> None:
    namespace: dict[str, object] = {}
    exec("from everwire import *", namespace)
    assert set(everwire.__all__) <= set(namespace)


@pytest.mark.parametrize("exported", getattr(everwire, "__all__", ()))
def test_a_name_is_documented(exported: str) -> None:
    thing = getattr(everwire, exported)
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return  # a constant or a type alias: documented where it is assigned
    doc = inspect.getdoc(thing) or ""
    assert doc.strip(), "has no docstring"
    if inspect.isclass(thing) and thing.__module__.startswith("everwire"):
        assert doc != inspect.getdoc(thing.__mro__[1]), "has only the docstring of its base"
        bare = [each for each, documented in members(thing).items() if not documented]
        # An attribute in C has no docstring of its own: that of the class lists it.
        told = {
            each for names in re.findall(r"^ +([\w, ]+):", doc, re.MULTILINE) for each in names.split(", ")
        }
        assert set(bare) - told == set(), "public members that nothing describes"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_lists_what_it_has(path: Path) -> None:
    names = listed(path)
    assert names is not None, "has no __all__"
    assert len(set(names)) == len(names)
    module = importlib.import_module(name(path))
    assert [each for each in names if not hasattr(module, each)] == []


def test_exported_names_are_those_of_the_modules() -> None:
    homes: dict[str, list[object]] = {}
    for path in MODULES:
        module = importlib.import_module(name(path))
        for each in listed(path) or []:
            homes.setdefault(each, []).append(getattr(module, each))
    for each in everwire.__all__:
        thing = getattr(everwire, each)
        if getattr(thing, "__module__", "").startswith("everwire._core") or each.startswith("__"):
            continue  # made by the native core, which lists nothing
        assert any(thing is home for home in homes.get(each, [])), f"{each} is in no module's __all__"
