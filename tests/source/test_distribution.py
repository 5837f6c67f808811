"""What is shipped holds all that is needed, and nothing that was built."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from source.tree import PACKAGE, ROOT, SOURCE

OURS = {".py", ".pyi", ".pyx", ".pxd", ".h", ".typed", ".html", ".js", ".ts", ".css", ".svg"}


def ours() -> set[str]:
    """The files of the package that people wrote, as paths below src."""
    return {path.relative_to(SOURCE).as_posix() for path in PACKAGE.rglob("*") if path.suffix in OURS}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """What is in the source distribution and in a wheel; made without compiling the core."""
    folder = tmp_path_factory.mktemp("dist")
    build = ["egg_info", "--egg-base", str(folder), "sdist", "--dist-dir", str(folder)]
    build += ["build", "--build-base", str(folder / "build"), "bdist_wheel", "--dist-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", *build],
        cwd=ROOT,
        env={**os.environ, "EVERWIRE_CORE": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        source = {Path(*Path(each).parts[1:]).as_posix() for each in archive.getnames()}
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        return source, set(wheel.namelist())


def test_the_source_distribution_is_complete(shipped: tuple[set[str], set[str]]) -> None:
    source, _ = shipped
    needed = {f"src/{each}" for each in ours()} | {"pyproject.toml", "setup.py", "LICENSE", "README.md"}
    assert needed - source == set()
    built = {each for each in source if each.startswith("src/") and each.endswith((".c", ".so", ".pyc"))}
    assert built == set()


def test_a_wheel_is_complete(shipped: tuple[set[str], set[str]]) -> None:
    _, wheel = shipped
    needed = {
        each for each in ours() if not each.endswith(".pyx")
    }  # what is compiled is not shipped as source
    assert needed - wheel == set()
    strays = {each for each in wheel if not each.startswith("everwire/") and ".dist-info/" not in each}
    assert strays == set()
    assert [each for each in wheel if each.endswith((".c", ".pyc"))] == []
