"""A connection to NATS that thousands of subscriptions and requests share.

The library ``nats-py`` finds the servers, authenticates, and connects anew. What goes through the connection
is read and written here, since its own way costs a task and a queue for each subscription, and several times
the processor time for each message. This file is the only one that knows anything of that library.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client
from nats.errors import Error, ProtocolError
from nats.protocol.parser import Parser

from everwire.errors import ConfigError, EngineError

__all__ = ["Handler", "Link", "header_block"]

_logger = logging.getLogger("everwire.engines")

Handler = Callable[[bytes, bytes, bytes], None]
"""Takes a message: its subject, its headers as they are on the wire (none: empty), its data."""

MAX_UNSENT = 64 << 20
"""Bytes that a server may be behind with reading; what would add to them is refused."""

MAX_LINE = 1 << 20
MAX_MESSAGE = 64 << 20
"""Bytes that a line of the protocol, and a message, may have: more than NATS sends."""

PING_INTERVAL = 3.0
"""Seconds between two pings; a server that owes three answers is given up."""


def header_block(headers: dict[str, str]) -> bytes:
    """Headers as they are on the wire. Names and values are ours: nothing in them needs an escape."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()


USED = (
    *("_ps", "_pongs", "_transport", "_server_info", "_max_payload", "_pings_outstanding", "_flush_queue"),
    *("_process_pong", "_process_err", "_process_op_err", "_attempt_reconnect", "_disconnected_cb"),
)
"""What this file uses of the library's own."""


class MessageReader(Parser):
    """Reads messages, and leaves everything else that a server says to the library."""

    def __init__(self, link: Link) -> None:
        self._link = link
        super().__init__(link)  # pyright: ignore[reportUnknownMemberType]

    def reset(self) -> None:
        """Forget what was read in part."""
        super().reset()
        self._rest = b""

    async def parse(self, data: bytes = b"") -> None:
        """Take what came from the server."""
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        handle = self._link.handle
        while position < end:
            line_end = data.find(b"\r\n", position)
            if line_end < 0:
                if end - position > MAX_LINE:
                    raise ProtocolError(f"a line of more than {MAX_LINE} bytes")
                break
            with_headers = data.startswith(b"HMSG ", position)
            if with_headers or data.startswith(b"MSG ", position):
                # [H]MSG subject sid [reply] [size of headers] size
                parts = data[position:line_end].split(b" ")
                start = line_end + 2
                number = before = 0
                try:
                    number, size = int(parts[2]), int(parts[-1])
                    before = int(parts[-2]) if with_headers else 0
                except (ValueError, IndexError):
                    size = -1
                if not 0 <= before <= size <= MAX_MESSAGE:
                    raise ProtocolError(f"a message that begins with {data[position : position + 80]!r}")
                body, stop = start + before, start + size
                if stop + 2 > end:
                    break
                position = stop + 2
                handle(number, parts[1], data[start:body], data[body:stop])
            else:
                position, begin = line_end + 2, position
                await super().parse(data[begin:position])
        self._rest = data[position:]


