"""The processes that make a load: started, told when to begin and to stop, listened to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from everwire._core.load import BOARD_SIZE
from everwire.cli.bench.job import Job, split
from everwire.cli.bench.mistakes import Mistake
from everwire.cli.bench.results import Results

__all__ = ["run_job"]

HEAD_START = 20_000_000
"""Nanoseconds from when the processes are told to begin until they do: they have heard by then."""
LAST = 1.0
"""Seconds that a process has to end, once it has nothing to do any more."""
LINE = 1 << 24
"""Bytes of the longest report."""


class Process:
    """One process of a load."""

    def __init__(self, child: asyncio.subprocess.Process, number: int) -> None:
        self.child = child
        self.number = number

    async def tell(self, line: str) -> None:
        """Send it an order; one that has ended hears no more."""
        assert self.child.stdin is not None
        with contextlib.suppress(ConnectionError):
            self.child.stdin.write(line.encode() + b"\n")
            await self.child.stdin.drain()

    async def end(self) -> None:
        """Wait for its end, and kill it if that does not come."""
        try:
            await asyncio.wait_for(self.child.wait(), LAST)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.child.kill()
            await self.child.wait()

    async def listen(self, results: Results, on_ready: Callable[[], None]) -> None:
        """Take what it reports, until it ends."""
        assert self.child.stdout is not None
        while line := await self.child.stdout.readline():
            results.add(self.number, json.loads(line))
            on_ready()
        part = results.parts[self.number]
        if not part.done:
            status = await self.child.wait()
            example = f"it ended with status {status} before its time: see above"
            results.count(Mistake("a process failed", example))
            part.ready = part.done = True
            on_ready()


async def run_job(job: Job, processes: int, loop: str, results: Results, stop: asyncio.Event) -> None:
    """Run a job in so many processes, and have *results* grow; *stop* ends it early, with what there is."""
    ready = asyncio.Event()

    def note() -> None:
        if results.ready:
            ready.set()

    with tempfile.NamedTemporaryFile(prefix="everwire-bench-") as board:
        if job.mode == "fanout":
            board.write(b"\xff" * (8 * BOARD_SIZE))
            board.flush()
            job = replace(job, board=board.name)
        async with _started(split(job, processes), loop) as crew:
            listening = [asyncio.create_task(process.listen(results, note)) for process in crew]
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait(
                (stopping, asyncio.create_task(ready.wait())), return_when=asyncio.FIRST_COMPLETED
            )
            results.began = time.monotonic_ns() + HEAD_START
            if not stop.is_set():
                for process in crew:
                    await process.tell(f"go {results.began}")
            await _until_over(listening, stopping, job.mode == "fanout")
            results.interrupted = stop.is_set()
            if results.interrupted or results.seconds < 0.9 * job.duration:
                for process in crew:
                    await process.tell("stop")
            await asyncio.gather(*listening)
            stopping.cancel()


async def _until_over(
    listening: list[asyncio.Task[None]], stopping: asyncio.Task[bool], first_leads: bool
) -> None:
    """Wait until all processes have ended, or the one that the others depend on, or for a stop."""
    over = asyncio.ensure_future(listening[0]) if first_leads else asyncio.gather(*listening)
    await asyncio.wait((over, stopping), return_when=asyncio.FIRST_COMPLETED)


@asynccontextmanager
async def _started(jobs: list[Job], loop: str) -> AsyncGenerator[list[Process]]:
    """Processes, each with its job; those that have not ended at the end are killed."""
    crew: list[Process] = []
    try:
        for number, job in enumerate(jobs):
            # In a session of its own, for Ctrl-C is this process's affair.
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "everwire.cli.bench.worker", loop),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE,
                start_new_session=True,
            )
            crew.append(Process(child, number))
            await crew[-1].tell(job.dump())
        yield crew
    finally:
        for process in crew:
            await process.end()
