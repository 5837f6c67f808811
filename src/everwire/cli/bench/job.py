"""What is to be run: the options of a load, as its processes are told them."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from everwire.websocket.uri import parse_uri

__all__ = ["STAMP", "Job", "Mode", "make_message", "split"]

Mode = Literal["echo", "fanout", "push", "idle"]

STAMP = 16
"""Bytes of the smallest message that can be told from all others: see :class:`everwire._core.load.Load`."""

MAX_SIZE = 16 << 20
"""Bytes of the largest message that is received, unless larger ones are sent."""

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs", "sphinx", "of", "black", "quartz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A load, or the part of one that one process makes.

    Attributes:
        url: the server's.
        mode: what is done: see ``everwire bench --help``.
        connections: how many there are.
        first: the number of this process's first connection.
        message: what is sent, ``bytes`` if it is binary.
        depth: messages that a connection has under way.
        rate: messages a second of all connections together, or None for as fast as answers come.
        ramp: seconds over which the connections are opened; 0 is as fast as it goes.
        duration: seconds that are measured, after the warm-up.
        warmup: seconds before that, which do not count.
        timeout: seconds that an opening handshake may take, and an answer.
        check: whether answers are compared with what was sent.
        stamp: whether each message is made unique for that.
        share: of how many processes this is one.
        offset: which one.
        total: the connections of all processes.
        headers: further headers of the opening handshake.
        origin: its header Origin.
        subprotocols: those that are offered.
        insecure: whether any certificate will do.
        cacert: the file of certificates to trust instead of the system's.
        compression: whether permessage-deflate is offered.
        unix: the Unix socket to connect to, or None.
        board: the file that processes of a fan-out share, or empty.
    """

    url: str
    mode: Mode
    connections: int
    message: str | bytes
    depth: int
    rate: float | None
    ramp: float
    duration: float
    warmup: float
    timeout: float
    check: bool
    stamp: bool
    headers: tuple[tuple[str, str], ...]
    origin: str | None
    subprotocols: tuple[str, ...]
    insecure: bool
    cacert: str | None
    compression: bool
    unix: str | None
    total: int
    first: int = 0
    share: int = 1
    offset: int = 0
    board: str = ""

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return len(self.message if isinstance(self.message, bytes) else self.message.encode())

    def connect_options(self) -> dict[str, Any]:
        """The options of :class:`everwire.connect` for its connections.

        Raises:
            BadParameter: the file of certificates cannot be used, or there is no TLS to use it for.
        """
        context = None
        if self.insecure or self.cacert is not None:
            from everwire.cli.connect.request import tls_context

            cacert = None if self.cacert is None else Path(self.cacert)
            uri = parse_uri(self.url)
            context = tls_context(uri, insecure=self.insecure, cacert=cacert, cert=None, key=None)
        return {
            "ssl": context,
            "origin": self.origin,
            "subprotocols": self.subprotocols,
            "compression": "deflate" if self.compression else None,
            "additional_headers": self.headers,
            "unix": self.unix,
            "proxy": None,
            "open_timeout": self.timeout,
            "ping_interval": None,
            "max_size": max(MAX_SIZE, self.size),
        }

    def dump(self) -> str:
        """The job on one line, for :meth:`load`."""
        values = asdict(self)
        if isinstance(self.message, bytes):
            values |= {"message": base64.b64encode(self.message).decode(), "binary": True}
        return json.dumps(values)

    @staticmethod
    def load(line: str) -> Job:
        """The job that was dumped."""
        values: dict[str, Any] = json.loads(line)
        if values.pop("binary", False):
            values["message"] = base64.b64decode(values["message"])
        values["headers"] = tuple((name, value) for name, value in values["headers"])
        values["subprotocols"] = tuple(values["subprotocols"])
        return Job(**values)


def split(job: Job, processes: int) -> list[Job]:
    """The parts of a job for so many processes, or fewer if there are not as many connections."""
    processes = min(processes, job.connections)
    parts: list[Job] = []
    first = 0
    for number in range(processes):
        connections = job.connections // processes + (number < job.connections % processes)
        parts.append(replace(job, connections=connections, first=first, share=processes, offset=number))
        first += connections
    return parts


def make_message(size: int, *, binary: bool, seed: int) -> str | bytes:
    """A message of so many bytes, the same for the same seed: words, or random bytes."""
    source = random.Random(seed)
    if binary:
        return source.randbytes(size)
    words: list[str] = []
    length = 0
    while length < size:
        words.append(source.choice(WORDS))
        length += len(words[-1]) + 1
    return " ".join(words)[:size].ljust(size, ".")
