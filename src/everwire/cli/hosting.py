"""``everwire serve main:app``: host an ASGI application, in this process or in several."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer import BadParameter

from everwire.cli.banner import describe, page_url, print_places
from everwire.cli.listening import explained
from everwire.cli.settings import Settings
from everwire.errors import ConfigError

if TYPE_CHECKING:
    from everwire.asgi.host import Host
    from everwire.asgi.process import Options
    from everwire.asgi.workers import Supervisor

__all__ = [
    "AccessLog",
    "AppDir",
    "DataDir",
    "DrainSpread",
    "Factory",
    "Fd",
    "ForwardedAllowIps",
    "Hosting",
    "Lifespan",
    "LifespanMode",
    "LogLevel",
    "LogLevelName",
    "Page",
    "ProxyHeaders",
    "Reload",
    "ReloadDirs",
    "RootPath",
    "TimeoutGracefulShutdown",
    "TimeoutKeepAlive",
    "Workers",
    "host_app",
    "is_app",
    "refuse_options",
    "require",
    "use_config",
    "use_engine",
]

PANEL = "Applications"
MIN_BACKLOG = 16 * 1024 * 1024


class LifespanMode(StrEnum):
    """Whether an application is told of the start and the end."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class LogLevelName(StrEnum):
    """From which level on things are logged."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"


Workers = Annotated[
    int, typer.Option(metavar="N", min=1, help="Processes that serve.", rich_help_panel=PANEL)
]
Reload = Annotated[
    bool, typer.Option("--reload", help="Start anew when Python files change.", rich_help_panel=PANEL)
]
ReloadDirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--reload-dir",
        metavar="DIR",
        exists=True,
        help="Directory whose files are watched. Repeatable.  \\[default: that of --app-dir]",
        rich_help_panel=PANEL,
    ),
]
Factory = Annotated[
    bool, typer.Option("--factory", help="Call APP for the application.", rich_help_panel=PANEL)
]
AppDir = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Directory in which APP's module is looked for.",
        rich_help_panel=PANEL,
    ),
]
Fd = Annotated[
    int | None,
    typer.Option(metavar="FD", min=0, help="Listen on this inherited socket instead.", rich_help_panel=PANEL),
]
RootPath = Annotated[
    str,
    typer.Option(
        metavar="PATH", help="Path under which a proxy has put the application.", rich_help_panel=PANEL
    ),
]
Lifespan = Annotated[
    LifespanMode,
    typer.Option(help="Whether the application is told of start and end.", rich_help_panel=PANEL),
]
ProxyHeaders = Annotated[
    bool,
    typer.Option(
        "--proxy-headers/--no-proxy-headers",
        help="Believe X-Forwarded-For and X-Forwarded-Proto of proxies.",
        rich_help_panel=PANEL,
    ),
]
ForwardedAllowIps = Annotated[
    str | None,
    typer.Option(
        metavar="IPS",
        envvar="FORWARDED_ALLOW_IPS",
        help="The proxies: addresses and networks, commas between, '*' for any.  \\[default: this machine]",
        rich_help_panel=PANEL,
    ),
]
AccessLog = Annotated[
    bool, typer.Option("--access-log/--no-access-log", help="Log each request.", rich_help_panel=PANEL)
]
LogLevel = Annotated[LogLevelName, typer.Option(help="What is logged.", rich_help_panel=PANEL)]
TimeoutKeepAlive = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="How long an HTTP connection stays open without a request.",
        rich_help_panel=PANEL,
    ),
]
TimeoutGracefulShutdown = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="How long requests and WebSockets have to end at a shutdown.  \\[default: 30; 3 with --reload]",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]
Page = Annotated[
    bool | None,
    typer.Option(
        "--page/--no-page",
        help="Have the page of channels at /, if APP is a hub.  \\[default: if --config is insecure]",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


DrainSpread = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Over which time WebSockets are closed at the end: 10s.  \\[default: a second for each 1,000]",
        show_default=False,
        rich_help_panel=PANEL,
    ),
]


DataDir = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        envvar="EVERWIRE_DATA_DIR",
        show_envvar=False,
        help="Where several workers keep the logs of a hub that names no engine.",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """How an application is hosted: the options of the command that are for that only."""

    workers: int
    reload: bool
    reload_dirs: list[Path] | None
    factory: bool
    app_dir: Path
    fd: int | None
    root_path: str
    lifespan: LifespanMode
    proxy_headers: bool
    forwarded_allow_ips: str | None
    access_log: bool
    log_level: LogLevelName
    timeout_keep_alive: float
    timeout_graceful_shutdown: float | None
    drain_spread: float | None
    data_dir: Path
    ssl_cert: Path | None
    ssl_key: Path | None
    config: Path | None
    page: bool


def is_app(argument: str) -> bool:
    """Whether this is an application, ``module:attribute``, rather than an address."""
    name = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
    return re.fullmatch(f"{name}:{name}", argument) is not None


def use_config(config: Path, *, insecure: bool, workers: int, check: bool) -> tuple[str, bool]:
    """Have the hub of a configuration served: return where it is, as an application, and if it is insecure.

    Raises:
        BadParameter: the configuration is not right, or not for several workers.
        Exit: it was to be checked only.
    """
    from everwire.channels.config import load_config
    from everwire.cli.configured import CONFIG, hub
    from everwire.supervised import supervised

    if insecure:
        os.environ["EVERWIRE_INSECURE"] = "true"
    os.environ[CONFIG] = str(config.resolve())
    try:
        found = load_config(config)
        supervised.workers = workers
        hub()
    except ConfigError as error:
        raise BadParameter(str(error)) from None
    if check:
        typer.echo(f"{config} is right")
        raise typer.Exit
    return "everwire.cli.configured:hub", found.insecure


def use_engine(url: str) -> None:
    """Have hubs of this process, and of those that it starts, use an engine if they name none.

    Raises:
        BadParameter: there is no such engine.
    """
    from everwire.engines import open_engine

    try:
        open_engine(url)
    except ConfigError as error:
        raise BadParameter(str(error)) from None
    os.environ["EVERWIRE_ENGINE"] = url


def refuse_options(context: typer.Context) -> None:
    """Complain of options that are for applications, when there is none.

    Raises:
        BadParameter: there is one.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if (
            getattr(parameter, "rich_help_panel", None) == PANEL
            and source is not None
            and source.name == "COMMANDLINE"
        ):
            option = parameter.opts[0]
            raise BadParameter(f"{option} is for an application: everwire serve main:app {option} ...")


