"""Requests to NATS and their answers: any number under way through one subscription."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from everwire.engines.nats.link import Link
from everwire.errors import EngineError

__all__ = ["Answer", "ApiError", "NoResponders", "Requests", "Unanswered", "status"]

T = TypeVar("T")


API_PATIENCE = 0.5
"""Seconds after which JetStream's API is asked again."""


class Answer(NamedTuple):
    """A message that came for a request."""

    headers: bytes
    data: bytes


class Unanswered(EngineError):
    """It is not known what became of a request."""


class NoResponders(EngineError):
    """Nobody has received a request: there is no such stream, or it has no leader now."""


class ApiError(EngineError):
    """JetStream has refused. *code* is its ``err_code``."""

    def __init__(self, code: int, description: str, what: str) -> None:
        super().__init__(f"JetStream refused {what}: {description} ({code})")
        self.code = code


class Refusal(msgspec.Struct):
    """What JetStream's answers have if it has refused."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Refused(msgspec.Struct):
    """An answer, looked at for a refusal only."""

    error: Refusal | None = None


_refused = msgspec.json.Decoder(Refused).decode


def status(headers: bytes) -> int:
    """The status in the first line of headers; 0: there is none."""
    return int(headers[9:12]) if headers.startswith(b"NATS/1.0 ") else 0


class Call(Generic[T]):
    """A request under way."""

    __slots__ = ("deadline", "future", "got", "subject")

    def __init__(self, subject: str, deadline: float, got: list[Answer] | None) -> None:
        self.subject = subject
        self.deadline = deadline
        self.got = got
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()


class Requests:
    """What asks. Each request is answered, or fails, within *timeout* seconds.

    At most *max_waiting* are under way; one more raises :class:`~everwire.errors.EngineError`.
    """

    def __init__(self, link: Link, *, timeout: float, max_waiting: int) -> None:
        self.timeout = timeout
        self._link = link
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._inbox = f"_INBOX.{secrets.token_hex(11)}."
        self._calls: dict[int, Call[Any]] = {}
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None
        self._up: asyncio.Future[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to listen for answers."""
        self._link.subscribe_to(self._inbox + "*", self._on_answer)
        self._link.on_forbidden = self._on_forbidden

    def close(self) -> None:
        """Fail what is under way."""
        self._closed = True
        self.lost("the engine is closed")
        self.is_up()  # who waits for that looks, and goes
        if self._timer is not None:
            self._timer.cancel()

    def ask(self, subject: str, data: bytes = b"", headers: bytes = b"") -> asyncio.Future[Answer]:
        """Send a request; the answer comes later, or :class:`Unanswered` or :class:`NoResponders`.

        Raises:
            EngineError: it cannot be sent.
        """
        call = Call[Answer](subject, self._loop.time() + self.timeout, None)
        self._send(call, data, headers)
        return call.future

    def ask_for_several(self, subject: str, data: bytes) -> asyncio.Future[list[Answer]]:
        """Send a request that several messages answer; the last one has a status.

        Raises:
            EngineError: it cannot be sent.
        """
        call = Call[list[Answer]](subject, self._loop.time() + self.timeout, [])
        self._send(call, data, b"")
        return call.future

    async def api(self, subject: str, request: Any = None) -> dict[str, Any]:
        """Call a function of JetStream's API (``STREAM.INFO.x``).

        Raises:
            ApiError: it refused.
            EngineError: it cannot be asked, or does not answer.
        """
        data = b"" if request is None else msgspec.json.encode(request)
        answer = await self.ask_again("$JS.API." + subject, data)
        self.check(answer, subject)
        found: dict[str, Any] = msgspec.json.decode(answer.data)
        return found

    async def ask_again(self, subject: str, data: bytes) -> Answer:
        """Ask what may be asked twice: while a stream or a cluster chooses its leader, nobody answers.

        Raises:
            EngineError: it cannot be asked, or there is no answer.
        """
        deadline = self._loop.time() + self.timeout
        while True:
            left = deadline - self._loop.time()
            try:
                async with asyncio.timeout(API_PATIENCE if left > API_PATIENCE else None):
                    return await self.ask(subject, data)
            except TimeoutError:
                continue

    def check(self, answer: Answer, what: str) -> None:
        """See that JetStream has not refused.

        Raises:
            ApiError: it has.
        """
        refused = _refused(answer.data).error
        if refused is not None:
            raise ApiError(refused.err_code, refused.description, what)

    async def ready(self, deadline: float) -> None:
        """Wait until there is a connection; *deadline* is of the loop's clock.

        Raises:
            EngineError: there is none by then.
        """
        while not self._link.up:
            if self._closed:
                raise EngineError("the nats engine is closed")
            if self._up is None:
                self._up = self._loop.create_future()
            up = self._up
            await asyncio.wait((up,), timeout=max(0.0, deadline - self._loop.time()))
            if up.done():
                continue
            if self._loop.time() >= deadline:
                why = self._link.problem or "the connection was lost"
                raise EngineError(f"NATS is not reachable for {self.timeout:g} s ({why})")

    def is_up(self) -> None:
        """The connection is there again."""
        up, self._up = self._up, None
        if up is not None:
            up.set_result(None)

    def lost(self, why: str) -> None:
        """The connection is lost, and with it all answers."""
        calls, self._calls = self._calls, {}
        for call in calls.values():
            if not call.future.done():
                call.future.set_exception(Unanswered(why))

    def _send(self, call: Call[Any], data: bytes, headers: bytes) -> None:
        if not self._link.up:
            raise EngineError(f"NATS is not reachable ({self._link.problem or 'no connection'})")
        if len(self._calls) >= self._max_waiting:
            raise EngineError(
                f"{self._max_waiting} requests wait for NATS already: it is too slow for them, or make "
                "max_waiting larger"
            )
        self._number = number = self._number + 1
        self._link.send(call.subject, data, reply=f"{self._inbox}{number}", headers=headers)
        self._calls[number] = call
        if self._timer is None:
            self._timer = self._loop.call_at(call.deadline, self._on_time)

    def _on_answer(self, subject: bytes, headers: bytes, data: bytes) -> None:
        number = int(subject[len(self._inbox) :])
        code = status(headers) if headers else 0
        call = self._calls.get(number)
        if call is None:
            return
        if call.got is not None and not code:
            call.got.append(Answer(headers, data))
            return
        del self._calls[number]
        if call.future.done():
            return
        if code == 503:
            call.future.set_exception(NoResponders(f"nobody in NATS answers to {call.subject}"))
        elif call.got is not None:
            call.got.append(Answer(headers, data))
            call.future.set_result(call.got)
        else:
            call.future.set_result(Answer(headers, data))

    def _on_forbidden(self, text: str) -> None:
        for number, call in list(self._calls.items()):
            if f'"{call.subject.lower()}"' in text.lower() and not call.future.done():
                del self._calls[number]
                call.future.set_exception(ApiError(0, text, "what this user may not do"))

    def _on_time(self) -> None:
        # All have the same time, so that those asked first come first here.
        self._timer = None
        now = self._loop.time()
        over: list[int] = []
        for number, call in self._calls.items():
            if call.deadline > now and not call.future.done():
                self._timer = self._loop.call_at(call.deadline, self._on_time)
                break
            over.append(number)
        for number in over:
            call = self._calls.pop(number)
            if not call.future.done():
                call.future.set_exception(
                    Unanswered(f"NATS does not answer within {self.timeout:g} s to {call.subject}")
                )
