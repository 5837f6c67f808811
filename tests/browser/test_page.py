"""The page of ``everwire serve``: its connections, its looks, and that everyone can use it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from browser.playground import address, box, burst, button, choose, connect, say, watched
from commands import Program, serving
from playwright.sync_api import Browser, BrowserContext, Page, expect


def test_the_connection_is_closed_and_its_code_explained(tab: Page, url: str) -> None:
    connect(tab, url)
    button(tab, "Disconnect").click()
    expect(tab.get_by_role("status")).to_have_text("Not connected")
    expect(tab.locator("#log .event").last).to_contain_text("Closed with 1000 (normal closure) by this page")
    details = tab.get_by_role("tabpanel", name="Details")
    expect(details).to_contain_text("The work is done.")
    expect(details).to_contain_text("Closing handshake")
    expect(button(tab, "Send")).to_be_disabled()
    button(tab, "Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")


def test_a_server_that_stops_says_goodbye_and_the_page_tries_again(
    tab: Page, server: tuple[Program, str]
) -> None:
    program, url = server
    connect(tab, url)
    program.send_signal(signal.SIGTERM)
    closed = tab.locator("#log .event", has_text="Closed with 1001 (going away) by the server")
    expect(closed).to_contain_text("“stopped” · The server is shutting down")
    expect(tab.get_by_role("status")).to_have_text(re.compile("Reconnecting"))
    assert program.wait() == 0
    button(tab, "Cancel").click()
    expect(tab.get_by_role("status")).to_have_text("Not connected")


def test_the_page_reconnects_when_the_server_is_back(tab: Page, server: tuple[Program, str]) -> None:
    program, url = server
    connect(tab, url)
    assert program.stop() == 0
    expect(tab.get_by_role("status")).to_have_text(re.compile("Reconnecting"))
    port = url.rpartition(":")[2]
    with serving(port=int(port)):
        expect(tab.get_by_role("status")).to_have_text("Connected")
        say(tab, "back")
        expect(tab.locator("#log .received .data")).to_have_text("back")


def test_it_does_not_reconnect_when_told_not_to(tab: Page, server: tuple[Program, str]) -> None:
    program, url = server
    connect(tab, url)
    tab.get_by_label("Auto-reconnect").uncheck()
    assert program.stop() == 0
    expect(tab.get_by_role("status")).to_have_text("Not connected")
    expect(button(tab, "Connect")).to_be_enabled()


def test_a_lost_connection_is_told_from_a_closed_one(tab: Page, server: tuple[Program, str]) -> None:
    program, url = server
    connect(tab, url)
    program.send_signal(signal.SIGKILL)
    expect(tab.locator("#log .event.bad").first).to_contain_text("Closed with 1006 (abnormal closure)")
    tab.locator("#log .event.bad").first.click()
    expect(tab.get_by_role("tabpanel", name="Details")).to_contain_text("nobody: it was lost")


def test_a_message_over_the_limit_of_the_server(tab: Page, url: str) -> None:
    connect(tab, url)
    box(tab).evaluate("box => { box.value = 'x'.repeat(1024 * 1024 + 1) }")
    button(tab, "Send").click()
    closed = tab.locator("#log .event.bad")
    expect(closed).to_contain_text("Closed with 1009 (message too big) by the server")
    expect(tab.get_by_role("tabpanel", name="Details")).to_contain_text("--max-size")


def test_an_address_where_nobody_answers(tab: Page, url: str, unused_tcp_port: int) -> None:
    tab.goto(url)
    address(tab).fill(f"ws://127.0.0.1:{unused_tcp_port}/")
    button(tab, "Connect").click()
    expect(tab.locator("#log .event.bad")).to_contain_text("Could not connect")
    expect(tab.get_by_role("status")).to_have_text("Not connected")
    expect(button(tab, "Connect")).to_be_enabled()
    details = tab.get_by_role("tabpanel", name="Details")
    expect(details).to_contain_text(f"Nothing listens at 127.0.0.1:{unused_tcp_port}")


def test_a_server_that_refuses_this_origin(tab: Page, url: str) -> None:
    with serving() as (_, other):
        tab.goto(url)
        address(tab).fill(other.replace("http", "ws") + "/echo")
        button(tab, "Connect").click()
        cause = tab.get_by_role("tabpanel", name="Details").get_by_role("listitem").first
        expect(cause).to_contain_text(f"refused this page's origin, {url.rstrip('/')}")
    # What it says to do about it helps.
    with serving("--origins", url.rstrip("/")) as (_, other):
        address(tab).fill(other.replace("http", "ws") + "/echo")
        button(tab, "Connect").click()
        expect(tab.get_by_role("status")).to_have_text("Connected")


def test_an_address_that_is_none(tab: Page, url: str) -> None:
    tab.goto(url)
    address(tab).fill("ftp://127.0.0.1/")
    button(tab, "Connect").click()
    expect(tab.locator("#log .event.bad")).to_contain_text("cannot be used")


def test_a_subprotocol_and_compression_are_shown(tab: Page, url: str) -> None:
    tab.goto(url)
    tab.get_by_label("Subprotocols").fill("chat.v2, chat.v1")
    button(tab, "Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")
    expect(tab.locator("#subprotocol")).to_have_text("chat.v2")
    expect(tab.locator("#compression")).to_have_text("deflate")


def test_two_pages_talk_in_the_room(context: BrowserContext, tab: Page, url: str) -> None:
    with watched(context) as other:
        for page in (tab, other):
            page.goto(url)
            button(page, "Room").click()
            expect(address(page)).to_have_value(re.compile("^ws://.*/room$"))
            expect(page.get_by_role("status")).to_have_text("Connected")
            # A message comes back only once its sender is in the room.
            say(page, "I am here")
            expect(page.locator("#log .received .data").last).to_have_text("I am here")
        say(tab, "Is anybody there? 👀")
        expect(other.locator("#log .received .data").last).to_have_text("Is anybody there? 👀")
        say(other, "Yes!")
        expect(tab.locator("#log .received .data").last).to_have_text("Yes!")
        # Only one's own messages have a round trip to show.
        expect(tab.locator("#log .received", has_text="Yes!").locator(".rtt")).to_be_empty()


def test_connections_side_by_side(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, "to the echo")
    expect(tab.locator("#log .received")).to_have_text(re.compile("to the echo"))
    button(tab, "Room").click()  # the first is in use, so it opens another
    expect(tab.get_by_role("tab", name="/room")).to_have_attribute("aria-selected", "true")
    expect(tab.get_by_role("status")).to_have_text("Connected")
    say(tab, "to the room")
    expect(tab.locator("#log .received")).to_have_text(re.compile("to the room"))
    tab.get_by_role("tab", name="/echo").click()
    expect(tab.locator("#log .received")).to_have_text(re.compile("to the echo"))
    expect(tab.get_by_role("status")).to_have_text("Connected")
    tab.get_by_role("tab", name="/echo").press("ArrowRight")
    expect(tab.get_by_role("tab", name="/room")).to_be_focused()
    button(tab, "Close this tab").click()
    expect(tab.get_by_role("tablist", name="Connections").get_by_role("tab")).to_have_count(1)
    expect(tab.locator("#log .received")).to_have_text(re.compile("to the echo"))


def test_addresses_are_remembered_without_their_secrets(tab: Page, url: str) -> None:
    tab.goto(url)
    echo = url.replace("http", "ws") + "echo"
    address(tab).fill(echo + "?token=secret")
    button(tab, "Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")
    tab.reload()
    expect(tab.locator("#recent option")).to_have_attribute("value", echo)
    assert "secret" not in tab.evaluate("() => JSON.stringify(localStorage)")
    button(tab, "Forget addresses").click()
    expect(tab.locator("#recent option")).to_have_count(0)
    tab.reload()
    expect(tab.locator("#recent option")).to_have_count(0)


def test_the_page_works_where_storage_is_turned_off(tab: Page, url: str) -> None:
    tab.add_init_script(
        "Object.defineProperty(window, 'localStorage',"
        " {get() { throw new DOMException('', 'SecurityError') }})"
    )
    connect(tab, url)
    button(tab, "Dark theme").click()
    expect(tab.locator("html")).to_have_attribute("data-theme", "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_that_of_the_system_until_one_chooses(browser: Browser, url: str, scheme: str) -> None:
    other = "light" if scheme == "dark" else "dark"
    context = browser.new_context(color_scheme="dark" if scheme == "dark" else "light")
    tab = context.new_page()
    tab.goto(url)
    toggle = button(tab, "Dark theme")
    expect(toggle).to_have_attribute("aria-pressed", str(scheme == "dark").lower())
    ground = "() => getComputedStyle(document.body).backgroundColor"
    before = tab.evaluate(ground)
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", str(other == "dark").lower())
    after = tab.evaluate(ground)
    assert before != after
    tab.reload()
    expect(toggle).to_have_attribute("aria-pressed", str(other == "dark").lower())
    assert tab.evaluate(ground) == after
    context.close()


def test_everything_can_be_done_with_the_keyboard(tab: Page, url: str) -> None:
    tab.goto(url)
    expect(button(tab, "Connect")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(box(tab)).to_be_focused()
    tab.keyboard.type("no mouse")
    tab.keyboard.press("Enter")
    expect(tab.locator("#log .received .data")).to_have_text("no mouse")
    tab.keyboard.press("Shift+Tab")
    expect(tab.get_by_role("radio", name="Text")).to_be_focused()
    for kind in ("JSON", "Hex"):
        tab.keyboard.press("ArrowRight")
        expect(tab.get_by_role("radio", name=kind)).to_be_checked()
    tab.keyboard.press("Shift+Tab")
    messages = tab.get_by_role("listbox", name="Messages")
    expect(messages).to_be_focused()
    tab.keyboard.press("End")
    selected = messages.get_by_role("option", selected=True)
    expect(selected).to_contain_text("no mouse")
    expect(messages).to_have_attribute("aria-activedescendant", re.compile(r"^entry-\d+$"))
    tab.keyboard.press("Home")
    expect(selected).to_contain_text("Connected to")
    expect(tab.get_by_role("tabpanel", name="Details")).to_contain_text("permessage-deflate")
    tab.get_by_role("tab", name="Details").focus()
    tab.keyboard.press("ArrowRight")
    expect(tab.get_by_role("tab", name="Code")).to_be_focused()
    expect(tab.get_by_role("tabpanel", name="Code")).to_be_visible()


def test_what_comes_is_said_but_not_too_often(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, "hello")
    spoken = tab.get_by_role("log", name="Received")
    expect(spoken).to_contain_text("Received: hello")
    burst(tab, count=50)
    expect(spoken).to_contain_text(re.compile(r"\d+ messages received"))
    assert spoken.locator("p").count() == 1


def test_every_control_has_a_name_and_every_text_contrast(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, '{"hello": [1, true, null, "x"]}')
    tab.locator("#log .received").click()
    expect(tab.locator(".tree .key").first).to_be_visible()
    nameless = tab.locator("button, input, textarea, select").evaluate_all(
        """controls => controls.filter(control => !(control.labels?.length || control.ariaLabel
            || control.textContent.trim())).map(control => control.outerHTML)"""
    )
    assert nameless == []
    assert low_contrast(tab) == []
    choose(tab, "JSON")
    say(tab, "{")
    button(tab, "Disconnect").click()
    expect(tab.get_by_role("tabpanel", name="Details")).to_be_visible()
    assert low_contrast(tab) == []
    tab.get_by_role("tab", name="Code").click()
    assert low_contrast(tab) == []


def low_contrast(tab: Page) -> list[str]:
    """The texts that are hard to read, in either theme."""
    found: list[str] = []
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        found += [f"{scheme}: {each}" for each in tab.locator("body").evaluate(CONTRAST)]
    return found


# Every visible text against the background that is drawn below it: at least 4.5 to 1 (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
    const channels = color => {
        const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const luminance = ([red, green, blue]) => {
        const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = [red, green, blue].map(linear);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = node => {
        for (let at = node; at; at = at.parentElement) {
            const color = channels(getComputedStyle(at).backgroundColor);
            if (color[3] === 255) return color;
        }
        return [255, 255, 255];
    };
    const low = [];
    for (const node of document.querySelectorAll("body *")) {
        const own = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
        if (!own || !node.checkVisibility() || node.closest(":disabled, script, style, noscript")) continue;
        const [one, two] = [luminance(channels(getComputedStyle(node).color)), luminance(ground(node))];
        const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (ratio < 4.5) low.push(`${node.outerHTML.slice(0, 80)}: ${ratio.toFixed(2)}`);
    }
    return low;
}"""


