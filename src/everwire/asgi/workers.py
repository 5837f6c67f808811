"""Several processes that serve one application, and the supervisor that starts, watches and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from multiprocessing.connection import Connection as Pipe
from typing import cast

from everwire.asgi.control import Control, check_order, report
from everwire.asgi.host import Host
from everwire.asgi.process import FAILED, Options, run
from everwire.errors import ConfigError, EverwireError
from everwire.supervised import supervised
from everwire.websocket.sockets import Where, remove_path

__all__ = ["Supervisor", "Worker", "bound_sockets"]

SLOWEST = 30.0
"""Seconds before a worker is started again that fails each time."""
MERCY = 10.0
"""Seconds that a worker has beyond its own deadlines until it is killed."""

_logger = logging.getLogger("everwire.workers")
_spawn = multiprocessing.get_context("spawn")
# The queue of a socket with SO_REUSEPORT is its own: Linux spreads the connections over them.
_SPREADS = sys.platform == "linux"


@contextlib.asynccontextmanager
async def bound_sockets(
    workers: int,
    *,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    unix: str | os.PathLike[str] | None = None,
    sock: socket.socket | Sequence[socket.socket] | None = None,
    backlog: int = 1024,
) -> AsyncGenerator[list[list[socket.socket]]]:
    """Give the sockets of each worker, which listen from now on; close them in the end.

    On Linux each worker has its own for the same address, so that connections are spread evenly; elsewhere,
    and for Unix and given sockets, all share one. They outlive a worker that dies: what waits in them is not
    lost.

    Raises:
        OSError: the place cannot be listened on; the message says why.
    """
    where = Where(
        host=host, port=port, unix=unix, sock=sock, backlog=backlog, reuse_port=False, reuse_address=True
    )
    bound = [await where.sockets()] * workers
    if workers > 1 and _SPREADS and port is not None:
        # Bound without SO_REUSEPORT first: whether another program has the port would not show with it.
        port = int(bound[0][0].getsockname()[1])
        _close(bound)
        spread = dataclasses.replace(where, port=port, reuse_port=True)
        bound = [await spread.sockets() for _ in range(workers)]
    try:
        yield bound
    finally:
        _close(bound)
        if where.path is not None:
            remove_path(where.path)


def _close(bound: Sequence[Sequence[socket.socket]]) -> None:
    for sockets in bound:
        for sock in sockets:
            sock.close()


Answers = Mapping[str, Callable[[], Awaitable[str]]]
"""What workers may ask for, before they serve: a function for each question."""


def _work(options: Options, sockets: Sequence[socket.socket], pipe: Pipe, workers: int) -> None:
    """What a worker's process runs."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervised.workers = workers
    supervised.ask = functools.partial(_ask, pipe)
    sys.exit(run(options, sockets, on_ready=lambda host: Reporter(host, pipe), parent=parent.sentinel))


def _ask(pipe: Pipe, question: str) -> str:
    """Ask the supervisor; nothing else comes from there before this process serves.

    Raises:
        ConfigError: it cannot answer; the message says why.
    """
    _send(pipe, {"ask": question})
    answer = json.loads(pipe.recv_bytes())
    if "error" in answer:
        raise ConfigError(answer["error"])
    return str(answer["answer"])


class Reporter:
    """A worker's end of the pipe to the supervisor: it says that it serves, and does what it is told."""

    def __init__(self, host: Host, pipe: Pipe) -> None:
        self._host = host
        self._pipe = pipe
        self._loop = asyncio.get_running_loop()
        self._draining: asyncio.Task[None] | None = None
        self._loop.add_reader(pipe.fileno(), self._on_order)
        _send(pipe, {"ready": True, "websocket_path": host.websocket_path})

    def _on_order(self) -> None:
        try:
            order = json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            self._loop.remove_reader(self._pipe.fileno())
            return  # the supervisor is gone, which ends this process, too
        before = self._draining
        self._draining = self._loop.create_task(self._drain(check_order(order), before))

    async def _drain(self, order: dict[str, float | None], before: asyncio.Task[None] | None) -> None:
        if before is not None:
            before.cancel()

        async def tell(**what: object) -> None:
            _send(self._pipe, what)

        await report(self._host, tell, **order)


