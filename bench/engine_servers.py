"""What one server of an engine carries: its processor time a publication, and for each node it is sent to.

    python bench/engine_servers.py [--messages 20000] > servers.json

Prints ``publish_rate`` and ``deliver_rate`` for ``everwire plan --measured``: how much of each would take one
processor whole; of NATS ``publish_rate`` is that of the leader of three servers, which all keep each
publication. It needs Linux and redis-server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import uvloop
from engines import KINDS, engine, free_port, running

CHANNELS = [f"c{number}" for number in range(10)]
AT_ONCE = 100
"""Publications under way."""
FEW, MANY = 1, 9
"""Nodes that follow."""


def server_of(url: str) -> int:
    """The process that listens at this port."""
    port = f"{int(url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inode = next(row[9] for row in rows if row[1].endswith(f":{port}") and row[3] == "0A")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(each) == f"socket:[{inode}]" for each in (process / "fd").iterdir()):
                return int(process.name)
        except OSError:
            continue
    raise RuntimeError(f"nothing listens at {url}")


def used(pid: int) -> float:
    """Seconds of processor time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(url: str, followers: int, messages: int) -> float:
    """Microseconds of the server's processor a publication."""
    left, came = iter(range(messages)), 0
    done = asyncio.Event()

    def told(text: str) -> None:
        nonlocal came
        came += 1
        if came == messages * followers:
            done.set()

    async with AsyncExitStack() as stack:
        for _ in range(followers):
            await stack.enter_async_context(engine(url, CHANNELS, told))
        publish = await stack.enter_async_context(engine(url, [], told))

        async def work() -> None:
            for number in left:
                await publish(CHANNELS[number % len(CHANNELS)], "x" * 62)

        pid = server_of(url)
        before = used(pid)
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        await asyncio.wait_for(done.wait(), 30)
        return (used(pid) - before) / messages * 1e6


@contextmanager
def nats_cluster() -> Iterator[list[str]]:
    """Three servers of NATS."""
    program = str(Path(sys.executable).with_name("nats-server"))
    ports, routes = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    joined = ",".join(f"nats://127.0.0.1:{route}" for route in routes)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for port, route in zip(ports, routes, strict=True):
            command = [program, "-n", f"n{port}", "-a", "127.0.0.1", "-p", str(port), "-js"]
            command += ["-sd", f"{folder}/{port}", "--cluster_name", "bench", "--routes", joined]
            command += ["--cluster", f"nats://127.0.0.1:{route}"]
            stack.enter_context(running(command, port))
        time.sleep(3)  # until they have a leader
        yield [f"127.0.0.1:{port}" for port in ports]


async def replicated(servers: list[str], messages: int) -> tuple[float, float]:
    """Publications a second that three servers take, and microseconds of the busiest one's processor."""
    url = f"nats://{','.join(servers)}?replicas=3"
    left = iter(range(messages))
    async with engine(url, [], lambda text: None) as publish:

        async def work() -> None:
            for number in left:
                await publish(CHANNELS[number % len(CHANNELS)], "x" * 62)

        await publish(CHANNELS[0], "x" * 62)
        pids = [server_of(server) for server in servers]
        before, begin = [used(pid) for pid in pids], time.monotonic()
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        rate = messages / (time.monotonic() - begin)
        most = max(used(pid) - was for pid, was in zip(pids, before, strict=True))
        return rate, most / messages * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="What one server of an engine carries.")
    parser.add_argument("--messages", type=int, default=20_000)
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for kind in ("nats", "redis"):
        cost = {}
        for followers in (FEW, MANY):
            with KINDS[kind][1]() as url:
                cost[followers] = uvloop.run(measure(url, followers, arguments.messages))
        each = (cost[MANY] - cost[FEW]) / (MANY - FEW)
        once = cost[FEW] - FEW * each
        print(f"{kind}: {once:.1f} us a publication, {each:.2f} us for each node", file=sys.stderr)
        found[kind] = {"publish_rate": round(1e6 / once), "deliver_rate": round(1e6 / max(each, 0.01))}
    with nats_cluster() as servers:
        rate, most = uvloop.run(replicated(servers, arguments.messages))
    print(f"nats, three replicas: {rate:,.0f} a second, {most:.1f} us of the leader", file=sys.stderr)
    found["nats"]["publish_rate"] = round(1e6 / most)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
