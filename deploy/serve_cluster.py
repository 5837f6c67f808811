"""A cluster on this machine, to try things on: three NATS servers, and two nodes of everwire that share them.

    make serve-cluster            (or: python deploy/serve_cluster.py [--port 8001] [--data-dir DIR])

Each node has the page of channels; everybody may do everything there. Stop any process and see what happens:
the ids are printed. Ctrl-C ends all of them. Needs the extras cli and workers.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from pathlib import Path

from everwire.cli.embedded import find_program

HOST = "127.0.0.1"
SERVERS = 3
PATIENCE = 30.0
"""Seconds that a process may take to answer, or to end."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((HOST, 0))
        return [sock.getsockname()[1] for sock in sockets]


async def answers(port: int) -> None:
    """Wait until somebody listens."""
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


class Processes:
    """What was started; ended in the opposite order."""

    def __init__(self) -> None:
        self._started: list[tuple[str, asyncio.subprocess.Process]] = []
        self._ends: list[asyncio.Task[str]] = []

    async def start(self, name: str, *command: str | Path, log: Path) -> int:
        """Start a process whose output goes to a file; return its id."""
        with log.open("ab") as output:
            # Of a session of its own: Ctrl-C is for us.
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started.append((name, process))
        self._ends.append(asyncio.create_task(self._ended(name, process)))
        return process.pid

    async def _ended(self, name: str, process: asyncio.subprocess.Process) -> str:
        code = await process.wait()
        return f"{name} [{process.pid}] has ended: {code}"

    async def watch(self) -> None:
        """Print which of them end, until none is left."""
        for end in asyncio.as_completed(self._ends):
            print(await end, flush=True)

    async def end(self) -> None:
        """End them."""
        for _, process in reversed(self._started):
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), PATIENCE)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def start(processes: Processes, folder: Path, first: int) -> None:
    """Start everything, and print where it is."""
    ports = free_ports(2 * SERVERS)
    clients, routes = ports[:SERVERS], ports[SERVERS:]
    joined = ",".join(f"nats://{HOST}:{port}" for port in routes)
    for number, (port, route) in enumerate(zip(clients, routes, strict=True), 1):
        name, place = f"nats-{number}", folder / f"nats-{number}"
        options = ("-n", name, "-a", HOST, "-p", str(port), "-js", "-sd", place)
        cluster = ("--cluster_name", "local", "--cluster", f"nats://{HOST}:{route}", "--routes", joined)
        pid = await processes.start(name, find_program(), *options, *cluster, log=folder / f"{name}.log")
        print(f"  {name}  nats://{HOST}:{port}  [{pid}]", flush=True)
    await asyncio.gather(*map(answers, clients))
    engine = "nats://" + ",".join(f"{HOST}:{port}" for port in clients) + f"?replicas={SERVERS}"
    for number in range(2):
        name, port = f"node-{number + 1}", first + number
        command = (sys.executable, "-m", "everwire.cli", "serve", "--insecure", "--engine", engine)
        pid = await processes.start(name, *command, "--port", str(port), log=folder / f"{name}.log")
        print(f"  {name}  http://{HOST}:{port}/channels  [{pid}]", flush=True)
    await asyncio.gather(answers(first), answers(first + 1))


async def serve(folder: Path, port: int) -> None:
    """Serve until a signal comes, or nothing is left."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    processes = Processes()
    print(f"A cluster; what it prints and keeps is in {folder}", flush=True)
    try:
        await asyncio.wait_for(start(processes, folder, port), PATIENCE)
        print("Ctrl-C stops it", flush=True)
        watching = asyncio.create_task(processes.watch())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, stopping):
            task.cancel()
    finally:
        await processes.end()


def main() -> None:
    parser = argparse.ArgumentParser(description="Two nodes of everwire and three NATS servers.")
    parser.add_argument("--port", type=int, default=8001, help="of the first node; the second has the next")
    parser.add_argument("--data-dir", type=Path, default=Path(".everwire/cluster"), help="logs and data")
    arguments = parser.parse_args()
    arguments.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    asyncio.run(serve(arguments.data_dir, arguments.port))


if __name__ == "__main__":
    main()
