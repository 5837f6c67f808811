"""The command ``everwire connect`` and its options. What it needs is imported when it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from everwire.cli.connect.options import (
    Cacert,
    Cert,
    Cookie,
    Count,
    Execute,
    Header,
    History,
    Insecure,
    Json,
    Key,
    NoProxy,
    Origin,
    PingInterval,
    Proxy,
    Quiet,
    Reconnect,
    Subprotocol,
    Timeout,
    Url,
    User,
    Wait,
)
from everwire.cli.options import MaxSize, NoCompression

if TYPE_CHECKING:
    from everwire.cli.connect.session import Plan, Session

__all__ = ["EPILOG", "connect"]

EPILOG = """[bold]Examples[/]
[cyan]everwire connect localhost:8080/echo[/]  [dim]talk to a server; /help says what the prompt can do[/]
[cyan]everwire connect wss://example.com -H 'Authorization: Bearer TOKEN' -s chat.v2[/]
[cyan]everwire connect :8080/echo -x hello --count 1[/]  [dim]send, print one answer, leave[/]
[cyan]tail -f events.log | everwire connect :8080/room[/]  [dim]a message a line[/]
[cyan]everwire connect :8080/room --json | jq .data[/]

[bold]Exit codes[/]
0 closed normally · 1 no connection · 2 wrong usage · 3 closed with an error or lost
4 fewer messages than --count · 130 interrupted"""


def connect(
    url: Url,
    header: Header = None,
    subprotocol: Subprotocol = None,
    origin: Origin = None,
    user: User = None,
    cookie: Cookie = None,
    no_compression: NoCompression = False,
    max_size: MaxSize = "1MiB",
    proxy: Proxy = None,
    no_proxy: NoProxy = False,
    timeout: Timeout = 10.0,
    ping_interval: PingInterval = None,
    reconnect: Reconnect = False,
    insecure: Insecure = False,
    cacert: Cacert = None,
    cert: Cert = None,
    key: Key = None,
    execute: Execute = None,
    wait: Wait = None,
    count: Count = None,
    json: Json = False,
    quiet: Quiet = False,
    history: History = True,
) -> None:
    """Talk to a WebSocket server: from a prompt, from a pipe or from a script."""
    from everwire.cli import settings
    from everwire.cli.connect import request

    if proxy is not None and no_proxy:
        raise typer.BadParameter("--proxy and --no-proxy exclude each other")
    target, uri = request.parse_url(url)
    headers = request.parse_headers(header or []) + request.parse_cookies(cookie or [])
    headers += request.authorization(user)
    options: dict[str, Any] = {
        "origin": origin,
        "subprotocols": subprotocol,
        "compression": None if no_compression else "deflate",
        "additional_headers": headers,
        "ssl": request.tls_context(uri, insecure=insecure, cacert=cacert, cert=cert, key=key),
        "proxy": None if no_proxy else True if proxy is None else proxy,
        "max_size": settings.parse_size(max_size),
    }
    if ping_interval is not None:
        options["ping_interval"] = ping_interval or None
    from everwire.cli.connect.session import Plan

    plan = Plan(
        url=target,
        uri=uri,
        options=options,
        timeout=timeout,
        reconnect=reconnect,
        wait=wait if wait is not None else None if count is not None else 1.0,
        count=count,
        ping_interval=ping_interval if json else None,
    )
    raise typer.Exit(_run(plan, execute=execute, json=json, quiet=quiet, history=history))


def _run(plan: Plan, *, execute: list[str] | None, json: bool, quiet: bool, history: bool) -> int:
    import asyncio

    async def main() -> int:
        return await _session(plan, execute, json=json, quiet=quiet, history=history).run()

    _check(plan)
    try:
        return asyncio.run(main())
    except KeyboardInterrupt:
        return 130


def _check(plan: Plan) -> None:
    """Have the options checked before anything is started.

    Raises:
        BadParameter: one of them has a value that cannot be used.
    """
    import everwire

    try:
        everwire.connect(plan.url, **plan.options)
    except (ValueError, everwire.ProxyError) as error:
        raise typer.BadParameter(str(error)) from None


def _session(plan: Plan, execute: list[str] | None, *, json: bool, quiet: bool, history: bool) -> Session:
    """Who says what is sent, and who shows what comes: a person, or a program."""
    from everwire.cli.connect.session import Executed, Lines, Session
    from everwire.cli.connect.views import JsonView, RawView

    if json:
        return Session(plan, JsonView(), Executed(execute) if execute else Lines())
    if not sys.stdout.isatty():
        return Session(plan, RawView(quiet=quiet), Executed(execute) if execute else Lines())

    from everwire.cli.connect.prompt import Prompt, open_terminal
    from everwire.cli.connect.terminal import TerminalView

    view = TerminalView(output := open_terminal())
    if execute or not sys.stdin.isatty():
        return Session(plan, view, Executed(execute) if execute else Lines())
    return Session(plan, view, Prompt(view, output, keep=history))