SIZES = [(320, 568), (360, 780), (768, 1024), (1280, 720), (1920, 1080)]


def test_the_page_fits_every_screen(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, "a-very-long-word-without-a-place-to-break" * 20)
    received = tab.locator("#log .received")
    expect(received).to_have_count(1)
    for width, height in SIZES:
        tab.set_viewport_size({"width": width, "height": height})
        for kind in ("File", "Burst", "JSON", "Text"):
            choose(tab, kind)
            wide = tab.locator("html").evaluate("html => html.scrollWidth - html.clientWidth")
            assert wide == 0, (width, kind)
        tab.evaluate("() => scrollTo(0, 0)")
        expect(button(tab, "Send")).to_be_in_viewport(ratio=1)
        received.click()
        expect(tab.locator("#details")).to_be_in_viewport()
        # Nothing sticks out of the card that it is in.
        sticking = tab.locator("#panel > .card").evaluate_all(
            "cards => cards.filter(card => card.scrollWidth > card.clientWidth).map(card => card.id)"
        )
        assert sticking == [], width


def test_nothing_moves_when_it_connects_and_messages_come(tab: Page, url: str) -> None:
    tab.goto(url)
    tab.evaluate(
        """() => {
            window.shifts = [];
            new PerformanceObserver(list => list.getEntries().forEach(entry => shifts.push(entry.value)))
                .observe({type: "layout-shift", buffered: true});
        }"""
    )
    button(tab, "Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")
    say(tab, "hello")
    expect(tab.locator("#log .received")).to_have_count(1)
    choose(tab, "File")
    burst(tab, count=100)
    expect(tab.locator("#received")).to_have_text(re.compile("^101 · "))
    assert sum(tab.evaluate("() => shifts")) < 0.01