class Link(Client):
    """A connection that is there again by itself after it was lost, to another server if need be.

    *on_up* is called when it is there (again), after all subscriptions are; *on_down* when it is lost.
    """

    _pongs: list[asyncio.Future[Any]]

    def __init__(self, on_up: Callable[[], None], on_down: Callable[[], None]) -> None:
        super().__init__()
        if missing := [name for name in USED if not hasattr(self, name)]:
            raise ConfigError(
                f"this version of nats-py is not one that everwire knows (it has no {missing[0]}): "
                "install 'nats-py<2.17', or a newer everwire"
            )
        self._ps = MessageReader(self)
        self._on_up = on_up
        self._on_down = on_down
        self._loop = asyncio.get_running_loop()
        self._handlers: dict[int, tuple[str, Handler]] = {}
        self._numbers = 0
        self._out: list[bytes] = []
        self._synced: asyncio.Future[None] | None = None
        self._refused: asyncio.Future[str] | None = None
        self.up = False
        """Whether it is there."""
        self.problem = ""
        """What went wrong last, for people."""
        self.on_forbidden: Callable[[str], None] = lambda text: None
        """Called with what the server says when it does not let us publish or subscribe somewhere."""

    @property
    def where(self) -> str:
        """The server, for people, without credentials."""
        url = self.connected_url
        return f"{url.hostname}:{url.port}" if url is not None else "no server"

    @property
    def version(self) -> tuple[int, int]:
        """The first two numbers of the server's version."""
        major, _, rest = str(self._server_info.get("version", "0.0")).partition(".")
        return int(major), int(rest.partition(".")[0] or 0)

    async def open(self, servers: list[str], *, timeout: float, **options: Any) -> None:
        """Connect for the first time.

        Raises:
            ConfigError: the servers do not let us in.
            EngineError: none of them answers in time.
        """
        self._refused = self._loop.create_future()
        connecting = self._loop.create_task(
            self.connect(
                servers,
                error_cb=self._on_problem,
                disconnected_cb=self._lost,
                reconnected_cb=self._back,
                connect_timeout=2,
                reconnect_time_wait=0.25,  # type: ignore[arg-type]  # it sleeps that long
                max_reconnect_attempts=-1,
                ping_interval=PING_INTERVAL,  # type: ignore[arg-type]
                max_outstanding_pings=2,
                **options,
            )
        )
        try:
            await asyncio.wait(
                (connecting, self._refused), timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if self._refused.done():
                raise ConfigError(
                    f"NATS does not let us in ({self._refused.result()}): check user, password, token, "
                    "credentials or nkey"
                )
            if not connecting.done():
                raise EngineError(
                    f"NATS does not answer within {timeout:g} s ({self.problem or 'no connection'}): is a "
                    f"server there, and is its address right?"
                )
            connecting.result()
        except OSError as error:
            raise EngineError(f"NATS is not reachable: {error}") from error
        except Error as error:
            raise EngineError(f"NATS: {error}") from error
        finally:
            if not connecting.done():
                connecting.cancel()
                await asyncio.wait((connecting,))
            if not self.is_connected:
                await self.end()
        self.up = True

    async def end(self) -> None:
        """Close it, for good."""
        self.up = False
        if self._flush_queue is None:
            return  # nothing was begun
        self._write()
        self._handlers.clear()
        if self._pending_data_size or self.is_reconnecting:
            self._abort()
        self._disconnected_cb = None
        with contextlib.suppress(OSError, Error, asyncio.TimeoutError):
            await self.close()
        self._fail_syncs()

    # What is sent

    def send(self, subject: str, data: bytes, *, reply: str = "", headers: bytes = b"") -> None:
        """Publish a message; it is written together with what else is sent in this turn of the loop.

        Raises:
            EngineError: it is too large, or the server does not read what was sent before.
        """
        size = len(headers) + len(data)
        if size > self._max_payload:
            raise EngineError(
                f"NATS takes {self._max_payload} bytes a message, and this one has {size}: publish less, or "
                "set max_payload of its servers higher"
            )
        if headers:
            line = f"HPUB {subject} {reply} {len(headers)} {size}\r\n".encode()
            self._put(b"".join((line, headers, data, b"\r\n")))
        else:
            self._put(b"".join((f"PUB {subject} {reply} {size}\r\n".encode(), data, b"\r\n")))

    def _put(self, command: bytes) -> None:
        out = self._out
        if not out:
            self._check_room()
            self._loop.call_soon(self._write)
        out.append(command)

    def _check_room(self) -> None:
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None and writer.transport.get_write_buffer_size() > MAX_UNSENT:
            raise EngineError(f"NATS at {self.where} does not read what it is sent")

    def _write(self) -> None:
        out, self._out = self._out, []
        # What cannot be sent is lost with the connection; who waits for an answer is told so.
        if out and self.is_connected and self._transport is not None:
            self._transport.write(b"".join(out))

    # Subscriptions

    def subscribe_to(self, subject: str, handler: Handler) -> int:
        """Have a handler called with the messages of a subject; return what :meth:`unsubscribe` takes."""
        self._numbers += 1
        number = self._numbers
        self._handlers[number] = (subject, handler)
        if self.up:
            self._put(b"SUB %s  %d\r\n" % (subject.encode(), number))
        return number

    def unsubscribe(self, number: int) -> None:
        """Do so no longer."""
        if self._handlers.pop(number, None) is not None and self.up:
            self._put(b"UNSUB %d \r\n" % number)

    async def synced(self, timeout: float) -> None:
        """Wait until the server has read all that was sent.

        Raises:
            EngineError: it does not say so in time.
        """
        if self._synced is None:
            # One ping serves all who ask in this turn of the loop.
            self._synced = self._loop.create_future()
            self._loop.call_soon(self._ping)
        synced = self._synced
        await asyncio.wait((synced,), timeout=timeout)
        if not synced.done() or synced.cancelled():
            raise EngineError(f"NATS at {self.where} does not answer within {timeout:g} s")

    def _ping(self) -> None:
        synced, self._synced = self._synced, None
        self._write()
        assert synced is not None
        if self.is_connected and self._transport is not None:
            self._pongs.append(synced)
            self._transport.write(b"PING\r\n")
        else:
            synced.cancel()

    def _fail_syncs(self) -> None:
        for each in self._pongs:
            each.cancel()
        self._pongs.clear()

    # What comes

    def handle(self, number: int, subject: bytes, headers: bytes, data: bytes) -> None:
        """Give a message to its handler. What that raises must not end the connection."""
        found = self._handlers.get(number)
        if found is not None:
            try:
                found[1](subject, headers, data)
            except Exception:
                _logger.exception("a message of NATS could not be handled")

    # What the library does otherwise

    async def _process_pong(self) -> None:
        # Who asked may have gone since.
        self._pings_outstanding = 0
        if self._pongs:
            waiting = self._pongs.pop(0)
            if not waiting.done():
                waiting.set_result(None)

    async def _process_err(self, err_msg: str) -> None:
        # The library would close the connection for good.
        text = err_msg.strip("'")
        self.problem = text
        if "permissions violation" in text:
            self.on_forbidden(text)
        else:
            await self._process_op_err(Error(f"nats: {text}"))

    async def _attempt_reconnect(self) -> None:
        # The library would wait until a server that reads no more has read the rest.
        self._abort()
        await super()._attempt_reconnect()

    def _abort(self) -> None:
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _on_problem(self, error: Exception) -> None:
        self.problem = str(error) or type(error).__name__
        if self._refused is not None and not self._refused.done() and "authoriz" in self.problem.lower():
            self._refused.set_result(self.problem.removeprefix("nats: ").strip("'"))

    async def _lost(self) -> None:
        if self.up:
            self.up = False
            self._fail_syncs()
            self._on_down()

    async def _back(self) -> None:
        if self._transport is not None:
            self._transport.write(
                b"".join(
                    b"SUB %s  %d\r\n" % (subject.encode(), number)
                    for number, (subject, _) in self._handlers.items()
                )
            )
        self.up = True
        self._on_up()
