"""``everwire version``: what is installed."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

import typer

import everwire

__all__ = ["version"]

OPTIONAL = ("uvloop", "zlib-ng")


def version() -> None:
    """Print the versions of everwire, of Python and of the optional packages that make it faster."""
    typer.echo(f"everwire {everwire.__version__}")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    typer.echo(f"{python} on {platform.system()} {platform.machine()}")
    for name in OPTIONAL:
        typer.echo(f"{name} {_installed(name)}")


def _installed(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "not installed"
