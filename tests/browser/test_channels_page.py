"""The page of channels: every transport, what is recovered after a cut and after a restart, its looks."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest
from browser.channels import (
    TRANSPORTS,
    came,
    choose_transport,
    client,
    cut,
    epoch,
    lane,
    live,
    outcome,
    publish,
    reconnect,
    start,
    state,
)
from browser.playground import button
from browser.test_page import SIZES, low_contrast
from commands import serving
from playwright.sync_api import Locator, Page, expect

PAIRS = [
    ("websocket", "http_stream"),
    ("sse", "long_poll"),
    ("uni_sse", "raw_websocket"),
    ("raw_sse", "websocket"),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of the page, on a server that the tests leave running."""
    with serving() as (program, address):
        # Whoever starts an insecure hub is told so.
        assert "the hub is insecure: everybody may do everything" in program.output
        assert "channels are insecure, for development: everybody on this machine" in program.output
        yield address + "/channels"


@pytest.fixture(autouse=True)
def channel(tab: Page, request: pytest.FixtureRequest) -> Iterator[None]:
    """A channel of its own for each test; and whatever a browser complains of fails it."""
    name = re.sub(r"\W", "-", request.node.name)[:60]
    tab.add_init_script(
        f"""addEventListener('DOMContentLoaded', () => {{
            const box = document.getElementById("channel");
            if (box) box.value = "{name}";
        }})"""
    )
    said: list[str] = []
    tab.on(
        "console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None
    )
    yield
    # A browser says of each request that it failed; the last one of a closed tunnel is answered with 404.
    tolerated = "Failed to load resource|WebSocket connection" if "restart" in name else r"status of 404"
    assert [each for each in said if not re.search(tolerated, each)] == []


@pytest.mark.parametrize("pair", PAIRS)
def test_what_is_missed_while_cut_off_is_recovered(tab: Page, url: str, pair: tuple[str, str]) -> None:
    start(tab, url, a=pair[0], b=pair[1])
    publish(tab, "one", '{"n": 2}')
    for name in "AB":
        expect(came(tab, name)).to_have_text(["one", '{"n":2}'])
        cut(tab, name)
    publish(tab, "three", "four", "five")
    for name, transport in zip("AB", pair, strict=True):
        expect(lane(tab, name)).to_have_accessible_name(f"Client {name}: 2 came live, 3 waiting")
        reconnect(tab, name)
        expect(came(tab, name, "recovered")).to_have_text(["three", "four", "five"])
        expect(outcome(tab, name)).to_have_text("recovered: true")
        said = f"Back over {TRANSPORTS[transport]}: recovered, 3 messages"
        expect(client(tab, name).locator(".came")).to_contain_text(said)
    # Once more, before anything has come live: what was recovered is not missing again.
    for name, transport in zip("AB", pair, strict=True):
        cut(tab, name)
        reconnect(tab, name)
        said = f"Back over {TRANSPORTS[transport]}: recovered, nothing was missed"
        expect(client(tab, name).locator(".came")).to_contain_text(said)
        expect(came(tab, name, "recovered")).to_have_text(["three", "four", "five"])
    publish(tab, "six")
    for name in "AB":
        expect(came(tab, name)).to_have_text(["one", '{"n":2}', "six"])
        expect(lane(tab, name)).to_have_accessible_name(f"Client {name}: 3 came live, 3 recovered")
    expect(tab.locator("#lanes .recovered")).to_have_count(6)


def test_another_transport_goes_on_where_the_first_one_was(tab: Page, url: str) -> None:
    start(tab, url)
    publish(tab, "0")
    for number, transport in enumerate([*list(TRANSPORTS)[1:], "websocket"], 1):
        choose_transport(tab, "A", transport)
        publish(tab, str(number))
        expect(outcome(tab, "A")).to_have_text("recovered: true")
        expect(client(tab, "A").locator(".came li:not(.event) .data").last).to_have_text(str(number))
    numbers = client(tab, "A").locator(".came li:not(.event) .data").all_text_contents()
    assert numbers == [str(number) for number in range(len(TRANSPORTS) + 1)]


def configured(folder: Path, engine: str) -> Path:
    """A configuration with this engine."""
    file = folder / "hub.toml"
    file.write_text(
        f'engine = "{engine}"\ninsecure = true\n[channel.without_namespace]\n'
        "history = 100\nttl = '1h'\npresence = true\njoin_leave = true\n"
    )
    return file


def back(tab: Page, name: str) -> Locator:
    """What a client says each time that it is back."""
    return client(tab, name).locator(".came .event", has_text="Back over")


