"""``everwire serve``: a page to try WebSockets from, and two WebSockets to try it on."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

import everwire
from everwire.cli import settings as options
from everwire.cli.banner import print_banner
from everwire.cli.settings import Loop, Settings
from everwire.cli.site import Site

__all__ = ["serve"]

MIN_BACKLOG = 16 * 1024 * 1024
CLOSE_TIMEOUT = 3.0
"""Seconds that a peer has, once told that the server stops, before its connection is dropped."""


def serve(
    address: Annotated[
        str | None,
        typer.Argument(
            metavar="HOST:PORT",
            help=f"Where to listen: 8080, :8080, 0.0.0.0:80, \\[::1]:8080.  "
            f"\\[default: {options.DEFAULT_HOST}:{options.DEFAULT_PORT}]",
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Interface to listen on.")] = None,
    port: Annotated[
        int | None,
        typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one."),
    ] = None,
    unix: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Unix socket to listen on instead.")
    ] = None,
    ssl_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM), for https and wss.")
    ] = None,
    ssl_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Private key (PEM), unless the certificate's file has it."),
    ] = None,
    origins: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Web origin whose pages may connect too, like https://example.com; '*' is any. Repeatable.  "
            "\\[default: only pages of this server]",
        ),
    ] = None,
    no_compression: Annotated[
        bool, typer.Option("--no-compression", help="Negotiate no permessage-deflate.")
    ] = False,
    max_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Largest message taken: 65536, 64KiB, 1MiB, none.")
    ] = "1MiB",
    loop: Annotated[Loop, typer.Option(help="Event loop; auto is uvloop if it is installed.")] = Loop.AUTO,
) -> None:
    """Serve a page to try WebSockets from, an echo at /echo and a chat room at /room."""
    listen_host, listen_port = options.parse_address(address, host, port, unix)
    loop_name, loop_factory = options.pick_loop(loop)
    settings = Settings(
        host=listen_host,
        port=listen_port,
        unix=unix,
        tls=options.load_tls(ssl_cert, ssl_key),
        origins=options.parse_origins(origins or []),
        compression=not no_compression,
        max_size=options.parse_size(max_size),
        loop=loop_name,
    )
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_serve(settings))
    except OSError as error:
        errors = Console(stderr=True, soft_wrap=True, highlight=False)
        errors.print(f"[bold red]everwire:[/] {escape(_explain(error, settings))}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _serve(settings: Settings) -> None:
    """Serve until a signal comes."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    console = Console(highlight=False)
    async with await _listen(settings) as server:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        print_banner(console, settings, server.sockets)
        await stop.wait()
        # Another Ctrl-C ends the process at once, whatever it waits for.
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        count = len(server.connections)
        console.print(
            f"Stopping: closing {count} connection{'' if count == 1 else 's'}." if count else "Stopping."
        )
        server.close(code=1001, reason="stopped")
        await server.wait_closed()


async def _listen(settings: Settings) -> everwire.Server:
    backlog = max(MIN_BACKLOG, 2 * (settings.max_size or 0))
    site = Site(max_backlog=backlog)
    return await everwire.serve(
        site.handle,
        None if settings.unix else settings.host,
        None if settings.unix else settings.port,
        unix=settings.unix,
        ssl=settings.tls,
        origins=settings.origins,
        compression="deflate" if settings.compression else None,
        max_size=settings.max_size,
        max_backlog=backlog,
        close_timeout=CLOSE_TIMEOUT,
        process_request=site.process_request,
        select_subprotocol=site.select_subprotocol,
    )


def _explain(error: OSError, settings: Settings) -> str:
    """What went wrong in listening, and what to do about it."""
    where = str(settings.unix) if settings.unix else f"port {settings.port} of {settings.host}"
    if error.errno == errno.EADDRINUSE:
        if settings.unix:
            return f"{where} is in use: stop the program that listens there, or choose another path"
        other = settings.port + 1 if settings.port < 65535 else 0
        return (
            f"{where} is in use: stop the program that listens there, or choose another port, "
            f"for example: everwire serve --port {other}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        remedy = "choose another path" if settings.unix else "choose a port above 1023"
        return f"no permission to listen on {where}: {remedy}"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return (
            f"{settings.host} is not an address of this machine: use 127.0.0.1, or 0.0.0.0 for all of its own"
        )
    return f"cannot listen on {where}: {os.strerror(error.errno) if error.errno else error}"
