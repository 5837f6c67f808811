"""Builds the native core with a sanitizer, away from the one in place: from a copy of the sources."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILT = {".c", ".so", ".pyc"}


def _copy(folder: Path) -> None:
    """Bring the copy up to date; what has not changed keeps its time, and so is not compiled again."""
    wanted = [ROOT / "setup.py", ROOT / "pyproject.toml", ROOT / "LICENSE"]
    wanted += [path for path in (ROOT / "src").rglob("*") if path.is_file() and path.suffix not in BUILT]
    kept: set[Path] = set()
    for path in wanted:
        to = folder / path.relative_to(ROOT)
        kept.add(to)
        if not to.exists() or to.stat().st_mtime_ns != path.stat().st_mtime_ns:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to)
    for path in (folder / "src").rglob("*"):
        if path.is_file() and path.suffix not in BUILT and path not in kept:
            path.unlink()


def build(folder: Path, *, compiler: str, flags: str, link: str = "") -> Path:
    """Build the core in *folder* with these options; return the folder to import it from.

    Raises:
        SystemExit: it does not build.
    """
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "CC": compiler, "CFLAGS": flags, "LDFLAGS": link, "EVERWIRE_DEBUG": "1"}
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _copy(folder)
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the core does not build with {compiler} {flags}:\n{done.stdout}{done.stderr}")
    return folder / "src"
