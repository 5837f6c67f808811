"""Fetches and builds what a run needs into bench/.cache: the peers, the load generator, a certificate."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from .contenders import Client, Server

BENCH = Path(__file__).resolve().parents[1]
ROOT = BENCH.parent
CACHE = BENCH / ".cache"
VENV = CACHE / f"venv-{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = VENV / "bin" / "python"
NODE_MODULES = CACHE / "node_modules"
ALWAYS = ("uvloop", "zlib-ng")

INTERPRETERS = {"python": str(PYTHON), "node": "node", "bun": str(NODE_MODULES / ".bin" / "bun")}


class Unavailable(Exception):
    """Something cannot be installed or built here; the message says what to do."""


def environment() -> dict[str, str]:
    """The environment of every server and client: our packages, nothing of the caller's Python."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NODE_"))}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(BENCH), *([str(ROOT / "src")] if _built_in_place() else [])]),
        "NODE_PATH": str(NODE_MODULES),
        "NODE_ENV": "production",
    }


def _run(words: list[str], what: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{what} failed: {said[-1] if said else 'no message'}")


def _make_venv() -> None:
    if not PYTHON.exists():
        _run([sys.executable, "-m", "venv", str(VENV)], "making a virtual environment")


def _missing(packages: tuple[str, ...]) -> list[str]:
    return [package for package in packages if python_version_of(package) is None]


def python_version_of(package: str) -> str | None:
    name = package.lower().replace("-", "_")
    found = list(VENV.glob(f"lib/python*/site-packages/{name}-*.dist-info"))
    return found[0].name.removesuffix(".dist-info").partition("-")[2] if found else None


def npm_version_of(package: str) -> str | None:
    try:
        return str(json.loads((NODE_MODULES / package / "package.json").read_text())["version"])
    except FileNotFoundError:
        return None


def install_python(packages: tuple[str, ...]) -> None:
    _make_venv()
    if missing := _missing((*ALWAYS, *packages)):
        _run([str(PYTHON), "-m", "pip", "install", "-q", *missing], f"pip install {' '.join(missing)}")


def install_npm(packages: tuple[str, ...]) -> None:
    missing = [package for package in packages if npm_version_of(package) is None]
    if not missing:
        return
    if shutil.which("npm") is None:
        raise Unavailable(f"npm is needed for {' '.join(missing)}")
    (CACHE / "package.json").write_text("{}\n")
    _run(["npm", "install", "--silent", "--prefix", str(CACHE), *missing], f"npm install {' '.join(missing)}")


def _built_in_place() -> bool:
    tag = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
    return any((ROOT / "src" / "everwire" / "_core").glob(f"*.{tag}*.so"))


@cache
def _everwire_lacks() -> str | None:
    """Why everwire cannot take part, once it is installed: as it is if its core is built in place for this
    Python, else by pip.
    """
    try:
        if _built_in_place():
            install_python(("aiohappyeyeballs", "idna", "msgspec"))
        else:
            _run([str(PYTHON), "-m", "pip", "install", "-q", str(ROOT)], "building everwire")
    except Unavailable as exc:
        return str(exc)
    probe = "import everwire; everwire.serve, everwire.connect, everwire.Listener, everwire.Topic"
    done = subprocess.run([str(PYTHON), "-c", probe], env=environment(), capture_output=True, text=True)
    return f"everwire does not import: {done.stderr.strip().splitlines()[-1]}" if done.returncode else None


def install(contender: Server | Client) -> None:
    """Raises Unavailable."""
    CACHE.mkdir(exist_ok=True)
    runtime = contender.runtime if isinstance(contender, Server) else "python"
    if contender.ours:
        install_python((*ALWAYS, *contender.packages))
        if lacks := _everwire_lacks():
            raise Unavailable(lacks)
    elif runtime == "python":
        install_python(contender.packages)
    elif runtime == "node" and shutil.which("node") is None:
        raise Unavailable("node is needed")
    else:
        install_npm(contender.packages)


def version_of(contender: Server | Client) -> str | None:
    if not contender.packages:
        return None
    npm = isinstance(contender, Server) and contender.runtime != "python"
    return (npm_version_of if npm else python_version_of)(contender.packages[0])


def build_generator() -> tuple[Path, bool]:
    """The load generator, and whether it can do TLS (that takes OpenSSL's headers)."""
    CACHE.mkdir(exist_ok=True)
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler) is None:
        raise Unavailable("a C compiler is needed for the load generator")
    target = CACHE / "load"
    probe = [compiler, "-E", "-include", "openssl/ssl.h", "-x", "c", os.devnull, "-o", os.devnull]
    tls = subprocess.run(probe, capture_output=True).returncode == 0
    newest = max(source.stat().st_mtime for source in BENCH.glob("load*.[ch]"))
    if not target.exists() or target.stat().st_mtime < newest:
        libraries = ["-lz", "-lssl", "-lcrypto"] if tls else ["-DNO_TLS", "-lz"]
        command = [compiler, "-O3", "-march=native", "-o", str(target), str(BENCH / "load.c"), *libraries]
        _run(command, "compiling load.c (zlib's headers are needed)")
    return target, tls


def make_certificate() -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody verifies, ECDSA as most of the web has them, and its key."""
    certificate, key = CACHE / "certificate.pem", CACHE / "key.pem"
    if not (certificate.exists() and key.exists()):
        words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650"
        words += " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
        words += f" -keyout {key.name} -out {certificate.name}"
        done = subprocess.run(words.split(), cwd=CACHE, capture_output=True)
        if done.returncode:
            raise Unavailable("openssl could not make a certificate")
    return certificate, key
