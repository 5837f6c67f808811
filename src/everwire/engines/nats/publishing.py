"""Publishing into logs: acknowledged, once, in order.

What must hold together is written together: an idempotency key and a version have subjects of their own in
the stream of the log, and are stored with the publication in one atomic batch, or none of them is. A batch is
refused when one of its subjects has got another message meanwhile; then it is looked which, and why.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import secrets
from dataclasses import dataclass

import msgspec

from everwire.channels.engine import LogOptions, Position, PublishOutcome
from everwire.engines.local import check_expected
from everwire.engines.log import is_stale
from everwire.engines.nats.frames import Kind, encode_mark, encode_value
from everwire.engines.nats.link import Link, header_block
from everwire.engines.nats.names import Names, token
from everwire.engines.nats.reading import Reader
from everwire.engines.nats.requests import Answer, ApiError, NoResponders, Requests, Unanswered
from everwire.engines.nats.streams import NOT_NOW, Stream, Streams
from everwire.errors import EngineError, PositionConflict

__all__ = ["Publishing", "Wish"]

CONFLICT = {10071, 10164}
"""Codes of JetStream: the subject has another last message than was expected."""
FULL = {10047, 10054, 10077}
UNFINISHED = 10176
"""Code of JetStream: a part of a batch was not accepted, and so none of it."""

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
    error: Refusal | None = None


_stored = msgspec.json.Decoder(Stored).decode
_version = msgspec.msgpack.Decoder(tuple[int, str]).decode
_distance = msgspec.msgpack.Decoder(int).decode


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
        self._streams = streams
        self.reader = reader
        self.names = names
        self._loop = asyncio.get_running_loop()
        self._batch = f"{secrets.token_hex(8)}-"
        self._batches = itertools.count()

    async def append(self, channel: str, data: bytes, log: LogOptions) -> tuple[Stream, int]:
        """Publish on no condition; return the stream and the number in it."""
        stream = self._streams.known(log)
        if stream is not None and self._link.up:
            # The common case. What is not stored for sure is tried again below.
            with contextlib.suppress(NoResponders):
                stored = _read(await self._requests.ask(stream.log + token(channel), data))
                if stored is not None:
                    return stream, stored
        return await self._until_stored(channel, data, log)

    async def _until_stored(self, channel: str, data: bytes, log: LogOptions) -> tuple[Stream, int]:
        trial = Trial(self._requests)
        while True:
            try:
                await self._requests.ready(trial.deadline)
                stream = await self._streams.get(log)
                stored = _read(await self._requests.ask(stream.log + token(channel), data))
                if stored is not None:
                    return stream, stored
                await trial.again("it takes nothing now")
            except NoResponders as error:
                await trial.again(str(error))
                await self._requests.ready(trial.deadline)
                await self._streams.look(log, unless_fresh=True)

    async def append_if(
        self, channel: str, data: bytes, log: LogOptions, wish: Wish
    ) -> tuple[Stream, PublishOutcome]:
        """Publish if conditions hold; return the stream and the outcome."""
        trial = Trial(self._requests)
        while True:
            try:
                await self._requests.ready(trial.deadline)
                stream = await self._streams.get(log)
                attempt = Attempt(self, stream, channel, data, wish)
                outcome = await attempt.run()
                if outcome is not None:
                    return stream, outcome
                await trial.again("other publications come between again and again", soon=True)
            except NoResponders as error:
                await trial.again(str(error))
                await self._requests.ready(trial.deadline)
                await self._streams.look(log, unless_fresh=True)
            except Unanswered as error:
                # With a key nothing is stored twice, so that it can be tried again.
                if not wish.key:
                    raise
                await trial.again(str(error))

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
                await self._streams.ensure_others()
            except Conflict:
                return False

    async def mark(self, stream: Stream, channel: str, top: int, offset: int) -> int | None:
        """Put a mark in place of all publications of a channel, the last of which has the number *top*.

        Return the number of the mark; None: there is another one after it now.
        """
        headers = header_block({"Nats-Rollup": "sub", EXPECT: str(top)})
        try:
            return _read(await self._requests.ask(stream.log + token(channel), encode_mark(offset), headers))
        except Conflict:
            return None

    async def remove(self, channel: str, log: LogOptions) -> None:
        """Put a mark in place of all publications of a channel."""
        trial = Trial(self._requests)
        while True:
            try:
                await self._requests.ready(trial.deadline)
                stream = await self._streams.get(log)
                top = await self.reader.last(stream, channel)
                if top is None or top.frame.kind == Kind.MARK:
                    return
                if await self.mark(stream, channel, top.sequence, top.offset) is not None:
                    return
                await trial.again("other publications come between again and again", soon=True)
            except NoResponders as error:
                await trial.again(str(error))
                await self._streams.look(log, unless_fresh=True)

    async def store(self, messages: list[tuple[str, bytes, dict[str, str]]]) -> int | None:
        """Store messages together, or none; return the number of the last one; None: not now.

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
        return _read(await self._requests.ask(subject, data, header_block(headers)))


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


