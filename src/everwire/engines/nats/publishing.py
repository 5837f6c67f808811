"""Publishing into logs, and trying again what was not stored for sure."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import secrets
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from everwire.channels.engine import LogOptions, Position
from everwire.engines.nats.frames import Kind, encode_mark
from everwire.engines.nats.link import Link, header_block
from everwire.engines.nats.names import Names, token
from everwire.engines.nats.reading import Reader
from everwire.engines.nats.requests import Answer, ApiError, NoResponders, Requests
from everwire.engines.nats.streams import NOT_NOW, Stream, Streams
from everwire.errors import EngineError

__all__ = ["EXPECT", "TTL", "Conflict", "Publishing", "Receipt", "Trial", "Wish", "seconds"]

CONFLICT = {10070, 10071, 10164, 10201}
"""Codes of JetStream: there is another last message than was expected, or (in a batch) the id is there."""
FULL = {10047, 10054, 10077}
UNFINISHED = {10158, 10176}
"""Codes of JetStream: something with that id is on its way; a part of a batch was not accepted."""

EXPECT = "Nats-Expected-Last-Subject-Sequence"
TTL = "Nats-TTL"

PAUSE = 0.02
"""Seconds until what could not be done now is tried again, the first time; then longer."""


class Refusal(msgspec.Struct):
    """Why a message was not stored."""

    err_code: int = 0
    description: str = ""


class Stored(msgspec.Struct):
    """What JetStream answers to a message."""

    seq: int = 0
    duplicate: bool = False
    error: Refusal | None = None


_stored = msgspec.json.Decoder(Stored).decode


class Receipt(NamedTuple):
    """Where something is stored; *duplicate*: it was there already, by its id."""

    number: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """On what conditions something is published; see :meth:`everwire.channels.engine.Engine.publish`."""

    key: str = ""
    key_ttl: float = 300.0
    version: int = 0
    version_epoch: str = ""
    expected: Position | None = None


def seconds(ttl: float) -> str:
    """A time to live as JetStream takes it: whole seconds, from one on."""
    return f"{max(1, math.ceil(ttl))}s"


class Publishing:
    """What publishes into the logs of channels."""

    def __init__(
        self, link: Link, requests: Requests, streams: Streams, reader: Reader, names: Names
    ) -> None:
        self._link = link
        self._requests = requests
        self.streams = streams
        self.reader = reader
        self.names = names
        self._loop = asyncio.get_running_loop()
        self._batch = f"{secrets.token_hex(8)}-"
        self._batches = itertools.count()

    async def append(self, channel: str, data: bytes, log: LogOptions) -> tuple[Stream, int]:
        """Publish on no condition; return the stream and the number in it."""
        stream = self.streams.known(log)
        if stream is not None and self._link.up:
            # The common case. What is not stored for sure is tried again below.
            with contextlib.suppress(NoResponders):
                stored = _read(await self._requests.ask(stream.log + token(channel), data))
                if stored is not None:
                    return stream, stored.number
        return await self._until_stored(channel, data, log)

    async def _until_stored(self, channel: str, data: bytes, log: LogOptions) -> tuple[Stream, int]:
        trial = Trial(self._requests)
        while True:
            try:
                await self._requests.ready(trial.deadline)
                stream = await self.streams.get(log)
                stored = _read(await self._requests.ask(stream.log + token(channel), data))
                if stored is not None:
                    return stream, stored.number
                await trial.again("it takes nothing now")
            except NoResponders as error:
                await trial.again(str(error))
                await self._requests.ready(trial.deadline)
                await self.streams.look(log, unless_fresh=True)

    async def claim(self, channel: str, key: str, ttl: float) -> bool:
        """Take an idempotency key of a channel without a log; False: it was taken already."""
        trial = Trial(self._requests)
        headers = header_block({EXPECT: "0", TTL: seconds(ttl)})
        subject = self.names.ephemeral_key(channel, key)
        while True:
            try:
                await self._requests.ready(trial.deadline)
                if _read(await self._requests.ask(subject, b"", headers)) is not None:
                    return True
                await trial.again("it takes nothing now")
            except NoResponders as error:
                await trial.again(str(error))
                await self._requests.ready(trial.deadline)
                await self.streams.ensure_others()
            except Conflict:
                return False

    async def mark(self, stream: Stream, channel: str, top: int, offset: int) -> int | None:
        """Put a mark in place of all publications of a channel, the last of which has the number *top*.

        Return the number of the mark; None: there is another publication now.
        """
        headers = {"Nats-Rollup": "sub", EXPECT: str(top)}
        try:
            stored = await self.store((stream.log + token(channel), encode_mark(offset), headers))
        except Conflict:
            return None
        return stored.number if stored is not None else None

    async def remove(self, channel: str, log: LogOptions) -> None:
        """Put a mark in place of all publications of a channel."""
        trial = Trial(self._requests)
        while True:
            try:
                await self._requests.ready(trial.deadline)
                stream = await self.streams.get(log)
                top = await self.reader.last(stream, channel)
                if top is None or top.frame.kind == Kind.MARK:
                    return
                if await self.mark(stream, channel, top.sequence, top.offset) is not None:
                    return
                await trial.again("other publications come between again and again", soon=True)
            except NoResponders as error:
                await trial.again(str(error))
                await self.streams.look(log, unless_fresh=True)

    async def store(self, *messages: tuple[str, bytes, dict[str, str]]) -> Receipt | None:
        """Store messages together, or none; return where the last one is; None: not now.

        Raises:
            Conflict: one of them expects another message before it.
        """
        *others, (subject, data, headers) = messages
        if others:
            batch = f"{self._batch}{next(self._batches)}"
            for number, (each, content, fields) in enumerate(others, 1):
                fields = {**fields, "Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
                self._link.send(each, content, headers=header_block(fields))
            last = {"Nats-Batch-Sequence": str(len(messages)), "Nats-Batch-Commit": "1"}
            headers = {**headers, "Nats-Batch-Id": batch, **last}
        return _read(await self._requests.ask(subject, data, header_block(headers) if headers else b""))

    def store_unasked(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        """Store a message if it can be; nobody looks."""
        with contextlib.suppress(EngineError):
            self._link.send(subject, data, headers=header_block(headers))


class Conflict(EngineError):
    """A subject has another last message than was expected."""


class Trial:
    """What is tried until it works or its time is over."""

    def __init__(self, requests: Requests) -> None:
        self._loop = asyncio.get_running_loop()
        self._pause = PAUSE
        self._timeout = requests.timeout
        self.deadline = self._loop.time() + requests.timeout

    async def again(self, why: str, *, soon: bool = False) -> None:
        """Wait a moment.

        Raises:
            EngineError: there is no time left.
        """
        pause = 0.0 if soon else self._pause
        if self._loop.time() + pause >= self.deadline:
            raise EngineError(f"NATS took nothing within {self._timeout:g} s: {why}")
        self._pause = min(self._pause * 2, 0.5)
        await asyncio.sleep(pause)


def _read(answer: Answer) -> Receipt | None:
    """Where something was stored; None: it was not, and can be tried again.

    Raises:
        Conflict: another message before it was expected, or its id is there already.
        EngineError: it was not stored.
    """
    stored = _stored(answer.data)
    error = stored.error
    if error is None:
        return Receipt(stored.seq, stored.duplicate)
    code = error.err_code
    if code in CONFLICT:
        raise Conflict("another message was expected")
    if code in NOT_NOW or code in UNFINISHED:
        return None
    if code in FULL:
        raise EngineError(
            f"NATS has no room for it ({error.description}): make max_size larger, or keep fewer publications"
        )
    raise ApiError(code, error.description, "a publication")
