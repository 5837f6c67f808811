"""The command ``everwire``: one file for each of its commands."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. It needs the extra ``cli``: if that is missing, one line says how to get it."""
    try:
        from everwire.cli.app import app

        app(prog_name="everwire")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("typer", "rich", "prompt_toolkit"):
            raise
        sys.exit(f'everwire: the command line needs {missing}; install it: pip install "everwire[cli]"')
