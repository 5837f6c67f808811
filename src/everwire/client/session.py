"""One connection of a client: commands and their answers, pushes, pings."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from everwire.client.inbox import Gate
from everwire.client.links import Link, LinkClosed
from everwire.client.states import ConnectingCode, DisconnectedCode
from everwire.errors import (
    BadRequest,
    CommandError,
    Disconnected,
    Forbidden,
    Unauthorized,
    UnknownChannel,
    WireError,
)
from everwire.wire import messages as wire
from everwire.wire.codec import Codec

__all__ = ["Ending", "Session", "command_error"]

FRAME_SIZE = 1 << 15
"""Bytes from which on further commands go into another frame: servers take 64 KiB, mostly."""

KINDS: dict[int, Callable[[str], CommandError]] = {
    101: Unauthorized,
    102: UnknownChannel,
    103: Forbidden,
    107: BadRequest,
}


def command_error(error: wire.Error) -> CommandError:
    """The exception of an error of the protocol."""
    if error.code in KINDS:
        return KINDS[error.code](error.message)
    return CommandError(error.code, error.message, temporary=error.temporary)


def returns(code: int) -> bool:
    """Whether a client connects again after this disconnect code."""
    return not (3500 <= code < 4000 or 4500 <= code < 5000)


class Ending:
    """Why a session is over, and whether the client is to connect again."""

    __slots__ = ("code", "reason", "reconnect")

    def __init__(self, code: int, reason: str, reconnect: bool | None = None) -> None:
        self.code = int(code)
        self.reason = reason
        self.reconnect = returns(code) if reconnect is None else reconnect


class PushHandler(Protocol):
    """Takes what the server sends by itself."""

    def __call__(self, push: wire.Push) -> None:
        """Take a push."""
        ...


class Session:
    """One connection to a server, from its first command until it is lost.

    Args:
        codec: the format.
        gate: when to stop reading.
        on_push: takes pushes; it is called in order with the answers.
        timeout: seconds that an answer may take.
        max_ping_delay: seconds that a ping of the server may be late.
        logger: where to log.
    """

    def __init__(
        self,
        codec: Codec,
        gate: Gate,
        on_push: PushHandler,
        *,
        timeout: float,
        max_ping_delay: float,
        logger: logging.Logger,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._codec = codec
        self._gate = gate
        self._on_push = on_push
        self._timeout = timeout
        self._max_ping_delay = max_ping_delay
        self._logger = logger
        self._id = 0
        self._calls: dict[int, tuple[asyncio.Future[wire.Reply], Callable[[wire.Reply], None] | None]] = {}
        self._outbox: list[bytes] = []
        self._held = True
        self._link: Link | None = None
        self._heard = 0.0
        self._ping_timer: asyncio.TimerHandle | None = None
        self._silence = 0.0
        self._pong = False
        self.over: asyncio.Future[Ending] = self._loop.create_future()
        """Done when the session is over."""

    # Commands

    async def request(
        self, command: wire.Command, on_reply: Callable[[wire.Reply], None] | None = None
    ) -> wire.Reply:
        """Send a command and wait for its answer.

        Args:
            command: the command.
            on_reply: is called with the answer before anything after it is read.

        Raises:
            CommandError: the server's answer is an error.
            Disconnected: the connection was lost before.
            TimeoutError: the answer did not come in time.
        """
        if self.over.done():
            raise self._lost()
        self._id += 1
        number = command.id = self._id
        reply: asyncio.Future[wire.Reply] = self._loop.create_future()
        self._calls[number] = (reply, on_reply)
        self._gate.count_call(1)
        self.send(command)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await reply
        except TimeoutError:
            raise TimeoutError(f"the server did not answer within {self._timeout:g} seconds") from None
        finally:
            self._calls.pop(number, None)
            self._gate.count_call(-1)
        if answer.error is not None:
            raise command_error(answer.error)
        return answer

    def tell(self, command: wire.Command) -> None:
        """Send a command whose answer does not matter."""
        self._id += 1
        command.id = self._id
        self.send(command)

    def send(self, command: wire.Command) -> None:
        """Send a command: those of one turn of the event loop together."""
        if self.over.done():
            return
        if not self._outbox and not self._held:
            self._loop.call_soon(self._flush)
        self._outbox.append(self._codec.encode_commands((command,)))

    async def drain(self) -> None:
        """Wait until what was sent is on its way, as far as that needs waiting."""
        self._flush()
        if self._link is not None and not self.over.done():
            await self._link.drain()

    def pack(self, size: int = FRAME_SIZE) -> bytes:
        """A frame of what is to be sent: as much as fits, but a command at least. Empty: nothing is."""
        count = total = 0
        for encoded in self._outbox:
            total += len(encoded) + 1
            if count and total > size:
                break
            count += 1
        frame = (b"" if self._codec.binary else b"\n").join(self._outbox[:count])
        del self._outbox[:count]
        return frame

    def _flush(self) -> None:
        if self._held or self._link is None:
            return
        while self._outbox and not self.over.done():
            self._link.send(self.pack())

    # The link

    def start(self, link: Link) -> asyncio.Task[None]:
        """Read from a link, and send over it from now on if it is one that sends itself.

        Returns:
            The task that reads; to be cancelled when the session is over.
        """
        self._link = link
        self._heard = self._loop.time()
        if not link.emulated:
            self.release()
        return self._loop.create_task(self._read(link))

    def release(self) -> None:
        """Send what was held back, and all that comes."""
        self._held = False
        self._flush()

    def established(self, result: wire.ConnectResult) -> None:
        """The server has accepted the client."""
        if self._link is not None:
            self._link.established(result.session, result.node)
        self._pong = result.pong
        if result.ping > 0:
            self._silence = result.ping + self._max_ping_delay
            self._ping_timer = self._loop.call_later(self._silence, self._check_silence)
        self.release()

    def finish(self, code: int, reason: str, *, reconnect: bool | None = None) -> None:
        """The session is over; commands that wait are told so."""
        if self.over.done():
            return
        self.over.set_result(Ending(code, reason, reconnect))
        self._outbox.clear()
        if self._ping_timer is not None:
            self._ping_timer.cancel()
            self._ping_timer = None
        for reply, _ in self._calls.values():
            if not reply.done():
                reply.set_exception(self._lost())
                reply.exception()  # who waits gets it; nobody may, when the wait was cancelled

    def _lost(self) -> Disconnected:
        ending = self.over.result()
        return Disconnected(ending.code, ending.reason)

    def _check_silence(self) -> None:
        now = self._loop.time()
        # What was not read is no silence.
        quiet = 0.0 if self._gate.shut else now - self._heard
        if quiet >= self._silence:
            self.finish(*ConnectingCode.NO_PING.told, reconnect=True)
        else:
            self._ping_timer = self._loop.call_later(self._silence - quiet, self._check_silence)

    async def _read(self, link: Link) -> None:
        try:
            while not self.over.done():
                frame = await link.recv()
                self._heard = self._loop.time()
                if frame == self._codec.ping:
                    self._answer_ping()
                else:
                    self._take(frame)
                if self._gate.shut:
                    await self._gate.passage()
                    self._heard = self._loop.time()
        except LinkClosed as exc:
            if exc.code == 1009:
                self.finish(*DisconnectedCode.MESSAGE_SIZE_LIMIT.told, reconnect=False)
            elif exc.code:
                self.finish(exc.code, exc.reason)
            else:
                self.finish(*ConnectingCode.TRANSPORT_CLOSED.told, reconnect=True)
        except WireError as exc:
            self.finish(DisconnectedCode.BAD_PROTOCOL, f"bad protocol: {exc}", reconnect=False)
        except Exception as exc:
            # Nobody would read any more: better an end that is seen.
            self._logger.exception("reading from the server failed")
            self.finish(DisconnectedCode.BAD_PROTOCOL, f"internal error: {exc!r}", reconnect=False)

    def _answer_ping(self) -> None:
        if self._pong and self._link is not None:
            self._link.send(self._codec.pong)

    def _take(self, frame: bytes) -> None:
        for reply in self._codec.decode_replies(frame):
            if self.over.done():
                return
            if reply.push is not None:
                self._on_push(reply.push)
            elif reply.id:
                self._answered(reply)
            else:
                self._answer_ping()

    def _answered(self, reply: wire.Reply) -> None:
        waiting, on_reply = self._calls.get(reply.id, (None, None))
        if waiting is None or waiting.done():
            return  # whoever asked has stopped waiting
        waiting.set_result(reply)
        if on_reply is not None and reply.error is None:
            on_reply(reply)
