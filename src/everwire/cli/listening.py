"""What commands that listen have in common: their event loop, their end at a signal, why listening failed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import typer

__all__ = ["explained", "run", "until_signal"]


def run(
    main: Coroutine[Any, Any, None],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
    command: str,
    host: str,
    port: int,
    unix: Path | None,
) -> None:
    """Run a command to its end; if it cannot listen, say why and what to do about it.

    Raises:
        Exit: with 1 if it cannot listen, with 130 if it was interrupted before it could.
    """
    with explained(command, host, port, unix), asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main)


@contextlib.contextmanager
def explained(command: str, host: str, port: int, unix: Path | None) -> Generator[None]:
    """If what is in the block cannot listen, say why and what to do about it.

    Raises:
        Exit: with 1 if it cannot listen, with 130 if it was interrupted before it could.
    """
    try:
        yield
    except OSError as error:
        typer.secho("everwire: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(_explain(error, command, host, port, unix), err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def until_signal() -> asyncio.Task[None]:
    """Watch for SIGINT or SIGTERM from now on; the task ends when one comes.

    Another Ctrl-C then ends the process at once, whatever it waits for.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return loop.create_task(_signalled(loop, stop))


async def _signalled(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    await stop.wait()
    loop.remove_signal_handler(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _explain(error: OSError, command: str, host: str, port: int, unix: Path | None) -> str:
    where = str(unix) if unix else f"port {port} of {host}"
    if error.errno == errno.EADDRINUSE:
        if unix:
            return f"{where} is in use: stop the program that listens there, or choose another path"
        other = port + 1 if port < 65535 else 0
        return (
            f"{where} is in use: stop the program that listens there, or choose another port, "
            f"for example: everwire {command} --port {other}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = "choose another path" if unix else "choose a port above 1023"
        return f"no permission to listen on {where}: {remedy}"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{host} is not an address of this machine: use 127.0.0.1, or 0.0.0.0 for all of its own"
    return f"cannot listen on {where}: {os.strerror(error.errno) if error.errno else error}"
