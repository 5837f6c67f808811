"""Each module of the native core has a stub, and the stub is true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from source.tree import CORE, ROOT, name, sources

NATIVE = sources(".pyx")

# What Cython adds to every module and class, and what only native code uses. The signature of a constructor
# is not to be seen in an extension type.
GENERATED = r"""
.*\.__test__
.*\.__pyx_capi__
.*\.__pyx_vtable__
.*\.__pyx_unpickle.*
.*\.__reduce_cython__
.*\.__setstate_cython__
.*\.__reduce__
.*\.__init__
.*\.__new__
"""


def test_there_is_native_code() -> None:
    assert NATIVE


@pytest.mark.parametrize("path", NATIVE, ids=name)
def test_a_native_module_has_a_stub(path: Path) -> None:
    assert path.with_suffix(".pyi").is_file()


def test_a_stub_has_a_native_module() -> None:
    assert [stub for stub in CORE.glob("*.pyi") if not stub.with_suffix(".pyx").is_file()] == []


def test_stubs_agree_with_what_was_built(tmp_path: Path) -> None:
    allowlist = tmp_path / "allowlist"
    allowlist.write_text(GENERATED)
    modules = [name(path) for path in NATIVE]
    command = [
        sys.executable,
        "-m",
        "mypy.stubtest",
        "--concise",
        "--ignore-missing-stub",
        "--ignore-disjoint-bases",
    ]
    command += [
        "--mypy-config-file",
        "pyproject.toml",
        "--ignore-unused-allowlist",
        "--allowlist",
        str(allowlist),
    ]
    done = subprocess.run(
        [*command, *modules], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode:
        pytest.fail(f"the stubs differ from the modules:\n{done.stdout}{done.stderr}", pytrace=False)
