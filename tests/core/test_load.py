"""The inner loop of the load generator, against servers that answer rightly, wrongly, and not at all."""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from conftest import Certificates, Run
from live import HOST, Echo, connect, until

import everwire
from everwire._core.histogram import Histogram
from everwire._core.load import BOARD_SIZE, Driver, Load

WORDS = "message number "


def new_board() -> memoryview[int]:
    return memoryview(array.array("q", [-1]) * BOARD_SIZE)


class Counter:
    """What a load has counted in all."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.sent = self.received = self.size = 0
        self.times = Histogram()
        self.mistakes: dict[str, int] = {}
        self.examples: dict[str, str] = {}

    def take(self) -> Counter:
        sent, received, size, times, mistakes = self.load.take()
        self.sent, self.received, self.size = self.sent + sent, self.received + received, self.size + size
        self.times.merge(times)
        for kind, (count, example) in mistakes.items():
            self.mistakes[kind] = self.mistakes.get(kind, 0) + count
            self.examples.setdefault(kind, example)
        return self

    async def until_received(self, number: int) -> Counter:
        await until(lambda: self.take().received >= number)
        return self

    async def end(self) -> Counter:
        """Send no more, and take what still comes."""
        self.load.stop()
        await until(lambda: not self.load.under_way)
        return self.take()


@asynccontextmanager
async def loading(
    load: Load,
    number: int,
    listener: everwire.Listener,
    *,
    client: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Counter, list[Driver]]]:
    """So many connections of a load to a server with this listener."""
    async with everwire.serve(listener, HOST, 0, **options) as server, AsyncExitStack() as stack:
        drivers: list[Driver] = []
        for n in range(number):
            connecting = connect(server, create_connection=load.connection, **(client or {}))
            driver = await stack.enter_async_context(connecting)
            assert isinstance(driver, Driver)
            load.add(driver, n)
            drivers.append(driver)
        yield Counter(load), drivers


class Answer(everwire.Listener):
    """Answers each message with what a function makes of it, if anything."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self.answer = answer
        self.seen: list[Any] = []

    def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
        self.seen.append(message)
        for each in self.answer(message):
            ws.send_nowait(each)


class Room(everwire.Listener):
    """Sends what comes to all."""

    def __init__(self) -> None:
        self.topic = everwire.Topic()

    def on_open(self, ws: everwire.Connection) -> None:
        self.topic.add(ws)

    def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
        self.topic.publish(message)


@pytest.mark.parametrize("depth", [1, 3, 64])
@pytest.mark.parametrize("message", ["", "hello", "Grüße " * 30, b"\x00\xff" * 8, b"x" * 70_000])
def test_an_echo_is_counted(run: Run, depth: int, message: str | bytes) -> None:
    async def main() -> None:
        load = Load("echo", message, depth=depth, check=True)
        async with loading(load, 3, Echo(), max_size=None) as (counter, _):
            began = time.monotonic_ns()
            load.start(began)
            assert load.under_way == 3 * depth
            await counter.until_received(200)
            await counter.end()
            taken = time.monotonic_ns() - began
        assert counter.mistakes == {}
        assert counter.sent == counter.received == counter.times.count
        size = len(message.encode() if isinstance(message, str) else message)
        assert counter.size == size * counter.received
        assert 0 < counter.times.minimum <= counter.times.maximum <= taken

    run(main)


@pytest.mark.parametrize(
    "deflate", [everwire.Deflate(), everwire.Deflate(context_takeover=True)], ids=["alone", "takeover"]
)
@pytest.mark.parametrize("stamp", [False, True])
def test_compressed_messages_are_sent_and_checked(run: Run, deflate: everwire.Deflate, stamp: bool) -> None:
    async def main() -> None:
        load = Load("echo", WORDS * 20, depth=4, check=True, stamp=stamp)
        heard = Answer(lambda message: [message])
        options = {"compression": deflate}
        async with loading(load, 2, heard, client=options, **options) as (counter, drivers):
            assert drivers[0].response is not None
            assert "permessage-deflate" in drivers[0].response.headers["Sec-WebSocket-Extensions"]
            load.start(time.monotonic_ns())
            await counter.until_received(100)
            await counter.end()
        assert counter.mistakes == {}
        if stamp:
            assert len(set(heard.seen)) == len(heard.seen) >= 100
            assert {message[16:] for message in heard.seen} == {(WORDS * 20)[16:]}
        else:
            assert set(heard.seen) == {WORDS * 20}

    run(main)


def test_tls(run: Run, certificates: Certificates) -> None:
    async def main() -> None:
        load = Load("echo", b"x" * 20_000, depth=2, check=True)
        client = {"ssl": certificates.client}
        async with loading(load, 2, Echo(), client=client, ssl=certificates.server) as (counter, _):
            load.start(time.monotonic_ns())
            await counter.until_received(50)
            await counter.end()
        assert counter.mistakes == {}

    run(main)


