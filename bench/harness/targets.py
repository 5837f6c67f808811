"""What is aimed at, as data, and how the figures stand to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from .loads import BYTES, CPU, HANDSHAKES, RATE

BEST_PYTHON_PEER = "best Python peer"
PYTHON_PEERS = ("picows", "picows.websockets", "websockets", "aiohttp", "socketify", "uvicorn", "granian")


class Target(NamedTuple):
    """The figure of `ours`, divided by `peer`'s under the same load if there is a peer, against `bound`."""

    ours: str
    load: str
    figure: str
    sense: Literal["<=", ">="]
    bound: float
    peer: str | None = None


class Standing(NamedTuple):
    target: Target
    value: float | None
    """Our median; None if it was not measured."""
    peer: str | None
    reference: float | None
    ratio: float | None
    reached: bool | None
    """None if a figure is missing."""


def _cpu(ours: str, load: str, **bounds: float) -> Iterator[Target]:
    for peer, bound in bounds.items():
        yield Target(ours, load, CPU, "<=", bound, peer)


def _servers() -> Iterator[Target]:
    yield from _cpu("callbacks", "echo", picows=0.55, bun=0.90)
    yield from _cpu("callbacks", "pipelined", picows=0.06)
    yield from _cpu("callbacks", "echo-16k", picows=0.60)
    yield from _cpu("callbacks", "echo-1m", picows=0.95)
    yield from _cpu("coroutines", "echo", picows=0.70)
    yield from _cpu("coroutines", "pipelined", picows=0.12)
    yield from _cpu("coroutines", "echo-16k", picows=0.72)
    yield from _cpu("coroutines", "echo-1m", picows=1.0)
    for ours, handshakes, idle in (("callbacks", 2.5, 700), ("coroutines", 1.8, 2500)):
        yield from _cpu(ours, "fan", picows=0.30, bun=1.0, socketify=1.0)
        yield Target(ours, "idle", HANDSHAKES, ">=", handshakes, "picows")
        if ours == "callbacks":
            yield Target(ours, "idle", HANDSHAKES, ">=", 1.0, "bun")
        yield Target(ours, "idle", BYTES, "<=", idle)
    for ours, bound in (("callbacks", 1.10), ("coroutines", 1.20)):
        for load in ("echo", "pipelined", "echo-16k", "echo-1m", "fan"):
            yield Target(f"{ours}-asyncio", load, CPU, "<=", bound, ours)
    for load in ("tls-echo", "tls-echo-1k"):
        yield from _cpu("callbacks", load, picows=0.80)
    yield Target("callbacks", "tls-idle", BYTES, "<=", 0.5, "picows")
    yield Target("callbacks", "deflate-echo", CPU, "<=", 0.80, BEST_PYTHON_PEER)
    yield Target("callbacks", "deflate-idle", BYTES, "<=", 10 * 1024)


def _asgi() -> Iterator[Target]:
    for load, gate, own in (
        ("echo", (0.35, 0.30), 0.5),
        ("pipelined", (0.15, 0.15), 0.4),
        ("fan", (0.30, 0.30), 0.5),
    ):
        yield from _cpu("asgi", load, uvicorn=gate[0], granian=gate[1])
        yield from _cpu("uvicorn-everwire", load, uvicorn=own)


def _clients() -> Iterator[Target]:
    for suffix in ("", "-asyncio"):
        for peer in ("picows", "picows.websockets", "websockets"):
            yield Target(f"everwire{suffix}", "client-connect", RATE, ">=", 1.0, f"{peer}{suffix}")
            for load in ("client-echo-1", "client-echo-100"):
                yield Target(f"everwire{suffix}", load, CPU, "<=", 1.0, f"{peer}{suffix}")


def _blocking_clients() -> Iterator[Target]:
    for peer in ("websockets.sync", "websocket-client"):
        for load in ("sync-echo", "sync-echo-1k", "sync-pipelined"):
            yield Target("everwire.sync", load, RATE, ">=", 1.0, peer)
            yield Target("everwire.sync", load, CPU, "<=", 1.0, peer)


TARGETS = (*_blocking_clients(), *_servers(), *_asgi(), *_clients())


def standing(target: Target, median: Callable[[str, str, str], float | None]) -> Standing:
    """How one target stands; `median` looks a figure up by load, contender and figure."""
    value = median(target.load, target.ours, target.figure)
    peer, reference, ratio = target.peer, None, value
    if peer is not None:
        peers = PYTHON_PEERS if peer == BEST_PYTHON_PEER else (peer,)
        found = [(figure, name) for name in peers if (figure := median(target.load, name, target.figure))]
        if found:
            reference, peer = min(found) if target.sense == "<=" else max(found)
        ratio = value / reference if value is not None and reference is not None else None
    reached = None
    if ratio is not None:
        reached = ratio <= target.bound if target.sense == "<=" else ratio >= target.bound
    return Standing(target, value, peer, reference, ratio, reached)