def _send(pipe: Pipe, what: Mapping[str, object]) -> None:
    """Tell the other end, if it is still there."""
    with contextlib.suppress(OSError):
        pipe.send_bytes(json.dumps(what).encode())


class Worker:
    """One process that serves.

    Parameters:
        options: what it serves, and how.
        sockets: where it listens.
        workers: how many there are.
        answers: what it may ask for.

    Attributes:
        ready: done with True when it serves, with False when it has ended before.
        websocket_path: where its application has its WebSockets, as far as it says; else empty.
        drained: done when it has no clients any more, having been told to send them away; or when it is gone.
        ended: done with the exit code (negative: the signal) when it is gone.
        clients: how many it had when it last said so, having been told to send them away.
    """

    def __init__(
        self, options: Options, sockets: Sequence[socket.socket], *, workers: int, answers: Answers
    ) -> None:
        self._answers = answers
        self._answering: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[bool] = self._loop.create_future()
        self.websocket_path = ""
        self.drained: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.clients = 0
        self._pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(
            target=_work, args=(options, sockets, theirs, workers), name="everwire worker"
        )
        self._process.start()
        theirs.close()
        self.pid = cast(int, self._process.pid)
        self._sentinel = self._process.sentinel
        self._loop.add_reader(self._pipe.fileno(), self._on_report)
        self._loop.add_reader(self._sentinel, self._on_end)

    def _on_report(self) -> None:
        try:
            report = json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            self._loop.remove_reader(self._pipe.fileno())
            return  # its end tells
        if "ask" in report:
            self._answering = self._loop.create_task(self._answer(report["ask"]))
        self.clients = report.get("clients", self.clients)
        if report.get("ready") and not self.ready.done():
            self.websocket_path = str(report["websocket_path"])
            self.ready.set_result(True)
        if report.get("done") and not self.drained.done():
            self.drained.set_result(None)

    async def _answer(self, question: str) -> None:
        try:
            answer = {"answer": await self._answers[question]() if question in self._answers else ""}
        except EverwireError as error:
            answer = {"error": str(error)}
        if not self.ended.done():
            _send(self._pipe, answer)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._sentinel)
        self._loop.remove_reader(self._pipe.fileno())
        self._process.join()
        code = cast(int, self._process.exitcode)
        self._pipe.close()
        self._process.close()
        self.clients = 0
        if not self.ready.done():
            self.ready.set_result(False)
        if not self.drained.done():
            self.drained.set_result(None)
        self.ended.set_result(code)

    def drain(self, *, spread: float | None, deadline: float | None) -> None:
        """Have it send its clients away."""
        if not self.ended.done():
            _send(self._pipe, {"method": "drain", "spread": spread, "deadline": deadline})

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self, patience: float | None) -> int:
        """Have it shut down gracefully; kill it after *patience* seconds. Return its exit code."""
        self.send_signal(signal.SIGTERM)
        done, _ = await asyncio.wait((self.ended,), timeout=patience)
        if not done:
            _logger.error("worker [%d] does not end: killing it", self.pid)
            self.send_signal(signal.SIGKILL)
        return await asyncio.shield(self.ended)


