"""What is made of the reports of a load's processes: figures, text, the page."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

import pytest

from everwire._core.histogram import Histogram
from everwire.cli.bench.job import Job, make_message, split
from everwire.cli.bench.mistakes import Mistake
from everwire.cli.bench.page import render_page
from everwire.cli.bench.plot import ticks
from everwire.cli.bench.progress import sparkline
from everwire.cli.bench.results import Results
from everwire.cli.bench.summary import notes
from everwire.cli.bench.units import count, data, duration, rate

SECOND = 1_000_000_000
EVIL = "<script>alert('x')</script>"


def job(**options: Any) -> Job:
    """A job, with these options instead of the usual ones."""
    values: dict[str, Any] = {
        "url": "ws://localhost/",
        "mode": "echo",
        "connections": 10,
        "message": "hello",
        "depth": 1,
        "rate": None,
        "ramp": 0.0,
        "duration": 2.0,
        "warmup": 1.0,
        "timeout": 5.0,
        "check": False,
        "stamp": False,
        "headers": (("Cookie", "a=b"),),
        "origin": None,
        "subprotocols": ("chat",),
        "insecure": False,
        "cacert": None,
        "compression": False,
        "unix": None,
        "total": 10,
    }
    return Job(**values | options)


def report(phase: str, at: float, received: int = 0, latency: int = 1000, **more: Any) -> dict[str, Any]:
    """What a process says at a time, in seconds since the load began."""
    times = Histogram()
    times.record(latency, received)
    values = {
        "phase": phase,
        "at": 100 * SECOND + int(at * SECOND),
        "open": 5,
        "under_way": 1,
        "sent": received,
    }
    counts = {"received": received, "bytes": 5 * received, "times": times.dump(), "mistakes": []}
    return {**values, **counts, **more}


def finished(processes: int = 1, **options: Any) -> Results:
    """The results of a run of three seconds, of which the first is for the warm-up."""
    results = Results(job(**options), processes)
    results.began = 100 * SECOND
    for number in range(processes):
        opening = Histogram()
        opening.record(2_000_000, 5)
        ready = {"event": "ready", "opening": opening.dump(), "seconds": 0.1}
        results.add(number, report("opening", -0.1, **ready))
        results.add(number, report("opening", 0))
        for tenth in range(1, 11):
            results.add(number, report("warmup", tenth / 10, 1000, 9_000_000))
        for tenth in range(11, 31):
            results.add(number, report("measuring", tenth / 10, 100, tenth * 1000))
        results.add(number, report("ending", 3.1, 1, 50_000_000))
        results.add(number, report("closing", 3.2, event="done", cpu=0.5))
    return results


@pytest.mark.parametrize("processes", [1, 2])
def test_rates_are_of_what_was_measured(processes: int) -> None:
    results = finished(processes)
    assert results.seconds == pytest.approx(2)
    assert results.received_rate == pytest.approx(1000 * processes)
    assert results.sent_rate == pytest.approx(1000 * processes)
    assert results.byte_rate == pytest.approx(5000 * processes)
    assert results.received == processes * (10_000 + 2000 + 1)
    assert results.opened == 5 * processes
    assert results.ready


def test_latencies_are_without_the_warm_up_but_with_the_last_answers() -> None:
    times = finished().times
    assert times.count == 2001
    assert times.maximum == 50_000_000
    assert times.quantile(0.999) < 31_000


def test_time_is_divided_into_stretches() -> None:
    series = finished(2).series()
    assert [round(at, 1) for at, _ in series] == [round(n / 10, 1) for n in range(30)]
    assert {bucket.received for _, bucket in series} == {2000, 200}
    long = Results(job(duration=1000.0), 1)
    assert long.width == pytest.approx(5.1)


def test_errors_are_counted_by_kind_and_keep_the_first() -> None:
    results = finished()
    for number in range(3):
        results.add(
            0, report("closing", 4 + number, mistakes=[[2, ["lost", f"number {number}", "look there"]]])
        )
    assert results.errors == 6
    assert results.to_json()["errors"] == {"lost": {"count": 6, "example": "number 0", "hint": "look there"}}


def test_what_limits_is_noted() -> None:
    assert notes(finished()) == []
    assert "Only 1,000 of 5,000" in notes(finished(rate=5000.0))[0]
    results = finished()
    results.parts[0].cpu = 3.1
    assert "may be what limits" in notes(results)[0]
    results = finished()
    results.interrupted = True
    assert "Ended early: 2.0 of 2 seconds" in notes(results)[0]


class Page(HTMLParser):
    """A page, taken apart: its tags with their attributes, and its text."""

    EMPTY = ("meta", "link", "br", "path", "rect", "circle")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("what", ["echo", "fanout", "push", "idle"])
def test_the_page_is_whole_and_fetches_nothing(what: str) -> None:
    results = finished(mode=what, url=f"ws://localhost/{EVIL}")
    if what == "idle":
        results.times = Histogram()
    results.count(Mistake("lost", EVIL, EVIL), 1234)
    text = render_page(results, "uvloop")
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert "script" not in names
    assert names.count("svg") == (0 if what == "idle" else 3)
    for _, attributes in page.tags:
        assert "style" not in attributes
        assert "src" not in attributes
        assert (attributes.get("href") or "data:").startswith("data:")
    assert "$" not in page.text
    assert EVIL in page.text, "what a peer says is shown as text"
    for said in ("1,234", "uvloop", what, "lost"):
        assert said in page.text


def test_the_page_shows_the_figures() -> None:
    results = finished()
    page = Page(render_page(results, "asyncio"))
    assert rate(results.received_rate) in page.text
    assert duration(results.times.quantile(0.99)) in page.text
    paths = [attributes["d"] or "" for tag, attributes in page.tags if tag == "path"]
    assert paths
    assert not any("nan" in path or "inf" in path for path in paths)


def test_a_page_of_nothing_is_a_page() -> None:
    results = Results(job(), 1)
    results.count(Mistake("refused", "nobody was there"))
    assert "nobody was there" in Page(render_page(results, "asyncio")).text


def test_a_job_survives_being_told() -> None:
    for message in ("Grüße", b"\xff\x00"):
        told = job(message=message, rate=2.5)
        assert Job.load(told.dump()) == told


def test_connections_are_shared_out() -> None:
    parts = split(job(connections=10), 4)
    assert [part.connections for part in parts] == [3, 3, 2, 2]
    assert [part.first for part in parts] == [0, 3, 6, 8]
    assert [part.offset for part in parts] == [0, 1, 2, 3]
    assert {part.share for part in parts} == {4}
    assert len(split(job(connections=2), 4)) == 2


def test_the_seed_decides_the_message() -> None:
    for binary in (False, True):
        one, same, other = (make_message(500, binary=binary, seed=seed) for seed in (1, 1, 2))
        assert one == same != other
        assert isinstance(one, bytes) == binary
        assert len(one) == 500
    assert make_message(0, binary=False, seed=1) == ""


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0 ns"), (999, "999 ns"), (1000, "1 µs"), (12_345, "12.3 µs"), (999_600, "1 ms"), (1.5e9, "1.5 s")],
)
def test_durations_are_readable(nanoseconds: float, text: str) -> None:
    assert duration(nanoseconds) == text


def test_numbers_are_readable() -> None:
    assert (count(1234567), rate(1234.5), rate(1.2345), rate(0)) == ("1,234,567", "1,234", "1.23", "0")
    assert (data(16), data(1536), data(20 << 20), data(3 << 30)) == ("16 B", "1.5 KiB", "20 MiB", "3 GiB")


def test_a_sparkline_is_as_high_as_its_values() -> None:
    assert sparkline([0, 1, 2, 4, 8], 5) == "▁▁▂▄█"
    assert sparkline([1, 2, 3], 2) == "▆█"
    assert sparkline([], 5) == ""
    assert sparkline([0, 0], 5) == "▁▁"


@pytest.mark.parametrize("most", [0.3, 1, 7, 99, 1234, 1e6])
def test_ticks_are_round_and_reach_the_top(most: float) -> None:
    found = ticks(most)
    assert found[0] == 0
    assert found[-1] >= most
    assert 3 <= len(found) <= 6
    step = found[1] / 10 ** math.floor(math.log10(found[1]))
    assert round(step, 6) in (1, 2, 2.5, 5)
