"""Does its worst to clients, nodes and engines while messages are published, and counts what arrives.

Followers and publishers over each transport reach the nodes through a proxy that sends each connection to
another node; some, through one that cuts connections off in the middle of frames, of events, of answers.
Meanwhile nodes and the engine's leader are killed (SIGKILL) and started again, frozen (SIGSTOP), and the
network between nodes and engine is cut, as a seed says.

In the end: what was acknowledged is in the log, once and in order; and each follower has all of the log,
once and in order, or was told where something is missing. The exit code is 1 if that is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import everwire
from chaos.backends import BACKENDS, TIMEOUT, Backend
from chaos.faults import Saboteur, plan
from chaos.followers import Follower, follower
from chaos.judging import Log, Verdict, judge
from chaos.nodes import Node
from chaos.proxy import Chaos
from chaos.publishing import Ledger, Publication, Publisher, connect, publish
from chaos.report import report
from chaos.wires import Wire
from everwire.channels.engine import Position
from everwire.cli.settings import Loop, pick_loop

PROGRESS = 2.0
"""Seconds between two lines that say how it goes."""
BETWEEN = 0.02
"""Seconds between two clients that come."""
PAGE = 1000
"""Publications that are read from a log at once."""


@dataclass(slots=True, kw_only=True)
class Options:
    """What a run does.

    Attributes:
        engine: which one: a name in ``BACKENDS``.
        nodes: how many nodes share it.
        clients: how many follow channels.
        channels: how many channels there are.
        follows: how many of them a client follows.
        rate: publications a second that are tried.
        publishers: how many try them.
        cuts: the share of clients and publishers whose connections are cut off, and go to any of the nodes;
            the others stay with one.
        faults: what else happens, with commas between.
        lasts: seconds for which a fault lasts, at least and at most.
        seconds: for how long it goes on, at least: all faults take place.
        history: publications in a channel's log.
        wait_replicas: replicas that Redis waits for. With 0, what was acknowledged may be lost.
        ping: seconds between two pings for clients.
        keys: whether all publications have an idempotency key, and are repeated until acknowledged.
        seed: decides what happens.
        patience: seconds for everything to come to rest at the end.
        logs: a folder in which what nodes and servers say is kept; empty: it is not.
    """

    engine: str = "sqlite"
    nodes: int = 1
    clients: int = 18
    channels: int = 2
    follows: int = 2
    rate: float = 200.0
    publishers: int = 4
    cuts: float = 1.0
    faults: str = "kill-node"
    lasts: tuple[float, float] = (0.5, 4.0)
    seconds: float = 20.0
    history: int = 1_000_000
    wait_replicas: int = 1
    ping: float = 1.0
    keys: bool = False
    seed: int = 1
    patience: float = 60.0
    logs: str = ""


@dataclass(slots=True)
class Outcome:
    """What came of a run."""

    options: Options
    seconds: float = 0.0
    publishing: float = 0.0
    ledger: Ledger = field(default_factory=Ledger)
    logs: list[dict[str, Log]] = field(default_factory=list[dict[str, Log]])
    crew: list[Follower] = field(default_factory=list[Follower])
    faults: dict[str, int] = field(default_factory=dict[str, int])
    ends: dict[str, int] = field(default_factory=dict[str, int])
    verdict: Verdict = field(default_factory=Verdict)
    problems: list[str] = field(default_factory=list[str])


async def run(options: Options, *, progress: Callable[[str], None] = lambda line: None) -> Outcome:
    """Do it; return what came of it.

    Raises:
        ValueError: an option makes no sense.
    """
    backend = BACKENDS[options.engine](options.wait_replicas)
    if options.nodes > 1 and not backend.shared:
        raise ValueError(f"{options.engine} is of one node only")
    outcome = Outcome(options)
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        if options.logs:
            Path(options.logs).mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{options.engine}-", dir=options.logs))
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.push_async_callback(backend.close)
        await backend.start(folder)
        wires = [await _wires(stack, backend, f"{number} {options.seed}") for number in range(options.nodes)]
        nodes = [
            Node(
                backend.url([wire.port for wire in each]),
                options.history,
                options.ping,
                folder / f"node{number}.log",
            )
            for number, each in enumerate(wires)
        ]
        for node in nodes:
            stack.push_async_callback(node.end)
        await asyncio.gather(backend.settle(), *(node.start() for node in nodes))
        balancer = await stack.enter_async_context(
            Wire([node.port for node in nodes], chance=random.Random(options.seed))
        )
        chaos = await stack.enter_async_context(Chaos(balancer.port, seed=options.seed))
        play = _Play(outcome, nodes, Saboteur(backend, nodes, wires), chaos, progress)
        await play.run()
    outcome.ends = dict(chaos.ends)
    lossy = not backend.durable or (options.engine == "redis-sentinel" and not options.wait_replicas)
    outcome.verdict = judge(outcome.ledger, outcome.logs, outcome.crew, history=options.history, lossy=lossy)
    outcome.problems += outcome.verdict.problems
    outcome.seconds = time.monotonic() - began
    return outcome


async def _wires(stack: contextlib.AsyncExitStack, backend: Backend, seed: str) -> list[Wire]:
    """The ways of a node to the servers of the engine."""
    wires = [
        await stack.enter_async_context(Wire([port], chance=random.Random(seed))) for port in backend.ports
    ]
    if backend.tells:
        for port, wire in zip(backend.ports, wires, strict=True):
            wires[0].translate[b"\r\n%d\r\n" % port] = b"\r\n%d\r\n" % wire.port
    return wires


class _Play:
    """A run, once all is there."""

    def __init__(
        self,
        outcome: Outcome,
        nodes: Sequence[Node],
        saboteur: Saboteur,
        chaos: Chaos,
        progress: Callable[[str], None],
    ) -> None:
        self._outcome = outcome
        self._options = options = outcome.options
        self._nodes = nodes
        self._saboteur = saboteur
        self._chaos = chaos
        self._progress = progress
        self._over = asyncio.Event()
        self._channels = [f"c{number}" for number in range(options.channels)]
        self._chance = random.Random(f"clients {options.seed}")
        for number in range(options.clients):
            channels = tuple(self._chance.sample(self._channels, min(options.follows, options.channels)))
            dense = options.engine in ("memory", "sqlite")
            one = follower(number, self._way(number), channels, ping=options.ping, dense=dense)
            outcome.crew.append(one)
        self._publishers = [
            Publisher(
                self._way(number),
                number,
                self._channels,
                outcome.ledger,
                rate=options.rate / options.publishers,
                keys=options.keys,
                ping=options.ping,
                seed=options.seed,
            )
            for number in range(options.publishers)
        ]

    def _way(self, number: int) -> int:
        """The port for a client: some are cut off, whatever their transport."""
        if self._chance.random() < self._options.cuts:
            return self._chaos.port
        return self._nodes[number % len(self._nodes)].port

    async def run(self) -> None:
        """Publish, follow and break things; then wait until everybody has everything."""
        options, outcome = self._options, self._outcome
        faults = plan(
            [each for each in options.faults.split(",") if each],
            nodes=options.nodes,
            known=BACKENDS[options.engine].kinds,
            seconds=options.seconds,
            lasts=options.lasts,
            seed=options.seed,
        )
        began = time.monotonic()
        telling = asyncio.create_task(self._tell(began))
        following: list[asyncio.Task[None]] = []
        publishing: list[asyncio.Task[None]] = []
        try:
            await self._come(following)
            began = time.monotonic()
            publishing += [asyncio.create_task(each.run(self._over)) for each in self._publishers]
            await self._saboteur.run(faults)
            healed = time.monotonic()
            await asyncio.sleep(max(0.0, began + options.seconds - time.monotonic()))
            self._over.set()
            outcome.publishing = time.monotonic() - began
            # Connections that are made from now on last: what follows is only that everybody gets there.
            self._chaos.calm = True
            async with asyncio.timeout(options.patience):
                await asyncio.gather(*publishing)
            await self._finish(healed)
            outcome.logs = [await _read_logs(node.port, self._channels) for node in self._nodes]
            await self._arrive(following)
        except TimeoutError:
            outcome.problems.append(f"something has not come to an end in {options.patience:g} seconds")
        finally:
            for task in (*following, *publishing, telling):
                task.cancel()
            results = await asyncio.gather(*following, *publishing, telling, return_exceptions=True)
        outcome.problems += [f"{each!r}" for each in results if isinstance(each, Exception)]
        outcome.faults = dict(self._saboteur.done)

    async def _tell(self, began: float) -> None:
        ledger, crew = self._outcome.ledger, self._outcome.crew
        while True:
            await asyncio.sleep(PROGRESS)
            received = sum(got.count for each in crew for got in each.got.values())
            now = self._saboteur.now or "all well"
            self._progress(
                f"{time.monotonic() - began:5.0f} s: {len(ledger.publications):,} tried, "
                f"{ledger.acknowledged:,} acknowledged, {received:,} received; {now}"
            )

    async def _come(self, following: list[asyncio.Task[None]]) -> None:
        """Have followers come, not all at once, and wait until all have been there."""
        for each in self._outcome.crew:
            following.append(asyncio.create_task(each.run()))
            await asyncio.sleep(BETWEEN)
        async with asyncio.timeout(self._options.patience):
            while not all(each.connections for each in self._outcome.crew):
                await asyncio.sleep(BETWEEN)

    async def _finish(self, healed: float) -> None:
        """One more into each channel: whoever misses what was before it sees that by this.

        First wait for what publishers have given up, and a node may still try.
        """
        last_try = max(healed, self._outcome.ledger.failed_at) + TIMEOUT + 1
        if BACKENDS[self._options.engine].shared:
            await asyncio.sleep(max(0.0, last_try - time.monotonic()))
        async with connect(self._nodes[0].port, self._options.ping) as client, asyncio.TaskGroup() as group:
            for channel in self._channels:
                last = Publication(channel, self._options.publishers, f"last of {channel}")
                group.create_task(publish(client, self._outcome.ledger, last))

    async def _arrive(self, following: Sequence[asyncio.Task[None]]) -> None:
        """Wait until all followers are where the logs end."""
        tops = {channel: max(log.values, default=0) for channel, log in self._outcome.logs[0].items()}
        ends = time.monotonic() + self._options.patience
        while time.monotonic() < ends and not any(task.done() for task in following):
            crew = self._outcome.crew
            if all(
                got.position.offset >= tops[channel] for each in crew for channel, got in each.got.items()
            ):
                return
            await asyncio.sleep(0.05)


async def _read_logs(port: int, channels: Sequence[str]) -> dict[str, Log]:
    """What is in the logs, read from a node itself."""
    found: dict[str, Log] = {}
    async with everwire.Client(
        f"ws://127.0.0.1:{port}/connection/websocket", max_size=None, timeout=30
    ) as client:
        for channel in channels:
            position = (await client.history(channel)).position
            log = found[channel] = Log(position.epoch, {})
            since: Position | None = None
            while True:
                page = await client.history(channel, limit=PAGE, since=since)
                log.values.update((each.offset, each.data) for each in page.publications)
                if not page.publications or page.publications[-1].offset >= position.offset:
                    break
                since = Position(page.publications[-1].offset, position.epoch)
    return found


def parse(arguments: Sequence[str] | None = None) -> Options:
    """The options of the command line: with several nodes, others by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--engine", choices=BACKENDS, default="sqlite", help="default: sqlite")
    for each in dataclasses.fields(Options):
        default: Any = getattr(Options(), each.name)
        kind: Any = type(default)
        if each.name == "lasts":
            parser.add_argument("--lasts", type=float, nargs=2, metavar=("LEAST", "MOST"))
        elif kind is bool:
            parser.add_argument(f"--{each.name}", action="store_true", default=None)
        elif each.name != "engine":
            parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind)
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    if "lasts" in given:
        given["lasts"] = tuple(given["lasts"])
    many: dict[str, Any] = {}
    if BACKENDS[given["engine"]].shared:
        many = {"nodes": 2, "clients": 200, "channels": 200, "rate": 1000.0, "publishers": 50, "cuts": 0.25}
        kinds = {"freeze" if "freeze" in each else each: None for each in BACKENDS[given["engine"]].kinds}
        many |= {"faults": ",".join(kinds), "seconds": 60.0, "ping": 5.0}
    return Options(**many | given)


def main() -> int:
    """Run as the command line says; 0 if all promises were kept."""
    # Clients tell of each connection that they lose.
    logging.getLogger("everwire").addHandler(logging.NullHandler())
    with asyncio.Runner(loop_factory=pick_loop(Loop.AUTO)[1]) as runner:
        outcome = runner.run(run(parse(), progress=lambda line: print(line, file=sys.stderr, flush=True)))
    print(report(outcome))
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