class Supervisor:
    """Keeps as many workers running as it has lists of sockets.

    SIGTERM and SIGINT end it gracefully, a second one at once; SIGHUP replaces the workers one by one, each
    when its successor serves. A worker that dies is replaced; one that cannot begin to serve ends it all, if
    that is so from the start.

    Parameters:
        options: what the workers serve, and how.
        sockets: those of each worker.
        on_ready: called when all serve, with the path of the application's WebSockets, as far as it says.
        on_stop: called when it begins to stop.
        answers: what workers may ask for.
    """

    def __init__(
        self,
        options: Options,
        sockets: Sequence[Sequence[socket.socket]],
        *,
        on_ready: Callable[[str], object],
        on_stop: Callable[[], object],
        answers: Answers | None = None,
    ) -> None:
        self._options = options
        self._sockets = sockets
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._answers = answers or {}
        self._stop = asyncio.Event()
        self._restart = asyncio.Event()
        self._workers: set[Worker] = set()
        self._draining = False
        graceful = options.serve.get("timeout_graceful_shutdown", 30.0)
        # One deadline is for connections, another for the application.
        self._patience: float | None = None if graceful is None else 2 * graceful + MERCY

    async def run(self) -> int:
        """Supervise until a signal comes, or the first workers fail; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._restart.set)
        stopping = loop.create_task(self._stop.wait())
        working = loop.create_task(self._work())
        try:
            async with Control(self):
                await asyncio.wait((stopping, working), return_when=asyncio.FIRST_COMPLETED)
            code = FAILED if working.done() and not self._stop.is_set() else 0
            if working.done():
                working.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.wait((working, stopping))
            await self._end()
        return code

    def clients(self) -> int:
        """How many clients the workers have, as they say when they are drained."""
        return sum(worker.clients for worker in self._workers)

    async def drain(self, *, spread: float | None, deadline: float | None) -> None:
        """Have the workers send their clients away; return when all have done so."""
        self._draining = True
        for worker in self._workers:
            worker.drain(spread=spread, deadline=deadline)
        if self._workers:
            await asyncio.wait([worker.drained for worker in self._workers])

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            for worker in self._workers:
                worker.send_signal(signal.SIGKILL)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._on_stop()
        self._stop.set()

    async def _end(self) -> None:
        # With the last copy of a socket its queue goes: who connects now is refused, and does not wait in it.
        _close(self._sockets)
        if self._workers:
            await asyncio.gather(*(worker.stop(self._patience) for worker in self._workers))

    def _started(self, sockets: Sequence[socket.socket]) -> Worker:
        worker = Worker(self._options, sockets, workers=len(self._sockets), answers=self._answers)
        self._workers.add(worker)
        worker.ended.add_done_callback(lambda _: self._workers.discard(worker))
        # One that takes the place of another goes on with what that was told.
        worker.ready.add_done_callback(
            lambda _: worker.drain(spread=0.0, deadline=None) if self._draining else None
        )
        return worker

    async def _work(self) -> None:
        """Return if the first workers fail; else for ever."""
        workers = [self._started(sockets) for sockets in self._sockets]
        if not all([await worker.ready for worker in workers]):
            return
        self._on_ready(workers[0].websocket_path)
        async with asyncio.TaskGroup() as group:
            slots = [
                _Slot(worker, functools.partial(self._started, sockets))
                for worker, sockets in zip(workers, self._sockets, strict=True)
            ]
            for slot in slots:
                group.create_task(slot.keep())
            while await self._restart.wait():
                self._restart.clear()
                _logger.info("replacing the workers")
                for slot in slots:
                    await slot.replace(self._patience)


class _Slot:
    """The place of one worker, in which one follows another."""

    def __init__(self, worker: Worker, start: Callable[[], Worker]) -> None:
        self._worker = worker
        self._start = start
        self._replacing = asyncio.Lock()

    async def keep(self) -> None:
        """Start a worker whenever the one that is there has died."""
        failures = 0
        while True:
            worker = self._worker
            code = await asyncio.shield(worker.ended)
            if worker is not self._worker:
                continue
            async with self._replacing:
                if worker is not self._worker:
                    continue  # it died while it was being replaced
                # One that served has done its part; those that fail at once wait longer each time.
                failures = 0 if worker.ready.result() else failures + 1
                _logger.error("worker [%d] died: %s; starting another", worker.pid, _reason(code))
                if failures:
                    await asyncio.sleep(min(2.0**failures, SLOWEST))
                self._worker = self._start()

    async def replace(self, patience: float | None) -> None:
        """Start a successor, and end the worker once that serves; keep it if that does not."""
        async with self._replacing:
            old, new = self._worker, self._start()
            if not await new.ready:
                _logger.error("worker [%d] could not start: worker [%d] goes on", new.pid, old.pid)
                return
            self._worker = new
            await old.stop(patience)


def _reason(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"
