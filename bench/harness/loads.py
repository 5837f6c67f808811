"""The loads: what the generator does, and over what kind of connection."""

from __future__ import annotations

from typing import Literal, NamedTuple

Variant = Literal["plain", "tls", "deflate"]

CPU = "cpu_us"
RATE = "per_s"
HANDSHAKES = "handshakes_per_s"
BYTES = "bytes_per_connection"

FIGURES = {
    CPU: "CPU µs",
    RATE: "messages/s",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    HANDSHAKES: "handshakes/s",
    "cpu_us_per_handshake": "CPU µs",
    BYTES: "bytes",
}


def label(load: str, figure: str) -> str:
    """What a figure is called under a load: a count of messages, deliveries, round trips or connections."""
    things = {"fan": "deliveries", "client-connect": "connections"}
    thing = things.get(load, "round trips" if load.startswith("client") else "messages")
    return FIGURES[figure].replace("messages", thing)


class Load(NamedTuple):
    name: str
    title: str
    command: str
    """Mode, path and options of the load generator."""
    variant: Variant = "plain"

    @property
    def idle(self) -> bool:
        return self.command.startswith("idle")


class ClientLoad(NamedTuple):
    name: str
    title: str
    mode: Literal["connect", "echo", "echo-1k", "pipelined"]
    connections: int = 1
    blocking: bool = False
    """Whether it is for clients that block their thread."""


LOADS = (
    Load("echo-1", "echo, 1 connection, 16 B", "echo /echo -c 1 -s 16"),
    Load("echo", "echo, 100 connections, 16 B", "echo /echo -c 100 -s 16"),
    Load("pipelined", "echo, 20 connections, 50 in flight, 16 B", "echo /echo -c 20 -s 16 -d 50"),
    Load("echo-16k", "echo, 50 connections, 16 KiB", "echo /echo -c 50 -s 16384"),
    Load("echo-1m", "echo, 4 connections, 1 MiB, binary", "echo /echo -c 4 -s 1048576 -b"),
    Load("fan", "fan-out to 1000 connections, 64 B", "fanout /fan -c 1000 -s 64 -d 4"),
    Load("idle", "5000 idle connections", "idle /fan -c 5000"),
    Load("tls-echo", "TLS: echo, 100 connections, 16 B", "echo /echo -c 100 -s 16", "tls"),
    Load("tls-echo-1k", "TLS: echo, 100 connections, 1 KiB", "echo /echo -c 100 -s 1024", "tls"),
    Load("tls-idle", "TLS: 1000 idle connections", "idle /echo -c 1000 --touch", "tls"),
    Load(
        "deflate-echo",
        "permessage-deflate: echo, 50 connections, 1 KiB JSON",
        "echo /echo -c 50 -s 1024",
        "deflate",
    ),
    Load(
        "deflate-idle",
        "permessage-deflate: 1000 idle connections",
        "idle /echo -c 1000 -s 1024 --touch",
        "deflate",
    ),
)

CLIENT_LOADS = (
    ClientLoad("client-connect", "client: connect and close, one after the other", "connect"),
    ClientLoad("client-echo-1", "client: round trips of 16 B over 1 connection", "echo"),
    ClientLoad("client-echo-100", "client: round trips of 16 B over 100 connections", "echo", 100),
    ClientLoad("sync-echo", "blocking client: round trips of 16 B", "echo", blocking=True),
    ClientLoad("sync-echo-1k", "blocking client: round trips of 1 KiB", "echo-1k", blocking=True),
    ClientLoad(
        "sync-pipelined", "blocking client: 500 sent, then 500 received, 16 B", "pipelined", blocking=True
    ),
)

CHECKS = (
    "echo /echo -c 8 -s 0 -d 3 -n 200",
    "echo /echo -c 8 -s 125 -d 5 -n 500",
    "echo /echo -c 8 -s 126 -d 5 -b -n 500",
    "echo /echo -c 4 -s 65535 -d 2 -b -n 60",
    "echo /echo -c 4 -s 65536 -d 2 -n 60",
    "echo /echo -c 2 -s 1048576 -b -n 12",
    "fanout /fan -c 20 -s 64 -d 4 -n 2000",
)
"""Run once against each server and variant with every byte compared, before anything is measured.

The fan-out is for plain connections only: no load asks for it over TLS or compressed.
"""