@pytest.mark.parametrize(
    ("engine", "stop", "pairs"),
    [
        ("sqlite", signal.SIGTERM, [("websocket", "http_stream"), ("raw_sse", "raw_websocket")]),
        ("sqlite", signal.SIGKILL, [("uni_sse", "long_poll")]),
        ("memory", signal.SIGTERM, [("sse", "raw_websocket"), ("raw_sse", "long_poll")]),
    ],
)
def test_a_restart_of_the_server(
    tab: Page, tmp_path: Path, engine: str, stop: signal.Signals, pairs: list[tuple[str, str]]
) -> None:
    """Clients see the server go and come back: with its log, or with word that the log is gone.

    A is cut off before, and has missed something; B is there to the end.
    """
    file = configured(tmp_path, f"sqlite:{tmp_path / 'log.db'}" if engine == "sqlite" else "memory:")
    with contextlib.ExitStack() as stack:
        program, address = stack.enter_context(serving("--config", file))
        start(tab, address + "/")
        for number, (a, b) in enumerate(pairs, 1):
            for name, transport in (("A", a), ("B", b)):
                times = back(tab, name).count()
                choose_transport(tab, name, transport)
                # Else what is published next may be recovered, and does not come live.
                expect(back(tab, name)).to_have_count(times + 1)
            publish(tab, f"before {number}")
            for name in "AB":
                expect(came(tab, name).last).to_have_text(f"before {number}")
            before = epoch(tab, "A")
            cut(tab, "A")
            publish(tab, f"missed {number}")
            expect(came(tab, "B").last).to_have_text(f"missed {number}")
            before_restart = {name: back(tab, name).count() for name in "AB"}
            program.stop(stop)
            program, _ = stack.enter_context(serving("--config", file, port=urlsplit(address).port or 0))
            reconnect(tab, "A")
            for name in "AB":
                expect(back(tab, name)).to_have_count(before_restart[name] + 1)
                expect(outcome(tab, name)).to_have_text(f"recovered: {str(engine == 'sqlite').lower()}")
            live(tab)
            assert (epoch(tab, "A") == before) is (engine == "sqlite")
            if engine == "sqlite":
                expect(came(tab, "A", "recovered").last).to_have_text(f"missed {number}")
                expect(lane(tab, "A")).not_to_have_accessible_name(re.compile("gone|waiting"))
            else:
                expect(lane(tab, "A")).to_have_accessible_name(re.compile(f"{number} gone, and told so"))
                expect(back(tab, "A").last).to_contain_text("what was missed is gone")
        publish(tab, "after")
        for name in "AB":
            expect(came(tab, name).last).to_have_text("after")


