"""The page of channels as a person uses it: what the tests of it share."""

from __future__ import annotations

import re

from browser.playground import button
from playwright.sync_api import Locator, Page, expect

TRANSPORTS = {
    "websocket": "WebSocket",
    "http_stream": "HTTP streaming",
    "sse": "Server-sent events",
    "long_poll": "Long polling",
    "uni_sse": "Events, one way",
    "raw_websocket": "Bare WebSocket",
    "raw_sse": "Bare EventSource",
}


def client(tab: Page, name: str) -> Locator:
    """What shows client A or B."""
    return tab.get_by_role("region", name=f"Client {name}", exact=True)


def state(tab: Page, name: str) -> Locator:
    """How a client is, in words."""
    return client(tab, name).locator(".state")


def choose_transport(tab: Page, name: str, transport: str) -> None:
    """Choose how a client comes."""
    client(tab, name).get_by_label("Transport").select_option(TRANSPORTS[transport])


def start(tab: Page, url: str, *, a: str = "websocket", b: str = "sse") -> None:
    """Open the page, and connect both clients by these transports."""
    tab.goto(url)
    choose_transport(tab, "A", a)
    choose_transport(tab, "B", b)
    button(tab, "Connect").click()
    live(tab)


def live(tab: Page) -> None:
    """Wait until both clients follow the channel, and the page itself."""
    for name in "AB":
        expect(state(tab, name)).to_have_text("Live")
    expect(tab.get_by_role("status")).to_have_text("Connected")


def publish(tab: Page, *messages: str) -> None:
    """Publish, one after the other is done."""
    box = tab.get_by_label("Message", exact=True)
    for message in messages:
        box.fill(message)
        button(tab, "Publish").click()
        expect(box).to_have_value("")


def cut(tab: Page, name: str) -> None:
    """Cut the connection of a client."""
    client(tab, name).get_by_role("button", name="Cut the connection").click()
    expect(state(tab, name)).to_have_text("Cut off")


def reconnect(tab: Page, name: str) -> None:
    """Have it come back."""
    client(tab, name).get_by_role("button", name="Reconnect").click()
    expect(state(tab, name)).to_have_text("Live")


def came(tab: Page, name: str, kind: str = "live") -> Locator:
    """What has come to a client: ``live`` or ``recovered``."""
    return client(tab, name).locator(f".came .{kind} .data")


def outcome(tab: Page, name: str) -> Locator:
    """What the hub said of the latest recovery of a client."""
    return client(tab, name).locator(".outcome")


def epoch(tab: Page, name: str) -> str:
    """The epoch in which a client is."""
    found = re.search(r"epoch (\S+)", client(tab, name).locator(".where").inner_text())
    assert found is not None
    return found[1]


def lane(tab: Page, name: str) -> Locator:
    """A client's row of the drawing."""
    return tab.locator("#lanes").get_by_role("img", name=re.compile(f"^Client {name}: "))
