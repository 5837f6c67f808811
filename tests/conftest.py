"""Fixtures shared by all tests: event loops, certificates, ports, and checks that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import traceback
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol, TypeVar

import pytest
import trustme
from hypothesis import HealthCheck, settings

T = TypeVar("T")

TESTS = Path(__file__).parent
TIMEOUT = 20.0
"""Seconds that one coroutine given to ``run`` may take, unless the call says otherwise."""

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None}
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop

# Examples are the same in every run, so that a failure is always a change; tests/fuzz looks for new ones.
settings.register_profile(
    "everwire",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("everwire")


class Run(Protocol):
    """What the fixture ``run`` is: runs a coroutine function to its end on a fresh loop."""

    def __call__(self, main: Callable[[], Coroutine[Any, Any, T]], *, timeout: float = TIMEOUT) -> T: ...


@dataclass(frozen=True, slots=True)
class Mode:
    """Where a test runs: on which event loop, and whether everwire's own reactor is used there."""

    loop: str
    reactor: bool = True

    def __str__(self) -> str:
        return self.loop if self.reactor else f"{self.loop}-transports"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers of this file."""
    # Started in the background, a shell has it ignore Ctrl-C, and so would the programs that tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "loops(*names): run the test only on these event loops (asyncio, uvloop)"
    )
    config.addinivalue_line("markers", "transports: run the test on asyncio's own transports as well")
    config.addinivalue_line(
        "markers", "reactor(why): the test is about the reactor, so skip asyncio's own transports"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``run`` on each loop; on asyncio's own transports too in tests/websocket, or if
    it is marked so."""
    if "mode" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("loops")
    modes = [Mode(name) for name in LOOPS if marker is None or name in marker.args]
    inside = metafunc.definition.path.is_relative_to(TESTS / "websocket")
    inside = inside or metafunc.definition.get_closest_marker("transports") is not None
    if inside and Mode("asyncio") in modes and metafunc.definition.get_closest_marker("reactor") is None:
        modes.append(Mode("asyncio", reactor=False))
    metafunc.parametrize("mode", modes, ids=str)


def pytest_collection_finish() -> None:
    """Exempt what exists by now from garbage collection: the leak checks collect after each test."""
    gc.collect()
    gc.freeze()


def _descriptors() -> dict[int, str]:
    """The open file descriptors and what they are; empty where the system has no /proc."""
    found: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError), os.scandir("/proc/self/fd") as entries:
        for entry in entries:
            # The descriptor of the scan itself is gone by the time its link is read.
            with contextlib.suppress(FileNotFoundError):
                found[int(entry.name)] = os.readlink(entry.path)
    return {fd: what for fd, what in found.items() if not what.endswith("/fd")}


def _stacks(tasks: set[asyncio.Task[Any]]) -> str:
    out = io.StringIO()
    for task in tasks:
        task.print_stack(limit=8, file=out)
    return out.getvalue()


LEAVING = 5.0
"""The seconds a thread that has nothing left to wait for may take to end."""


class Watch:
    """What a run must not leave behind: tasks, errors nobody looked at, descriptors, threads."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.descriptors = _descriptors()
        self.threads = set(threading.enumerate())

    def on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what the loop would only have logged."""
        error = context.get("exception")
        self.errors.append(f"{context.get('message')}" + (f": {error!r}" if error is not None else ""))

    async def tasks(self) -> None:
        """Fail if tasks outlive the test; those that are about to end get the turns they need for it."""
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            _, left = await asyncio.wait(left, timeout=1)
        if left:
            pytest.fail(f"{len(left)} tasks were left running:\n{_stacks(left)}")

    def check(self) -> None:
        """Fail if anything else was left; the loop is closed by now."""
        for thread in threading.enumerate():
            # asyncio waits for each child process in a thread, which refers to the loop until its last step.
            if thread not in self.threads and "waitpid" in thread.name:
                thread.join(LEAVING)
        gc.collect()
        if self.errors:
            pytest.fail("the event loop reported errors:\n" + "\n".join(self.errors))
        after = _descriptors()
        leaked = {fd: what for fd, what in after.items() if self.descriptors.get(fd) != what}
        if len(after) > len(self.descriptors):
            pytest.fail(f"file descriptors were left open: {leaked}")
        threads = [
            thread for thread in threading.enumerate() if thread not in self.threads and not thread.daemon
        ]
        if threads:
            pytest.fail(f"threads were left running: {threads}")


class Stalled(BaseException):
    """Raised where the main thread is, when a run did not even end at its time limit."""


