"""Standard input and output without blocking the event loop, whatever they are: pipes, files, terminals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections.abc import AsyncIterator

__all__ = ["MAX_LINE", "LineError", "read_lines", "write_all"]

MAX_LINE = 64 << 20
"""Bytes of the longest line that is taken for a message."""

CHUNK = 4096
"""Bytes that a pipe takes at once when it is ready to take any (POSIX: PIPE_BUF)."""


class LineError(Exception):
    """A line of the input cannot be sent as a message."""


async def read_lines(fd: int) -> AsyncIterator[str]:
    """The lines of a file descriptor, without their ends.

    A thread reads, since files can be read in no other way; it reads no further than what is taken. It is a
    daemon that holds no lock, so the program can end while it waits for input.

    Raises:
        LineError: a line is too long, or not UTF-8.
    """
    loop = asyncio.get_running_loop()
    blocks: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.Semaphore(4)

    def read() -> None:
        data = b"-"
        while data:
            room.acquire()
            try:
                data = os.read(fd, 65536)
            except OSError:  # a terminal that is gone
                data = b""
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(blocks.put_nowait, data)

    threading.Thread(target=read, daemon=True, name="stdin").start()
    number = 0
    parts: list[bytes] = []
    size = 0
    while data := await blocks.get():
        room.release()
        *ends, rest = data.split(b"\n")
        for end in ends:
            number += 1
            yield _decode(b"".join([*parts, end]), number)
            parts, size = [], 0
        parts.append(rest)
        size += len(rest)
        if size > MAX_LINE:
            raise LineError(f"line {number + 1} of the input is longer than {MAX_LINE >> 20} MiB")
    if size:
        yield _decode(b"".join(parts), number + 1)


def _decode(line: bytes, number: int) -> str:
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        raise LineError(f"line {number} of the input is not UTF-8, which text must be") from None


async def write_all(fd: int, data: bytes) -> None:
    """Write to a file descriptor; while a pipe is full, the event loop goes on.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    view = memoryview(data)
    while view:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if poll.poll(0):
            view = view[os.write(fd, view[:CHUNK]) :]
        else:
            await _writable(fd)


async def _writable(fd: int) -> None:
    """Wait for room in a pipe or a terminal; files always have it."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(fd)