def test_transports_of_the_loop(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERWIRE_REACTOR", "off")
    test_an_echo_is_counted(run, 3, "hello")


def test_stamped_messages_are_unique_and_told_apart(run: Run) -> None:
    async def main() -> None:
        load = Load("echo", "." * 20, depth=2, check=True, stamp=True)
        heard = Answer(lambda message: [message])
        async with loading(load, 2, heard) as (counter, _):
            load.start(time.monotonic_ns())
            await counter.until_received(10)
            await counter.end()
        assert counter.mistakes == {}
        first = f"{0:08x}{0:08x}...."
        assert first in heard.seen
        assert len(set(heard.seen)) == len(heard.seen) == counter.sent

    run(main)


@pytest.mark.parametrize(
    ("answer", "kind", "example"),
    [
        (lambda message: [message + "!"], "wrong size", "17 bytes came back for 16"),
        (lambda message: [message.encode()], "wrong type", "binary came back"),
        (lambda message: [message.upper()], "wrong content", "this came back"),
        (lambda message: [message, message], "unexpected", "nothing was under way"),
    ],
    ids=["size", "type", "content", "twice"],
)
def test_wrong_answers_are_told_apart(
    run: Run, answer: Callable[[str], list[str | bytes]], kind: str, example: str
) -> None:
    async def main() -> None:
        load = Load("echo", "abcdefghijklmnop", check=True)
        async with loading(load, 1, Answer(answer)) as (counter, _):
            load.start(time.monotonic_ns())
            await until(lambda: counter.take().mistakes.get(kind, 0) >= 3)
            await counter.end()
        assert example in counter.examples[kind]
        assert "abcd" in counter.examples[kind].lower()

    run(main)


def test_a_mixed_up_order_is_found(run: Run) -> None:
    async def main() -> None:
        kept: list[str] = []

        def swap(message: str) -> list[str]:
            kept.append(message)
            return [kept.pop(), kept.pop()] if len(kept) == 2 else []

        load = Load("echo", "." * 16, depth=2, check=True, stamp=True)
        async with loading(load, 1, Answer(swap)) as (counter, _):
            load.start(time.monotonic_ns())
            await until(lambda: counter.take().mistakes.get("wrong content", 0) >= 4)
            load.stop()

    run(main)


def test_a_greeting_is_no_answer(run: Run) -> None:
    class Greeter(Echo):
        def on_open(self, ws: everwire.Connection) -> None:
            ws.send_nowait("welcome")

    async def main() -> None:
        load = Load("echo", "hello", check=True)
        async with loading(load, 2, Greeter()) as (counter, drivers):
            await asyncio.gather(*(driver.ping() for driver in drivers))
            load.start(time.monotonic_ns())
            await counter.until_received(10)
            await counter.end()
        assert counter.mistakes == {}

    run(main)


@pytest.mark.parametrize("depth", [1, 5])
@pytest.mark.parametrize("stamp", [False, True])
def test_a_fan_out_reaches_all(run: Run, depth: int, stamp: bool) -> None:
    async def main() -> None:
        load = Load(
            "fanout", "to everybody, all at once", depth=depth, check=True, stamp=stamp, board=new_board()
        )
        async with loading(load, 7, Room()) as (counter, _):
            load.start(time.monotonic_ns())
            await counter.until_received(500)
            await counter.end()
        assert counter.mistakes == {}
        assert counter.received == 7 * counter.sent == counter.times.count

    run(main)


def test_a_fan_out_is_received_by_loads_that_do_not_send(run: Run) -> None:
    async def main() -> None:
        board = new_board()
        sends, hears = (Load("fanout", "to all", check=True, board=board) for _ in range(2))
        async with loading(sends, 2, Room()) as (first, drivers):
            uri = f"ws://{HOST}:{drivers[0].remote_address[1]}/"
            async with everwire.connect(uri, proxy=None, create_connection=hears.connection) as other:
                assert isinstance(other, Driver)
                hears.add(other, 2)
                hears.listen()
                second = Counter(hears)
                sends.start(time.monotonic_ns())
                await first.until_received(100)
                assert hears.alive
                assert hears.behind == 1
                await first.end()
                await until(lambda: not hears.behind)
                second.take()
        assert first.mistakes == second.mistakes == {}
        assert first.received == 2 * first.sent
        assert second.received == second.times.count == first.sent
        assert second.times.maximum < 10**10

    run(main)


def test_a_fan_out_goes_on_without_those_who_leave(run: Run) -> None:
    async def main() -> None:
        load = Load("fanout", "to all", board=new_board())
        async with loading(load, 4, Room()) as (counter, drivers):
            load.start(time.monotonic_ns())
            await counter.until_received(40)
            drivers[2].abort()
            load.remove(drivers[2])
            assert load.alive
            await counter.until_received(counter.received + 100)
            drivers[0].abort()
            load.remove(drivers[0])
            assert not load.alive, "the sender is gone"

    run(main)


def test_what_is_pushed_is_counted_with_the_gaps(run: Run) -> None:
    class Pusher(everwire.Listener):
        def on_open(self, ws: everwire.Connection) -> None:
            asyncio.get_running_loop().call_later(0.05, self.push, ws, 20)

        def push(self, ws: everwire.Connection, left: int) -> None:
            with contextlib.suppress(everwire.ConnectionClosed):
                ws.send_nowait("x" * left)
            if left > 1:
                asyncio.get_running_loop().call_later(0.005, self.push, ws, left - 1)

    async def main() -> None:
        load = Load("push", "")
        async with loading(load, 1, Pusher()) as (counter, _):
            began = time.monotonic_ns()
            load.start(0)
            await counter.until_received(20)
            taken = time.monotonic_ns() - began
            assert (counter.received, counter.times.count, counter.size) == (20, 19, 210)
            assert 1_000_000 < counter.times.maximum < taken
            assert not load.under_way

    run(main)


@pytest.mark.parametrize("what", ["echo", "fanout"])
def test_a_rate_is_kept(run: Run, what: str) -> None:
    async def main() -> None:
        board = new_board() if what == "fanout" else None
        load = Load(what, "hello", depth=10, rate=2000, board=board)
        async with loading(load, 4, Room() if board else Echo()) as (counter, _):
            began = time.monotonic_ns()
            load.start(began)
            each = 4 if what == "fanout" else 1
            await counter.until_received(400 * each)
            load.stop()
            # Message n is due n / 2000 seconds after the beginning, and no earlier.
            assert counter.sent <= (time.monotonic_ns() - began) / 1e9 * 2000 + 1
            await counter.end()
        assert counter.mistakes == {}
        assert counter.received == counter.sent * each

    run(main)


def test_latency_counts_from_when_a_message_was_due(run: Run) -> None:
    """A server that stops for a while makes all messages late that were due meanwhile, not just one."""

    class Stalling(Echo):
        stalled = False

        def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
            if not self.stalled:
                self.stalled = True
                ws.pause_reading()
                asyncio.get_running_loop().call_later(0.2, self.go_on, ws)
            ws.send_nowait(message)

        def go_on(self, ws: everwire.Connection) -> None:
            ws.resume_reading()

    async def main() -> None:
        load = Load("echo", "hello", depth=1, rate=1000)
        async with loading(load, 1, Stalling()) as (counter, _):
            load.start(time.monotonic_ns())
            await counter.until_received(250)
            await counter.end()
        assert counter.times.maximum > 150_000_000
        late = 1 - sum(1 for share in range(100) if counter.times.quantile(share / 100) < 20_000_000) / 100
        assert late > 0.4, "the messages that waited for their turn were not late"

    run(main)


def test_loads_share_a_rate(run: Run) -> None:
    async def main() -> None:
        loads = [Load("echo", "hello", depth=100, rate=1000) for _ in range(2)]
        async with loading(loads[0], 1, Echo()) as (one, _), loading(loads[1], 1, Echo()) as (two, _):
            began = time.monotonic_ns()
            for number, load in enumerate(loads):
                load.start(began, number, 2)
            await one.until_received(50)
            await two.until_received(50)
            for load in loads:
                load.stop()
            most = (time.monotonic_ns() - began) / 1e9 * 500 + 1
            assert one.sent <= most
            assert two.sent <= most
            await one.end()
            await two.end()

    run(main)


def test_lost_connections_are_left_out(run: Run) -> None:
    async def main() -> None:
        load = Load("echo", "hello", depth=2)
        async with loading(load, 2, Echo()) as (counter, drivers):
            load.start(time.monotonic_ns())
            await counter.until_received(10)
            for driver in drivers:
                assert load.alive
                driver.abort()
                load.remove(driver)
                load.remove(driver)
            assert not load.alive
            assert not load.under_way
            load.stop()

    run(main)


def test_a_connection_takes_part_once(run: Run) -> None:
    async def main() -> None:
        load = Load("echo", "hello")
        async with loading(load, 1, Echo()) as (_, drivers):
            for other in (load, Load("echo", "hello")):
                with pytest.raises(ValueError, match="takes part already"):
                    other.add(drivers[0], 1)

    run(main)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"mode": "ecko"}, "mode is one of"),
        ({"depth": 0}, "depth is"),
        ({"depth": 1 << 21}, "depth is"),
        ({"rate": 0}, "rate is"),
        ({"stamp": True}, "a stamp takes 16 bytes"),
        ({"mode": "fanout"}, "needs a board"),
        ({"mode": "fanout", "board": memoryview(array.array("q", [0]))}, "needs a board"),
        ({"mode": "fanout", "board": new_board(), "depth": 1 << 17}, "depth is at most"),
    ],
)
def test_wrong_parameters_are_named(options: dict[str, Any], problem: str) -> None:
    values = {"mode": "echo", "message": "hello", **options}
    lowest = os.open(os.devnull, os.O_RDONLY)  # nobody's descriptor is closed by what was not made
    try:
        with pytest.raises(ValueError, match=problem):
            Load(values.pop("mode"), values.pop("message"), **values)
        gc.collect()
        for descriptor in (0, 1, 2, lowest):
            os.fstat(descriptor)
    finally:
        os.close(lowest)
