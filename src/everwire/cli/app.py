"""The command line application: its commands, and what it is called with."""

from __future__ import annotations

import typer

from everwire.cli.serve import serve
from everwire.cli.version import version

__all__ = ["app"]

app = typer.Typer(
    name="everwire",
    help="Real-time messaging for Python: try out WebSockets from a terminal and a browser.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(version)
