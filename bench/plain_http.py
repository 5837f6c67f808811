"""Plain HTTP of a hosted ASGI application: `everwire serve` against uvicorn. It needs Linux and wrk.

    python bench/plain_http.py [--rounds 5] [--seconds 3] [--connections 64]

Run it with a Python that has everwire[asgi,cli,uvloop].
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from harness.process import free_port, run_load, serving

UVICORN = ("uvicorn", "--app-dir", "peers", "--loop", "uvloop", "--http", "httptools")
SERVERS = {
    "uvicorn": UVICORN,
    "everwire": ("everwire.cli", "serve", "--app-dir", "peers", "--loop", "uvloop"),
}
QUIET = ("--no-access-log", "--log-level", "warning")


def cpu_seconds(pid: int) -> float:
    """The processor's time that a process has had, kernel time included."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100


def measure(server: str, seconds: int, connections: int, log: Path) -> tuple[float, float]:
    """Requests a second, and microseconds of the server's processor for each."""
    port = free_port()
    command = (sys.executable, "-m", *SERVERS[server], "http_app:app", "--port", str(port), *QUIET)
    url = f"http://127.0.0.1:{port}/"
    load = ("wrk", "-t1", f"-c{connections}")
    with serving(command, port, log) as pid:
        run_load((*load, "-d1", url), 30)
        before = cpu_seconds(pid)
        printed = run_load((*load, f"-d{seconds}", url), seconds + 30)
        spent = cpu_seconds(pid) - before
    done = re.search(r"(\d+) requests in", printed)
    rate = re.search(r"Requests/sec: +([\d.]+)", printed)
    if done is None or rate is None or "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"{server}: {printed}")
    return float(rate[1]), spent / int(done[1]) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="Plain HTTP under everwire serve and under uvicorn.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is needed: it is a package of that name in Debian, Fedora and Homebrew")
    samples: dict[str, list[tuple[float, float]]] = {server: [] for server in SERVERS}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(arguments.rounds):
            for server in sorted(SERVERS, reverse=bool(i % 2)):
                log = Path(folder) / f"{server}.log"
                samples[server].append(measure(server, arguments.seconds, arguments.connections, log))
    print(f"{'':10}{'requests/s':>12}{'us of CPU/request':>20}")
    for server, found in samples.items():
        rate, cost = (statistics.median(each) for each in zip(*found, strict=True))
        print(f"{server:10}{rate:12.0f}{cost:20.1f}")


if __name__ == "__main__":
    main()