def host_app(app: str, settings: Settings, hosting: Hosting) -> int:
    """Host an application until a signal comes; return the exit code.

    Raises:
        BadParameter: options contradict each other.
        Exit: it cannot be done; what is wrong was printed.
    """
    if hosting.reload and hosting.workers > 1:
        raise BadParameter("--reload runs one process; leave out --workers")
    if hosting.reload_dirs and not hosting.reload:
        raise BadParameter("--reload-dir is for --reload")
    require("uvicorn", "asgi")
    if hosting.reload:
        require("watchfiles", "reload")
    from everwire.asgi.process import Options, run

    place = _place(settings, hosting.fd)
    options = Options(
        app=app,
        factory=hosting.factory,
        app_dir=str(hosting.app_dir),
        ssl_cert=None if hosting.ssl_cert is None else str(hosting.ssl_cert),
        ssl_key=None if hosting.ssl_key is None else str(hosting.ssl_key),
        loop=settings.loop,
        log_level=hosting.log_level.value,
        drain_spread=hosting.drain_spread,
        serve=_arguments(settings, hosting),
        around="everwire.cli.site:with_page" if hosting.page else "",
    )
    announce = _Announcement(app if hosting.config is None else hosting.config.name, settings, hosting)
    with explained("serve", settings.host, settings.port, settings.unix):
        if hosting.workers == 1 and not hosting.reload:
            options = dataclasses.replace(options, serve={**options.serve, **place})
            return run(options, on_ready=announce.host, on_stop=announce.stop)
        return asyncio.run(_supervise(options, place, hosting, announce))


