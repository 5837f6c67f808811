"""Measures the client side: one Python process that connects to one and the same fast server.

    python bench/client.py [--quick]        as `python bench/run.py`, these loads only

Connections opened and closed a second, one after the other; round trips of a 16-byte message over one
connection and over a hundred; CPU time of the client for each. The server has the other core.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress

from harness import install, process
from harness.contenders import CLIENTS_SERVER, SERVERS, Client, Server
from harness.loads import CLIENT_LOADS, ClientLoad
from harness.results import Results

WARMUP = 0.3


def _server() -> Server:
    for name in CLIENTS_SERVER:
        server = next(server for server in SERVERS if server.name == name)
        with suppress(install.Unavailable):
            install.install(server)
            return server
    raise install.Unavailable(f"none of {', '.join(CLIENTS_SERVER)} could be installed")


def measure_client(results: Results, client: Client, load: ClientLoad, server: Server) -> None:
    port = process.free_port()
    command = [
        install.INTERPRETERS[server.runtime],
        *(word.format(port=port) for word in server.command("plain")),
    ]
    words = [install.INTERPRETERS["python"], client.script, f"ws://127.0.0.1:{port}/echo", load.mode]
    words += [
        str(load.connections),
        str(results.seconds),
        str(WARMUP),
        *(["--asyncio"] if client.plain_asyncio else []),
    ]
    try:
        with process.serving(command, port, install.CACHE / "server.log"):
            results.add(load.name, client.name, json.loads(process.run_load(words, timeout=60)))
    except process.Failed as exc:
        results.fail(f"{client.name}, {load.name}: {exc}")
        print(f"  ! {results.failures[-1]}", flush=True)


def measure_clients(
    results: Results, clients: Sequence[Client], loads: Sequence[ClientLoad], rounds: int
) -> None:
    try:
        server = _server()
    except install.Unavailable as exc:
        results.fail(f"no client was measured: {exc}")
        return
    for number in range(rounds):
        for load in loads:
            print(f"Round {number + 1} of {rounds}: {load.title}, to {server.name}", flush=True)
            fitting = [client for client in clients if client.blocking is load.blocking]
            turn = number % len(fitting) if fitting else 0
            for client in (*fitting[turn:], *fitting[:turn]):
                measure_client(results, client, load, server)


if __name__ == "__main__":
    import run

    sys.argv[1:1] = ["--loads", ",".join(load.name for load in CLIENT_LOADS)]
    run.main()
