"""Other people's suites: where they come from, how they run against a server, what came of it.

They are not part of this repository: centrifuge-python's comes from PyPI on first use, into ``.cache/sdk``;
centrifuge-js's from a checkout of its repository that is named. The port that they take for granted is
replaced in a copy, nothing else of them is changed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "JS_FILES",
    "NOT_APPLICABLE",
    "NOT_APPLICABLE_ON",
    "PYTHON_MODULES",
    "Outcome",
    "Unavailable",
    "find_python",
    "run_js",
    "run_python",
]

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "sdk"
PYTHON = "centrifuge-python==0.5.0"
PYTHON_MODULES = {"test_client": 61, "test_filter": 9, "test_fossil": 3, "test_state_invalidation": 3}
"""Its modules of tests, and how many each has."""
JS_FILES = {
    "centrifuge": 62,
    "recovery": 3,
    "delta": 4,
    "getstate": 7,
    "compaction": 4,
    "centrifuge.protobuf": 8,
    "utils": 6,
}
"""The files of tests of centrifuge-js 5.7.1 that apply, and how many tests of each do."""
NOT_APPLICABLE = {
    "map.test.ts, map.protobuf.test.ts; 'map' in recovery.test.ts and delta.test.ts": "map subscriptions",
    "debounce.test.ts": "map subscriptions",
    "shared_poll.test.ts, shared_poll.protobuf.test.ts": "shared poll subscriptions",
}
"""Tests of centrifuge-js that do not apply, and of what they are: features that everwire does not have."""
NOT_APPLICABLE_ON: dict[str, dict[tuple[str, str], str]] = {
    "nats": {("test_client", "test_auto_recovery"): "the offsets of a channel rise, but do not begin at 1"}
}
"""Tests of centrifuge-python, by module and name, that do not apply on an engine, and why."""
TIMEOUT = 300.0
"""Seconds for a suite."""


class Unavailable(Exception):
    """A suite cannot be had."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a suite.

    Attributes:
        passed: how many tests passed; a test passes if all of its subtests do.
        failures: what is said of those that did not, by their names.
    """

    passed: int
    failures: Mapping[str, str]

    def complaints(self, expected: int) -> list[str]:
        """What is wrong: failures, or another number of tests than there are."""
        found = [f"{name}:\n{why}" for name, why in self.failures.items()]
        if not found and self.passed != expected:
            found = [f"{self.passed} tests passed, but there are {expected}"]
        return found


def find_python() -> Path:
    """The folder of centrifuge-python's source, downloaded on first use.

    Raises:
        Unavailable: it could not be.
    """
    name = PYTHON.replace("-", "_").replace("==", "-")
    folder = CACHE / name
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        # Only the archive is wanted: that pip asks it for its dependencies needs what builds it.
        done = subprocess.run(
            [*download, "--dest", CACHE, PYTHON], capture_output=True, text=True, timeout=120
        )
        archive = CACHE / f"{name}.tar.gz"
        if not archive.exists():
            raise Unavailable(f"{PYTHON} could not be downloaded: {done.stderr.strip()}")
        with tarfile.open(archive) as tar:
            tar.extractall(CACHE, filter="data")
    return folder


def copy_with_port(folder: Path, target: Path, port: int) -> None:
    """Copy sources, with a port in place of 8000."""
    shutil.copytree(folder, target)
    for path in target.rglob("*.[pt][ys]"):
        text = path.read_text()
        if "localhost:8000" in text:
            path.write_text(text.replace("localhost:8000", f"localhost:{port}"))


def run_python(module: str, port: int, directory: Path, without: Iterable[str] = ()) -> Outcome:
    """Run a module of centrifuge-python's tests against the server on a port, but for some by their names."""
    target = directory / module
    copy_with_port(find_python(), target, port)
    runner = Path(__file__).with_name("unittests.py")
    done = subprocess.run(
        [sys.executable, runner, f"tests.{module}", *without],
        cwd=target,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    try:
        told = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Outcome(0, {module: done.stdout + done.stderr})
    return Outcome(told["passed"], told["failures"])


def run_js(checkout: Path, name: str, port: int, directory: Path) -> Outcome:
    """Run a file of centrifuge-js's tests, from a checkout, against the server on a port.

    Raises:
        Unavailable: it is no checkout, or its dependencies are not installed.
    """
    jest = checkout / "node_modules" / ".bin" / "jest"
    if not (checkout / "src" / f"{name}.test.ts").exists():
        raise Unavailable(f"{checkout} is no checkout of centrifuge-js: it has no src/{name}.test.ts")
    if not jest.exists():
        raise Unavailable(f"{checkout} has no dependencies installed: run `yarn install` there")
    target = directory / name
    target.mkdir()
    for file in ("package.json", "jest.config.js", "tsconfig.json"):
        shutil.copy(checkout / file, target)
    (target / "node_modules").symlink_to(checkout / "node_modules")
    copy_with_port(checkout / "src", target / "src", port)
    report = target / "report.json"
    # "map" begins the names of tests of map subscriptions.
    wanted = ["--testNamePattern", "^(?!map)", "--forceExit", "--json", "--outputFile", report]
    done = subprocess.run(
        [jest, *wanted, f"src/{name}.test.ts"],
        cwd=target,
        env={**os.environ, "CI": "true"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if not report.exists():
        return Outcome(0, {name: done.stdout + done.stderr})
    tests = [
        test for suite in json.loads(report.read_text())["testResults"] for test in suite["assertionResults"]
    ]
    if not tests:
        return Outcome(0, {name: done.stdout + done.stderr})
    failures = {t["fullName"]: "\n".join(t["failureMessages"]) for t in tests if t["status"] == "failed"}
    return Outcome(sum(test["status"] == "passed" for test in tests), failures)