async def _supervise(
    options: Options, place: dict[str, Any], hosting: Hosting, announce: _Announcement
) -> int:
    from everwire.asgi.process import configure_logging
    from everwire.asgi.workers import Supervisor, bound_sockets
    from everwire.cli.embedded import EmbeddedServer

    configure_logging(options.log_level)
    embedded = EmbeddedServer(hosting.data_dir)
    workers: Callable[..., Supervisor] = functools.partial(Supervisor, answers={"engine": embedded.url})
    if hosting.reload:
        from everwire.asgi.reload import Reloader

        workers = functools.partial(Reloader, directories=hosting.reload_dirs or [hosting.app_dir])
    async with bound_sockets(hosting.workers, **place) as sockets:

        def ready(websocket_path: str) -> None:
            folder = embedded.folder if embedded.started else None
            announce.ready(sockets[0], websocket_path, joined=folder)

        try:
            return await workers(options, sockets, on_ready=ready, on_stop=announce.stop).run()
        finally:
            await embedded.close()


def _place(settings: Settings, fd: int | None) -> dict[str, Any]:
    """Where to listen, as arguments of everwire.asgi.serve()."""
    if fd is not None:
        try:
            return {"sock": socket.socket(fileno=fd)}
        except OSError as error:
            raise BadParameter(f"file descriptor {fd} is no socket: {error.strerror}") from None
    if settings.unix is not None:
        return {"unix": str(settings.unix)}
    return {"host": settings.host, "port": settings.port}


def _arguments(settings: Settings, hosting: Hosting) -> dict[str, Any]:
    """How to serve, as arguments of everwire.asgi.serve()."""
    graceful = hosting.timeout_graceful_shutdown
    return {
        "origins": settings.origins,
        "compression": "deflate" if settings.compression else None,
        "max_size": settings.max_size,
        "max_backlog": max(MIN_BACKLOG, 2 * (settings.max_size or 0)),
        "root_path": hosting.root_path,
        "lifespan": hosting.lifespan.value,
        "proxy_headers": hosting.proxy_headers,
        "forwarded_allow_ips": hosting.forwarded_allow_ips,
        "access_log": hosting.access_log,
        "timeout_keep_alive": hosting.timeout_keep_alive,
        "timeout_graceful_shutdown": (3.0 if hosting.reload else 30.0) if graceful is None else graceful,
    }


def require(package: str, extra: str) -> None:
    """Complain if a package is missing, with the remedy."""
    if find_spec(package) is None:
        typer.secho("everwire: ", fg="red", bold=True, nl=False, err=True)
        typer.echo(f'this needs {package}; install it: pip install "everwire[{extra}]"', err=True)
        raise typer.Exit(1)


class _Announcement:
    """What is printed when the application is served, and when that ends."""

    def __init__(self, app: str, settings: Settings, hosting: Hosting) -> None:
        self._app = app
        self._settings = settings
        self._hosting = hosting

    def host(self, host: Host) -> None:
        """Print where the application is that this process serves."""
        self.ready(host.sockets, host.websocket_path)

    def ready(
        self, sockets: Sequence[socket.socket], websocket_path: str = "", *, joined: Path | None = None
    ) -> None:
        """Print where the application is; *joined*: the data of the server that joins the workers."""
        settings = self._settings
        if self._hosting.fd is not None:
            name: tuple[Any, ...] | str = sockets[0].getsockname()
            settings = (
                dataclasses.replace(settings, unix=Path(name))
                if isinstance(name, str)
                else dataclasses.replace(settings, host=name[0], port=name[1])
            )
        page = page_url(settings, sockets)
        websockets = "ws" + page.removeprefix("http").rstrip("/") + (websocket_path or "/")
        what = "a page that shows its channels" if self._hosting.page else self._app
        places = [(page, what), (websockets, "its WebSockets")]
        notes = describe(settings)
        if self._hosting.workers > 1:
            notes[0] = f"{self._hosting.workers} workers, {notes[0]}"
        if joined is not None:
            notes.append(f"the workers' channels are kept in {joined}, by a nats-server of their own")
        if self._hosting.reload:
            watched = ", ".join(str(path) for path in self._hosting.reload_dirs or [self._hosting.app_dir])
            notes.append(f"starts anew when Python files in {watched} change")
        print_places(Console(highlight=False), f"serves {self._app}", places, notes)

    def stop(self) -> None:
        """Print that it stops."""
        typer.echo("Stopping.")
