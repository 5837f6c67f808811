"""The reference of the command line names every command, every option, and their defaults."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from docs.pages import DOCS, tables
from everwire.cli.app import COMMANDS, app
from everwire.cli.connect.session import Exit

PAGE = DOCS / "reference" / "command-line.md"
GROUP: Any = typer.main.get_command(app)


def documented(command: str) -> dict[tuple[str, ...], str]:
    """The defaults by the names of options, as the tables of a command give them."""
    rows = [row for row in tables(PAGE, f"everwire {command}") if "option" in row]
    return {tuple(re.findall(r"`(-[\w-]+)`", row["option"])): row["default"].strip("`") for row in rows}


def options(command: str) -> dict[tuple[str, ...], Any]:
    """The same of the command itself."""
    found = [each for each in GROUP.commands[command].params if each.param_type_name == "option"]
    return {(*each.opts, *each.secondary_opts): each.default for each in found}


def test_every_command_has_a_section() -> None:
    sections = re.findall(r"^## everwire (\w+)$", PAGE.read_text(), re.MULTILINE)
    assert sorted(sections) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_the_section_of_its_command(command: str) -> None:
    assert set(documented(command)) == set(options(command))


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults(command: str) -> None:
    actual = options(command)
    for names, default in documented(command).items():
        value = actual[names]
        if isinstance(value, int | float) and not isinstance(value, bool):
            assert float(default) == value, names
        elif isinstance(value, str):
            assert default == value, names


def test_exit_codes() -> None:
    codes = [int(row["exit code"]) for row in tables(PAGE, "everwire connect") if "exit code" in row]
    assert codes == sorted(Exit)
