"""The options of ``everwire connect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Cacert",
    "Cert",
    "Cookie",
    "Count",
    "Execute",
    "Header",
    "History",
    "Insecure",
    "Json",
    "Key",
    "NoProxy",
    "Origin",
    "PingInterval",
    "Proxy",
    "Quiet",
    "Reconnect",
    "Subprotocol",
    "Timeout",
    "Url",
    "User",
    "Wait",
]

REQUEST, NETWORK, TLS, SCRIPTS = "Request", "Network", "TLS", "Scripts"

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="Where to: wss://example.com/chat, http://..., localhost:8080, :8080/echo."
    ),
]
Header = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        "-H",
        metavar="'NAME: VALUE'",
        help="Further header. Repeatable.",
        rich_help_panel=REQUEST,
    ),
]
Subprotocol = Annotated[
    list[str] | None,
    typer.Option(
        "--subprotocol",
        "-s",
        metavar="NAME",
        help="Subprotocol to offer, the preferred one first. Repeatable.",
        rich_help_panel=REQUEST,
    ),
]
Origin = Annotated[
    str | None,
    typer.Option("--origin", "-o", metavar="ORIGIN", help="The header Origin.", rich_help_panel=REQUEST),
]
User = Annotated[
    str | None,
    typer.Option(
        "--user",
        "-u",
        metavar="NAME",
        help="User for basic authentication. The password is asked for, or taken from EVERWIRE_PASSWORD.",
        rich_help_panel=REQUEST,
    ),
]
Cookie = Annotated[
    list[str] | None,
    typer.Option(
        "--cookie",
        "-b",
        metavar="NAME=VALUE",
        help="Cookie to send. Repeatable.",
        rich_help_panel=REQUEST,
    ),
]
Proxy = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Proxy: http, https, socks4 or socks5.  \\[default: as the environment says]",
        rich_help_panel=NETWORK,
    ),
]
NoProxy = Annotated[
    bool,
    typer.Option("--no-proxy", help="Use no proxy, whatever the environment says.", rich_help_panel=NETWORK),
]
Timeout = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0.001, help="How long connecting may take.", rich_help_panel=NETWORK),
]
PingInterval = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Silence after which a ping is sent; 0 sends none. With --json, each latency is printed.  "
        "\\[default: 20]",
        rich_help_panel=NETWORK,
    ),
]
Reconnect = Annotated[
    bool,
    typer.Option(
        "--reconnect",
        "-r",
        help="Connect again when the connection is lost or closed by the server, "
        "after growing delays of up to a minute, until you leave.",
        rich_help_panel=NETWORK,
    ),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", "-k", help="Do not check the server's certificate.", rich_help_panel=TLS),
]
Cacert = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Certificates of the authorities to trust (PEM), in place of the system's.",
        rich_help_panel=TLS,
    ),
]
Cert = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Client certificate (PEM).", rich_help_panel=TLS)
]
Key = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Its private key, unless the certificate's file has it.", rich_help_panel=TLS
    ),
]
Execute = Annotated[
    list[str] | None,
    typer.Option(
        "--execute",
        "-x",
        metavar="MESSAGE",
        help="Send this text, print answers, leave. Repeatable.",
        rich_help_panel=SCRIPTS,
    ),
]
Wait = Annotated[
    float | None,
    typer.Option(
        "--wait",
        "-w",
        metavar="SECONDS",
        min=0,
        help="How long to stay for answers when all is sent.  \\[default: 1; with --count: no limit]",
        rich_help_panel=SCRIPTS,
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--count", "-n", metavar="N", min=1, help="Leave after so many messages.", rich_help_panel=SCRIPTS
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print a JSON object a line for each event.", rich_help_panel=SCRIPTS),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="In a pipe, say nothing on stderr but errors.", rich_help_panel=SCRIPTS
    ),
]
History = Annotated[
    bool,
    typer.Option(envvar="EVERWIRE_HISTORY", help="Keep what is typed at the prompt for the next time."),
]
