"""The page of ``everwire serve``, used as a person uses it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator

import pytest
from commands import Program, serving
from playwright.sync_api import BrowserContext, Page, expect


@pytest.fixture
def server() -> Iterator[tuple[Program, str]]:
    """A server of its own, which the test may stop."""
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of the page, on a server for all tests that leave it running."""
    with serving() as (_, address):
        yield address + "/"


def connect(tab: Page, url: str) -> None:
    tab.goto(url)
    tab.get_by_role("button", name="Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")


def say(tab: Page, message: str) -> None:
    tab.get_by_role("textbox", name="Message").fill(message)
    tab.get_by_role("textbox", name="Message").press("Enter")


def rows(tab: Page, kind: str) -> list[str]:
    return tab.locator(f"#log .{kind} .data").all_text_contents()


def test_text_comes_back_with_its_size_and_round_trip_time(tab: Page, url: str) -> None:
    connect(tab, url)
    message = "Grüße, 你好, 👋🏽 🎉"
    say(tab, message)
    received = tab.locator("#log .received")
    expect(received.locator(".data")).to_have_text(message)
    expect(received.locator(".size")).to_have_text(f"{len(message.encode())} B")
    expect(received.locator(".rtt")).to_have_text(re.compile(r"^[\d.]+ m?s$"))
    expect(received.locator("time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d{3}$"))
    expect(tab.locator("#log .sent .data")).to_have_text(message)
    expect(tab.locator("#received")).to_have_text(f"1 · {len(message.encode())} B")
    expect(tab.get_by_role("textbox", name="Message")).to_be_empty()


def test_binary_is_typed_and_shown_as_hex(tab: Page, url: str) -> None:
    connect(tab, url)
    tab.get_by_text("Hex", exact=True).click()
    say(tab, "68 65 6C 6c6f 00 0xff")
    expect(tab.locator("#log .received.binary .data")).to_have_text("68 65 6c 6c 6f 00 ff  hello··")
    expect(tab.locator("#log .received.binary .size")).to_have_text("7 B")


@pytest.mark.parametrize("wrong", ["hello", "68 6", "0x"])
def test_what_is_no_hex_is_explained_and_not_sent(tab: Page, url: str, wrong: str) -> None:
    connect(tab, url)
    tab.get_by_text("Hex", exact=True).click()
    say(tab, wrong)
    if wrong == "0x":  # no digits: an empty message, which is one
        expect(tab.locator("#log .received .data")).to_contain_text("empty binary message")
        return
    expect(tab.get_by_role("textbox", name="Message")).to_have_attribute("aria-invalid", "true")
    expect(tab.locator("#hint")).to_contain_text("hex digits", ignore_case=True)
    expect(tab.get_by_role("textbox", name="Message")).to_have_value(wrong)
    assert rows(tab, "sent") == []


def test_a_message_is_shown_as_text_and_never_as_markup(tab: Page, url: str) -> None:
    connect(tab, url)
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b>"
    say(tab, markup)
    expect(tab.locator("#log .received .data")).to_have_text(markup)
    assert tab.locator("#log img, #log script, #log b").count() == 0


def test_several_lines(tab: Page, url: str) -> None:
    connect(tab, url)
    box = tab.get_by_role("textbox", name="Message")
    box.press_sequentially("one")
    box.press("Shift+Enter")
    box.press_sequentially("two")
    box.press("Enter")
    expect(tab.locator("#log .received .data")).to_have_text("one\ntwo", use_inner_text=True)


def test_what_was_sent_can_be_brought_back(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, "first")
    say(tab, "second")
    box = tab.get_by_role("textbox", name="Message")
    box.press("ArrowUp")
    expect(box).to_have_value("second")
    box.press("ArrowUp")
    expect(box).to_have_value("first")
    box.press("ArrowDown")
    box.press("Enter")
    expect(tab.locator("#log .received .data")).to_have_text(["first", "second", "second"])


def test_the_connection_is_closed_and_its_code_explained(tab: Page, url: str) -> None:
    connect(tab, url)
    tab.get_by_role("button", name="Disconnect").click()
    expect(tab.get_by_role("status")).to_have_text("Not connected")
    expect(tab.locator("#log .event").last).to_contain_text("Closed with 1000 (normal closure)")
    expect(tab.get_by_role("button", name="Send")).to_be_disabled()
    tab.get_by_role("button", name="Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")


def test_a_server_that_stops_says_goodbye_and_the_page_tries_again(
    tab: Page, server: tuple[Program, str]
) -> None:
    program, url = server
    connect(tab, url)
    program.send_signal(signal.SIGTERM)
    closed = tab.locator("#log .event", has_text="Closed with 1001 (going away)")
    expect(closed).to_contain_text("“stopped” · The server is shutting down")
    expect(tab.get_by_role("status")).to_have_text(re.compile("Reconnecting"))
    assert program.wait() == 0
    tab.get_by_role("button", name="Cancel").click()
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


def test_an_address_where_nobody_answers(tab: Page, url: str, unused_tcp_port: int) -> None:
    tab.goto(url)
    tab.get_by_label("Address", exact=True).fill(f"ws://127.0.0.1:{unused_tcp_port}/")
    tab.get_by_role("button", name="Connect").click()
    expect(tab.locator("#log .event.bad")).to_contain_text("Could not connect")
    expect(tab.get_by_role("status")).to_have_text("Not connected")
    expect(tab.get_by_role("button", name="Connect")).to_be_enabled()


