"""``everwire plan``: how many nodes a load needs, and what it makes of the engine and the network."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer import BadParameter

from everwire.cli.bench.units import count, data, rate
from everwire.cli.settings import parse_size
from everwire.errors import ConfigError
from everwire.ops.measured import ENGINES, Measured, load_measured
from everwire.ops.plan import Load, Plan, make_plan

__all__ = ["plan"]

EPILOG = """[bold]Examples[/]
[cyan]everwire plan -c 100000 --channels 10000 --subscribers 10 --rate 5000[/]
[cyan]everwire plan -c 1M --channels 50 --subscribers 20000 --rate 50 --cpus 8 --memory 16GiB[/]
[cyan]everwire plan -c 10M --channels 1M --subscribers 10 --rate 100k --egress-cost 0.05 --json[/]"""
SUFFIXES = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


class Format(StrEnum):
    """The format of the client protocol."""

    JSON = "json"
    PROTOBUF = "protobuf"


class EngineName(StrEnum):
    """Where the logs of channels are."""

    NATS = "nats"
    REDIS = "redis"
    MEMORY = "memory"
    SQLITE = "sqlite"


def plan(
    connections: Annotated[
        str, typer.Option("--connections", "-c", metavar="N", help="Clients at once: 20000, 50k, 1.5M.")
    ],
    channels: Annotated[str, typer.Option(metavar="N", help="Channels that are followed.")] = "1",
    subscribers: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Clients that follow one channel, on average.  \\[default: each follows one]"
        ),
    ] = None,
    rate: Annotated[
        str, typer.Option("--rate", "-r", metavar="N", help="Publications a second, into all channels.")
    ] = "1",
    size: Annotated[str, typer.Option(metavar="SIZE", help="Size of a payload.")] = "100",
    history: Annotated[str, typer.Option(metavar="N", help="Publications kept of each channel.")] = "100",
    format: Annotated[Format, typer.Option(help="Format of the client protocol.")] = Format.JSON,
    engine: Annotated[EngineName, typer.Option(help="Where the logs of channels are.")] = EngineName.NATS,
    cpus: Annotated[int, typer.Option(metavar="N", min=1, help="Processors of a node.")] = 2,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Memory of a node.")] = "4GiB",
    descriptors: Annotated[
        str, typer.Option(metavar="N", help="Files that a process may have open.")
    ] = "1048576",
    session_time: Annotated[
        str, typer.Option(metavar="TIME", help="How long a client stays connected: 90s, 30m, 8h.")
    ] = "30m",
    ping_interval: Annotated[float, typer.Option(metavar="SECONDS", help="Seconds between pings.")] = 25.0,
    connection_rate_limit: Annotated[
        str, typer.Option(metavar="N", help="Clients a second that a process lets in; 0: all it can.")
    ] = "0",
    target: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of each limit to use; the rest is for peaks.")
    ] = 0.6,
    spare: Annotated[int, typer.Option(metavar="N", min=0, help="Nodes that may fail.")] = 1,
    egress_cost: Annotated[
        float, typer.Option(metavar="COST", min=0, help="Cost of a GB (10^9 bytes) that leaves.")
    ] = 0.0,
    measured: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Figures of your machines, from bench/sizing.py: JSON or TOML."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Work out how many nodes a load needs, and what it makes of the engine, the network and the bill."""
    clients = int(_number("connections", connections))
    many = _number("channels", channels)
    options: dict[str, Any] = {
        "connections": clients,
        "channels": int(many),
        "subscribers": clients / max(many, 1) if subscribers is None else _number("subscribers", subscribers),
        "rate": _number("rate", rate),
        "size": _size("size", size),
        "history": int(_number("history", history)),
        "format": format.value,
        "engine": engine.value,
        "cpus": cpus,
        "memory": _size("memory", memory),
        "descriptors": int(_number("descriptors", descriptors)),
        "session_time": _seconds(session_time),
        "ping_interval": ping_interval,
        "connection_rate_limit": _number("connection-rate-limit", connection_rate_limit),
        "target": target,
        "spare": spare,
        "egress_cost": egress_cost,
    }
    try:
        figures, engines = (Measured(), ENGINES) if measured is None else load_measured(measured)
        load = Load(**options)
        found = make_plan(load, figures, engines)
    except ConfigError as error:
        raise BadParameter(str(error)) from None
    except ValueError as error:
        raise BadParameter(str(error)) from None
    if as_json:
        inputs = {"load": dataclasses.asdict(load), "measured": dataclasses.asdict(figures)}
        inputs["engine"] = dataclasses.asdict(engines[load.engine])
        typer.echo(json.dumps({"plan": found.as_dict(), **inputs}, indent=2))
    else:
        print_plan(Console(highlight=False), load, found, own=measured is not None)


