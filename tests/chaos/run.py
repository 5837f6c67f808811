"""A run of chaos, and the count afterwards: ``python tests/chaos/run.py`` (or ``make chaos``).

Publishers and followers, over every transport, reach a server through a proxy that cuts their connections in
the middle of frames, of events, of answers. With ``--engine sqlite``, the server is killed now and then, too
(SIGKILL), and started again. In the end: what was acknowledged is in the log, once; and each follower has all
of the log, once and in order, or was told where something is missing; with ``--history`` small, some are.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import itertools
import random
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import everwire
from chaos.followers import HOST, Follower, Got, followers
from chaos.proxy import Chaos
from everwire.channels.engine import Position

SERVER = Path(__file__).with_name("server.py")
CHANNELS = ("one", "two")


@dataclass(slots=True)
class Options:
    """What a run does.

    Attributes:
        messages: how many are published.
        rounds: followers over each transport.
        kills: how often the server is killed.
        engine: ``"memory"`` or ``"sqlite"``.
        history: publications in a channel's log.
        seed: decides what the proxy does.
        pause: seconds between two messages of a publisher, at most.
        patience: seconds for everything to come to rest at the end.
    """

    messages: int = 5000
    rounds: int = 2
    kills: int = 3
    engine: str = "sqlite"
    history: int = 1_000_000
    seed: int = 1
    pause: float = 0.01
    patience: float = 60.0


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        acknowledged: by channel, the values and their offsets.
        log: what is in each log.
        problems: what is wrong, in words.
    """

    acknowledged: dict[str, dict[int, int]] = field(default_factory=lambda: {each: {} for each in CHANNELS})
    log: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    problems: list[str] = field(default_factory=list[str])


