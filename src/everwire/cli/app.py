"""The command line application: its commands, and what it is called with."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from everwire import __version__

__all__ = ["app"]


class Command(NamedTuple):
    """Where a command is to be found, and under which heading the help lists it."""

    module: str
    panel: str


COMMANDS = {
    "connect": Command("everwire.cli.connect.command", "Try out"),
    "echo": Command("everwire.cli.echo", "Try out"),
    "serve": Command("everwire.cli.serve", "Serve"),
    "token": Command("everwire.cli.token", "Serve"),
    "drain": Command("everwire.cli.drain", "Serve"),
    "bench": Command("everwire.cli.bench.command", "Measure"),
    "plan": Command("everwire.cli.plan", "Measure"),
    "version": Command("everwire.cli.version", "About"),
}
"""The commands by name, in the order of the help. Each is a function of that name in its module."""

EXAMPLES = """[bold]Examples[/]
[cyan]everwire serve[/]  [dim]a server, and a page to try it from[/]
[cyan]everwire connect localhost:8080/echo[/]  [dim]talk to it from this terminal[/]
[cyan]everwire echo :9000[/]  [dim]a server that returns what it is sent[/]
[cyan]everwire bench ws://localhost:9000[/]  [dim]how much that server can take[/]
[cyan]everwire COMMAND --help[/]  [dim]what a command takes[/]"""

SETTINGS = {"help_option_names": ["-h", "--help"]}


class Loading(MutableMapping[str, Any]):
    """The commands by name; a command's module is imported when the command is asked for.

    So ``everwire connect`` does not wait for what only the other commands need.
    """

    def __init__(self) -> None:
        self._commands: dict[str, Any] = dict.fromkeys(COMMANDS)

    def __getitem__(self, name: str) -> Any:
        if self._commands[name] is None:
            found = COMMANDS[name]
            alone = typer.Typer(add_completion=False, context_settings=SETTINGS)
            module = import_module(found.module)
            command = alone.command(name, rich_help_panel=found.panel, epilog=getattr(module, "EPILOG", None))
            command(getattr(module, name))
            self._commands[name] = typer.main.get_command(alone)
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    def __len__(self) -> int:
        return len(self._commands)


class Group(TyperGroup):
    """The command ``everwire``, whose commands are imported when they are used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Loading()


app = typer.Typer(
    name="everwire",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
    epilog=EXAMPLES,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"everwire {__version__}")
        raise typer.Exit


@app.callback()
def _everwire(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Real-time messaging for Python: try out and serve WebSockets from a terminal."""