def _number(option: str, text: str) -> float:
    """A number like ``20000``, ``50k`` or ``1.5M``.

    Raises:
        BadParameter: it is none.
    """
    digits, factor = text.strip().replace(",", "").lower(), 1
    if digits[-1:] in SUFFIXES:
        digits, factor = digits[:-1], SUFFIXES[digits[-1]]
    try:
        value = float(digits) * factor
        if 0 <= value < 1e15:
            return value
    except ValueError:
        pass
    raise BadParameter(f"--{option}: {text!r} is not a number; write it like 20000, 50k or 1.5M")


def _size(option: str, text: str) -> int:
    size = parse_size(text)
    if size is None:
        raise BadParameter(f"--{option}: a size is needed, like 100, 16KiB or 4GiB")
    return size


def _seconds(text: str) -> float:
    from everwire.channels.config import Duration

    try:
        return Duration.parse(text)
    except ValueError as error:
        raise BadParameter(f"--session-time: {error}") from None


def print_plan(console: Console, load: Load, found: Plan, *, own: bool) -> None:
    """Print what was worked out."""
    nodes = f"{found.needed} + {found.nodes - found.needed} spare" if found.nodes > found.needed else ""
    console.print(
        f"[bold cyan]{count(found.nodes)} node{'' if found.nodes == 1 else 's'}[/] of {load.cpus} CPU and "
        f"{data(load.memory)}{f' ({nodes})' if nodes else ''}, limited by {found.limited_by}",
        soft_wrap=True,
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column()
    for name, value, more in _rows(load, found):
        table.add_row(name, value, more)
    console.print(table)
    for note in found.notes:
        console.print(f"[yellow]{note}[/]", soft_wrap=True)
    source = "your figures" if own else "figures measured on 2 shared virtual cores; see --measured"
    console.print(f"[dim]{source}[/]", soft_wrap=True)


def _rows(load: Load, found: Plan) -> list[tuple[str, str, str]]:
    parts = sorted(found.cpu_parts.items(), key=lambda part: -part[1])
    cpu = ", ".join(f"{name} {share:.1%}" for name, share in parts if share >= 0.0005)
    month = f"{found.egress_month / 1e9:,.0f} GB"
    rows = [
        ("connections", count(round(found.connections_per_process)), "a process, of which each CPU has one"),
        ("CPU", f"{found.cpu:.0%}", f"of each: {cpu}"),
        ("memory", data(found.memory_per_node), f"a node, {found.memory_per_node / load.memory:.0%} of it"),
        ("open files", count(found.descriptors_per_process), "a process"),
        ("deliveries", rate(found.deliveries), f"a second, of {found.frame_bytes} B each"),
        ("egress", f"{data(found.egress_rate)}/s", f"{data(found.egress_rate / found.nodes)}/s a node"),
        ("", month, "a month" + (f": {found.egress_cost:,.2f}" if load.egress_cost else "")),
        ("into the engine", rate(found.engine_in), f"a second, {data(found.engine_in_bytes)}/s"),
    ]
    if found.engine_servers:
        rows += [
            ("out of the engine", rate(found.engine_out), f"a second, {data(found.engine_out_bytes)}/s"),
            ("engine servers", count(found.engine_servers), "replicas included"),
        ]
    return [
        *rows,
        ("history", data(found.history_bytes), "replicas included" if found.engine_servers else "in memory"),
        ("back after a node", _time(found.reconnect_one), "at best, until its clients are connected again"),
        ("back after all", _time(found.reconnect_all), "at best, when everything was down"),
    ]


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