class Attempt:
    """One attempt to publish if conditions hold."""

    def __init__(self, publishing: Publishing, stream: Stream, channel: str, data: bytes, wish: Wish) -> None:
        self._publishing = publishing
        self._reader = publishing.reader
        self._stream = stream
        self._channel = channel
        self._data = data
        self._wish = wish
        self._key = stream.key + publishing.names.key(channel, wish.key) if wish.key else ""
        self._version = stream.version + token(channel) if wish.version > 0 else ""

    async def run(self) -> PublishOutcome | None:
        """Return the outcome; None: try again."""
        wish, stream = self._wish, self._stream
        messages: list[tuple[str, bytes, dict[str, str]]] = []
        if self._key:
            # How far from the key the publication is: by that it is found again.
            distance = encode_value(2 if self._version else 1)
            messages.append((self._key, distance, {EXPECT: "0", TTL: seconds(wish.key_ttl)}))
        if self._version:
            found = await self._reader.raw(stream, self._version)
            last, last_epoch = _version(found.data) if found is not None else (0, "")
            if is_stale(wish.version, wish.version_epoch, last=last, last_epoch=last_epoch):
                return await self._find_key() or PublishOutcome(await self._top(), stale=True)
            record = encode_value((wish.version, wish.version_epoch))
            messages.append((self._version, record, {EXPECT: str(found.sequence if found else 0)}))
        headers: dict[str, str] = {}
        if wish.expected is not None:
            expected = await self._expected(wish.expected)
            if isinstance(expected, PublishOutcome):
                return expected
            headers[EXPECT] = str(expected)
        messages.append((stream.log + token(self._channel), self._data, headers))
        try:
            stored = await self._publishing.store(messages)
        except Conflict:
            return await self._explain()
        return PublishOutcome(Position(stored, stream.epoch)) if stored is not None else None

    async def _expected(self, expected: Position) -> int | PublishOutcome:
        """The number of the message that is expected to be the last one of the channel."""
        top = await self._reader.last(self._stream, self._channel)
        position = Position(top.offset if top is not None else 0, self._stream.epoch)
        try:
            check_expected(self._channel, expected, position)
        except PositionConflict:
            found = await self._find_key()
            if found is None:
                raise
            return found
        return top.sequence if top is not None else 0

    async def _explain(self) -> PublishOutcome | None:
        """Why there was a conflict: None: something came between, which does not matter."""
        found = await self._find_key()
        if found is None and self._wish.expected is not None:
            check_expected(self._channel, self._wish.expected, await self._top())
        return found

    async def _find_key(self) -> PublishOutcome | None:
        if not self._key:
            return None
        found = await self._reader.raw(self._stream, self._key)
        if found is None:
            return None
        position = Position(found.sequence + _distance(found.data), self._stream.epoch)
        return PublishOutcome(position, duplicate=True)

    async def _top(self) -> Position:
        top = await self._reader.last(self._stream, self._channel)
        return Position(top.offset if top is not None else 0, self._stream.epoch)


def _read(answer: Answer) -> int | None:
    """The number of what was stored; None: it was not, and can be tried again.

    Raises:
        Conflict: another message before it was expected.
        EngineError: it was not stored.
    """
    stored = _stored(answer.data)
    error = stored.error
    if error is None:
        return stored.seq
    code = error.err_code
    if code in CONFLICT:
        raise Conflict("another message was expected")
    if code in NOT_NOW or code == UNFINISHED:
        return None
    if code in FULL:
        raise EngineError(
            f"NATS has no room for it ({error.description}): make max_size larger, or keep fewer publications"
        )
    raise ApiError(code, error.description, "a publication")
