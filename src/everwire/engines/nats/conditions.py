"""Publishing on conditions: an idempotency key, a version, an expected position.

An idempotency key is claimed first: by a record in the stream that only one can make, and that is gone after
the key's time. The number of the record is the id of the publication, by which JetStream stores it once,
however often and by whomever it is sent. When it is stored, its place is noted in the record: from then on
that says where it is, also when JetStream remembers the id no longer.

A version has a record, too, which is stored together with the publication, or neither is.
"""

from __future__ import annotations

import time
from datetime import datetime

import msgspec

from everwire.channels.engine import LogOptions, Position, PublishOutcome
from everwire.engines.local import check_expected
from everwire.engines.log import is_stale
from everwire.engines.nats.frames import encode_value
from everwire.engines.nats.names import token
from everwire.engines.nats.publishing import EXPECT, TTL, Conflict, Publishing, Trial, Wish, seconds
from everwire.engines.nats.requests import NoResponders, Requests, Unanswered
from everwire.engines.nats.streams import Stream, id_window
from everwire.errors import EngineError, PositionConflict

__all__ = ["Conditions"]

ID = "Nats-Msg-Id"
FREE = -1
"""In the record of a key, in place of its first number: nothing was published after all."""

_version = msgspec.msgpack.Decoder(tuple[int, str]).decode
_claim = msgspec.msgpack.Decoder(tuple[int, int]).decode


class Claim:
    """A claim to an idempotency key.

    Attributes:
        id: of the publication that is to have the key.
        number: of the newest record.
        offset: where that publication is; 0: it may be nowhere yet.
        mine: whether it was made just now, so that it is nowhere yet.
        left: seconds that the key is kept.
    """

    __slots__ = ("id", "left", "mine", "number", "offset")

    def __init__(self, first: int, number: int, offset: int, left: float, *, mine: bool) -> None:
        self.id = str(first)
        self.number = number
        self.offset = offset
        self.left = left
        self.mine = mine


class Conditions:
    """What publishes on conditions."""

    def __init__(self, requests: Requests, publishing: Publishing) -> None:
        self._requests = requests
        self._publishing = publishing

    async def append(
        self, channel: str, data: bytes, log: LogOptions, wish: Wish
    ) -> tuple[Stream, PublishOutcome]:
        """Publish if the conditions hold; return the stream and the outcome.

        Raises:
            PositionConflict: another position than expected is at the top.
            EngineError: it is not known to be in the log.
        """
        trial = Trial(self._requests)
        streams = self._publishing.streams
        while True:
            try:
                await self._requests.ready(trial.deadline)
                stream = await streams.get(log)
                outcome = await Attempt(self._publishing, stream, channel, data, wish).run()
                if outcome is not None:
                    return stream, outcome
                await trial.again("other publications come between again and again", soon=True)
            except NoResponders as error:
                await trial.again(str(error))
                await self._requests.ready(trial.deadline)
                await streams.look(log, unless_fresh=True)
            except Unanswered as error:
                # With a key nothing is stored twice, so that it can be tried again.
                if not wish.key:
                    raise
                await trial.again(str(error))


class Attempt:
    """One attempt."""

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
        if not self._key:
            return await self._store({})
        claim = await self._make_claim()
        if claim is None or claim.offset:
            return self._duplicate(claim.offset) if claim is not None else None
        try:
            outcome = await self._store({ID: claim.id})
            if outcome is not None and not outcome.stale:
                self._settle(claim, int(claim.id), outcome.position.offset)
                return outcome
        except PositionConflict:
            if (found := await self._stored_before(claim)) is not None:
                return found
            self._settle(claim, FREE, 0)
            raise
        found = await self._stored_before(claim)
        if found is None and outcome is not None:
            self._settle(claim, FREE, 0)
        return found or outcome

    async def _store(self, headers: dict[str, str]) -> PublishOutcome | None:
        """Store it, if version and position are right. None: try again, or it is there already."""
        wish, stream, publishing = self._wish, self._stream, self._publishing
        records: list[tuple[str, bytes, dict[str, str]]] = []
        if self._version:
            found = await self._reader.raw(stream, self._version)
            last, last_epoch = _version(found.data) if found is not None else (0, "")
            if is_stale(wish.version, wish.version_epoch, last=last, last_epoch=last_epoch):
                return PublishOutcome(await self._top(), stale=True)
            record = encode_value((wish.version, wish.version_epoch))
            records.append((self._version, record, {EXPECT: str(found.sequence if found else 0)}))
        if wish.expected is not None:
            expected = await self._number_of(wish.expected)
            if expected is None:
                return None
            headers[EXPECT] = str(expected)
        subject = stream.log + token(self._channel)
        try:
            stored = await publishing.store(*records, (subject, self._data, headers))
        except Conflict:
            if wish.expected is not None:
                check_expected(self._channel, wish.expected, await self._top())
            return None
        if stored is None:
            return None
        return PublishOutcome(Position(stored.number, stream.epoch), duplicate=stored.duplicate)

    async def _number_of(self, expected: Position) -> int | None:
        """The number of the message that is expected to be the last one of the channel; None: try again."""
        top = await self._reader.last(self._stream, self._channel)
        try:
            check_expected(self._channel, expected, self._position(top.offset if top is not None else 0))
        except PositionConflict:
            streams = self._publishing.streams
            if top is None and await streams.look(self._stream.options) is not self._stream:
                return None
            raise
        return top.sequence if top is not None else 0

    # The key

    async def _make_claim(self) -> Claim | None:
        """Claim the key, or see who has; None: try again."""
        number, ttl = 0, self._wish.key_ttl
        for _ in range(2):
            headers = {EXPECT: str(number), TTL: seconds(ttl)}
            try:
                made = await self._publishing.store((self._key, encode_value((0, 0)), headers))
            except Conflict:
                pass
            else:
                return Claim(made.number, made.number, 0, ttl, mine=True) if made is not None else None
            found = await self._reader.raw(self._stream, self._key)
            if found is None:
                return None
            first, offset = _claim(found.data)
            number = found.sequence
            if first != FREE:
                age = time.time() - datetime.fromisoformat(found.stamp).timestamp()
                if not offset and age > id_window(self._stream.options) / 2:
                    raise EngineError(
                        f"it is not known whether the publication with the idempotency key "
                        f"{self._wish.key!r} is in the log: its publisher has ended before it knew"
                    )
                return Claim(first or number, number, offset, max(1.0, ttl - age), mine=False)
        return None

    def _settle(self, claim: Claim, first: int, offset: int) -> None:
        """Note in the record what became of the publication."""
        headers = {EXPECT: str(claim.number), TTL: seconds(claim.left)}
        self._publishing.store_unasked(self._key, encode_value((first, offset)), headers)

    async def _stored_before(self, claim: Claim) -> PublishOutcome | None:
        """What was published with a claim, if anything: asked by what can never be stored."""
        if claim.mine:
            return None
        headers = {ID: claim.id, "Nats-Expected-Last-Msg-Id": "none"}
        try:
            found = await self._publishing.store((self._stream.log + token(self._channel), b"", headers))
        except Conflict:
            return None
        return self._duplicate(found.number) if found is not None and found.duplicate else None

    def _duplicate(self, offset: int) -> PublishOutcome:
        return PublishOutcome(self._position(offset), duplicate=True)

    # Positions

    async def _top(self) -> Position:
        top = await self._reader.last(self._stream, self._channel)
        return self._position(top.offset if top is not None else 0)

    def _position(self, offset: int) -> Position:
        return Position(offset, self._stream.epoch)
