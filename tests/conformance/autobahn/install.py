"""Getting at Autobahn|Testsuite: Python 2 code, installed on first use, or run from its Docker image."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache" / "autobahn"
IMAGE = "crossbario/autobahn-testsuite:25.10.1"

# The suite's wheel names no dependencies. These are the last of each that run on Python 2.7 together with it;
# wsaccel masks and validates in C, without which the limits cases take nine times as long.
REQUIREMENTS = (
    "setuptools==44.0.0",
    "txaio==2.1.0",
    "incremental==16.10.1",
    "pyOpenSSL==19.1.0",
    "cryptography==3.3.2",
    "Twisted==19.10.0",
    "zope.interface==4.6.0",
    "jinja2==2.11.3",
    "markupsafe==1.1.1",
    "Werkzeug==0.16.1",
    "klein==17.10.0",
    "service_identity==18.1.0",
    "unittest2==1.1.0",
    "six==1.16.0",
    "autobahn==0.10.9",
    "wsaccel==0.6.2",
)
SUITE = "autobahntestsuite==25.10.1"
VIRTUALENV = "virtualenv<20.22"  # the last that makes environments of Python 2.7


class Unavailable(Exception):
    """The suite cannot be run here: there is neither a Python 2.7 nor a Docker engine, or no network."""


@dataclass(frozen=True)
class Installed:
    """The suite in an environment of Python 2.7."""

    python: Path
    host: str = "127.0.0.1"
    """The name under which the suite reaches a server on this machine."""

    def command(self, directory: Path, mode: str, port: int | None) -> list[str]:
        """The command that runs ``directory/spec.json``; ``port`` is the one it listens on, if it does."""
        return [str(self.python), "-m", "autobahntestsuite.wstest", "-m", mode, "-u", "0", "-s", "spec.json"]


@dataclass(frozen=True)
class Container:
    """The suite in its authors' Docker image."""

    image: str = IMAGE
    host: str = "127.0.0.1" if sys.platform == "linux" else "host.docker.internal"

    def command(self, directory: Path, mode: str, port: int | None) -> list[str]:
        """The command that runs ``directory/spec.json``; ``port`` is the one it listens on, if it does."""
        run = [
            "docker",
            "run",
            "--rm",
            "--init",
            "--env",
            "PYTHONUNBUFFERED=1",
            "--user",
            f"{os.getuid()}:{os.getgid()}",
        ]
        if sys.platform == "linux":
            run += ["--network", "host"]
        elif port is not None:
            run += ["--publish", f"127.0.0.1:{port}:{port}"]
        run += ["--volume", f"{directory}:/run-here", "--workdir", "/run-here", self.image]
        return [*run, "wstest", "-m", mode, "-u", "0", "-s", "spec.json"]


Suite = Installed | Container
"""A way to run ``wstest``, the suite's command."""


def find_suite(via: str = "auto") -> Suite:
    """Find the suite, and install it if need be.

    Args:
        via: ``python2``, ``docker``, or ``auto`` for the first of them that is there.

    Raises:
        Unavailable: if there is none of them, or the installation fails; the message says why.
    """
    if via in ("auto", "python2"):
        interpreter = find_python2()
        if interpreter is not None:
            return Installed(install(interpreter))
        if via == "python2":
            raise Unavailable("no Python 2.7 found: install one with `pyenv install 2.7.18`")
    if docker_answers():
        return Container()
    raise Unavailable(
        "it needs a Python 2.7 (`pyenv install 2.7.18`) or a running Docker engine, and there is neither"
    )


def find_python2() -> Path | None:
    """A Python 2.7 that runs: pyenv's newest, or ``python2.7`` on the path."""
    roots = [os.environ.get("PYENV_ROOT", ""), os.path.expanduser("~/.pyenv")]
    if shutil.which("pyenv"):
        roots.insert(0, subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip())
    candidates = [
        path
        for root in roots
        if root
        for path in sorted(Path(root).glob("versions/2.7*/bin/python2.7"), reverse=True)
    ]
    candidates += [Path(found)] if (found := shutil.which("python2.7")) else []
    # pyenv's shims are on the path even where the version behind them is not installed: so try them
    script = "import sys, ssl; assert sys.version_info[:2] == (2, 7)"
    for path in candidates:
        if (
            subprocess.run([path, "-c", script], stdin=subprocess.DEVNULL, capture_output=True).returncode
            == 0
        ):
            return path
    return None


def docker_answers() -> bool:
    """Whether there is a Docker engine, not just the command."""
    if shutil.which("docker") is None:
        return False
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Os}}"], capture_output=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0 and asked.stdout.strip() == b"linux"


def install(interpreter: Path) -> Path:
    """Install the suite into the cache, once; return the Python of its environment."""
    wanted = "\n".join((*REQUIREMENTS, SUITE, str(interpreter)))
    environment = CACHE / "py27"
    python = environment / "bin" / "python"
    stamp = environment / f"complete-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    with lock(CACHE / "installing", wait=True):
        if stamp.exists():
            return python
        print(f"installing Autobahn|Testsuite into {CACHE.relative_to(ROOT)} ...", flush=True)
        shutil.rmtree(environment, ignore_errors=True)
        tools = CACHE / "tools"
        _run(sys.executable, "-m", "venv", "--clear", str(tools))
        _run(str(tools / "bin" / "pip"), "install", "--quiet", VIRTUALENV)
        _run(str(tools / "bin" / "virtualenv"), "--quiet", "--python", str(interpreter), str(environment))
        _run(str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS)
        _run(str(python), "-m", "pip", "install", "--quiet", "--no-deps", SUITE)
        stamp.touch()
    return python


@contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock file against other processes; False: another one has it (unless ``wait``)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip() and "DEPRECATION" not in line]
        raise Unavailable(
            f"installing Autobahn|Testsuite failed at `{' '.join(command)}`: " + " / ".join(lines[-3:])
        )