@contextlib.contextmanager
def _alarm(loop: asyncio.AbstractEventLoop, seconds: float, stacks: list[str]) -> Iterator[None]:
    """Stop the loop if it is blocked or if cancelled tasks do not end; again and again, until it is over."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        if not stacks:
            stacks.append("".join(traceback.format_stack(frame, limit=8)) + _stacks(asyncio.all_tasks(loop)))
        loop.stop()
        raise Stalled

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _run(mode: Mode, main: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> T:
    __tracebackhide__ = True
    watch = Watch()
    stacks: list[str] = []

    async def guarded() -> T:
        __tracebackhide__ = True
        asyncio.get_running_loop().set_exception_handler(watch.on_error)
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                result = await main()
        except TimeoutError:
            if not limit.expired():
                raise
            others = asyncio.all_tasks() - {asyncio.current_task()}
            pytest.fail(f"not done after {timeout:g} seconds; the other tasks:\n{_stacks(others)}")
        await watch.tasks()
        return result

    runner = asyncio.Runner(loop_factory=LOOPS[mode.loop])
    try:
        with _alarm(runner.get_loop(), timeout + 5, stacks), runner:
            result = runner.run(guarded())
    except (Stalled, RuntimeError):
        if not stacks:
            raise
        pytest.fail(f"stuck, {timeout:g} seconds and more; this is where it was:\n{stacks[0]}", pytrace=False)
    watch.check()
    return result


@pytest.fixture(autouse=True)
def _loop_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which asyncio logged an error: a task destroyed while pending, an error not taken."""
    yield
    errors = [r for r in caplog.get_records("call") if r.name == "asyncio" and r.levelno >= logging.ERROR]
    if errors:
        pytest.fail("asyncio logged errors:\n" + "\n".join(record.getMessage() for record in errors))


@pytest.fixture(scope="session", autouse=True)
def _warm() -> None:
    """Open what each kind of loop opens once and keeps, so that it is not the first test's leak."""

    async def nothing() -> None:
        await asyncio.get_running_loop().run_in_executor(None, socket.getaddrinfo, "localhost", 80)

    for factory in LOOPS.values():
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(nothing())


@pytest.fixture
def run(mode: Mode, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a coroutine function to its end: ``def test_x(run): async def main(): ...; run(main)``.

    The test runs once on each event loop, and under tests/websocket, or marked ``transports``, once more
    on asyncio's own transports.
    A run that is not over in time fails and shows where its tasks stand. A run that leaves tasks, errors that
    nobody looked at, file descriptors or threads behind fails too.
    """
    if mode.reactor:
        monkeypatch.delenv("EVERWIRE_REACTOR", raising=False)
    else:
        monkeypatch.setenv("EVERWIRE_REACTOR", "off")

    def call(main: Callable[[], Coroutine[Any, Any, T]], *, timeout: float = TIMEOUT) -> T:
        __tracebackhide__ = True
        return _run(mode, main, timeout)

    return call


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority made for this session, and a certificate of it for localhost, 127.0.0.1 and ::1."""

    authority: trustme.CA
    server: ssl.SSLContext
    """For servers: presents the certificate."""
    client: ssl.SSLContext
    """For clients: trusts the authority, and nobody else."""
    ca_file: Path
    cert_file: Path
    """The server's certificate, for programs that are told by file name."""
    key_file: Path

    def new_server(self, *names: str) -> ssl.SSLContext:
        """A context of its own with a new certificate, for a test that changes options or names."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(*(names or ("localhost", "127.0.0.1", "::1"))).configure_cert(context)
        return context

    def new_client(self) -> ssl.SSLContext:
        """A context of its own, for a test that changes options."""
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        self.authority.configure_trust(context)
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates that clients of this session trust; contexts and files."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaf = authority.issue_cert("localhost", "127.0.0.1", "::1", key_type=trustme.KeyType.ECDSA)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(server)
    client = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    authority.configure_trust(client)
    ca_file, cert_file, key_file = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    key_file.touch(mode=0o600)
    leaf.private_key_pem.write_to_path(str(key_file))
    for blob in leaf.cert_chain_pems:
        blob.write_to_path(str(cert_file), append=True)
    return Certificates(authority, server, client, ca_file, cert_file, key_file)


@pytest.fixture
def unused_tcp_port() -> int:
    """A port of 127.0.0.1 that nothing listens on; for programs that cannot be asked for port 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if sys.platform == "win32":  # pragma: no cover
    raise RuntimeError("the tests need SIGALRM: run them on Linux or macOS")
