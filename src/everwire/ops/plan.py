"""How many nodes a load needs, and what it makes of the engine and the network: arithmetic, no measurement.

It is explained in docs/explanation/sizing.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from msgspec import Raw

from everwire.ops.measured import ENGINES, EngineCosts, Measured
from everwire.wire.formats import codec
from everwire.wire.messages import Publication, Push, Reply

__all__ = ["Load", "Plan", "make_plan"]

MONTH = 365.2425 / 12 * 86400
"""Seconds."""
SEGMENT, PACKET_HEAD = 1448, 52
"""Bytes of a TCP segment on Ethernet, and of the headers of IPv4 and TCP with timestamps (RFC 7323)."""
TLS_RECORD, TLS_HEAD = 16384, 22
"""Bytes of a record, and what TLS 1.3 adds to each (RFC 8446, section 5.2): head, type and tag."""
OTHER_DESCRIPTORS = 64
"""What a process has open besides clients: listening sockets, the engine, logs."""
PROXY_PORTS = 28_232
"""Connections of one address to one port: Linux's default range, net.ipv4.ip_local_port_range."""
MOST_PROCESSES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be carried, and on what.

    Attributes:
        connections: clients at once.
        channels: channels that are followed.
        subscribers: clients that follow one channel, on average.
        rate: publications a second into all channels together.
        size: bytes of a payload.
        history: publications kept of each channel.
        format: ``"json"`` or ``"protobuf"``.
        engine: ``"nats"``, ``"redis"``, ``"memory"`` or ``"sqlite"``.
        cpus: processors of a node; each has a process.
        memory: bytes of a node.
        descriptors: files and sockets that one process may have open.
        session_time: seconds that a client stays connected, on average.
        ping_interval: seconds between pings.
        connection_rate_limit: clients a second that one process lets in; 0: as many as it can.
        target: the share of each limit that is used; the rest is for peaks.
        spare: nodes more than it takes, so that as many may fail.
        egress_cost: of 10^9 bytes that leave; 0: not known.
    """

    connections: int
    channels: int = 1
    subscribers: float = 1.0
    rate: float = 1.0
    size: int = 100
    history: int = 100
    format: str = "json"
    engine: str = "nats"
    cpus: int = 2
    memory: int = 4 << 30
    descriptors: int = 1 << 20
    session_time: float = 1800.0
    ping_interval: float = 25.0
    connection_rate_limit: float = 0.0
    target: float = 0.6
    spare: int = 1
    egress_cost: float = 0.0

    def __post_init__(self) -> None:
        least = {"connections": 1, "size": 1, "cpus": 1, "memory": 1, "descriptors": OTHER_DESCRIPTORS + 1}
        for name in (each for each in self.__slots__ if each not in ("format", "engine")):
            value = getattr(self, name)
            if not least.get(name, 0) <= value < math.inf:
                raise ValueError(f"{name} is {least.get(name, 0)} or more, not {value!r}")
        if not 0 < self.target <= 1:
            raise ValueError(f"target is a share above 0, at most 1, not {self.target!r}")
        if not self.session_time or not self.ping_interval:
            raise ValueError("session_time and ping_interval are above 0")
        if self.format not in ("json", "protobuf"):
            raise ValueError(f"format is json or protobuf, not {self.format!r}")
        if self.subscribers > self.connections:
            raise ValueError(
                f"a channel with {self.subscribers:g} subscribers needs as many connections, not "
                f"{self.connections}"
            )

    @property
    def subscriptions(self) -> float:
        """Of all clients together."""
        return self.channels * self.subscribers


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the load needs.

    Attributes:
        nodes, processes: machines, and processes on all of them, one for each processor.
        needed: nodes without the spare ones.
        limited_by: what asks for so many: ``cpu``, ``memory`` or ``descriptors``.
        connections_per_process: so many sockets.
        descriptors_per_process: what ``ulimit -n`` must allow at least.
        cpu: share of a processor that each process uses, with all nodes up; *cpu_parts*: what for.
        memory_per_node: bytes.
        deliveries: publications to subscribers, a second.
        frame_bytes: one of them in the client protocol; *packet_bytes*: on the network.
        egress_rate: bytes a second to clients; *egress_month*: bytes a month, *egress_cost*: of those.
        engine_in, engine_in_bytes: publications a second into the engine.
        engine_out, engine_out_bytes: publications a second from the engine to all processes.
        engine_servers: servers of the engine, replicas included; 0: it is in the process.
        history_bytes: what the engine keeps, replicas included.
        reconnect_one: seconds until the clients of one lost node are back; *reconnect_all*: all clients.
        notes: what to mind, for people.
    """

    nodes: int
    processes: int
    needed: int
    limited_by: str
    connections_per_process: float
    descriptors_per_process: int
    cpu: float
    cpu_parts: dict[str, float]
    memory_per_node: float
    deliveries: float
    frame_bytes: int
    packet_bytes: int
    egress_rate: float
    egress_month: float
    egress_cost: float
    engine_in: float
    engine_in_bytes: float
    engine_out: float
    engine_out_bytes: float
    engine_servers: int
    history_bytes: float
    reconnect_one: float
    reconnect_all: float
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)


