"""Engines between nodes, beside what other libraries send through Redis. It needs Linux and redis-server.

    python bench/run.py --loads engines                   installs what is missing, and runs this
    python bench/engines.py [--rounds 3] [--parts rate,delay,fan,nodes,channels] [--only redis,nats] [--add]

Each node is a process with uvloop, and counts its own processor time. Messages are of 64 bytes. Engines
acknowledge what is in the log (of 1,000 publications a channel); the others keep nothing and acknowledge
nothing, as engines do where a channel has no log (redis-no-log, nats-no-log). What is not installed takes
no part, and the report says so.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import hub
from harness.backends import BACKENDS
from harness.nodes import Traffic, exchange
from harness.process import Failed, busy_share
from harness.report import Cell, number, show_table
from harness.results import Results, machine

RESULTS = Path(__file__).resolve().parent / "results"
BUSY = 0.1
SHARED = ("redis", "nats")
NO_LOG = ("redis-no-log", "nats-no-log")
"""What promises no more than the others."""
LOCAL = ("memory", "sqlite")
OURS = tuple(backend.name for backend in BACKENDS.values() if backend.ours)
PEERS = tuple(backend.name for backend in BACKENDS.values() if not backend.ours)
CHANNELS, AT_ONCE = (1, 10, 1000), (1, 100, 1000)
AIM, FAN_AIM = 5.0, 1.2
SUBSCRIBERS = 1000

Measure = Callable[[str, float], dict[str, float]]


class Part(NamedTuple):
    """One question, and what is measured for it: for a backend, for so many seconds."""

    name: str
    title: str
    measure: Measure
    kinds: Sequence[str]


def _exchange(traffic: Traffic, followers: int = 1) -> Measure:
    def measure(kind: str, seconds: float) -> dict[str, float]:
        with BACKENDS[kind].server() as server:
            return exchange(kind, server, traffic._replace(seconds=seconds * traffic.seconds), followers)

    return measure


def _fan(kind: str, seconds: float) -> dict[str, float]:
    """Processor time of a hub for each delivery to its own subscribers."""
    context = multiprocessing.get_context("spawn")
    with BACKENDS[kind].server() as server:
        here, there = context.Pipe()
        count = max(20, int(seconds * 150))
        process = context.Process(target=hub.child, args=(there, "hub", SUBSCRIBERS, count, server.url))
        process.start()
        try:
            if not here.poll(60):
                raise Failed("the hub did not answer in time")
            found = here.recv()
        finally:
            process.terminate()
            process.join()
    if isinstance(found, str):
        raise Failed(found)
    cost, _, lacking = found
    return {"delivery_us": cost, "lacking": lacking}


def parts() -> Iterator[Part]:
    """All that is measured."""
    everybody = tuple(BACKENDS)
    for channels in CHANNELS:
        for at_once in AT_ONCE:
            how = f"{at_once:,} publications at once" if at_once > 1 else "one publication after the other"
            title = f"channels: {channels:,}; {how}"
            yield Part(
                f"rate-{channels}-{at_once}", title, _exchange(Traffic(channels, 0.5, at_once)), everybody
            )
    traffic = Traffic(10, 1.5, rate=1000)
    yield Part("delay", "channels: 10; 1,000 publications a second", _exchange(traffic), everybody)
    yield Part("fan", "fan-out to 1,000 subscribers of one node", _fan, (*LOCAL, *SHARED))
    for nodes in (1, 2, 4, 8):
        title = f"nodes that follow: {nodes}; 10 channels, 100 at once"
        yield Part(f"nodes-{nodes}", title, _exchange(Traffic(10, 0.5, 100), nodes), SHARED)
    for count in (1, 10, 100, 1000, 10_000):
        title = f"channels: {count:,}; one node follows, 100 at once"
        yield Part(f"channels-{count}", title, _exchange(Traffic(count, 0.5, 100)), SHARED)


PARTS = tuple(parts())
COLUMNS = {
    "published_per_s": "published/s",
    "delivered_per_s": "delivered/s",
    "publisher_us": "publisher µs",
    "server_us": "server µs",
    "follower_us": "follower µs",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "delivery_us": "CPU µs a delivery",
    "lacking": "lacking",
}


def show_part(results: Results, part: Part) -> None:
    measured = results.samples.get(part.name, {})
    columns = [column for column in COLUMNS if any(column in figures for figures in measured.values())]
    if columns:
        rows = [
            [
                Cell(kind, "bold cyan" if kind in OURS else ""),
                *(Cell(number(results.median(part.name, kind, column))) for column in columns),
            ]
            for kind in measured
        ]
        show_table(part.title, ["", *(COLUMNS[column] for column in columns)], rows)


def best(results: Results, kind: str, channels: int) -> float:
    """What is delivered a second with as many publications at once as suit it best."""
    found = (results.median(f"rate-{channels}-{at_once}", kind, "delivered_per_s") for at_once in AT_ONCE)
    return max((rate for rate in found if rate), default=0.0)


def aims(results: Results) -> Iterator[tuple[str, float, str, bool]]:
    """Each aim whose figures are there: what it is about, the ratio, what is aimed at, whether it is so."""
    for channels in CHANNELS:
        fastest = max((best(results, peer, channels) for peer in PEERS), default=0.0)
        for kind in (*SHARED, *NO_LOG):
            rate = best(results, kind, channels)
            if fastest and rate:
                what = f"{kind}, channels: {channels:,}; most delivered a second by the best of the others"
                yield what, rate / fastest, "≥ 5", rate / fastest >= AIM
    base = results.median("fan", "memory", "delivery_us")
    for kind in (*LOCAL[1:], *SHARED):
        cost = results.median("fan", kind, "delivery_us")
        if base and cost:
            ratio = cost / base
            yield f"{kind}: CPU of a delivery by memory's", ratio, "≤ 1.2", ratio <= FAN_AIM


def show(results: Results) -> None:
    """The tables, and how each aim stands."""
    facts = results.machine
    print(f"\n{facts['cpu']}, {facts['cores']} cores, {facts['kernel']}, Python {facts['python']}")
    print(f"{results.date}, medians of {results.rounds} rounds")
    print(", ".join(f"{name} {version}" for name, version in results.versions.items()), end="\n\n")
    for part in PARTS:
        show_part(results, part)
    rows = [
        [
            Cell(what),
            Cell(f"{ratio:.2f}"),
            Cell(aim),
            Cell("reached" if so else "missed", "green" if so else "red"),
        ]
        for what, ratio, aim, so in aims(results)
    ]
    if rows:
        show_table("aims", ["", "is", "aim", ""], rows)
    for failure in results.failures:
        print(f"failed: {failure}")


def measure(results: Results, chosen: Sequence[Part], kinds: Sequence[str], rounds: int) -> None:
    """Part by part, so that what is compared is measured close in time, and in another order each round."""
    lacking: set[str] = set()
    for turn in range(rounds):
        for part in chosen:
            print(f"Round {turn + 1} of {rounds}: {part.title}", flush=True)
            fitting = [kind for kind in part.kinds if kind in kinds and kind not in lacking]
            for kind in fitting if turn % 2 == 0 else reversed(fitting):
                try:
                    results.add(part.name, kind, part.measure(kind, results.seconds))
                except (Failed, OSError) as error:
                    results.fail(f"{kind}, {part.title}: {error}")
                    print(f"  ! {results.failures[-1]}", flush=True)
                    if "ModuleNotFoundError" in str(error) or "ConfigError" in str(error):
                        lacking.add(kind)


def versions() -> dict[str, str]:
    """Of the packages that take part."""
    found = {}
    for package in ("uvloop", *(name for backend in BACKENDS.values() for name in backend.packages)):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def main() -> None:
    names = list(dict.fromkeys(part.name.partition("-")[0] for part in PARTS))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement (default 2)")
    parser.add_argument(
        "--parts", default=",".join(names), help="of: " + ", ".join(names) + "; or rate-10, say"
    )
    parser.add_argument("--only", default=",".join(BACKENDS), help="of: " + ", ".join(BACKENDS))
    parser.add_argument(
        "--output", type=Path, help="the results (default: engines-DATE.json in bench/results)"
    )
    parser.add_argument("--add", action="store_true", help="add to the samples that the output has")
    parser.add_argument("--report", type=Path, metavar="FILE", help="only show the results of an earlier run")
    arguments = parser.parse_args()
    if arguments.report:
        show(Results.load(arguments.report))
        return
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    output = arguments.output or RESULTS / f"engines-{date}.json"
    if arguments.add and output.exists():
        results = Results.load(output)
        results.failures.clear()
    else:
        results = Results(date, machine(), arguments.seconds)
    results.versions.update(versions())
    if (busy := busy_share()) > BUSY:
        results.fail(
            f"other work took {busy:.0%} of the processors before the start: figures are only a hint"
        )
    chosen = [part for part in PARTS if part.name.startswith(tuple(arguments.parts.split(",")))]
    try:
        measure(results, chosen, arguments.only.split(","), arguments.rounds)
    except KeyboardInterrupt:
        print("\ninterrupted: what was measured so far", flush=True)
    finally:
        results.save(output)
    show(results)
    print(f"kept in {output}")


if __name__ == "__main__":
    main()
