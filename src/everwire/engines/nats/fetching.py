"""Reading what streams have: the newest message of a subject, and messages one after the other."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import NamedTuple

import msgspec

from everwire.engines.nats.requests import Answer, ApiError, NoResponders, Requests, status
from everwire.errors import EngineError

__all__ = ["PAGE", "Fetcher", "Message", "Stale"]

PAGE = 1000
"""Messages that are asked for at once."""

PAGE_BYTES = 8 << 20
"""Bytes of them."""

NO_STREAM = 10059
"""JetStream's code."""

_HEADERS = re.compile(
    rb"Nats-Subject: ([^\r]+)\r\nNats-Sequence: (\d+)\r\nNats-Time-Stamp: ([^\r]+)\r\n"
    rb"(?:Nats-Num-Pending: (\d+)\r\nNats-Last-Sequence: (\d+)\r\n)?"
)
_PENDING = re.compile(rb"Nats-Num-Pending: (\d+)")


class Message(NamedTuple):
    """A message as it is stored.

    Attributes:
        subject: where it was published.
        sequence: its number in the stream.
        stamp: when it was stored, as the server writes it.
        following: how many there are after it, of those that were asked for.
        data: what is in it.
    """

    subject: str
    sequence: int
    stamp: str
    following: int
    data: bytes


class Stored(msgspec.Struct):
    """A message as the leader of a stream gives it."""

    subject: str
    seq: int
    time: str
    data: bytes = b""


class Refusal(msgspec.Struct):
    """Why it gives none."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class StoredAnswer(msgspec.Struct):
    """The leader's answer."""

    message: Stored | None = None
    error: Refusal | None = None


_stored = msgspec.json.Decoder(StoredAnswer).decode


class Stale(EngineError):
    """What was read is not all there is."""


class Fetcher:
    """Reads streams."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def last(self, stream: str, subject: str, *, of_leader: bool) -> Message | None:
        """The newest message of a subject; None: it has none.

        Of a stream with copies only the leader is sure to have it; without, the quicker way is as good.
        """
        if of_leader:
            return await self._last_of_leader(stream, subject)
        answer = await self._requests.ask(f"$JS.API.DIRECT.GET.{stream}.{subject}")
        return None if status(answer.headers) else _message(answer)

    async def _last_of_leader(self, stream: str, subject: str) -> Message | None:
        request = msgspec.json.encode({"last_by_subj": subject})
        answer = await self._requests.ask_again(f"$JS.API.STREAM.MSG.GET.{stream}", request)
        found = _stored(answer.data)
        if found.message is not None:
            message = found.message
            return Message(message.subject, message.seq, message.time, 0, message.data)
        error = found.error or Refusal()
        if error.err_code == NO_STREAM:
            raise NoResponders(f"the stream {stream} is not there")
        if error.code == 404:
            return None
        raise ApiError(error.err_code, error.description, "to read")

    async def page(
        self, stream: str, subject: str, start: int, count: int = PAGE
    ) -> tuple[list[Message], int]:
        """Messages of a subject (with wildcards: of several) in order, from a number on; how many follow.

        Raises:
            Stale: some got lost on the way.
        """
        request = {"seq": max(start, 1), "next_by_subj": subject, "batch": count, "max_bytes": PAGE_BYTES}
        *answers, end = await self._requests.ask_for_several(
            f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request)
        )
        code = status(end.headers)
        if code == 404:
            return [], 0
        if code != 204:
            raise EngineError(f"JetStream refused to read: {end.headers.decode(errors='replace').strip()}")
        messages: list[Message] = []
        before = 0
        for answer in answers:
            found = _HEADERS.search(answer.headers)
            if found is None or int(found[5] or -1) != before:
                raise Stale("messages got lost on the way")
            before = int(found[2])
            messages.append(Message(found[1].decode(), before, found[3].decode(), int(found[4]), answer.data))
        pending = _PENDING.search(end.headers)
        following = int(pending[1]) if pending is not None else 0
        if not messages or messages[-1].following != following:
            raise Stale("messages got lost on the way")
        return messages, following

    async def all(self, stream: str, subject: str) -> AsyncGenerator[Message]:
        """All messages of a subject, page by page."""
        start, following = 1, 1
        while following:
            messages, following = await self.page(stream, subject, start)
            for message in messages:
                yield message
            start = messages[-1].sequence + 1 if messages else start


def _message(answer: Answer) -> Message:
    found = _HEADERS.search(answer.headers)
    if found is None:
        raise EngineError("a message of NATS has no sequence: are its servers 2.12 or newer?")
    return Message(found[1].decode(), int(found[2]), found[3].decode(), 0, answer.data)