def test_a_channel_without_history_or_presence(tab: Page, tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text("insecure = true\n[channel.without_namespace]\nhistory = 0\n")
    with serving("--config", file) as (_, address):
        start(tab, address + "/")
        for number, (a, b) in enumerate([("websocket", "raw_websocket"), ("uni_sse", "raw_sse")]):
            for name, transport in (("A", a), ("B", b)):
                if transport != "websocket" or number:
                    choose_transport(tab, name, transport)
                said = f"Subscribed over {TRANSPORTS[transport]}: the channel has no history"
                expect(client(tab, name).locator(".event").last).to_contain_text(said)
            publish(tab, f"{number}")
            for name in "AB":
                expect(came(tab, name)).to_have_text([str(each) for each in range(number + 1)])
        expect(lane(tab, "A")).to_have_accessible_name("Client A: nothing yet")
        expect(tab.locator("#kept-note")).to_have_text("Not to be read: not available (108)")
        expect(tab.locator("#present-none")).to_have_text("not available (108)")


def test_who_is_here_and_what_is_kept(tab: Page, url: str) -> None:
    start(tab, url)
    present = tab.locator("#present li")
    expect(present).to_have_text(["Client A", "Client B", "This page"])
    expect(tab.locator("#comings")).to_contain_text("Client A came")
    cut(tab, "A")
    expect(present).to_have_text(["Client B", "This page"])
    expect(tab.locator("#comings")).to_contain_text("Client A left")
    publish(tab, "kept", "kept, too")
    button(tab, "Read").click()
    expect(tab.locator("#kept .data")).to_have_text(["kept, too", "kept"])
    expect(tab.locator("#channels")).to_contain_text("test_who_is_here")


def test_messages_go_by_themselves(tab: Page, url: str) -> None:
    start(tab, url)
    expect(tab.get_by_role("note")).to_have_text(re.compile("^This hub is insecure"))
    tab.get_by_label("By itself").select_option("20 a second")
    expect(came(tab, "B").nth(4)).to_have_text('{"n":5}')
    cut(tab, "B")
    expect(lane(tab, "B")).to_have_accessible_name(re.compile(r"[3-9] waiting"))
    reconnect(tab, "B")
    expect(outcome(tab, "B")).to_have_text("recovered: true")
    tab.get_by_label("By itself").select_option("Off")
    last = came(tab, "A").last.inner_text()
    expect(client(tab, "B").locator(".came li:not(.event) .data").last).to_have_text(last)
    both = [client(tab, name).locator(".came li:not(.event) .data").all_text_contents() for name in "AB"]
    assert both[0] == both[1] == [f'{{"n":{number}}}' for number in range(1, len(both[0]) + 1)]


def test_nobody_is_let_in_where_others_can_reach_it(tab: Page) -> None:
    with serving("--host", "0.0.0.0") as (program, address):
        assert "insecure" not in program.output.replace("--insecure opens them", "")
        tab.goto(address.replace("0.0.0.0", "localhost") + "/channels")
        expect(tab.get_by_role("note")).to_have_text(re.compile("^This hub takes nobody"))
        button(tab, "Connect").click()
        expect(tab.get_by_role("status")).to_have_text("Refused")
        expect(tab.locator("#problem")).to_contain_text("bad request (3501)")
        expect(state(tab, "A")).to_have_text("Not connected")
        expect(button(tab, "Connect")).to_be_enabled()
    with serving("--host", "0.0.0.0", "--insecure") as (program, address):
        assert "everybody who reaches this server" in program.output
        start(tab, address + "/channels")
        expect(tab.get_by_role("note")).to_have_text(re.compile("^This hub is insecure"))


def test_a_hub_that_wants_tokens(tab: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "a-secret-of-more-than-32-characters-for-hmac"
    monkeypatch.setenv("EVERWIRE_TOKEN_HMAC_SECRET_KEY", secret)
    with serving() as (program, address):
        assert "insecure" not in program.output
        tab.goto(address + "/channels")
        tab.get_by_label("Token").fill(jwt.encode({"sub": "ada"}, secret))
        button(tab, "Connect").click()
        live(tab)
        expect(tab.get_by_role("note")).to_have_count(0)
        publish(tab, "by ada")
        expect(came(tab, "A")).to_have_text(["by ada"])
        assert (
            tab.evaluate("() => JSON.stringify(localStorage) + JSON.stringify(sessionStorage)").count(".") < 2
        )


def test_everything_can_be_done_with_the_keyboard(tab: Page, url: str) -> None:
    tab.goto(url)
    expect(button(tab, "Connect")).to_be_focused()
    tab.keyboard.press("Enter")
    live(tab)
    tab.keyboard.press("Tab")
    expect(tab.get_by_label("Message", exact=True)).to_be_focused()
    tab.keyboard.type("no mouse")
    tab.keyboard.press("Enter")
    expect(came(tab, "A")).to_have_text(["no mouse"])
    for _ in range(3):
        tab.keyboard.press("Tab")
    expect(client(tab, "A").get_by_label("Transport")).to_be_focused()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    expect(state(tab, "A")).to_have_text("Cut off")
    tab.keyboard.press("Enter")
    expect(outcome(tab, "A")).to_have_text("recovered: true")
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("region", name="What came to client A")).to_be_focused()


def test_it_is_readable_in_both_themes_and_fits_every_screen(tab: Page, url: str) -> None:
    start(tab, url)
    publish(tab, "a-very-long-word-without-a-place-to-break" * 20)
    expect(came(tab, "B")).to_have_count(1)
    cut(tab, "A")
    publish(tab, "missed")
    reconnect(tab, "A")
    cut(tab, "B")
    publish(tab, "missed")
    expect(lane(tab, "B")).to_have_accessible_name(re.compile("1 waiting"))
    nameless = tab.locator("button, input, select").evaluate_all(
        """controls => controls.filter(control => !(control.labels?.length || control.ariaLabel
            || control.textContent.trim())).map(control => control.outerHTML)"""
    )
    assert nameless == []
    assert low_contrast(tab) == []
    for width, height in SIZES:
        tab.set_viewport_size({"width": width, "height": height})
        assert tab.locator("html").evaluate("html => html.scrollWidth - html.clientWidth") == 0, width
        sticking = tab.locator(".card").evaluate_all(
            "cards => cards.filter(card => card.scrollWidth > card.clientWidth).map(card => card.outerHTML)"
        )
        assert sticking == [], width


def test_the_page_asks_no_other_server_for_anything(tab: Page, url: str) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    start(tab, url)
    here = url.removesuffix("channels")
    assert {address for address in asked if not address.startswith((here, "data:"))} == set()


def test_the_pages_lead_to_each_other(tab: Page, url: str) -> None:
    tab.goto(url)
    tab.get_by_role("navigation").get_by_role("link", name="WebSockets").click()
    button(tab, "Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")
    tab.get_by_role("navigation").get_by_role("link", name="Channels").click()
    expect(tab.get_by_role("heading", name="A channel is a log")).to_be_visible()