def make_plan(
    load: Load, measured: Measured | None = None, engines: Mapping[str, EngineCosts] | None = None
) -> Plan:
    """Work out what a load needs.

    Raises:
        ValueError: no number of nodes carries it, or there is no such engine.
    """
    engines = ENGINES if engines is None else engines
    if load.engine not in engines:
        raise ValueError(f"engine is one of {', '.join(engines)}, not {load.engine!r}")
    return _Planner(load, measured if measured is not None else Measured(), engines[load.engine]).plan()


def frame_size(load: Load) -> int:
    """Bytes of a push as it is sent: a channel's name of 20 characters, an offset of 6 digits."""
    data = Raw(b"1" * load.size)
    publication = Publication(data=data, offset=123_456)
    push = Push(channel="c" * 20, pub=publication)
    return len(codec(load.format).encode_replies((Reply(push=push),)))


def packet_size(frame: int) -> int:
    """Bytes on the network of a message of a WebSocket over TLS, sent by itself."""
    message = frame + (2 if frame < 126 else 4 if frame < 1 << 16 else 10)
    message += TLS_HEAD * math.ceil(message / TLS_RECORD)
    return message + PACKET_HEAD * math.ceil(message / SEGMENT)


def share_of_channels(processes: int, subscribers: float) -> float:
    """Of all channels the share that one process follows, if clients are spread by chance."""
    if processes <= 1:
        return 1.0 if subscribers else 0.0
    return -math.expm1(subscribers * math.log1p(-1 / processes))


