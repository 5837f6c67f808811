"""The options of ``everwire bench``; those of the opening handshake are ``everwire connect``'s."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from everwire.cli.settings import Loop

__all__ = [
    "AllowErrors",
    "Binary",
    "Check",
    "Compression",
    "Connections",
    "Depth",
    "Duration",
    "File",
    "Html",
    "Json",
    "Message",
    "Mode",
    "Processes",
    "Ramp",
    "Rate",
    "Seed",
    "Size",
    "Timeout",
    "Unix",
    "Url",
    "Warmup",
    "WhichLoop",
]

MESSAGE, LOAD, TIME, REPORT = "Messages", "Load", "Time", "Report"

Url = Annotated[
    str, typer.Argument(metavar="URL", help="Where the server is: localhost:8080/echo, wss://...")
]
Mode = Annotated[
    Literal["echo", "fanout", "push", "idle"],
    typer.Option(
        help="echo: each message is answered; fanout: what one connection sends comes back to all; "
        "push: the server sends as it likes; idle: connections are only held.",
        rich_help_panel=LOAD,
    ),
]
Connections = Annotated[
    int,
    typer.Option(
        "--connections", "-c", min=1, max=1_000_000, help="Connections in all.", rich_help_panel=LOAD
    ),
]
Depth = Annotated[
    int,
    typer.Option(
        "--depth", "-d", min=1, max=65536, help="Messages under way per connection.", rich_help_panel=LOAD
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        "-r",
        metavar="PER SECOND",
        help="Send so many messages a second in all, whether answers come or not; latency counts from when a "
        "message was due.  \\[default: as fast as answers come]",
        rich_help_panel=LOAD,
    ),
]
Processes = Annotated[
    int,
    typer.Option("--processes", "-p", min=1, max=256, help="Processes that share it.", rich_help_panel=LOAD),
]
WhichLoop = Annotated[
    Loop, typer.Option(help="Event loop; auto is uvloop if it is installed.", rich_help_panel=LOAD)
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Of a message: 16, 1KiB, 1MiB.  \\[default: 64]", rich_help_panel=MESSAGE
    ),
]
Message = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Send this instead of words.", rich_help_panel=MESSAGE)
]
File = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Send what is in this file.", rich_help_panel=MESSAGE)
]
Binary = Annotated[
    bool | None,
    typer.Option(
        "--binary/--text", help="Type.  \\[default: text, unless a file is none]", rich_help_panel=MESSAGE
    ),
]
Check = Annotated[
    bool,
    typer.Option("--check", help="Compare every answer with what was sent.", rich_help_panel=MESSAGE),
]
Compression = Annotated[
    bool, typer.Option("--compression", help="Offer permessage-deflate.", rich_help_panel=MESSAGE)
]
Seed = Annotated[
    int, typer.Option(metavar="NUMBER", help="Decides which words are sent.", rich_help_panel=MESSAGE)
]
Duration = Annotated[
    float,
    typer.Option(
        "--duration", "-t", metavar="SECONDS", min=0.1, help="How long to measure.", rich_help_panel=TIME
    ),
]
Warmup = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0, help="What comes first and does not count.", rich_help_panel=TIME),
]
Ramp = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Open the connections over so long.  \\[default: as fast as it goes]",
        show_default=False,
        rich_help_panel=TIME,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0.1, help="How long connecting, or an answer, may take.", rich_help_panel=TIME
    ),
]
Unix = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Unix socket to connect to.", rich_help_panel="Network")
]
Json = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE", help="Write the results there; - prints them.", rich_help_panel=REPORT
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write a page with plots there.", rich_help_panel=REPORT),
]
AllowErrors = Annotated[
    bool,
    typer.Option("--allow-errors", help="End with 0 even if there were errors.", rich_help_panel=REPORT),
]
