"""The other ends: processes that run other libraries, for the whole session."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from conftest import Run

from interop.programs import Daemon, node, node_path

PEERS = Path(__file__).parent / "peers"
TESTS = Path(__file__).parents[1]

PROGRAMS = {
    "websockets": ("websockets_peer", "websockets"),
    "picows.websockets": ("websockets_peer", "picows.websockets"),
    "picows": ("picows_peer",),
    "aiohttp": ("aiohttp_peer",),
}

PortOf = Callable[[str], int]

T = TypeVar("T")


def both_ways(test: T) -> T:
    """Run a test with everwire's reactor and without it: there bytes come and go in other portions."""
    marks = (
        pytest.mark.usefixtures("way"),
        pytest.mark.parametrize("way", ["reactor", "transports"], indirect=True),
    )
    for mark in marks:
        test = mark(test)
    return test


@pytest.fixture
def way(request: pytest.FixtureRequest, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the bytes come; after ``run``, which has its own opinion."""
    if request.param == "transports":
        monkeypatch.setenv("EVERWIRE_REACTOR", "off")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Stay on one event loop: which one it is changes nothing for the other end."""
    metafunc.definition.add_marker(pytest.mark.loops("asyncio"))


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortOf]:
    """The ports to control peers at, by library; each is started when it is first asked for."""
    logs = tmp_path_factory.mktemp("peers")
    started: dict[str, tuple[Daemon, int]] = {}

    def port_of(library: str) -> int:
        if library not in started:
            if library == "ws":
                env = {"NODE_PATH": node_path()}
                one = Daemon([node(), PEERS / "node_peer.js"], logs / "ws.log", env=env)
            else:
                module, *arguments = PROGRAMS[library]
                command = [sys.executable, "-m", f"interop.peers.{module}", *arguments]
                one = Daemon(command, logs / f"{library}.log", env={"PYTHONPATH": str(TESTS)})
            started[library] = one, 0
            started[library] = one, int(one.wait_for_line("port "))
        return started[library][1]

    yield port_of
    for one, _ in started.values():
        one.stop()


LIBRARIES = (*PROGRAMS, "ws")


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """The library at the other end."""
    return str(request.param)


@pytest.fixture
def port(peers: PortOf, library: str) -> int:
    """Where to control the peer with that library."""
    return peers(library)
