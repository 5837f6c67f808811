"""The page of ``everwire serve`` as a person uses it: what the tests of it share."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from playwright.sync_api import BrowserContext, Locator, Page, expect


def connect(tab: Page, url: str) -> None:
    """Open the page and connect to its own echo."""
    tab.goto(url)
    button(tab, "Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")


def button(tab: Page, name: str) -> Locator:
    """The button of this name."""
    return tab.get_by_role("button", name=name, exact=True)


def box(tab: Page) -> Locator:
    """The field for a message."""
    return tab.get_by_role("textbox", name="Message", exact=True)


def address(tab: Page) -> Locator:
    """The field for the address."""
    return tab.get_by_label("Address", exact=True)


def choose(tab: Page, kind: str) -> None:
    """Choose what kind of message to send."""
    tab.locator("#composer .kinds").get_by_text(kind, exact=True).click()


def say(tab: Page, message: str) -> None:
    """Type a message and send it."""
    box(tab).fill(message)
    box(tab).press("Control+Enter")


def rows(tab: Page, kind: str) -> list[str]:
    """What the rows of this kind that are in view say."""
    return tab.locator(f"#log .{kind} .data").all_text_contents()


def burst(tab: Page, *, count: int, size: int = 64, interval: float = 0, binary: bool = False) -> None:
    """Start a burst of messages."""
    choose(tab, "Burst")
    for name, value in (("Count", count), ("Bytes each", size), ("Every, ms", interval)):
        tab.get_by_label(name, exact=True).fill(str(value))
    tab.get_by_label("Kind", exact=True).select_option("Binary" if binary else "Text")
    button(tab, "Send").click()


@contextlib.contextmanager
def watched(context: BrowserContext) -> Iterator[Page]:
    """Another page; errors in it fail the test."""
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    assert problems == []


COUNTED = re.compile(r"^([\d,]+) · ")


def count(tab: Page, name: str) -> int:
    """How many messages were ``sent`` or ``received``."""
    found = COUNTED.match(tab.locator(f"#{name}").inner_text())
    return int(found[1].replace(",", "")) if found else 0