class _Planner:
    def __init__(self, load: Load, measured: Measured, engine: EngineCosts) -> None:
        self.load = load
        self.measured = measured
        self.engine = engine
        self.frame = frame_size(load)
        self.deliveries = load.rate * load.subscribers

    def cpu(self, processes: int) -> dict[str, float]:
        """Shares of a processor that one of so many processes uses."""
        load, measured, engine = self.load, self.measured, self.engine
        further = max(load.subscriptions / load.connections - 1, 0)
        joins = load.connections / load.session_time * (measured.connect_us + further * measured.subscribe_us)
        delivery = measured.delivery_us + max(self.frame - 64, 0) * measured.delivery_ns_per_byte / 1000
        received = load.rate * share_of_channels(processes, load.subscribers)
        return {
            "deliveries": self.deliveries * delivery / processes / 1e6,
            "publishing": load.rate * engine.publish_us / processes / 1e6,
            "receiving": received * engine.receive_us / 1e6,
            "connecting": joins / processes / 1e6,
            "pings": load.connections / load.ping_interval * measured.ping_us / processes / 1e6,
        }

    def memory(self, processes: int) -> float:
        """Bytes of one of so many processes, kernel memory of its sockets included."""
        load, measured = self.load, self.measured
        each = measured.connection_bytes + measured.socket_bytes
        further = max(load.subscriptions - load.connections, 0)
        found = measured.process_bytes
        found += (load.connections * each + further * measured.subscription_bytes) / processes
        found += load.channels * share_of_channels(processes, load.subscribers) * measured.channel_bytes
        return found + (self.history() if self.engine.processes else 0)

    def history(self) -> float:
        """Bytes of all logs, once."""
        return self.load.channels * self.load.history * (self.load.size + self.engine.record_bytes)

    def descriptors(self, processes: int) -> int:
        """Files and sockets of one of so many processes."""
        return math.ceil(self.load.connections / processes) + OTHER_DESCRIPTORS

    def shares(self, processes: int) -> dict[str, float]:
        """How much of each limit one of so many processes uses."""
        load = self.load
        return {
            "cpu": sum(self.cpu(processes).values()),
            "memory": self.memory(processes) / (load.memory / load.cpus),
            "descriptors": self.descriptors(processes) / load.descriptors,
        }

    def fewest(self) -> tuple[int, str]:
        """The fewest processes that do not use more than they should, and what asks for so many.

        Each share falls as processes are added, so that halving finds it.
        """
        target = self.load.target
        if self.engine.processes:
            shares = self.shares(1)
            part = max(shares, key=lambda name: shares[name])
            if shares[part] > target:
                raise ValueError(
                    f"this takes {shares[part]:,.0%} of what one process has of {part}, and the engine "
                    f"{self.load.engine} is for one process: take nats or redis"
                )
            return 1, part
        low, high = 0, 1
        while max(self.shares(high).values()) > target:
            low, high = high, high * 2
            if high > MOST_PROCESSES:
                raise ValueError(self.hopeless())
        while high - low > 1:
            middle = (low + high) // 2
            if max(self.shares(middle).values()) > target:
                low = middle
            else:
                high = middle
        shares = self.shares(max(high - 1, 1))
        return high, max(shares, key=lambda name: shares[name])

    def hopeless(self) -> str:
        """Why no number of processes is enough."""
        received = self.load.rate * share_of_channels(MOST_PROCESSES, self.load.subscribers)
        receiving = received * self.engine.receive_us / 1e6
        if receiving > self.load.target:
            return (
                "no number of nodes carries this: where channels have so many subscribers, each process "
                f"gets {received:,.0f} publications a second from the engine, and that alone takes "
                f"{receiving:.0%} of its processor. Publish less often, or several things at once"
            )
        empty = self.measured.process_bytes / (self.load.memory / self.load.cpus)
        if empty > self.load.target:
            return (
                f"no number of nodes carries this: a process without clients takes {empty:,.0%} of its part "
                "of the memory. Give nodes more"
            )
        return f"this takes more than {MOST_PROCESSES:,} processes"

    def plan(self) -> Plan:
        load, measured, engine = self.load, self.measured, self.engine
        fewest, limited_by = self.fewest()
        needed = math.ceil(fewest / load.cpus)
        nodes = needed + (0 if engine.processes else load.spare)
        processes = engine.processes or nodes * load.cpus
        parts = self.cpu(processes)
        packet = packet_size(self.frame)
        ping = load.connections / load.ping_interval * (packet_size(2) + PACKET_HEAD)
        egress = self.deliveries * packet + ping
        followers = processes * share_of_channels(processes, load.subscribers)
        out = 0.0 if engine.processes else load.rate * followers
        stored = load.size + engine.record_bytes
        accepts = 1e6 / max(measured.recover_us, 0.001)
        if load.connection_rate_limit:
            accepts = min(accepts, load.connection_rate_limit)
        left = processes - load.cpus if nodes > 1 else processes
        plan = Plan(
            nodes=nodes,
            processes=processes,
            needed=needed,
            limited_by=limited_by,
            connections_per_process=load.connections / processes,
            descriptors_per_process=self.descriptors(processes),
            cpu=sum(parts.values()),
            cpu_parts=parts,
            memory_per_node=self.memory(processes) * (processes / nodes),
            deliveries=self.deliveries,
            frame_bytes=self.frame,
            packet_bytes=packet,
            egress_rate=egress,
            egress_month=egress * MONTH,
            egress_cost=egress * MONTH / 1e9 * load.egress_cost,
            engine_in=load.rate,
            engine_in_bytes=load.rate * stored,
            engine_out=out,
            engine_out_bytes=out * stored,
            engine_servers=self.servers(out),
            history_bytes=self.history() * engine.replicas,
            reconnect_one=load.connections / nodes / (accepts * left),
            reconnect_all=load.connections / (accepts * processes),
            notes=(),
        )
        return _with_notes(plan, load, engine)

    def servers(self, out: float) -> int:
        """Servers of the engine: enough for what comes in and goes out, each with its replicas."""
        engine, target = self.engine, self.load.target
        if engine.processes:
            return 0
        rates = (self.load.rate, engine.publish_rate), (out, engine.deliver_rate)
        share = max((asked / taken for asked, taken in rates if taken), default=0.0)
        return max(math.ceil(share / target), 1) * engine.replicas


def _with_notes(plan: Plan, load: Load, engine: EngineCosts) -> Plan:
    notes: list[str] = []
    if plan.engine_servers > engine.replicas:
        notes.append(
            f"one server of the engine is not enough: {plan.engine_servers // engine.replicas} share the "
            "channels between them, Redis Cluster by name, NATS by namespace"
        )
    if plan.connections_per_process > PROXY_PORTS:
        notes.append(
            f"a proxy with one address has {PROXY_PORTS:,} connections to a port: take more proxies, or "
            "balance by packets (layer 4)"
        )
    if plan.descriptors_per_process > 1024:
        notes.append(f"allow each process open files: ulimit -n {2 * plan.descriptors_per_process}")
    if plan.nodes == 1:
        notes.append("one node: while it restarts, nobody is connected")
    return replace(plan, notes=tuple(notes))
