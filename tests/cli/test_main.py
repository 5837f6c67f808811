"""The command ``everwire`` itself: its help, its version, what it says when its extra is missing."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from commands import Program
from commands import everwire as command

import everwire
from everwire.cli.app import COMMANDS


def test_the_version() -> None:
    with command("version") as program:
        assert program.wait() == 0
    first, *others = program.output.splitlines()
    assert first == f"everwire {everwire.__version__}"
    assert others[0].startswith(f"CPython {sys.version.split()[0]} on ")
    assert any(line.startswith("uvloop ") for line in others)


def test_the_version_as_an_option() -> None:
    with command("--version") as program:
        assert program.wait() == 0
    assert program.output == f"everwire {everwire.__version__}\n"


def test_without_a_command_it_says_which_there_are() -> None:
    with command() as program:
        program.wait()
    assert "serve" in program.output
    assert "version" in program.output


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_help_of_serve_names_every_option(flag: str) -> None:
    with command("serve", flag, env={"COLUMNS": "120"}) as program:
        assert program.wait() == 0
    for option in [
        "host",
        "port",
        "unix",
        "ssl-cert",
        "ssl-key",
        "origins",
        "no-compression",
        "max-size",
        "loop",
    ]:
        assert f"--{option}" in program.output
    assert "HOST:PORT" in program.output
    assert "127.0.0.1:8080" in program.output


def test_a_command_that_is_none() -> None:
    with command("sevre") as program:
        assert program.wait() == 2
    assert "No such command 'sevre'. Did you mean 'serve'?" in program.output


def test_every_command_is_listed_and_has_help() -> None:
    with command("--help", env={"COLUMNS": "120"}) as program:
        assert program.wait() == 0
    for name, found in COMMANDS.items():
        assert re.search(rf"│ {name} +\w", program.output)
        assert f"─ {found.panel} ─" in program.output
    assert "Examples" in program.output


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_it_says_in_one_line_how_to_get_it(missing: str) -> None:
    # None in sys.modules is how an import is made to fail as if nothing were installed.
    code = f"import sys; sys.modules[{missing!r}] = None; import everwire.cli; everwire.cli.main()"
    with Program([sys.executable, "-c", code]) as program:
        assert program.wait() == 1
    assert program.output.splitlines() == [
        f'everwire: the command line needs {missing}; install it: pip install "everwire[cli]"'
    ]


def test_connecting_does_not_wait_for_what_other_commands_need() -> None:
    code = """import sys
from everwire.cli.app import app
import everwire.cli.connect.command, everwire.cli.connect.prompt
others = ("rich", "uvicorn", "everwire.cli.serve", "everwire.cli.bench", "everwire.asgi")
print([name for name in others if name in sys.modules])"""
    with Program([sys.executable, "-c", code]) as program:
        assert program.wait() == 0
    assert program.output == "[]\n"


def test_importing_everwire_needs_no_extra() -> None:
    code = "import sys; sys.modules['typer'] = sys.modules['rich'] = None; import everwire, everwire.cli"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
