"""Metrics of a hub as Prometheus reads them.

Nothing is looked up or locked where messages pass: there plain numbers are counted
(:class:`everwire.channels.counts.Counts`), and this reads them when it is asked.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from everwire.channels.hub import Hub
from everwire.errors import ConfigError
from everwire.ops.machine import Machine
from everwire.ops.saturation import Sampler, Saturation
from everwire.wire.codes import DisconnectCode

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["HubMetrics"]

Row = tuple[str, str, float]
"""A metric without labels: its name, what it is, its value."""


class HubMetrics:
    """What Prometheus is told of a hub: a collector, in the sense of ``prometheus_client``.

    An application with metrics of its own registers it beside them, ``REGISTRY.register(hub.metrics)``.

    Parameters:
        hub: the hub.
        sampler: what watches its event loop.
    """

    def __init__(self, hub: Hub, sampler: Sampler) -> None:
        self._hub = hub
        self._sampler = sampler
        self._registry: Any = None

    def render(self) -> tuple[bytes, str]:
        """The metrics as text, and its content type.

        Raises:
            ConfigError: the package ``prometheus_client`` is missing.
        """
        try:
            client: Any = importlib.import_module("prometheus_client")
        except ModuleNotFoundError:
            raise ConfigError(
                'metrics need prometheus_client; install it: pip install "everwire[metrics]"'
            ) from None
        if self._registry is None:
            self._registry = client.CollectorRegistry()
            self._registry.register(self)
            self._registry.register(_ProcessMetrics(self._sampler.machine))
        return client.generate_latest(self._registry), str(client.CONTENT_TYPE_LATEST)

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: registering it reads nothing."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics, with their values now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        hub = self._hub
        about = {"node": hub.node, "name": hub.name, "engine": hub.engine.name, "version": hub.version}
        yield InfoMetricFamily("everwire_node", "This node.", value=about)
        full = self._sampler.read(
            connections=hub.counts.connections, connection_limit=hub.options.connection_limit
        )
        for name, what, value in self._gauges(full):
            yield GaugeMetricFamily(name, what, value=value)
        parts = GaugeMetricFamily(
            "everwire_saturation_part", "How much of each limit is used: 0 to 1.", labels=["part"]
        )
        for part, value in full._asdict().items():
            parts.add_metric([part], value)
        yield parts
        for name, what, value in self._counters():
            yield CounterMetricFamily(name, what, value=value)
        counts = hub.counts
        for name, what, label, values in (
            (
                "everwire_publications",
                "Publications into channels, by whether the engine has taken them.",
                "result",
                {"ok": counts.published, "error": counts.publish_errors},
            ),
            (
                "everwire_recoveries",
                "Subscriptions that asked for what they had missed, by whether they got it.",
                "recovered",
                {"yes": counts.recovered, "no": counts.unrecovered},
            ),
            (
                "everwire_disconnects",
                "Sessions that have ended, by code; 3000: the client has gone.",
                "code",
                counts.disconnects,
            ),
        ):
            family = CounterMetricFamily(name, what, labels=[label])
            for key, count in sorted(values.items(), key=str):
                family.add_metric([str(key)], count)
            yield family

    def _gauges(self, full: Saturation) -> Iterator[Row]:
        hub, counts = self._hub, self._hub.counts
        yield "everwire_saturation", "How full the node is, 0 to 1: the largest of its parts.", full.value
        yield "everwire_connections", "Sessions that there are.", counts.connections
        yield "everwire_users", "Different users of sessions.", hub.user_count
        yield "everwire_channels", "Channels that somebody follows.", hub.channel_count
        yield "everwire_subscriptions", "Subscriptions that there are.", counts.subscriptions
        yield "everwire_ready", "Whether new clients are welcome.", hub.health.ready
        yield "everwire_engine_available", "Whether the engine can be reached.", counts.engine_available
        yield "everwire_loop_lag_seconds", "How late the event loop was, mean of 10 s.", self._sampler.lag
        yield "everwire_loop_lag_max_seconds", "The same at its worst.", self._sampler.max_lag
        yield "everwire_loop_busy_ratio", "Processor share of the event loop, 10 s.", self._sampler.busy

    def _counters(self) -> Iterator[Row]:
        counts = self._hub.counts
        yield "everwire_connections_opened", "Sessions that were begun.", counts.opened
        yield "everwire_connections_refused", "Sessions refused at connection_limit.", counts.refused
        yield "everwire_connections_turned_away", "Clients answered with 503.", counts.turned_away
        yield "everwire_messages_received", "Commands of clients.", counts.messages_received
        yield "everwire_received_bytes", "Bytes of them.", counts.bytes_received
        yield "everwire_messages_sent", "Answers and pushes to clients.", counts.messages_sent
        yield "everwire_sent_bytes", "Bytes of them, before compression.", counts.bytes_sent
        yield "everwire_delivered", "Publications that came from the engine.", counts.delivered
        yield "everwire_engine_reads", "Reads of logs.", counts.engine_reads
        yield "everwire_insufficient_state", "Subscriptions told of a gap.", counts.insufficient
        yield (
            "everwire_backlog_closings",
            "Clients cut, too far behind.",
            counts.disconnects[DisconnectCode.SLOW],
        )


class _ProcessMetrics:
    """What prometheus_client's own collector tells of a process, and by its names.

    That one lists /proc/self/fd: with a hundred thousand sockets it takes the event loop a tenth of a second.
    An application that registers a hub's metrics has it already.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics, with their values now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        machine = self._machine
        yield CounterMetricFamily("process_cpu_seconds", "Processor time used.", value=time.process_time())
        rows = [
            ("process_resident_memory_bytes", "Memory in use.", machine.resident()),
            ("process_open_fds", "Files and sockets that are open.", machine.descriptors()),
        ]
        if machine.limits.descriptors is not None:
            rows.append(
                ("process_max_fds", "Files and sockets that may be open.", machine.limits.descriptors)
            )
        for name, what, value in rows:
            yield GaugeMetricFamily(name, what, value=value)
