"""Measures everwire beside other WebSocket servers and clients, and says which targets are reached.

    python bench/run.py [--quick] [--servers callbacks,picows] [--loads echo,fan] [--rounds 5] [--seconds 2]

Each server runs alone on one core, the load generator on another, in turn and several times over; what counts
is the median. On first use the peers are installed into bench/.cache and the generator is compiled. Before
anything is measured, every server must send back every byte right. Absolute figures depend on the machine and
on what else it does: trust the ratios, and of the absolute figures the server's CPU time before the rate.
"""

from __future__ import annotations

import argparse
import datetime
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from client import measure_clients
from harness import install, process, report
from harness.backends import BACKENDS
from harness.contenders import CLIENTS, SERVERS, Client, Server
from harness.loads import BYTES, CHECKS, CLIENT_LOADS, CPU, HANDSHAKES, LOADS, RATE, Load, Variant
from harness.results import Results, machine

RESULTS = Path(__file__).resolve().parent / "results"
ENGINES = "engines"
"""The load that is not of sockets: publications between nodes."""
BUSY = 0.1
"""The share of the processors' time that other work may take before the report warns of it."""


class Bench:
    """One run: the tools, what was found wanting, and the results so far."""

    def __init__(self, results: Results, warmup: float) -> None:
        self.results = results
        self.warmup = warmup
        self.generator, self.tls = install.build_generator()
        self.certificate, self.key = install.make_certificate() if self.tls else (Path(), Path())
        self.broken: set[tuple[str, Variant]] = set()

    def note(self, what: str) -> None:
        self.results.fail(what)
        print(f"  ! {what}", flush=True)

    def command(self, server: Server, variant: Variant, port: int) -> list[str]:
        values = {"port": port, "certificate": self.certificate, "key": self.key}
        words = [word.format(**values) for word in server.command(variant)]
        return [install.INTERPRETERS[server.runtime], *words]

    def load(self, words: str, port: int, variant: Variant, *options: str) -> dict[str, float]:
        mode, path, *rest = words.split()
        flags = {"plain": [], "tls": ["--tls"], "deflate": ["--deflate"]}[variant]
        command = [str(self.generator), mode, "127.0.0.1", str(port), path, *rest, *flags, *options]
        figures: dict[str, float] = json.loads(process.run_load(command, timeout=90))
        return figures

    def check(self, server: Server, variant: Variant) -> None:
        """Lets a server that answers wrongly take no part under this variant."""
        port = process.free_port()
        checks = [words for words in CHECKS if variant == "plain" or not words.startswith("fanout")]
        try:
            with process.serving(self.command(server, variant, port), port, install.CACHE / "server.log"):
                for words in checks:
                    try:
                        self.load(words, port, variant, "--check", "--seconds", "5")
                    except process.Failed as exc:
                        raise process.Failed(f"{exc} ({words})") from exc
        except process.Failed as exc:
            self.broken.add((server.name, variant))
            self.note(f"{server.name} ({variant}) takes no part: {exc}")

    def measure(self, server: Server, load: Load) -> None:
        port = process.free_port()
        seconds = 1.0 if load.idle else self.results.seconds
        try:
            with process.serving(
                self.command(server, load.variant, port), port, install.CACHE / "server.log"
            ) as pid:
                options = ("--pid", str(pid), "--seconds", str(seconds), "--warmup", str(self.warmup))
                figures = self.load(load.command, port, load.variant, *options)
        except process.Failed as exc:
            self.note(f"{server.name}, {load.name}: {exc}")
            return
        if load.variant == "deflate" and not load.idle and figures["compressed"] < 1:
            self.note(
                f"{server.name}, {load.name}: only {figures['compressed']:.0%} of its replies were compressed"
            )
            return
        self.results.add(load.name, server.name, _kept(figures))


def _kept(figures: dict[str, float]) -> dict[str, float]:
    names = {
        "server_cpu_us_per_msg": CPU,
        "msgs_per_s": RATE,
        "p50_us": "p50_us",
        "p99_us": "p99_us",
        "handshakes_per_s": HANDSHAKES,
        "server_cpu_us_per_handshake": "cpu_us_per_handshake",
        "bytes_per_connection": BYTES,
    }
    return {kept: figures[name] for name, kept in names.items() if name in figures}


def install_all(contenders: Sequence[Server | Client], results: Results) -> set[str]:
    """Installs what takes part; returns the names of those that can."""
    ready: set[str] = set()
    print("Installing what is missing", flush=True)
    for contender in contenders:
        try:
            install.install(contender)
        except install.Unavailable as exc:
            results.fail(f"{contender.name} takes no part: {exc}")
            print(f"  ! {results.failures[-1]}", flush=True)
            continue
        ready.add(contender.name)
        if version := install.version_of(contender):
            results.versions[contender.packages[0]] = version
    for package in install.ALWAYS:
        results.versions[package] = install.python_version_of(package) or "none"
    return ready


