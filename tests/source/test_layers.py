"""A lower layer never imports a higher one, and native code stays in _core."""

from __future__ import annotations

from pathlib import Path

import pytest
from source.tree import CORE, PACKAGE, imports, name, sources

LAYERS = {
    "errors": set[str](),
    "pacing": {"errors"},
    "supervised": set(),
    "_core": {"errors"},
    "websocket": {"errors", "_core", "pacing"},
    "sync": {"errors", "_core", "websocket"},
    "web": {"errors", "websocket", "_core"},
    "asgi": {"errors", "websocket", "_core", "pacing", "supervised"},
    "wire": {"errors", "_core"},
    "channels": {"errors", "wire", "pacing"},
    "engines": {"errors", "wire", "channels"},
    "transports": {"errors", "_core", "websocket", "wire", "channels", "pacing"},
    "js": set(),
    "ops": {"errors", "websocket", "wire", "channels"},
    "client": {"errors", "_core", "websocket", "wire"},
    "hub": {
        "errors",
        "supervised",
        "_core",
        "websocket",
        "asgi",
        "wire",
        "channels",
        "engines",
        "ops",
        "transports",
    },
    "": {
        "errors",
        "websocket",
        "web",
        "sync",
        "_core",
        "hub",
        "client",
        "wire",
    },  # the package itself: what it exports
    "cli": {
        "errors",
        "websocket",
        "web",
        "_core",
        "asgi",
        "wire",
        "channels",
        "engines",
        "hub",
        "client",
        "ops",
        "supervised",
        "",
    },
    "pytest_plugin": {"websocket", "asgi"},
    "testing": {"_core", "asgi", "channels", "client", "hub", "transports"},
    "compat": {"errors", "websocket", "_core", ""},
}
"""What each layer may import, apart from itself."""


def layer(dotted: str) -> str:
    """The layer of a module of everwire, or of a name in it."""
    _, _, inside = dotted.partition("everwire")
    first = inside.lstrip(".").split(".")[0]
    return first if first in LAYERS else ""


def broken(path: Path, text: str) -> list[str]:
    """The imports of this text, taken as the module at this path, that cross a wall."""
    mine = layer(name(path))
    allowed = LAYERS[mine] | {mine}
    ours = (dotted for dotted in imports(path, text) if dotted.split(".")[0] == "everwire")
    return [dotted for dotted in ours if layer(dotted) not in allowed]


@pytest.mark.parametrize("path", sources(".py", ".pyx", ".pxd"), ids=name)
def test_imports_stay_within_the_layers(path: Path) -> None:
    assert broken(path, path.read_text()) == []


def test_every_part_of_the_package_has_a_layer() -> None:
    parts = {path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("__")}
    parts |= {path.stem for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert parts <= set(LAYERS), f"give each of these a layer in {Path(__file__).name}"


def test_native_code_is_in_the_core_only() -> None:
    native = [path for path in sources(".pyx", ".pxd", ".pxi", ".h", ".c") if path.parent != CORE]
    assert native == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("_core/x.py", "from everwire.websocket import server"),
        ("_core/x.py", "import everwire.cli.serve"),
        ("_core/x.py", "def later():\n    from everwire import connect"),
        ("_core/x.pyx", "from everwire.websocket.messages cimport Headers"),
        ("_core/x.pyx", "cdef int f():\n    from everwire.websocket import messages"),
        ("_core/x.pxd", "from ..websocket cimport messages"),
        ("_core/x.pyx", "from everwire.websocket import (\n    messages,\n)"),
        ("websocket/x.py", "from ..cli import main"),
        ("websocket/x.py", "from everwire.cli import main"),
        ("__init__.py", "from everwire.cli import main"),
        ("errors.py", "from .websocket.messages import Response"),
    ],
)
def test_a_crossing_is_seen(file: str, text: str) -> None:
    assert broken(PACKAGE / file, text)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "_core/x.pyx",
            "from everwire._core.frames cimport Frame\nfrom everwire.errors import ProtocolError",
        ),
        ("_core/x.pyx", "from . cimport frames\nfrom libc.stdint cimport uint8_t"),
        ("_core/x.pyx", '"""from everwire.websocket import this in words"""'),
        ("errors.py", "if TYPE_CHECKING:\n    from everwire.websocket.messages import Response"),
        ("cli/x.py", "import everwire\nfrom everwire import serve"),
    ],
)
def test_what_is_allowed_passes(file: str, text: str) -> None:
    assert broken(PACKAGE / file, text) == []
