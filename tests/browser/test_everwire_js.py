"""everwire.js in a browser: its classes beside the browser's own WebSocket, on the same server."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Program
from playwright.sync_api import Browser, Page

PEER = Path(__file__).with_name("tunnel_peer.py")
SCENES = re.findall(r'^    "?([^":\n]+)"?: (?:async )?Class', PEER.with_name("scenes.js").read_text(), re.M)
CLASSES = ("PollingWebSocket", "EventSourceWebSocket", "StreamingWebSocket", "FallbackWebSocket")


@contextlib.contextmanager
def peer(port: int = 0, poll_timeout: float = 25) -> Iterator[tuple[Program, str]]:
    """The peer, and the address of its page."""
    with Program([sys.executable, PEER, str(port), str(poll_timeout)]) as program:
        found = program.wait_for(r"port (\d+)\n")[1]
        yield program, f"http://127.0.0.1:{found}/"


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page of the peer with the classes and the scenes, for all tests."""
    with peer() as (_, url):
        tab = browser.new_page()
        tab.goto(url)
        yield tab
        tab.close()


@pytest.mark.parametrize("scene", SCENES)
def test_the_classes_are_like_the_browser_s_own(page: Page, scene: str) -> None:
    expected, *found = page.evaluate(
        """async ([scene, names]) => {
            const { play } = await import("/scenes.js"), ours = await import("/everwire.js");
            return Promise.all([WebSocket, ...names.map(name => ours[name])].map(each => play(scene, each)));
        }""",
        [scene, CLASSES],
    )
    for name, shown in zip(CLASSES, found, strict=True):
        assert shown == expected, name