def test_the_page_asks_no_other_server_for_anything(context: BrowserContext, url: str) -> None:
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    connect(page, url)
    say(page, "hello")
    expect(page.locator("#log .received")).to_have_count(1)
    assert {address for address in asked if not address.startswith((url, "data:"))} == set()


@pytest.mark.parametrize("program", ["Client", "Browser's API"])
def test_the_python_programs_run_as_shown(tab: Page, url: str, tmp_path: Path, program: str) -> None:
    tab.goto(url)
    tab.get_by_label("Subprotocols").fill("chat.v2")
    button(tab, program).click()
    expect(tab.locator("#snippet")).to_contain_text(url.replace("http", "ws") + "echo")
    (tmp_path / "client.py").write_text(tab.locator("#snippet").inner_text())
    done = subprocess.run(
        [sys.executable, str(tmp_path / "client.py")], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("Hello, wire!\n", "")


@pytest.mark.parametrize("path", ["echo", "room"])
def test_the_server_shown_takes_this_page(
    tab: Page, url: str, tmp_path: Path, path: str, unused_tcp_port: int
) -> None:
    tab.goto(f"{url}#{path}")
    button(tab, "Server").click()
    shown = tab.locator("#snippet").inner_text()
    assert shown.count("8765") == 2
    (tmp_path / "server.py").write_text(shown.replace("8765", str(unused_tcp_port)))
    with Program([sys.executable, tmp_path / "server.py"]) as program:
        program.wait_for(f"Serving ws://127.0.0.1:{unused_tcp_port}")
        address(tab).fill(f"ws://127.0.0.1:{unused_tcp_port}")
        button(tab, "Connect").click()
        expect(tab.get_by_role("status")).to_have_text("Connected")
        say(tab, "from the page")
        expect(tab.locator("#log .received .data")).to_have_text("from the page")


def test_programs_are_copied(context: BrowserContext, tab: Page, url: str) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.goto(url)
    button(tab, "JavaScript").click()
    button(tab, "Copy").click()
    expect(button(tab, "Copied")).to_be_visible()
    copied = tab.evaluate("() => navigator.clipboard.readText()")
    assert copied == tab.locator("#snippet").inner_text()
    assert copied.startswith(f'const socket = new WebSocket("{url.replace("http", "ws")}echo");')