def test_an_address_that_is_none(tab: Page, url: str) -> None:
    tab.goto(url)
    tab.get_by_label("Address", exact=True).fill("ftp://127.0.0.1/")
    tab.get_by_role("button", name="Connect").click()
    expect(tab.locator("#log .event.bad")).to_contain_text("cannot be used")


def test_a_subprotocol_and_compression_are_shown(tab: Page, url: str) -> None:
    tab.goto(url)
    tab.get_by_label("Subprotocols").fill("chat.v2, chat.v1")
    tab.get_by_role("button", name="Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")
    expect(tab.locator("#subprotocol")).to_have_text("chat.v2")
    expect(tab.locator("#compression")).to_have_text("deflate")


def test_two_pages_talk_in_the_room(context: BrowserContext, tab: Page, url: str) -> None:
    other = context.new_page()
    for page in (tab, other):
        page.goto(url)
        page.get_by_role("button", name="/room").click()
        expect(page.get_by_label("Address", exact=True)).to_have_value(re.compile("^ws://.*/room$"))
        page.get_by_role("button", name="Connect").click()
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


def test_clear_removes_the_messages_and_the_counts(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, "hello")
    expect(tab.locator("#log .received")).to_have_count(1)
    tab.get_by_role("button", name="Clear").click()
    expect(tab.locator("#log")).to_be_empty()
    expect(tab.locator("#sent")).to_have_text("0")
    expect(tab.locator("#rtt")).to_have_text("\N{EN DASH}")


def test_many_messages_keep_the_page_small(tab: Page, url: str) -> None:
    connect(tab, url)
    box = tab.get_by_role("textbox", name="Message")
    box.fill("x")
    # Enter, 600 times in one go: 1,200 rows are due, and the page keeps 1,000.
    box.evaluate(
        """box => {
            for (let i = 0; i < 600; i++) {
                box.value = `message ${i}`;
                box.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", cancelable: true}));
            }
        }"""
    )
    expect(tab.locator("#received")).to_have_text(re.compile("^600 · "))
    expect(tab.locator("#log .received .data").last).to_have_text("message 599")
    expect(tab.locator("#log .row")).to_have_count(1000)


def test_the_newest_message_is_in_view_until_one_scrolls_up(tab: Page, url: str) -> None:
    tab.set_viewport_size({"width": 390, "height": 700})
    connect(tab, url)
    received, jump = tab.locator("#log .received"), tab.get_by_role("button", name="Newest messages")
    for number in range(20):
        say(tab, f"message {number}")
    expect(received.last).to_have_text(re.compile("message 19"))
    expect(received.last).to_be_in_viewport()
    # The log gets smaller when the fields come back.
    tab.get_by_role("button", name="Disconnect").click()
    expect(tab.locator("#log .event").last).to_be_in_viewport()
    expect(jump).to_be_hidden()
    tab.get_by_role("button", name="Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")
    expect(tab.locator("#log .event").last).to_be_in_viewport()

    tab.locator("#log").press("Home")
    expect(received.first).to_be_in_viewport()
    say(tab, "below")
    expect(jump).to_be_visible()
    expect(received.last).not_to_be_in_viewport()
    jump.click()
    expect(received.last).to_be_in_viewport()
    expect(jump).to_be_hidden()


def test_everything_can_be_done_with_the_keyboard(tab: Page, url: str) -> None:
    tab.goto(url)
    expect(tab.get_by_role("button", name="Connect")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("textbox", name="Message")).to_be_focused()
    tab.keyboard.type("no mouse")
    tab.keyboard.press("Enter")
    expect(tab.locator("#log .received .data")).to_have_text("no mouse")
    tab.keyboard.press("Shift+Tab")
    expect(tab.get_by_role("radio", name="Text")).to_be_focused()
    tab.keyboard.press("ArrowRight")
    expect(tab.get_by_role("radio", name="Hex")).to_be_checked()
    tab.keyboard.press("Shift+Tab")
    expect(tab.get_by_role("log")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_control_has_a_name_and_every_text_contrast(tab: Page, url: str, scheme: str) -> None:
    tab.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    connect(tab, url)
    say(tab, "hello")
    expect(tab.locator("#log .received")).to_have_count(1)
    nameless = tab.locator("button, input, textarea").evaluate_all(
        """controls => controls.filter(control => !(control.labels?.length || control.ariaLabel
            || control.textContent.trim())).map(control => control.outerHTML)"""
    )
    assert nameless == []
    low = tab.locator("body").evaluate(CONTRAST)
    assert low == []


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


@pytest.mark.parametrize(
    "size", [(320, 568), (390, 844), (768, 1024), (1920, 1080)], ids=lambda size: f"{size[0]}"
)
def test_the_page_fits_every_screen(tab: Page, url: str, size: tuple[int, int]) -> None:
    tab.set_viewport_size({"width": size[0], "height": size[1]})
    connect(tab, url)
    say(tab, "a-very-long-word-without-a-place-to-break" * 20)
    expect(tab.locator("#log .received")).to_have_count(1)
    assert tab.locator("html").evaluate("html => html.scrollWidth - html.clientWidth") == 0
    expect(tab.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)


def test_the_page_asks_no_other_server_for_anything(context: BrowserContext, url: str) -> None:
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    connect(page, url)
    assert [address for address in asked if not address.startswith("data:")] == [url]
