"""Running Autobahn|Testsuite: its fuzzing client against a server, its fuzzing server against a client.

The cases are shared out among several processes of the suite: most of a run is waiting, in the cases about
timing, or the suite's own work. Each process has a peer of its own: one that crashes takes no other's cases
with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from . import cases as catalogue
from .install import CACHE, Suite

GOOD = ("OK", "INFORMATIONAL")
"""Verdicts that pass: NON-STRICT and UNIMPLEMENTED do not."""

Progress = Callable[[int], None]
"""Called with how many cases have just begun."""


@dataclass(frozen=True)
class Leg:
    """What is tested: a peer and how it is reached."""

    side: str
    """``server`` or ``client``: which of the two everwire is."""
    style: str = "coroutine"
    """``coroutine``, ``listener`` (of servers) or ``threads``."""
    tls: bool = False
    reactor: bool = True
    """False for asyncio's own transports."""

    @property
    def name(self) -> str:
        """For example ``server-listener-tls``."""
        parts = (
            [self.side]
            + ([self.style] if self.side == "server" or self.style != "coroutine" else [])
            + ["tls" if self.tls else "tcp"]
        )
        return "-".join(parts + ([] if self.reactor else ["transports"]))


@dataclass(frozen=True)
class Credentials:
    """A certificate for 127.0.0.1 and localhost, and who signed it: names of PEM files."""

    authorities: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Verdict:
    """What the suite found in one case."""

    case: str
    behavior: str
    close: str
    seconds: float = 0.0
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether both the behaviour and the closing are as they should be."""
        return self.behavior in GOOD and self.close in GOOD

    def __str__(self) -> str:
        return f"{self.behavior}, close: {self.close}" + (f" ({self.detail})" if self.detail else "")


@dataclass
class Outcome:
    """The verdicts of one leg, and what went wrong besides."""

    leg: Leg
    group: str
    wanted: list[str]
    verdicts: dict[str, Verdict] = field(default_factory=dict[str, Verdict])
    troubles: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    def failures(self) -> list[str]:
        """A line for each way in which cases did not pass or run, and each trouble; empty if all is well."""
        found: dict[str, list[str]] = {}
        for case in self.wanted:
            verdict = self.verdicts.get(case)
            if verdict is None or not verdict.passed:
                found.setdefault("NOT RUN" if verdict is None else str(verdict), []).append(case)
        lines: list[str] = []
        for what, which in found.items():
            more = f" and {len(which) - 20} more" if len(which) > 20 else ""
            lines.append(f"{' '.join(which[:20])}{more}: {what}")
        return lines + list(dict.fromkeys(self.troubles))


@dataclass
class Shard:
    """One process of the suite and its peer, with a directory for what they write."""

    suite: Suite
    leg: Leg
    cases: list[str]
    directory: Path
    implementation: str
    credentials: Credentials | None
    timeout: float
    progress: Progress
    troubles: list[str] = field(default_factory=list[str])

    def run(self) -> dict[str, Verdict]:
        """Run the cases and read the verdicts."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        if self.leg.side == "server":
            self.run_fuzzing_client()
        else:
            self.run_fuzzing_server()
        return self.read_reports()

    def run_fuzzing_client(self) -> None:
        """Start the server under test, have the suite connect to it case by case, and end the server."""
        arguments = ["--style", self.leg.style]
        if self.credentials is not None:
            arguments += [
                "--certificate",
                str(self.credentials.certificate),
                "--key",
                str(self.credentials.key),
            ]
        server = self.start_peer("echo_server", arguments)
        assert server.stdout is not None and server.stdin is not None
        port = server.stdout.readline().decode().strip()
        if not port:
            server.stdin.close()
            self.check_peer(server)
            return
        scheme = "wss" if self.leg.tls else "ws"
        servers = [{"agent": "testee", "url": f"{scheme}://{self.suite.host}:{port}/"}]
        suite = self.start_suite("fuzzingclient", {"servers": servers})
        with self.watch_log():
            try:
                suite.wait(self.timeout)
            except subprocess.TimeoutExpired:
                self.troubles.append(
                    f"the suite did not finish within {self.timeout:.0f} s; {self.last_case()}"
                )
                _end(suite)
        if server.poll() is not None:
            self.troubles.append(f"the server under test ended by itself; {self.last_case()}")
        server.stdin.close()
        self.check_peer(server)

    def run_fuzzing_server(self) -> None:
        """Start the suite's server, run the client under test through the cases, and end the server."""
        port = _free_port()
        spec: dict[str, object] = {"url": f"{'wss' if self.leg.tls else 'ws'}://127.0.0.1:{port}"}
        arguments = ["--style", self.leg.style, f"{spec['url']}", *self.cases]
        if self.credentials is not None:
            shutil.copy(self.credentials.certificate, self.directory / "certificate.pem")
            shutil.copy(self.credentials.key, self.directory / "key.pem")
            spec |= {"cert": "certificate.pem", "key": "key.pem"}
            arguments += ["--authorities", str(self.credentials.authorities)]
        suite = self.start_suite("fuzzingserver", spec, port)
        try:
            if not _answers(port, suite):
                self.troubles.append(
                    f"the suite's server did not start: {_tail(self.directory / 'wstest.log')}"
                )
                return
            client = self.start_peer("echo_client", arguments)
            with self.watch_log():
                try:
                    client.wait(self.timeout)
                except subprocess.TimeoutExpired:
                    self.troubles.append(
                        f"the client did not finish within {self.timeout:.0f} s; {self.last_case()}"
                    )
                    _end(client)
            self.check_peer(client)
        finally:
            _end(suite)

    def start_peer(self, module: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        """Start the program under test."""
        command = [sys.executable, "-m", f"conformance.peers.{module}"]
        command += ["--implementation", self.implementation, *arguments]
        # The program finds the same modules as this one, wherever it runs.
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        environment = {**os.environ, "PYTHONPATH": path}
        environment.pop("EVERWIRE_REACTOR", None)
        if not self.leg.reactor:
            environment["EVERWIRE_REACTOR"] = "off"
        with (self.directory / "peer.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.PIPE if module == "echo_server" else subprocess.DEVNULL,
                stdout=subprocess.PIPE if module == "echo_server" else log,
                stderr=log,
            )

    def check_peer(self, peer: subprocess.Popen[bytes]) -> None:
        """Wait for the program under test to end, which it should do by itself now, and without an error."""
        try:
            code = peer.wait(20)
        except subprocess.TimeoutExpired:
            self.troubles.append("the program under test did not end")
            _end(peer)
        else:
            if code:
                what = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
                self.troubles.append(
                    f"the program under test ended with {what}: {_tail(self.directory / 'peer.log')}"
                )
        if peer.stdout is not None:
            peer.stdout.close()

    def start_suite(
        self, mode: str, spec: dict[str, object], port: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start the suite; ``failByDrop`` off has it close with a handshake, as RFC 6455 has it."""
        selection = {"cases": self.cases, "exclude-cases": [], "exclude-agent-cases": {}}
        options = {"outdir": "reports", "options": {"failByDrop": False}}
        (self.directory / "spec.json").write_text(json.dumps({**spec, **options, **selection}))
        with (self.directory / "wstest.log").open("wb") as log:
            return subprocess.Popen(
                self.suite.command(self.directory, mode, port),
                cwd=self.directory,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def watch_log(self) -> _LogWatch:
        """Report progress while the suite runs."""
        return _LogWatch(self.directory / "wstest.log", self.progress)

    def last_case(self) -> str:
        """Which case was running, for messages."""
        begun = [line for line in _read(self.directory / "wstest.log").splitlines() if _STARTED in line]
        return f"last: {begun[-1].strip()}" if begun else "no case had begun"

    def read_reports(self) -> dict[str, Verdict]:
        """The verdicts that the suite wrote, with its explanation where a case did not pass."""
        index = self.directory / "reports" / "index.json"
        if not index.exists():
            if not self.troubles:
                self.troubles.append(f"the suite wrote no report: {_tail(self.directory / 'wstest.log')}")
            return {}
        verdicts: dict[str, Verdict] = {}
        for case, entry in json.loads(index.read_text())["testee"].items():
            verdict = Verdict(case, entry["behavior"], entry["behaviorClose"], entry["duration"] / 1000)
            if not verdict.passed:
                report = json.loads((index.parent / entry["reportfile"]).read_text())
                told = [report["result"], report["resultClose"], f"closed with {report['remoteCloseCode']}"]
                detail = " / ".join(told)
                verdict = Verdict(case, verdict.behavior, verdict.close, verdict.seconds, detail)
            verdicts[case] = verdict
        return verdicts


_STARTED = "Running test case ID"


class _LogWatch:
    """Counts the cases that have begun, from the suite's log."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self.path = path
        self.progress = progress
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        self.thread.join()

    def watch(self) -> None:
        with self.path.open(errors="replace") as log:
            while True:
                last = self.ended.wait(0.25)
                begun = log.read().count(_STARTED)
                if begun:
                    self.progress(begun)
                if last:
                    return


def run_leg(
    suite: Suite,
    leg: Leg,
    group: str,
    cases: Sequence[str],
    *,
    directory: Path = CACHE / "runs",
    implementation: str = "everwire",
    credentials: Credentials | None = None,
    workers: int = os.cpu_count() or 2,
    progress: Progress = lambda count: None,
) -> Outcome:
    """Run cases of one group against one peer.

    Args:
        suite: how the suite is run.
        leg: what is tested.
        group: the cases' group, for the name and for how many processes are worth while.
        cases: the ids of the cases.
        directory: where logs and reports go, in a folder of the leg's name.
        implementation: the one under test.
        credentials: for TLS.
        workers: how many processes of the suite run at a time; twice as many where cases mostly wait.
        progress: told how many cases have just begun.
    """
    outcome = Outcome(leg, group, list(cases))
    shards = [
        Shard(
            suite,
            leg,
            chosen,
            directory / f"{leg.name}-{group}" / str(number),
            implementation,
            credentials if leg.tls else None,
            timeout=90 + 10 * sum(map(catalogue.cost, chosen)),
            progress=progress,
        )
        for number, chosen in enumerate(
            catalogue.share_out(outcome.wanted, 2 * workers if group == "core" else workers)
        )
    ]
    started = time.monotonic()
    with ThreadPoolExecutor(len(shards)) as pool:
        for found in pool.map(Shard.run, shards):
            outcome.verdicts.update(found)
    outcome.seconds = time.monotonic() - started
    outcome.troubles = [trouble for shard in shards for trouble in shard.troubles]
    return outcome


def counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many cases had each verdict; wrong closes and cases that did not run are counted apart."""
    total: dict[str, int] = {}
    for outcome in outcomes:
        for verdict in outcome.verdicts.values():
            total[verdict.behavior] = total.get(verdict.behavior, 0) + 1
            if verdict.close not in GOOD:
                total["WRONG CLOSE"] = total.get("WRONG CLOSE", 0) + 1
        missing = len(set(outcome.wanted) - set(outcome.verdicts))
        if missing:
            total["NOT RUN"] = total.get("NOT RUN", 0) + missing
    return total


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, suite: subprocess.Popen[bytes]) -> bool:
    """Wait until the suite's server listens; it says so nowhere but there."""
    give_up = time.monotonic() + 60
    while suite.poll() is None and time.monotonic() < give_up:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        time.sleep(0.05)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        _close(stream)


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with suppress(OSError):
            stream.close()


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _tail(path: Path, lines: int = 5) -> str:
    return " / ".join(_read(path).strip().splitlines()[-lines:]) or "it said nothing"
