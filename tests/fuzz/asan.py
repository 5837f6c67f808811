"""Runs the tests of the core and of WebSockets with the core built under AddressSanitizer and UBSan (Linux).

    python tests/fuzz/asan.py [arguments for pytest]

The build is away from the one in place, in build/asan. Python itself is not instrumented, so the runtime is
loaded ahead of it; and as it frees little before it exits, leaks are not reported.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from fuzz.building import ROOT, build  # noqa: E402

FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined"
DEFAULT = ["tests/core", "tests/websocket", "tests/fuzz"]


def library(compiler: str, name: str) -> str:
    """The path of a library that the compiler links with.

    Raises:
        SystemExit: it has none.
    """
    command = [*shlex.split(compiler), f"-print-file-name={name}"]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if not os.path.isabs(path):
        raise SystemExit(f"{compiler} has no {name}: install its sanitizers, or set CC to gcc")
    return path


def main() -> int:
    """Build, and run pytest."""
    compiler = os.environ.get("CC", "gcc")
    source = build(ROOT / "build" / "asan", compiler=compiler, flags=FLAGS, link=FLAGS)
    env = {
        **os.environ,
        # The C++ library comes along, or exceptions in extensions that use it end the process.
        "LD_PRELOAD": f"{library(compiler, 'libasan.so')} {library(compiler, 'libstdc++.so')}",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:quarantine_size_mb=16",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": os.environ.get("PYTHONMALLOC", "malloc"),
        "PYTHONPATH": str(source),
    }
    arguments = sys.argv[1:]
    if not any(argument.startswith("tests") for argument in arguments):
        arguments += DEFAULT
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
