"""One process of a load: opens its connections, drives them, and reports what it counts.

It is told the job on one line of its standard input, then ``go TIME`` when all processes are ready, and
``stop`` to end early, as the end of its input does. What it reports goes to its standard output, one JSON
object a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import mmap
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import everwire
from everwire._core.histogram import Histogram
from everwire._core.load import BOARD_SIZE, Driver, Load
from everwire.cli.bench.job import Job
from everwire.cli.bench.mistakes import Mistake, ended, failed, hint
from everwire.cli.text import escape

__all__ = ["INTERVAL", "main"]

T = TypeVar("T")

INTERVAL = 0.1
"""Seconds between two reports."""
OPENING = 100
"""Opening handshakes under way at once."""
CLOSING = 2.0
"""Seconds that the server has to answer the closing handshakes."""
INTERRUPTED = 0.5
"""Seconds that answers may still take when the run is ended early."""
PORTS = 20_000
"""Connections from one address of the loopback network: a system has some 28,000 ports for them."""


class Watcher(everwire.Listener):
    """Tells the worker which connections are over."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def on_close(self, ws: everwire.Connection, code: int, reason: str) -> None:
        """A connection is over."""
        self.worker.lose(ws, code)


class Worker:
    """The connections of one process, and what is counted of them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.load = Load(
            job.mode,
            job.message,
            depth=job.depth,
            rate=job.rate,
            check=job.check,
            stamp=job.stamp,
            board=_map_board(job.board) if job.board else None,
        )
        self.options: dict[str, Any] = {
            **job.connect_options(),
            "listener": Watcher(self),
            "create_connection": self.load.connection,
        }
        self.phase = "opening"
        self.drivers: set[Driver] = set()
        self.opening_times = Histogram()
        self.mistakes: dict[str, tuple[int, Mistake]] = {}
        self.stopped = asyncio.Event()
        self.closed = asyncio.Event()
        self.interrupted = False
        self.cpu = 0.0

    async def run(self, orders: AsyncIterator[str]) -> None:
        """Do the job; from *orders* comes when to begin, and to stop."""
        begin: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        others = [
            asyncio.create_task(self._take_orders(orders, begin)),
            asyncio.create_task(self._report_regularly()),
        ]
        try:
            began = time.monotonic()
            await self._unless_stopped(self._open_all())
            # Collections of garbage would only look at the connections again and again.
            gc.freeze()
            seconds = time.monotonic() - began
            if not self.load.alive:
                self.stopped.set()
            if self.job.mode == "fanout":
                self.load.listen()
            self.report(event="ready", opening=self.opening_times.dump(), seconds=seconds)
            if (at := await self._unless_stopped(begin)) is not None:
                await self._make_load(at)
            self._enter("ending")
            self.load.stop()
            await self._await_answers()
        finally:
            for task in others:
                task.cancel()
        await self._close_all()
        self.report(event="done", cpu=self.cpu)

    async def _take_orders(self, orders: AsyncIterator[str], begin: asyncio.Future[int]) -> None:
        async for order in orders:
            if not order.startswith("go "):
                break
            begin.set_result(int(order.removeprefix("go ")))
        self.interrupted = True
        self.stopped.set()

    async def _unless_stopped(self, waited_for: Awaitable[T]) -> T | None:
        """The result of what is waited for, or None if the run is to end first."""
        task, stopped = asyncio.ensure_future(waited_for), asyncio.create_task(self.stopped.wait())
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait((task,))
        return None

    # Connections

    async def _open_all(self) -> None:
        """Open the connections, spread over the time that the job says."""
        job, began = self.job, time.monotonic()
        gate = asyncio.Semaphore(OPENING)
        async with asyncio.TaskGroup() as group:
            for number in range(job.connections):
                if job.ramp:
                    due = began + job.ramp * (number * job.share + job.offset) / job.total
                    await asyncio.sleep(due - time.monotonic())
                await gate.acquire()
                group.create_task(self._open(job.first + number, gate))

    async def _open(self, number: int, gate: asyncio.Semaphore) -> None:
        began = time.monotonic_ns()
        options: dict[str, Any] = self.options
        if self.job.total > PORTS and self.job.unix is None and "//127.0.0.1" in self.job.url:
            options = options | {"local_addr": (f"127.0.0.{2 + number // PORTS}", 0)}
        try:
            driver = await everwire.connect(self.job.url, **options)
        except (OSError, everwire.EverwireError) as error:
            self.count(failed(error, self.job.url, self.job.timeout))
            return
        finally:
            gate.release()
        assert isinstance(driver, Driver)
        self.opening_times.record(time.monotonic_ns() - began)
        if driver.is_open:
            self.load.add(driver, number)
            self.drivers.add(driver)

    def lose(self, ws: everwire.Connection, code: int) -> None:
        """A connection is over, before its time unless all of them end."""
        assert isinstance(ws, Driver)
        self.drivers.discard(ws)
        self.load.remove(ws)
        if self.phase == "closing":
            if not self.drivers:
                self.closed.set()
        else:
            self.count(ended(ws, code))
            if self.phase != "opening" and not self.load.alive:
                self.stopped.set()

    def count(self, mistake: Mistake, times: int = 1) -> None:
        """Count an error, and keep the first of its kind."""
        before, first = self.mistakes.get(mistake.kind, (0, mistake))
        self.mistakes[mistake.kind] = before + times, first

    # The load

    async def _make_load(self, at: int) -> None:
        """Send, from the time that all processes were told, as long as the job says."""
        job = self.job
        await asyncio.sleep(max(at - time.monotonic_ns(), 0) / 1e9)
        self._enter("warmup")
        if job.mode != "fanout":
            self.load.start(at, job.offset, job.share)
        elif job.offset == 0:
            self.load.start(at)
        await self._sleep_until(at + round(job.warmup * 1e9))
        self._enter("measuring")
        cpu = time.process_time()
        await self._sleep_until(at + round((job.warmup + job.duration) * 1e9))
        self.cpu = time.process_time() - cpu

    async def _sleep_until(self, at: int) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), max(at - time.monotonic_ns(), 0) / 1e9)

    def _enter(self, phase: str) -> None:
        """What was counted so far belongs to the phase that is over."""
        self.report()
        self.phase = phase

    async def _await_answers(self) -> None:
        """Give what is under way the time to be answered, and count what is not."""
        seconds = INTERRUPTED if self.interrupted else self.job.timeout
        deadline = time.monotonic() + seconds
        while (self.load.under_way or self.load.behind) and self.load.alive and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
            if self.interrupted:
                deadline = min(deadline, time.monotonic() + INTERRUPTED)
        left = self.load.under_way or self.load.behind
        if left and not self.interrupted and self.load.alive:
            example = f"no answer came within {seconds:g} seconds"
            self.count(Mistake("no answer", example, hint("no answer")), left)

    async def _close_all(self) -> None:
        self._enter("closing")
        for driver in list(self.drivers):
            driver.close()
        if self.drivers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.closed.wait(), CLOSING)
        for driver in list(self.drivers):
            driver.abort()

    # Reports

    def report(self, **values: object) -> None:
        """Say what was counted since the last report."""
        sent, received, size, times, mistakes = self.load.take()
        for kind, (count, example) in mistakes.items():
            self.count(Mistake(kind, escape(example), hint(kind)), count)
        counted, self.mistakes = self.mistakes, {}
        line = {
            "phase": self.phase,
            "at": time.monotonic_ns(),
            "open": len(self.drivers),
            "sent": sent,
            "received": received,
            "bytes": size,
            "under_way": self.load.under_way,
            "times": times.dump(),
            "mistakes": list(counted.values()),
            **values,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    async def _report_regularly(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            self.report()


def _map_board(path: str) -> memoryview[int]:
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 8 * BOARD_SIZE)).cast("q")


async def _lines() -> AsyncIterator[str]:
    """The lines of the standard input, as they come."""
    reader = asyncio.StreamReader(limit=1 << 28)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            yield line.decode().strip()
    finally:
        transport.close()


async def _work() -> None:
    orders = _lines()
    job = Job.load(await anext(orders))
    await Worker(job).run(orders)


def main() -> None:
    """Work, as the standard input says. Ctrl-C is for the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    factory = None
    if sys.argv[1:] == ["uvloop"]:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_work())


if __name__ == "__main__":
    main()
