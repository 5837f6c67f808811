"""The Python of every page runs as it is printed, but on a port that is free."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import commands
import pytest
from conftest import Certificates, Run

from docs.pages import PAGES, PORT, ROOT, Program, blocks, files, programs

ALL = [program for page in PAGES for program in programs(page)]


@pytest.fixture
def execute(
    tmp_path: Path,
    unused_tcp_port: int,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[[Program], Any]:
    """Run a program in a folder that has the page's files, and certificates under the names that pages use.

    Programs may use ``port``; ``start``, which runs a file; ``printed``, which returns what was printed.
    """
    monkeypatch.chdir(tmp_path)
    for name, source in (
        ("server.pem", certificates.cert_file),
        ("server.key", certificates.key_file),
        ("client.pem", certificates.ca_file),
    ):
        (tmp_path / name).write_bytes(source.read_bytes())
    device = certificates.authority.issue_cert("sensor-7", common_name="sensor-7")
    device.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "device.pem"))

    def start(name: str) -> commands.Program:
        return commands.Program([sys.executable, "-W", "error", name], cwd=tmp_path)

    def call(program: Program) -> Any:
        for name, text in files(program.page).items():
            (tmp_path / name).write_text(text.replace(PORT, str(unused_tcp_port)))
        names = {
            "__name__": "documented",
            "port": unused_tcp_port,
            "start": start,
            "printed": lambda: capsys.readouterr().out,
        }
        return FunctionType(program.compile(unused_tcp_port), names)()

    return call


@pytest.mark.parametrize("program", [each for each in ALL if each.awaits], ids=str)
def test_code_on_an_event_loop(program: Program, execute: Callable[[Program], Any], run: Run) -> None:
    run(lambda: execute(program))


@pytest.mark.parametrize("program", [each for each in ALL if not each.awaits], ids=str)
def test_code(program: Program, execute: Callable[[Program], Any]) -> None:
    execute(program)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_are_started(page: Path) -> None:
    code = "".join(block.code for program in programs(page) for block in program.blocks)
    assert [name for name in files(page) if f'start("{name}")' not in code] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page: Path) -> None:
    text = "".join(block.code for block in blocks(page) if block.language == "console")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z]+)", text, re.MULTILINE)) <= targets
    project = (ROOT / "pyproject.toml").read_text()
    extras = [each for found in re.findall(r"everwire\[([\w,]+)\]", text) for each in found.split(",")]
    assert [each for each in extras if not re.search(rf"^{each} = \[", project, re.MULTILINE)] == []