def measure_servers(bench: Bench, servers: Sequence[Server], loads: Sequence[Load], rounds: int) -> None:
    """Load by load, so that what is compared is measured close in time, and in another order each round."""
    variants: list[Variant] = list(dict.fromkeys(load.variant for load in loads))
    print("Checking that every server answers right", flush=True)
    for server in servers:
        for variant in variants:
            if variant in server.variants:
                bench.check(server, variant)
    for number in range(rounds):
        for load in loads:
            print(f"Round {number + 1} of {rounds}: {load.title}", flush=True)
            turn = number % len(servers) if servers else 0
            for server in (*servers[turn:], *servers[:turn]):
                if load.variant in server.variants and (server.name, load.variant) not in bench.broken:
                    bench.measure(server, load)


def run_engines(arguments: argparse.Namespace) -> None:
    """Engines between nodes: bench/engines.py, with what takes part installed."""
    own = (
        "aiohappyeyeballs",
        "idna",
        "msgspec",
        "uvicorn",
        "httptools",
        "protobuf",
        "pyjwt",
        "cryptography",
        "pyyaml",
    )
    install.CACHE.mkdir(exist_ok=True)
    for packages in (own, *(backend.packages for backend in BACKENDS.values())):
        try:
            install.install_python(packages)
        except install.Unavailable as exc:
            print(f"  ! {exc}", flush=True)
    words = ["--rounds", str(arguments.rounds), "--seconds", str(arguments.seconds)]
    if arguments.quick:
        words += ["--output", str(install.CACHE / "quick-engines.json")]
    if arguments.add:
        words += ["--add"]
    done = subprocess.run(
        [install.INTERPRETERS["python"], "engines.py", *words], cwd=install.BENCH, env=install.environment()
    )
    if done.returncode:
        raise SystemExit(done.returncode)


def choose(chosen: str | None, names: Sequence[str], what: str) -> list[str]:
    if chosen is None:
        return list(names)
    wanted = chosen.split(",")
    if unknown := [name for name in wanted if name not in names]:
        raise SystemExit(f"no {what} is called {', '.join(unknown)}; there are {', '.join(names)}")
    return wanted


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement (default 2)")
    parser.add_argument("--quick", action="store_true", help="one round of one second, kept in bench/.cache")
    parser.add_argument(
        "--servers", metavar="NAMES", help="of: " + ", ".join(server.name for server in SERVERS)
    )
    parser.add_argument(
        "--loads",
        metavar="NAMES",
        help="of: " + ", ".join([load.name for load in (*LOADS, *CLIENT_LOADS)] + [ENGINES]),
    )
    parser.add_argument(
        "--clients", metavar="NAMES", help="of: " + ", ".join(client.name for client in CLIENTS)
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="the results, as JSON (default: by date in bench/results)"
    )
    parser.add_argument("--add", action="store_true", help="add to the samples that the output has")
    parser.add_argument("--report", type=Path, metavar="FILE", help="only show the results of an earlier run")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = 1, 1.0
    return arguments


def start_results(arguments: argparse.Namespace) -> tuple[Results, Path]:
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    output = arguments.output or (
        install.CACHE / "quick.json" if arguments.quick else RESULTS / f"{date}.json"
    )
    if arguments.add and output.exists():
        results = Results.load(output)
        results.failures.clear()
        return results, output
    return Results(date, machine(), arguments.seconds), output


def main() -> None:
    arguments = parse()
    if arguments.report:
        report.show(Results.load(arguments.report))
        return
    if sys.platform != "linux":
        raise SystemExit("the benchmark runs on Linux only: it needs epoll, /proc and pinning to cores")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    process.raise_file_limit()
    chosen = choose(arguments.loads, [load.name for load in (*LOADS, *CLIENT_LOADS)] + [ENGINES], "load")
    if ENGINES in chosen:
        run_engines(arguments)
        chosen.remove(ENGINES)
        if not chosen:
            return
    loads = [load for load in LOADS if load.name in chosen]
    client_loads = [load for load in CLIENT_LOADS if load.name in chosen]
    servers = [s for s in SERVERS if s.name in choose(arguments.servers, [s.name for s in SERVERS], "server")]
    clients = [c for c in CLIENTS if c.name in choose(arguments.clients, [c.name for c in CLIENTS], "client")]

    results, output = start_results(arguments)
    try:
        bench = Bench(results, warmup=0.3 if arguments.quick else 0.5)
    except install.Unavailable as exc:
        raise SystemExit(str(exc)) from exc
    if (busy := process.busy_share()) > BUSY:
        bench.note(
            f"other work took {busy:.0%} of the processors before the start: the figures are only a hint"
        )
    if not bench.tls:
        bench.note(
            "no load with TLS: OpenSSL's headers are needed (Debian and Ubuntu: apt install libssl-dev)"
        )
        loads = [load for load in loads if load.variant != "tls"]
    try:
        if loads:
            ready = install_all(servers, results)
            measure_servers(bench, [s for s in servers if s.name in ready], loads, arguments.rounds)
        if client_loads:
            ready = install_all(clients, results)
            measure_clients(results, [c for c in clients if c.name in ready], client_loads, arguments.rounds)
    except KeyboardInterrupt:
        print("\ninterrupted: what was measured so far", flush=True)
    finally:
        results.save(output)
    report.show(results)
    print(f"\nkept in {output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output}")


if __name__ == "__main__":
    main()
