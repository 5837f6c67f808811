"""Events of an engine, kept for tests to look at, and a clock that tests move."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from everwire.channels.engine import Position
from everwire.wire.messages import ClientInfo, Publication


def publication(data: object) -> Publication:
    """A publication of this value."""
    return Publication(data=msgspec.Raw(msgspec.json.encode(data)))


def values(publications: list[Publication]) -> list[object]:
    """The values of publications."""
    return [msgspec.json.decode(each.data) for each in publications]


@dataclass(slots=True)
class Told:
    """A call of ``on_publication``."""

    channel: str
    publication: Publication
    position: Position
    previous: int
    delta: bool


@dataclass(slots=True)
class Recorder:
    """Keeps what an engine tells."""

    publications: list[Told] = field(default_factory=list[Told])
    joins: list[tuple[str, ClientInfo]] = field(default_factory=list[tuple[str, ClientInfo]])
    leaves: list[tuple[str, ClientInfo]] = field(default_factory=list[tuple[str, ClientInfo]])
    controls: list[bytes] = field(default_factory=list[bytes])
    connected: list[bool] = field(default_factory=list[bool])

    def on_publication(
        self, channel: str, publication: Publication, position: Position, previous: int, delta: bool
    ) -> None:
        self.publications.append(Told(channel, publication, position, previous, delta))

    def on_join(self, channel: str, info: ClientInfo) -> None:
        self.joins.append((channel, info))

    def on_leave(self, channel: str, info: ClientInfo) -> None:
        self.leaves.append((channel, info))

    def on_control(self, data: bytes) -> None:
        self.controls.append(data)

    def on_available(self, available: bool) -> None:
        self.connected.append(available)


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
