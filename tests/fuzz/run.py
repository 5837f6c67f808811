"""Fuzzes what reads the peer's bytes: coverage-guided, with sanitizers. Ends with 1 if it finds something.

    python tests/fuzz/run.py --seconds 60 --runs 1000000 --target frames

It needs clang with its runtime libraries (Debian, Ubuntu: apt install clang). What it has learnt stays in
build/fuzz; an input that breaks something is written to build/fuzz/findings. Put it into
tests/fuzz/findings/TARGET, where test_regressions.py tries it from then on.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from fuzz.building import ROOT, build  # noqa: E402
from fuzz.seeds import SEEDS  # noqa: E402

FOLDER = ROOT / "build" / "fuzz"
LONGEST = {
    "frames": 4096,
    "heads": 2048,
    "compressed": 2048,
    "connections": 2048,
    "deltas": 4096,
    "commands": 2048,
}
"""The targets, and the bytes of their longest inputs."""

FLAGS = "-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined"
DONE = re.compile(r"^#(\d+)\s+DONE\s+cov: (\d+) ft: (\d+) corp: (\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one target."""

    target: str
    ok: bool
    runs: int
    edges: int
    features: int
    corpus: int
    log: str


def compiler() -> str:
    """The clang to build with.

    Raises:
        SystemExit: there is none.
    """
    names = [os.environ["CC"]] if "clang" in os.environ.get("CC", "") else []
    names += ["clang", *(f"clang-{version}" for version in range(22, 13, -1))]
    for name in names:
        if shutil.which(shlex.split(name)[0]):
            return name
    raise SystemExit("fuzzing needs clang: install it (Debian, Ubuntu: apt install clang), or set CC to it")


def link(clang: str) -> Path:
    """Build the program that hands libFuzzer's inputs to Python."""
    program = FOLDER / "harness"
    source = Path(__file__).with_name("harness.c")
    version = sysconfig.get_config_var("LDVERSION")
    libraries = sysconfig.get_config_var("LIBDIR")
    command = [
        *shlex.split(clang),
        "-O1",
        "-g",
        "-fsanitize=address,undefined,fuzzer",
        "-rdynamic",
        str(source),
    ]
    command += [f"-I{sysconfig.get_path('include')}", f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
    command += [f"-lpython{version}", "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the harness does not build:\n{done.stdout}{done.stderr}")
    return program


def write_seeds(target: str) -> None:
    """Write the inputs to begin with, and the findings of the past."""
    folder = FOLDER / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[target]():
        (folder / sha1(seed).hexdigest()).write_bytes(seed)
    past = Path(__file__).with_name("findings") / target
    for path in past.glob("*") if past.is_dir() else ():
        shutil.copy(path, folder / path.name)


def fuzz(target: str, program: Path, source: Path, *, runs: int, seconds: int) -> Outcome:
    """Run one target."""
    findings = FOLDER / "findings" / target
    findings.mkdir(parents=True, exist_ok=True)
    env = {
        **os.environ,
        "FUZZ_TARGET": target,
        "PYTHONHOME": sys.base_prefix,
        "PYTHONPATH": os.pathsep.join([str(source), str(TESTS), *filter(None, sys.path[1:])]),
        "PYTHONMALLOC": "malloc",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_abort=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    options = [f"-max_total_time={seconds}", f"-runs={runs}", f"-max_len={LONGEST[target]}", "-timeout=10"]
    options += [
        "-rss_limit_mb=3000",
        "-detect_leaks=0",
        "-print_final_stats=1",
        f"-artifact_prefix={findings}/",
    ]
    command = [str(program), *options, str(FOLDER / "corpus" / target)]
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    log = (done.stdout + done.stderr).decode(errors="replace")
    (FOLDER / f"{target}.log").write_text(log)
    stats = DONE.search(log)
    numbers = [int(number) for number in stats.groups()] if stats else [0, 0, 0, 0]
    return Outcome(target, done.returncode == 0, *numbers, log)


def main() -> int:
    """Build, run, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--runs", type=int, default=-1, help="inputs for each target (default: no limit)")
    parser.add_argument("--target", action="append", choices=LONGEST, help="may be repeated (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="targets to run at the same time (default: 1)")
    arguments = parser.parse_args()
    targets: list[str] = arguments.target or list(LONGEST)
    clang = compiler()
    print(f"building the core with {clang} {FLAGS}", flush=True)
    source = build(FOLDER / "core", compiler=clang, flags=FLAGS)
    program = link(clang)
    for target in targets:
        write_seeds(target)
    failed = 0

    def one(target: str) -> Outcome:
        return fuzz(target, program, source, runs=arguments.runs, seconds=arguments.seconds)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        for outcome in pool.map(one, targets):
            if outcome.ok:
                reached = f"{outcome.edges:,} edges, {outcome.features:,} features, {outcome.corpus:,} kept"
                print(f"{outcome.target:12} {outcome.runs:>9,} inputs, {reached}, no finding", flush=True)
            else:
                failed += 1
                print(f"{outcome.target:12} FOUND SOMETHING:\n{outcome.log[-6000:]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
