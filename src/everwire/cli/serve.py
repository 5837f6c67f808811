"""``everwire serve``: a page to try WebSockets from, and two WebSockets to try it on."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

import everwire
from everwire.cli import settings as options
from everwire.cli.banner import print_banner
from everwire.cli.listening import run, until_signal
from everwire.cli.options import Address, Host, MaxSize, NoCompression, Origins, Port, SslCert, SslKey, Unix
from everwire.cli.settings import Loop, Settings
from everwire.cli.site import Site

__all__ = ["serve"]

MIN_BACKLOG = 16 * 1024 * 1024
CLOSE_TIMEOUT = 3.0
"""Seconds that a peer has, once told that the server stops, before its connection is dropped."""


def serve(
    address: Address = None,
    host: Host = None,
    port: Port = None,
    unix: Unix = None,
    ssl_cert: SslCert = None,
    ssl_key: SslKey = None,
    origins: Origins = None,
    no_compression: NoCompression = False,
    max_size: MaxSize = "1MiB",
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
    run(
        _serve(settings),
        loop_factory=loop_factory,
        command="serve",
        host=listen_host,
        port=listen_port,
        unix=unix,
    )


async def _serve(settings: Settings) -> None:
    """Serve until a signal comes."""
    console = Console(highlight=False)
    async with await _listen(settings) as server:
        print_banner(console, settings, server.sockets)
        await until_signal()
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
