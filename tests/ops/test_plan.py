"""Plans: examples worked out by hand, and what holds of all of them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docs.pages import DOCS, ROOT, tables
from hypothesis import given
from hypothesis import strategies as st

from everwire.errors import ConfigError
from everwire.ops.measured import ENGINES, EngineCosts, Measured, load_measured
from everwire.ops.plan import Load, frame_size, make_plan, packet_size, share_of_channels

ROUND = Measured(
    process_bytes=50_000_000,
    connection_bytes=2_000,
    socket_bytes=3_000,
    subscription_bytes=1_000,
    channel_bytes=1_000,
    connect_us=200,
    subscribe_us=50,
    recover_us=250,
    ping_us=20,
    delivery_us=10,
    delivery_ns_per_byte=0,
)
"""Figures that can be reckoned with."""
SERVER = EngineCosts(
    publish_us=100, receive_us=20, publish_rate=10_000, deliver_rate=50_000, record_bytes=100, replicas=3
)
IN_PROCESS = replace(SERVER, publish_rate=0, deliver_rate=0, replicas=1, processes=1)
ROUND_ENGINES = {"nats": SERVER, "memory": IN_PROCESS}


def test_one_channel_for_all_by_hand() -> None:
    load = Load(
        connections=100_000,
        channels=1,
        subscribers=100_000,
        rate=10,
        size=100,
        history=10,
        cpus=1,
        memory=1_000_000_000,
        session_time=1_000,
        ping_interval=20,
        target=0.5,
        spare=0,
    )
    plan = make_plan(load, ROUND, ROUND_ENGINES)
    # Deliveries: 10 x 100,000 x 10 us = 10 processors. Pings: 100,000 / 20 x 20 us = 0.1. Connecting: 100 x
    # 200 us = 0.02. Publishing: 10 x 100 us = 0.001. Of each process 10 x 20 us = 0.0002 for receiving. So
    # 10.121 / n + 0.0002 <= 0.5: n >= 20.25.
    assert (plan.nodes, plan.processes, plan.limited_by) == (21, 21, "cpu")
    assert plan.cpu == pytest.approx(10.121 / 21 + 0.0002)
    assert plan.cpu_parts["deliveries"] == pytest.approx(10 / 21)
    # 50 MB, 100,000 / 21 x 5,000 bytes, one channel.
    assert plan.memory_per_node == pytest.approx(50_000_000 + 100_000 / 21 * 5_000 + 1_000, rel=1e-6)
    # {"push":{"channel":"cccccccccccccccccccc","pub":{"data":1...1,"offset":123456}}}: 75 bytes around 100.
    assert plan.frame_bytes == 175
    # A head of 4 bytes for the message, 22 for TLS, 52 for TCP and IP.
    assert plan.packet_bytes == 175 + 4 + 22 + 52
    # A million deliveries; pings of 2 + 2 + 22 + 52 bytes, and 52 for having got the answer.
    assert plan.egress_rate == 1_000_000 * 253 + 5_000 * (78 + 52)
    assert plan.egress_month == pytest.approx(plan.egress_rate * 2_629_746)
    assert (plan.engine_in, plan.engine_in_bytes) == (10, 10 * 200)
    # Everybody is everywhere: all processes get each.
    assert plan.engine_out == pytest.approx(10 * 21)
    assert plan.engine_servers == 3
    assert plan.history_bytes == 10 * 200 * 3
    # 250 us each: 4,000 a second. 4,762 clients of one node on 20 others.
    assert plan.reconnect_one == pytest.approx(100_000 / 21 / (4_000 * 20))
    assert plan.reconnect_all == pytest.approx(100_000 / (4_000 * 21))


def test_many_small_channels_by_hand() -> None:
    load = Load(
        connections=1_000_000,
        channels=1_000_000,
        subscribers=2,
        rate=20_000,
        size=200,
        history=0,
        format="protobuf",
        cpus=4,
        memory=4_000_000_000,
        session_time=10_000,
        ping_interval=25,
        target=0.5,
        spare=1,
        egress_cost=0.1,
        connection_rate_limit=100,
    )
    plan = make_plan(load, ROUND, ROUND_ENGINES)
    # Processor: deliveries 40,000 x 10 us = 0.4; publishing 20,000 x 100 us = 2; pings 40,000 x 20 us = 0.8;
    # connecting 100 x (200 + 50) us = 0.025; receiving at most 2 x 20,000 / n x 20 us = 0.8 / n: 4.025 / n.
    # Memory, of 1 GB each: 0.05 + (5,000 + 1,000) MB / n + at most 2 x 1,000 MB / n = 0.5: n = 17.8.
    assert plan.limited_by == "memory"
    assert plan.needed == math.ceil(18 / 4) == 5
    assert (plan.nodes, plan.processes) == (6, 24)
    follows = 1 - (1 - 1 / 24) ** 2
    assert plan.cpu_parts["receiving"] == pytest.approx(20_000 * follows * 20e-6)
    assert plan.memory_per_node == pytest.approx(4 * (50e6 + 6e9 / 24 + 1e9 * follows), rel=1e-6)
    assert plan.engine_out == pytest.approx(20_000 * 24 * follows)
    # 20,000 in at 10,000 a server at half of that; 39,167 out at 50,000 a server at half of that.
    assert plan.engine_servers == 4 * 3
    assert plan.reconnect_one == pytest.approx(1_000_000 / 6 / (100 * 20))
    assert plan.egress_cost == pytest.approx(plan.egress_month / 1e9 * 0.1)
    assert plan.history_bytes == 0
    assert any("4 share the channels" in note for note in plan.notes)
    assert any("28,232" in note for note in plan.notes)


def test_an_engine_in_the_process() -> None:
    plan = make_plan(Load(connections=1_000, subscribers=1_000, engine="memory"), ROUND, ROUND_ENGINES)
    assert (plan.nodes, plan.processes, plan.engine_servers, plan.engine_out) == (1, 1, 0, 0)
    assert any("nobody is connected" in note for note in plan.notes)
    with pytest.raises(ValueError, match="the engine memory is for one process: take nats or redis"):
        make_plan(Load(connections=1_000_000, engine="memory"), ROUND, ROUND_ENGINES)


def test_an_engine_without_a_limit_of_its_own() -> None:
    """A file of measures may say 0: then the other rate decides, or none does."""
    load = Load(connections=1_000, subscribers=1_000, rate=10_000, target=0.5)
    for publish_rate, servers in ((0, 1), (10_000, 2)):
        engine = replace(SERVER, publish_rate=publish_rate, deliver_rate=0, replicas=1)
        assert make_plan(load, ROUND, {"nats": engine}).engine_servers == servers


def test_what_no_number_of_nodes_carries() -> None:
    load = Load(connections=10_000_000, subscribers=10_000_000, rate=50_000)
    with pytest.raises(ValueError, match=r"each process gets .* publications a second .* 100% of its"):
        make_plan(load, ROUND, ROUND_ENGINES)
    with pytest.raises(ValueError, match=r"without clients takes 10,000% of its part of the memory"):
        make_plan(Load(connections=1, memory=1_000_000), ROUND, ROUND_ENGINES)
    with pytest.raises(ValueError, match="more than 1,048,576 processes"):
        make_plan(Load(connections=10**9, subscribers=10**9, rate=10_000), ROUND, ROUND_ENGINES)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"connections": 0}, "connections is 1 or more"),
        ({"rate": -1.0}, "rate is 0 or more"),
        ({"rate": math.nan}, "rate is 0 or more"),
        ({"size": 0}, "size is 1 or more"),
        ({"memory": math.inf}, "memory is 1 or more"),
        ({"target": 0.0}, "target is a share above 0"),
        ({"target": 1.1}, "target is a share above 0"),
        ({"session_time": 0}, "above 0"),
        ({"subscribers": 11.0}, "needs as many connections"),
        ({"format": "xml"}, "json or protobuf"),
    ],
)
def test_loads_that_make_no_sense(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Load(**{"connections": 10, **options})


def test_an_unknown_engine() -> None:
    with pytest.raises(ValueError, match="engine is one of memory, sqlite, nats, redis, not 'kafka'"):
        make_plan(Load(connections=1, engine="kafka"))


@pytest.mark.parametrize("format", ["json", "protobuf"])
@pytest.mark.parametrize("size", [1, 2, 100, 70_000])
def test_frames_are_those_of_the_protocol(format: str, size: int) -> None:
    frame = frame_size(Load(connections=1, size=size, format=format))
    assert size + 20 < frame < size + 90


@pytest.mark.parametrize(
    ("frame", "packet"),
    [
        (100, 102 + 22 + 52),
        (125, 127 + 22 + 52),
        (126, 130 + 22 + 52),
        (1_422, 1_426 + 22 + 52),
        (1_423, 1_427 + 22 + 2 * 52),
        (16_380, 16_384 + 22 + 12 * 52),
        (16_381, 16_385 + 44 + 12 * 52),
        (65_536, 65_546 + 5 * 22 + 46 * 52),
    ],
)
def test_packets(frame: int, packet: int) -> None:
    assert packet_size(frame) == packet


def test_channels_of_a_process() -> None:
    assert share_of_channels(1, 5) == 1
    assert share_of_channels(10, 1) == pytest.approx(0.1)
    assert share_of_channels(10, 2) == pytest.approx(1 - 0.9**2)
    assert share_of_channels(10, 0) == 0
    assert share_of_channels(10, 1e6) == pytest.approx(1)


def possible(**options: Any) -> Any:
    try:
        return make_plan(Load(**{"connections": 100_000, "channels": 1_000, "subscribers": 50, **options}))
    except ValueError:
        return None


GROWING: dict[str, st.SearchStrategy[Any]] = {
    "connections": st.integers(50, 10_000_000),
    "channels": st.integers(0, 1_000_000),
    "subscribers": st.floats(0, 100_000),
    "rate": st.floats(0, 10_000),
    "size": st.integers(1, 100_000),
    "history": st.integers(0, 10_000),
}
SHRINKING: dict[str, st.SearchStrategy[Any]] = {
    "memory": st.integers(1 << 28, 1 << 36),
    "descriptors": st.integers(1_000, 1 << 20),
    "session_time": st.floats(1, 100_000),
    "ping_interval": st.floats(1, 1_000),
    "target": st.floats(0.1, 1),
}


@given(st.data())
def test_more_load_never_takes_fewer_nodes(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(GROWING)))
    values = sorted(data.draw(st.tuples(GROWING[name], GROWING[name])))
    engine = data.draw(st.sampled_from(["nats", "redis"]))
    less, more = (possible(**{name: value, "engine": engine}) for value in values)
    if less is None:
        assert more is None
    elif more is not None:
        assert more.nodes >= less.nodes
        assert more.egress_rate >= less.egress_rate
        assert more.history_bytes >= less.history_bytes


@given(st.data())
def test_larger_nodes_are_never_more(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SHRINKING)))
    small, large = (
        possible(**{name: value}) for value in sorted(data.draw(st.tuples(SHRINKING[name], SHRINKING[name])))
    )
    if small is not None:
        assert large is not None
        assert large.nodes <= small.nodes


@given(
    st.integers(1, 10_000_000),
    st.integers(1, 1_000_000),
    st.floats(0, 1),
    st.floats(0, 100_000),
    st.integers(1, 64),
)
def test_what_was_planned_fits(connections: int, channels: int, share: float, rate: float, cpus: int) -> None:
    load = Load(
        connections=connections,
        channels=channels,
        subscribers=share * connections,
        rate=rate,
        cpus=cpus,
        memory=cpus << 32,
    )
    try:
        plan = make_plan(load)
    except ValueError:
        return
    assert plan.nodes == plan.needed + 1
    assert plan.processes == plan.nodes * cpus
    assert plan.cpu == pytest.approx(sum(plan.cpu_parts.values()))
    assert plan.cpu <= load.target + 1e-9
    assert plan.memory_per_node <= load.memory * load.target * (1 + 1e-9)
    assert plan.descriptors_per_process <= load.descriptors * load.target
    assert plan.engine_out <= load.rate * plan.processes * (1 + 1e-9)
    json.dumps(plan.as_dict(), allow_nan=False)


def test_the_defaults_are_what_was_measured() -> None:
    found, engines = load_measured(max((ROOT / "bench" / "results").glob("sizing-*.json")))
    for name in Measured.sources():
        assert getattr(Measured(), name) == pytest.approx(getattr(found, name), rel=0.05), name
    assert engines["memory"].publish_us == pytest.approx(ENGINES["memory"].publish_us, rel=0.05)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.json", '{"delivery_us": 5, "nats": {"publish_rate": 9}}', ""),
        ("x.toml", "delivery_us = 5\n[nats]\npublish_rate = 9", ""),
        ("x.json", "{", "Expecting"),
        ("x.json", "[]", "has figures by their names"),
        ("x.json", '{"delivery": 5}', "'delivery' is none of"),
        ("x.json", '{"delivery_us": "5"}', "delivery_us is a number of 0 or more, not '5'"),
        ("x.json", '{"delivery_us": -1}', "delivery_us is a number"),
        ("x.json", '{"nats": {"cost": 1}}', "unexpected keyword argument 'cost'"),
        ("x.json", '{"nats": {"publish_rate": "1"}}', "publish_rate is a number"),
        ("x.json", '{"nats": 5}', "nats has figures by their names"),
    ],
)
def test_figures_of_others(tmp_path: Path, name: str, text: str, says: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    if says:
        with pytest.raises(ConfigError, match=rf"{name}: .*{says}"):
            load_measured(file)
        return
    measured, engines = load_measured(file)
    assert (measured.delivery_us, engines["nats"].publish_rate) == (5, 9)
    assert measured.ping_us == Measured().ping_us
    assert engines["redis"] == ENGINES["redis"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_measured(tmp_path / "x.json")


def test_the_page_has_the_figures() -> None:
    rows = list(tables(DOCS / "explanation" / "sizing.md", "What was measured"))
    figures = {row["figure"].strip("`"): row["value"] for row in rows if "figure" in row}
    assert figures == {name: f"{getattr(Measured(), name):,}" for name in Measured.sources()}
    engines = {row["engine"].strip("`:"): row for row in rows if "engine" in row}
    assert engines.keys() == ENGINES.keys()
    for name, costs in ENGINES.items():
        for cell, text in engines[name].items():
            if cell != "engine":
                value = getattr(costs, cell.strip("`"))
                assert text == (f"{value:,}" if value or "_us" in cell else "-"), (name, cell)
