"""One process that serves an application: from its import to the signal that ends it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import importlib
import logging
import logging.config
import signal
import socket
import ssl
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from everwire.asgi.control import Control
from everwire.asgi.host import Host, serve
from everwire.asgi.loading import load_app
from everwire.asgi.scope import Application
from everwire.errors import ApplicationError, LifespanError

__all__ = ["FAILED", "Options", "configure_logging", "run", "spare_collector"]

FAILED = 1
"""The exit code of a process that could not begin to serve, or whose application failed to clean up."""

_COLLECT = gc.get_threshold()
"""When Python looks for cycles if nobody has said so."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a process serves an application. It can be sent to other processes.

    Attributes:
        app: where the application is: ``module:attribute``.
        factory: whether that is called for the application.
        app_dir: the directory in which modules are looked for first.
        ssl_cert, ssl_key: files of the certificate and its private key, for https and wss.
        loop: the event loop: ``"asyncio"`` or ``"uvloop"``.
        drain_spread: seconds over which WebSockets are closed at the end; None: a second for each 1,000, 10
            at most.
        log_level: what is logged: ``"critical"``, ``"error"``, ``"warning"``, ``"info"`` or ``"debug"``.
        serve: further arguments of :func:`everwire.asgi.serve`.
        around: what is called with the application for the one that is served, ``module:attribute``; empty:
            nothing.
    """

    app: str
    factory: bool = False
    app_dir: str = "."
    ssl_cert: str | None = None
    ssl_key: str | None = None
    loop: str = "asyncio"
    drain_spread: float | None = None
    log_level: str = "info"
    serve: dict[str, Any] = field(default_factory=dict[str, Any])
    around: str = ""

    def tls(self) -> ssl.SSLContext | None:
        """The context of the certificate, if there is one."""
        if self.ssl_cert is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.ssl_cert, self.ssl_key)
        return context

    def load(self) -> Application:
        """Import the application.

        Raises:
            ApplicationError: there is none, or what is to be around it does not take it.
        """
        app = load_app(self.app, factory=self.factory, app_dir=self.app_dir)
        if not self.around:
            return app
        around: Any = load_app(self.around, app_dir=self.app_dir)
        try:
            return cast(Application, around(app))
        except TypeError as error:
            raise ApplicationError(f"{self.app}: {error}") from None

    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """What makes the event loop; None: asyncio's own."""
        return None if self.loop == "asyncio" else importlib.import_module("uvloop").new_event_loop


def configure_logging(level: str) -> None:
    """Log to the terminal as uvicorn does: access to stdout, the rest to stderr."""
    from uvicorn.config import LOGGING_CONFIG

    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["everwire"] = {"handlers": ["default"], "propagate": False}
    for logger in config["loggers"].values():
        logger["level"] = level.upper()
    logging.config.dictConfig(config)
    # The banner says where it listens.
    logging.getLogger("everwire.server").setLevel("DEBUG" if level == "debug" else "WARNING")


def spare_collector() -> None:
    """Have Python look for cycles less often, and never in what is there already: the application's modules.

    Whatever connections and channels are made of lives long. While thousands of clients come back at once, up
    to half of the processor's time would go into looking at all of it again and again. An application that
    has set thresholds of its own keeps them.
    """
    if gc.get_threshold() == _COLLECT:
        gc.set_threshold(10_000, 20, 10)
        gc.freeze()


def run(
    options: Options,
    sockets: Sequence[socket.socket] | None = None,
    *,
    on_ready: Callable[[Host], object],
    on_stop: Callable[[], object] = lambda: None,
    parent: int | None = None,
) -> int:
    """Serve until a signal comes, and return the exit code.

    Parameters:
        options: what to serve, and how.
        sockets: bound sockets to listen on, in place of what *options* say.
        on_ready, on_stop: called when the server listens, and when it begins to stop.
        parent: a descriptor that becomes readable when the parent process is gone, which ends this one too;
            from a terminal's Ctrl-C the parent hears, and tells.

    Raises:
        OSError: the address cannot be listened on.
    """
    configure_logging(options.log_level)
    try:
        app = options.load()
        spare_collector()
        with asyncio.Runner(loop_factory=options.loop_factory()) as runner:
            runner.run(_serve(options, app, sockets, on_ready, on_stop, parent))
    except (ApplicationError, LifespanError) as error:
        _complain(error)
        return FAILED
    return 0


async def _serve(
    options: Options,
    app: Application,
    sockets: Sequence[socket.socket] | None,
    on_ready: Callable[[Host], object],
    on_stop: Callable[[], object],
    parent: int | None,
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    if parent is not None:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop.add_reader(parent, stop.set)
    arguments: dict[str, Any] = options.serve if sockets is None else {**options.serve, "sock": sockets}
    stopping = loop.create_task(stop.wait())
    starting = loop.create_task(_started(serve(app, ssl=options.tls(), **arguments)))
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return
    try:
        host = await starting
    except BaseException:
        stopping.cancel()
        raise
    # Workers are told by their supervisor.
    async with contextlib.nullcontext() if parent is not None else Control(host):
        on_ready(host)
        await stopping
    if parent is not None:
        loop.remove_reader(parent)
    # Another signal ends the process at once, whatever it waits for.
    for number in _SIGNALS if parent is None else (signal.SIGTERM,):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
    on_stop()
    host.close(spread=options.drain_spread)
    await host.wait_closed()


async def _started(starting: serve) -> Host:
    return await starting


def _complain(error: Exception) -> None:
    """Say what went wrong: the traceback of what an application raised, then one line."""
    if error.__cause__ is not None:
        cause = error.__cause__
        trace = cause.__traceback__
        while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        traceback.print_exception(type(cause), cause, trace)
    print(f"everwire: {error}", file=sys.stderr, flush=True)


def _is_ours(filename: str) -> bool:
    """Whether the code of a frame is of the import, not of the application."""
    return (
        filename == load_app.__code__.co_filename
        or filename.startswith("<frozen importlib")
        or filename == importlib.__file__
    )