class Server:
    """The server's process, which can be killed and started again."""

    def __init__(self, engine: str, history: int) -> None:
        self._engine = engine
        self._history = history
        self.kills = 0
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port: int = probe.getsockname()[1]

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(SERVER),
            str(self.port),
            self._engine,
            str(self._history),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            line = await self._process.stdout.readline()
        if line != b"ready\n":
            raise RuntimeError(f"the server did not start: {line!r}")

    async def kill(self) -> None:
        """Kill it, and start another one in its place."""
        self.kills += 1
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        await self.start()

    async def stop(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Publisher:
    """Publishes through the proxy, each value until it is acknowledged, with a key that stays the same."""

    def __init__(self, port: int, values: list[int], outcome: Outcome, chance: random.Random) -> None:
        self._port = port
        self._values = values
        self._outcome = outcome
        self._chance = chance
        self.repeated = 0

    async def run(self, pause: float) -> None:
        """Publish all."""
        client = everwire.Client(
            f"ws://{HOST}:{self._port}/connection/websocket",
            timeout=2,
            open_timeout=2,
            ready_timeout=None,
            max_ping_delay=1.0,
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.3,
        )
        async with client:
            for value in self._values:
                channel = CHANNELS[value % len(CHANNELS)]
                data = {"channel": channel, "value": value, "key": f"k{value}"}
                while True:
                    try:
                        answer = await client.rpc("publish", data)
                        break
                    except (everwire.CommandError, everwire.Disconnected, TimeoutError):
                        self.repeated += 1
                        await asyncio.sleep(0.01)
                self._outcome.acknowledged[channel][value] = answer["offset"]
                await asyncio.sleep(self._chance.uniform(0, pause))


async def run(options: Options) -> tuple[Outcome, str]:
    """Do it; return what came of it, and a table."""
    outcome = Outcome()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        engine = f"sqlite:{folder}/log.db?synchronous=normal" if options.engine == "sqlite" else "memory:"
        server = Server(engine, options.history)
        await server.start()
        try:
            async with Chaos(server.port, seed=options.seed) as chaos:
                crew = followers(chaos.port, CHANNELS, options.rounds)
                publishers = await _publish_and_follow(options, server, chaos, crew, outcome)
        finally:
            await server.stop()
    for follower in crew:
        _judge(follower, outcome)
    lines = [*_summary(options, outcome, server, chaos, publishers, time.monotonic() - began), *_table(crew)]
    return outcome, "\n".join(lines + outcome.problems)


async def _publish_and_follow(
    options: Options, server: Server, chaos: Chaos, crew: list[Follower], outcome: Outcome
) -> list[Publisher]:
    chance = random.Random(options.seed)
    values = list(range(options.messages))
    publishers = [Publisher(chaos.port, values[n::4], outcome, random.Random(n)) for n in range(4)]
    following = [asyncio.create_task(each.run()) for each in crew]
    publishing = [asyncio.create_task(each.run(options.pause)) for each in publishers]
    try:
        for number in range(options.kills):
            share = options.messages * (number + chance.uniform(0.3, 0.9)) / options.kills
            while _acknowledged(outcome) < share and not all(each.done() for each in publishing):
                await asyncio.sleep(0.02)
            await server.kill()
        await asyncio.gather(*publishing)
        outcome.log = await _read_logs(server.port)
        tops = {channel: max(log, default=0) for channel, log in outcome.log.items()}
        # Connections that are made from now on last: what follows is only that everybody gets there.
        chaos.calm = True
        await _arrive(crew, tops, options.patience, following)
    finally:
        for task in (*following, *publishing):
            task.cancel()
        results = await asyncio.gather(*following, *publishing, return_exceptions=True)
    outcome.problems += [f"{each!r}" for each in results if isinstance(each, Exception)]
    return publishers


def _acknowledged(outcome: Outcome) -> int:
    return sum(map(len, outcome.acknowledged.values()))


async def _read_logs(port: int) -> dict[str, dict[int, int]]:
    """What is in the logs, read from the server itself."""
    found: dict[str, dict[int, int]] = {}
    client = everwire.Client(f"ws://{HOST}:{port}/connection/websocket", max_size=None, timeout=30)
    async with client:
        for channel in CHANNELS:
            position = (await client.history(channel)).position
            log: dict[int, int] = {}
            since: Position | None = None
            while True:
                page = await client.history(channel, limit=500, since=since)
                log |= {each.offset: each.data for each in page.publications}
                if not page.publications or page.publications[-1].offset >= position.offset:
                    break
                since = Position(page.publications[-1].offset, position.epoch)
            found[channel] = log
    return found


async def _arrive(
    crew: list[Follower], tops: dict[str, int], patience: float, following: list[asyncio.Task[None]]
) -> None:
    """Wait until all followers are where the logs end."""
    ends = time.monotonic() + patience
    while time.monotonic() < ends and not any(task.done() for task in following):
        if all(got.position.offset >= tops[channel] for each in crew for channel, got in each.got.items()):
            return
        await asyncio.sleep(0.02)


def _judge(follower: Follower, outcome: Outcome) -> None:
    """Compare what a follower got with the log."""
    for channel, got in follower.got.items():
        values = {offset: value for value, offset in outcome.acknowledged[channel].items()}
        top = max(values, default=0)
        who = f"{follower.transport}, {channel}"
        if got.position.offset != top:
            outcome.problems.append(f"{who}: it is at {got.position.offset}, the log at {top}")
        last = 0
        for number, taken in enumerate(got.runs):
            offsets = [offset for offset, _ in taken]
            if offsets and offsets != list(range(offsets[0], offsets[0] + len(offsets))):
                wrong = next(b for a, b in itertools.pairwise(offsets) if b != a + 1)
                outcome.problems.append(f"{who}: something is missing or comes twice before {wrong}")
            if offsets and (offsets[0] <= last or (number == 0 and offsets[0] != 1)):
                outcome.problems.append(f"{who}: it begins with {offsets[0]} after {last}")
            if any(values.get(offset) != value for offset, value in taken):
                outcome.problems.append(f"{who}: a publication is not the one that is in the log")
            last = offsets[-1] if offsets else last


def _summary(
    options: Options,
    outcome: Outcome,
    server: Server,
    chaos: Chaos,
    publishers: list[Publisher],
    seconds: float,
) -> list[str]:
    """Check the log itself, and say what happened."""
    acknowledged = _acknowledged(outcome)
    if acknowledged != options.messages:
        outcome.problems.append(f"{acknowledged} of {options.messages} messages were acknowledged")
    for channel, log in outcome.log.items():
        mine = outcome.acknowledged[channel]
        if len(set(mine.values())) != len(mine) or set(mine.values()) != set(range(1, len(mine) + 1)):
            outcome.problems.append(f"{channel}: the offsets that were acknowledged have gaps, or come twice")
        kept = {offset: value for value, offset in mine.items() if offset > len(mine) - options.history}
        if log != kept:
            outcome.problems.append(f"{channel}: the log is not what was acknowledged")
    cuts = ", ".join(f"{count} {how}" for how, count in sorted(chaos.ends.items()))
    repeated = sum(each.repeated for each in publishers)
    return [
        f"{options.messages} messages in {seconds:.1f} s into {options.engine}, seed {options.seed}: "
        f"{acknowledged} acknowledged, {repeated} calls repeated, "
        f"{sum(map(len, outcome.log.values()))} in the logs",
        f"{chaos.connections} connections through the proxy; their ends: {cuts}; "
        f"the server was killed {server.kills} times",
        "",
    ]


def _table(crew: list[Follower]) -> list[str]:
    """What each transport's followers got."""
    rows: dict[str, collections.Counter[str]] = {}
    for follower in crew:
        row = rows.setdefault(follower.transport, collections.Counter())
        everything: list[Got] = list(follower.got.values())
        row["followers"] += 1
        row["connections"] += follower.connections
        row["received"] += sum(got.count for got in everything)
        row["gaps told"] += sum(len(got.runs) - 1 for got in everything)
    names = ("followers", "connections", "received", "gaps told")
    lines = [f"{'':24}" + "".join(f"{name:>13}" for name in names)]
    for transport, row in rows.items():
        lines.append(f"{transport:24}" + "".join(f"{row[name]:13,}" for name in names))
    return lines


def main() -> int:
    """Run as the command line says; 0 if all promises were kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    defaults: dict[str, Any] = {name: getattr(Options(), name) for name in Options.__slots__}
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    outcome, table = asyncio.run(run(Options(**vars(parser.parse_args()))))
    print(table)
    print("failed" if outcome.problems else "passed")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
