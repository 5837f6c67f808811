"""What things cost: inputs of a plan, each with where it comes from. Other machines have other figures."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

from everwire.errors import ConfigError

__all__ = ["ENGINES", "EngineCosts", "Measured", "load_measured"]

HERE = "bench/sizing.py, 4,000 clients over loopback, 2 shared virtual cores, Python 3.11, uvloop"
MAX_BYTES = 1 << 20


def _is(value: float, source: str) -> Any:
    return field(default=value, metadata={"source": source})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCosts:
    """What an engine costs, and how much one server of it carries.

    Attributes:
        publish_us: processor time of a node for a publication, until it is acknowledged.
        receive_us: processor time of a node for a publication that comes from the engine, before deliveries.
        publish_rate: publications a second that one server takes; 0: it is in the node itself.
        deliver_rate: publications a second that one server sends to nodes; 0: it is in the node itself.
        record_bytes: what a publication takes in the log beyond its payload.
        replicas: servers that each publication is kept on, the first included.
        processes: processes that can share it; 0: any number.
    """

    publish_us: float
    receive_us: float
    publish_rate: float
    deliver_rate: float
    record_bytes: float
    replicas: int
    processes: int = 0

    def __post_init__(self) -> None:
        _check(self)


def _check(figures: Any) -> None:
    for each in fields(figures):
        value: object = getattr(figures, each.name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise ValueError(f"{each.name} is a number of 0 or more, not {value!r}")


ENGINES = {
    "memory": EngineCosts(
        publish_us=22,
        receive_us=0,
        publish_rate=0,
        deliver_rate=0,
        record_bytes=333,
        replicas=1,
        processes=1,
    ),
    "sqlite": EngineCosts(
        publish_us=115,
        receive_us=0,
        publish_rate=0,
        deliver_rate=0,
        record_bytes=49,
        replicas=1,
        processes=1,
    ),
    "nats": EngineCosts(
        publish_us=17,
        receive_us=8,
        publish_rate=20_200,
        deliver_rate=1_000_000,
        record_bytes=74,
        replicas=3,
    ),
    "redis": EngineCosts(
        publish_us=16,
        receive_us=7,
        publish_rate=30_600,
        deliver_rate=1_000_000,
        record_bytes=52,
        replicas=2,
    ),
}
"""By name; where the figures come from, docs/explanation/sizing.md says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one process of a hub takes: processor time in microseconds, memory in bytes.

    Attributes:
        process_bytes: a hub without clients.
        connection_bytes: a session with one subscription to a channel that others have, too.
        socket_bytes: what the kernel has for its socket.
        subscription_bytes: each further subscription.
        channel_bytes: each channel that somebody follows.
        connect_us: the opening handshake, connecting, and one subscription.
        subscribe_us: each further subscription.
        recover_us: as *connect_us*, with ten publications recovered.
        ping_us: a ping and its answer.
        delivery_us: a publication of 64 bytes to one more subscriber, in a system call of its own.
        delivery_ns_per_byte: nanoseconds for each byte beyond those.
    """

    process_bytes: float = _is(43_827_200, HERE)
    connection_bytes: float = _is(2_312, HERE)
    socket_bytes: float = _is(3_881, HERE)
    subscription_bytes: float = _is(1_389, HERE)
    channel_bytes: float = _is(810, HERE)
    connect_us: float = _is(252, HERE)
    subscribe_us: float = _is(41, HERE)
    recover_us: float = _is(262, HERE)
    ping_us: float = _is(16, HERE)
    delivery_us: float = _is(6.6, HERE)
    delivery_ns_per_byte: float = _is(0.13, HERE)

    def __post_init__(self) -> None:
        _check(self)

    @staticmethod
    def sources() -> dict[str, str]:
        """Where the defaults come from, by name."""
        return {each.name: each.metadata["source"] for each in fields(Measured)}


def load_measured(path: Path) -> tuple[Measured, dict[str, EngineCosts]]:
    """Read figures in place of the defaults, and those of engines: JSON or TOML, by their names.

    ``{"delivery_us": 5.1, "nats": {"publish_rate": 120000}}``, or what ``bench/sizing.py`` prints. What is
    not there stays as it is.

    Raises:
        ConfigError: it cannot be read, or has what is no figure.
    """
    try:
        data = path.read_bytes()[:MAX_BYTES]
        given: object = tomllib.loads(data.decode()) if path.suffix == ".toml" else json.loads(data)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: has figures by their names, not {type(given).__name__}")
    values = cast(dict[str, Any], given)
    engines = dict(ENGINES)
    try:
        for name in list(values):
            if name in engines:
                given = values.pop(name)
                if not isinstance(given, dict):
                    raise ValueError(f"{name} has figures by their names, not {given!r}")
                engines[name] = replace(engines[name], **cast(dict[str, Any], given))
        known = {each.name for each in fields(Measured)}
        if unknown := sorted(values.keys() - known):
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(sorted(known | engines.keys()))}")
        return replace(Measured(), **values), engines
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {str(error).rpartition('__init__() ')[2]}") from None
