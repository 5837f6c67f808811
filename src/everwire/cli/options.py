"""Options that commands share: the same name means the same thing, and is described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from everwire.cli.settings import DEFAULT_HOST, DEFAULT_PORT

__all__ = ["Address", "Host", "MaxSize", "NoCompression", "Origins", "Port", "SslCert", "SslKey", "Unix"]

Address = Annotated[
    str | None,
    typer.Argument(
        metavar="HOST:PORT",
        help=f"Where to listen: 8080, :8080, 0.0.0.0:80, \\[::1]:8080.  "
        f"\\[default: {DEFAULT_HOST}:{DEFAULT_PORT}]",
    ),
]
Host = Annotated[str | None, typer.Option(metavar="HOST", help="Interface to listen on.")]
Port = Annotated[
    int | None,
    typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0 takes a free one."),
]
Unix = Annotated[Path | None, typer.Option(metavar="PATH", help="Unix socket to listen on instead.")]
SslCert = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM), for https and wss.")
]
SslKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Private key (PEM), unless the certificate's file has it."),
]
Origins = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ORIGIN",
        help="Web origin whose pages may connect too, like https://example.com; '*' is any. Repeatable.  "
        "\\[default: only pages of this server]",
    ),
]
NoCompression = Annotated[bool, typer.Option("--no-compression", help="Negotiate no permessage-deflate.")]
MaxSize = Annotated[
    str, typer.Option(metavar="SIZE", help="Largest message taken: 65536, 64KiB, 1MiB, none.")
]
