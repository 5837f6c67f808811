"""``everwire serve``: a page to try WebSockets from, and two WebSockets to try it on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from everwire.cli import hosting
from everwire.cli import settings as options
from everwire.cli.banner import print_banner
from everwire.cli.hosting import LifespanMode, LogLevelName
from everwire.cli.listening import run, until_signal
from everwire.cli.options import Host, MaxSize, NoCompression, Origins, Port, SslCert, SslKey, Unix
from everwire.cli.settings import Loop, Settings
from everwire.errors import ConfigError

if TYPE_CHECKING:
    from everwire.asgi.host import serve as Listening
    from everwire.cli.configured import Development

__all__ = ["serve"]

MIN_BACKLOG = 16 * 1024 * 1024
CLOSE_TIMEOUT = 3.0
"""Seconds that a peer has, once told that the server stops, before its connection is dropped."""


def serve(
    context: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="APP or HOST:PORT",
            help=f"An ASGI application, like main:app; or, without one, where to listen: 8080, :8080, "
            f"0.0.0.0:80, \\[::1]:8080.  \\[default: {options.DEFAULT_HOST}:{options.DEFAULT_PORT}]",
        ),
    ] = None,
    host: Host = None,
    port: Port = None,
    unix: Unix = None,
    ssl_cert: SslCert = None,
    ssl_key: SslKey = None,
    origins: Origins = None,
    no_compression: NoCompression = False,
    max_size: MaxSize = "1MiB",
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Serve the hub that this file configures: TOML, YAML or JSON."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check the file of --config, and end.")] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where hubs that name no engine keep their logs: nats://..., redis://..., sqlite:PATH.",
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option("--insecure", help="For development: everybody may do everything in channels."),
    ] = False,
    loop: Annotated[Loop, typer.Option(help="Event loop; auto is uvloop if it is installed.")] = Loop.AUTO,
    # For applications
    workers: hosting.Workers = 1,
    reload: hosting.Reload = False,
    reload_dirs: hosting.ReloadDirs = None,
    factory: hosting.Factory = False,
    app_dir: hosting.AppDir = Path(),
    fd: hosting.Fd = None,
    root_path: hosting.RootPath = "",
    page: hosting.Page = None,
    lifespan: hosting.Lifespan = LifespanMode.AUTO,
    proxy_headers: hosting.ProxyHeaders = True,
    forwarded_allow_ips: hosting.ForwardedAllowIps = None,
    access_log: hosting.AccessLog = True,
    log_level: hosting.LogLevel = LogLevelName.INFO,
    timeout_keep_alive: hosting.TimeoutKeepAlive = 5.0,
    timeout_graceful_shutdown: hosting.TimeoutGracefulShutdown = None,
    drain_spread: hosting.DrainSpread = None,
    data_dir: hosting.DataDir = Path(".everwire"),
) -> None:
    """Serve an ASGI application; without one, pages to try WebSockets and channels from, with a hub."""
    if engine is not None:
        hosting.use_engine(engine)
    app, address = (what, None) if what is not None and hosting.is_app(what) else (None, what)
    if config is not None:
        if app is not None:
            raise typer.BadParameter("--config takes the place of an application; give one or the other")
        app, is_insecure = hosting.use_config(config, insecure=insecure, workers=workers, check=check)
        factory, page = True, is_insecure if page is None else page
    elif check:
        raise typer.BadParameter("--check is for --config FILE")
    elif app is not None and insecure:
        raise typer.BadParameter(
            "--insecure is for --config FILE; an application says it itself, with Hub(insecure=True)"
        )
    if fd is not None and (host, port, unix) != (None, None, None):
        raise typer.BadParameter("--fd takes the place of a host and a port; give one or the other")
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
    if app is not None:
        how = hosting.Hosting(
            workers=workers,
            reload=reload,
            reload_dirs=reload_dirs,
            factory=factory,
            app_dir=app_dir,
            fd=fd,
            root_path=root_path,
            lifespan=lifespan,
            proxy_headers=proxy_headers,
            forwarded_allow_ips=forwarded_allow_ips,
            access_log=access_log,
            log_level=log_level,
            timeout_keep_alive=timeout_keep_alive,
            timeout_graceful_shutdown=timeout_graceful_shutdown,
            drain_spread=options.parse_duration(drain_spread),
            data_dir=data_dir,
            ssl_cert=ssl_cert,
            ssl_key=ssl_key,
            config=config,
            page=bool(page),
        )
        raise typer.Exit(hosting.host_app(app, settings, how))
    hosting.refuse_options(context)
    hosting.require("uvicorn", "asgi")
    from everwire.cli.configured import development_hub

    try:
        development = development_hub(settings, insecure=insecure)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None
    run(
        _serve(settings, development),
        loop_factory=loop_factory,
        command="serve",
        host=listen_host,
        port=listen_port,
        unix=unix,
    )


async def _serve(settings: Settings, development: Development) -> None:
    """Serve until a signal comes."""
    console = Console(highlight=False)
    async with _listen(settings, development) as server:
        signalled = until_signal()
        print_banner(console, settings, server.sockets, development.hub)
        await signalled
        count = len(server.connections)
        console.print(
            f"Stopping: closing {count} connection{'' if count == 1 else 's'}." if count else "Stopping."
        )
        server.close(code=1001, reason="stopped")
        await server.wait_closed()


def _listen(settings: Settings, development: Development) -> Listening:
    from everwire.asgi.host import serve
    from everwire.cli.site import Site

    backlog = max(MIN_BACKLOG, 2 * (settings.max_size or 0))
    return serve(
        Site(
            development.hub,
            max_backlog=backlog,
            local_names_only=development.unasked and settings.unix is None,
        ),
        None if settings.unix else settings.host,
        None if settings.unix else settings.port,
        unix=settings.unix,
        ssl=settings.tls,
        origins=settings.origins,
        compression="deflate" if settings.compression else None,
        max_size=settings.max_size,
        max_backlog=backlog,
        close_timeout=CLOSE_TIMEOUT,
        timeout_graceful_shutdown=CLOSE_TIMEOUT,
        proxy_headers=False,
        access_log=False,
    )
