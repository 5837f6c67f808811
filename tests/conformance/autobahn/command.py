"""The command line of ``run.py``: which cases against which peers."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import trustme

from . import cases as catalogue
from . import report
from .install import CACHE, ROOT, Suite, Unavailable, find_suite, lock
from .runner import Credentials, Leg, Outcome, run_leg

LEGS = (
    Leg("server", "coroutine"),
    Leg("server", "listener"),
    Leg("client"),
    Leg("server", "coroutine", tls=True),
    Leg("server", "listener", tls=True),
    Leg("client", tls=True),
    Leg("server", "coroutine", reactor=False),
    Leg("server", "listener", reactor=False),
    Leg("client", reactor=False),
    Leg("server", "threads"),
    Leg("client", "threads"),
)
"""Everything that can be tested: both styles of handlers and the client; over TCP, over TLS, and on asyncio's
own transports; and everwire.sync."""


def plan(leg: Leg, group: str, *, full: bool) -> list[str]:
    """The cases of a group that a run holds against a leg.

    All of them, but for deflate, of which one leg takes the suite some twenty minutes: without ``full`` it is
    the selection of ``cases.py``, and always on asyncio's transports, which bring the same bytes.
    """
    thin = group == "deflate" and (not full or not leg.reactor)
    return catalogue.select(group, quick=thin)


def needed_in_ci() -> bool:
    """Whether this is a CI machine, where it is an error that a suite cannot be run."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def make_credentials(folder: Path) -> Credentials:
    """Make a certificate for this run."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaf = authority.issue_cert(
        "127.0.0.1", "localhost", "host.docker.internal", key_type=trustme.KeyType.ECDSA
    )
    credentials = Credentials(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(str(credentials.authorities))
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(str(credentials.certificate), append=True)
    credentials.key.touch(mode=0o600)
    leaf.private_key_pem.write_to_path(str(credentials.key))
    return credentials


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="run.py",
        description="Run Autobahn|Testsuite (RFC 6455, RFC 7692) against everwire's servers and client.",
    )
    parser.add_argument("--full", action="store_true", help="all 517 cases, deflate (long) included")
    parser.add_argument(
        "--group", action="append", choices=catalogue.GROUPS, help="only this group; may be repeated"
    )
    parser.add_argument(
        "--case",
        action="append",
        metavar="ID",
        help="only this case (6.4.1) or section (6.*); may be repeated",
    )
    parser.add_argument(
        "--leg",
        action="append",
        metavar="NAME",
        choices=[leg.name for leg in LEGS],
        help="only this one; may be repeated: " + ", ".join(leg.name for leg in LEGS),
    )
    parser.add_argument("--implementation", "--peer", choices=("everwire", "websockets"), default="everwire")
    parser.add_argument(
        "--via", choices=("auto", "python2", "docker"), default="auto", help="how the suite is run"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 2, help="processes of the suite at a time"
    )
    parser.add_argument(
        "--json", type=Path, default=CACHE / "results.json", help="where to write the results"
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, suite: Suite) -> list[Outcome]:
    """Run what the options ask for."""
    legs = [leg for leg in LEGS if not options.leg or leg.name in options.leg]
    if options.implementation == "websockets":
        legs = [leg for leg in legs if leg.style == "coroutine" and leg.reactor]
    named = catalogue.match(options.case) if options.case else None
    tasks: list[tuple[Leg, str, list[str]]] = []
    for leg in legs:
        for group in options.group or catalogue.GROUPS:
            wanted = plan(leg, group, full=options.full)
            if named is not None:
                wanted = [case for case in named if catalogue.group_of(case) == group]
            if wanted:
                tasks.append((leg, group, wanted))
    progress = report.Progress(sum(len(wanted) for _, _, wanted in tasks))
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        credentials = make_credentials(Path(folder))
        for leg, group, wanted in tasks:
            progress.leg(f"{leg.name}, {group}")
            outcomes.append(
                run_leg(
                    suite,
                    leg,
                    group,
                    wanted,
                    implementation=options.implementation,
                    credentials=credentials,
                    workers=options.jobs,
                    progress=progress.advance,
                )
            )
            report.save(outcomes, options.json)
    progress.done()
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = parse(arguments)
    try:
        suite = find_suite(options.via)
    except Unavailable as error:
        print(
            f"Autobahn|Testsuite was {'NOT RUN' if needed_in_ci() else 'SKIPPED'}: {error}", file=sys.stderr
        )
        return 1 if needed_in_ci() else 0
    with lock(CACHE / "running") as free:
        if not free:
            print("another run is under way: its reports would be overwritten", file=sys.stderr)
            return 1
        outcomes = run(options, suite)
    report.show(outcomes)
    path = options.json.resolve()
    print(f"results: {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")
    if not outcomes:
        print("nothing was run", file=sys.stderr)
        return 1
    return 1 if any(outcome.failures() for outcome in outcomes) else 0
