"""The page of the tutorial of channels, in a browser: what it says that readers will see."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commands import Program
from docs.pages import DOCS, PORT, blocks
from playwright.sync_api import BrowserContext, Page, expect

TUTORIAL = DOCS / "tutorial-channels.md"


@contextmanager
def chat(folder: Path, port: int) -> Iterator[Program]:
    """The program of the tutorial."""
    code = [each.code for each in blocks(TUTORIAL) if (each.kind, each.name) == ("file", "main.py")]
    (folder / "main.py").write_text("\n".join(code).replace(PORT, str(port)))
    with Program([sys.executable, "main.py"], cwd=folder) as program:
        program.wait_for("Serving")
        yield program


def say(page: Page, text: str) -> None:
    """Write something, as a reader does."""
    page.locator("input[name=text]").fill(text)
    page.keyboard.press("Enter")


def test_two_windows_of_the_chat_miss_nothing_while_the_server_restarts(
    context: BrowserContext, tab: Page, tmp_path: Path, unused_tcp_port: int
) -> None:
    other = context.new_page()
    with chat(tmp_path, unused_tcp_port) as server:
        for page in (tab, other):
            page.goto(f"http://127.0.0.1:{unused_tcp_port}/")
            assert page.title() == "Lobby"
        say(tab, "one")
        for page in (tab, other):
            expect(page.locator("#lines li")).to_have_text(["one"])
        say(other, "<b>two</b>")
        for page in (tab, other):
            expect(page.locator("#lines li")).to_have_text(["one", "<b>two</b>"])
        server.stop(signal.SIGINT)
    with chat(tmp_path, unused_tcp_port):
        # Both windows come back by themselves, after the seconds that the browser takes for it.
        say(tab, "three")
        for page in (tab, other):
            expect(page.locator("#lines li")).to_have_text(["one", "<b>two</b>", "three"], timeout=20_000)
