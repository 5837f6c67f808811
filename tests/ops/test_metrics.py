"""Metrics: what is counted of real clients, who may read them, and that the reference names all of them."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import Any

import httpx
import prometheus_client
import pytest
from client.places import OPEN, Cutter, client, served
from commands import everwire as everwire_command
from conftest import Run
from docs.pages import DOCS, tables
from engines.servers import free_port
from prometheus_client.parser import text_string_to_metric_families

import everwire
from everwire.errors import ConfigError
from everwire.hub import Hub
from everwire.ops.exporter import parse_address

KEY = "the-key"


def values(text: str) -> dict[str, float]:
    """The values by names, with the labels behind them."""
    found = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            found[name + "".join(f" {each}" for each in labels.values())] = value
    return found


async def scrape(port: int, **headers: str) -> dict[str, float]:
    """What is told at a port."""
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://127.0.0.1:{port}/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return values(answer.text)


def test_what_clients_do_is_counted(run: Run) -> None:
    async def main() -> None:
        hub = Hub(api_key=KEY)
        hub.namespace("log", history=10, **OPEN)
        async with served(hub) as port, Cutter(port) as cutter, client(cutter.port) as one:
            async with one.subscribe("log:a") as subscription:
                for number in range(3):
                    await one.publish("log:a", number)
                assert [(await anext(subscription)).data for _ in range(3)] == [0, 1, 2]
                seen = await scrape(port, **{"X-API-Key": KEY})
                assert seen["everwire_connections"] == 1
                assert (seen["everwire_channels"], seen["everwire_subscriptions"]) == (1, 1)
                assert (seen["everwire_publications_total ok"], seen["everwire_delivered_total"]) == (3, 3)
                # connect, subscribe, three publications; the answers, and three pushes.
                assert seen["everwire_messages_received_total"] == 5
                assert seen["everwire_messages_sent_total"] == 8
                assert seen["everwire_sent_bytes_total"] > 8 * 20
                assert seen["everwire_ready"] == seen["everwire_engine_available"] == 1
                reads = seen["everwire_engine_reads_total"]
                cutter.cut()
                await hub.publish("log:a", 3)
                assert (await anext(subscription)).data == 3
                seen = await scrape(port, **{"X-API-Key": KEY})
                assert seen["everwire_recoveries_total yes"] == 1
                assert seen["everwire_recoveries_total no"] == 0
                assert seen["everwire_disconnects_total 3000"] == 1
                assert seen["everwire_engine_reads_total"] == reads + 1
                assert seen["everwire_connections_opened_total"] == 2
                assert seen["everwire_connections"] == 1
            await hub.disconnect("")
            seen = await scrape(port, **{"X-API-Key": KEY})
            assert seen["everwire_disconnects_total 3503"] == 1
            assert (seen["everwire_connections"], seen["everwire_subscriptions"]) == (0, 0)

    run(main)


def test_who_comes_too_fast_is_counted(run: Run) -> None:
    async def main() -> None:
        hub = Hub(connection_rate_limit=1, allow_anonymous_connect_without_token=True)
        async with served(hub) as port:
            url = f"ws://127.0.0.1:{port}/connection/websocket"
            async with everwire.connect(url, proxy=None):
                with pytest.raises(everwire.InvalidStatus):
                    await everwire.connect(url, proxy=None)
            assert (hub.counts.turned_away, hub.counts.opened) == (1, 1)

    run(main)


def test_publications_that_fail_are_counted(run: Run) -> None:
    async def main() -> None:
        hub = Hub("memory:?max_logs=1", api_key=KEY)
        hub.namespace("log", history=10, **OPEN)
        async with hub:
            await hub.publish("log:a", 1)
            with pytest.raises(everwire.EngineError):
                await hub.publish("log:b", 1)
            seen = values(hub.metrics.render()[0].decode())
            assert (seen["everwire_publications_total ok"], seen["everwire_publications_total error"]) == (
                1,
                1,
            )

    run(main)


@pytest.mark.parametrize(
    ("options", "headers", "status"),
    [
        ({"api_key": KEY}, {"X-API-Key": KEY}, 200),
        ({"api_key": KEY}, {"Authorization": f"apikey {KEY}"}, 200),
        ({"api_key": KEY}, {}, 401),
        ({"api_key": KEY}, {"X-API-Key": "wrong"}, 401),
        ({}, {"X-API-Key": "x"}, 403),
        ({"insecure": True}, {}, 200),
        ({"insecure": True}, {"Origin": "https://evil.example"}, 403),
    ],
)
def test_who_may_read_them(run: Run, options: dict[str, Any], headers: dict[str, str], status: int) -> None:
    async def main() -> None:
        async with served(Hub(**options)) as port, httpx.AsyncClient() as http:
            for path in ("/metrics", "/connection/metrics"):
                answer = await http.get(f"http://127.0.0.1:{port}{path}", headers=headers)
                assert answer.status_code == status, answer.text
                assert ("everwire_saturation" in answer.text) is (status == 200)

    run(main)


def test_a_port_of_their_own(run: Run, unused_tcp_port: int) -> None:
    async def main() -> None:
        hub = Hub(metrics_address=f"127.0.0.1:{unused_tcp_port}")
        for _ in range(2):
            async with hub, httpx.AsyncClient() as http:
                assert (await scrape(unused_tcp_port))["everwire_connections"] == 0
                for path in ("/", "/health", "/api/info", "/connection/websocket"):
                    answer = await http.get(f"http://127.0.0.1:{unused_tcp_port}{path}")
                    assert answer.status_code == 404
        async with hub:
            other = Hub(metrics_address=f"127.0.0.1:{unused_tcp_port}")
            with pytest.raises(ConfigError, match=rf"metrics_address 127.0.0.1:{unused_tcp_port}: "):
                await other.start()

    run(main)


def test_workers_have_a_port_each(tmp_path: Path) -> None:
    # Four ports in a row, of which the first is free at least.
    first = free_port()
    (tmp_path / "app.py").write_text(
        "import everwire\n"
        f"hub = everwire.Hub(metrics_address='127.0.0.1:{first}', insecure=True, name='one of two')\n"
    )
    args = ("serve", "app:hub", "--workers", "2", "--port", "0", "--data-dir", tmp_path / "data")
    with everwire_command(*args, cwd=tmp_path) as program:
        program.wait_for("Ctrl-C")
        ports = {int(port) for port in re.findall(r"metrics are at http://127.0.0.1:(\d+)/", program.output)}
        assert len(ports) == 2
        assert ports <= set(range(first, first + 4))
        nodes = set()
        for port in ports:
            text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            nodes |= set(re.findall(r'everwire_node_info\{.*name="one of two",node="([^"]+)"', text))
        assert len(nodes) == 2
        assert program.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("address", "where"),
    [("127.0.0.1:9100", ("127.0.0.1", 9100)), ("[::1]:0", ("::1", 0)), ("node.local:80", ("node.local", 80))],
)
def test_addresses(address: str, where: tuple[str, int]) -> None:
    assert parse_address(address) == where


@pytest.mark.parametrize(
    "address",
    ["9100", ":9100", "localhost", "host:", "host:x", "host:70000", "[::1", "h:1/x", "u@h:1"],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="is HOST:PORT"):
        Hub(metrics_address=address)


def test_the_package_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    async def main() -> None:
        async with served(Hub(insecure=True)) as port, httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{port}/metrics")
            assert (answer.status_code, 'pip install "everwire[metrics]"' in answer.text) == (501, True)

    run(main)


def test_beside_those_of_an_application() -> None:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("orders", "Orders.", registry=registry).inc()
    registry.register(prometheus_client.ProcessCollector(registry=None))
    registry.register(Hub().metrics)
    text = prometheus_client.generate_latest(registry).decode()
    assert text.count("# TYPE process_open_fds ") == 1
    seen = values(text)
    assert (seen["orders_total"], seen["everwire_connections"]) == (1, 0)


def test_the_reference_names_all_of_them() -> None:
    told = {
        sample.name if sample.name.endswith(("_total", "_info")) else family.name
        for family in text_string_to_metric_families(Hub().metrics.render()[0].decode())
        for sample in family.samples
    }
    told.add("everwire_disconnects_total")  # which has no sample yet
    rows = tables(DOCS / "reference" / "metrics.md", "What is told")
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row["metric"])}
    assert named == told
