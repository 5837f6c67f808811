"""The page of ``everwire serve``: what it sends, and how it shows what comes."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from browser.playground import box, burst, button, choose, connect, count, rows, say
from playwright.sync_api import Locator, Page, expect


def details(tab: Page) -> Locator:
    return tab.get_by_role("tabpanel", name="Details")


def png(width: int, height: int) -> bytes:
    """A PNG image, all of one colour (RFC 2083)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = (b"\0" + b"\x0d\x76\x6e" * width) * height
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


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
    for figure in ("p50", "p95", "max"):
        expect(tab.locator(f"#{figure}")).to_have_text(received.locator(".rtt").inner_text())
    expect(tab.get_by_role("img", name=re.compile("^1 round trips"))).to_be_visible()
    expect(box(tab)).to_be_empty()


def test_binary_is_typed_and_shown_as_hex(tab: Page, url: str) -> None:
    connect(tab, url)
    choose(tab, "Hex")
    say(tab, "68 65 6C 6c6f 00 0xff")
    expect(tab.locator("#log .received.binary .data")).to_have_text("68 65 6c 6c 6f 00 ff  hello··")
    expect(tab.locator("#log .received.binary .size")).to_have_text("7 B")
    tab.locator("#log .received").click()
    expect(details(tab).locator("pre")).to_have_text(re.compile(r"^0000  68 65 6c 6c 6f 00 ff +hello··$"))


def test_what_is_no_hex_is_explained_and_not_sent(tab: Page, url: str) -> None:
    connect(tab, url)
    choose(tab, "Hex")
    for wrong in ("hello", "68 6"):
        say(tab, wrong)
        expect(box(tab)).to_have_attribute("aria-invalid", "true")
        expect(tab.locator("#hint")).to_contain_text("hex digits", ignore_case=True)
        expect(box(tab)).to_have_value(wrong)
        assert rows(tab, "sent") == []
    say(tab, "0x")  # no digits: an empty message, which is one
    expect(tab.locator("#log .received .data")).to_contain_text("empty binary message")


def test_json_is_checked_formatted_and_folded(tab: Page, url: str) -> None:
    connect(tab, url)
    choose(tab, "JSON")
    say(tab, '{"a": [1, 2}')
    expect(tab.locator("#hint")).to_contain_text("This is no JSON")
    assert rows(tab, "sent") == []
    box(tab).fill('{"a": [1, {"b": null}], "c": "<b>"}')
    button(tab, "Format").click()
    expect(box(tab)).to_have_value(
        '{\n  "a": [\n    1,\n    {\n      "b": null\n    }\n  ],\n  "c": "<b>"\n}'
    )
    box(tab).press("Enter")  # a new line: JSON has several
    assert rows(tab, "sent") == []
    box(tab).press("Control+Enter")
    tab.locator("#log .received").click()
    tree = details(tab).locator(".tree")
    expect(tree.locator(".string")).to_have_text('"<b>"')
    expect(tree.locator("summary", has_text='"a": [ 2 ]')).to_be_visible()
    expect(tree.locator(".number")).to_have_count(0)
    tree.locator("summary", has_text='"a"').click()
    expect(tree.locator(".number")).to_have_text("1")
    button(tab, "Raw").click()
    expect(details(tab).locator("pre")).to_contain_text('"b": null')


def test_a_message_is_shown_as_text_and_never_as_markup(tab: Page, url: str) -> None:
    connect(tab, url)
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script><b>bold</b>"
    say(tab, markup)
    expect(tab.locator("#log .received .data")).to_have_text(markup)
    tab.locator("#log .received").click()
    expect(details(tab).locator("pre")).to_have_text(markup)
    assert tab.locator("#log, #details").locator("img, script, b").count() == 0


def test_several_lines(tab: Page, url: str) -> None:
    connect(tab, url)
    box(tab).press_sequentially("one")
    box(tab).press("Shift+Enter")
    box(tab).press_sequentially("two")
    box(tab).press("Enter")
    tab.locator("#log .received").click()
    expect(details(tab).locator("pre")).to_have_text("one\ntwo", use_inner_text=True)


def test_what_was_sent_can_be_brought_back(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, "first")
    say(tab, "second")
    box(tab).press("ArrowUp")
    expect(box(tab)).to_have_value("second")
    box(tab).press("ArrowUp")
    expect(box(tab)).to_have_value("first")
    box(tab).press("ArrowDown")
    box(tab).press("Enter")
    expect(tab.locator("#log .received .data")).to_have_text(["first", "second", "second"])


@pytest.mark.parametrize("kind", ["arraybuffer", "blob"])
def test_a_file_is_sent_and_an_image_shown(tab: Page, url: str, kind: str) -> None:
    tab.goto(url)
    tab.get_by_label("Binary as").select_option(kind)
    button(tab, "Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")
    choose(tab, "File")
    button(tab, "Send").click()
    expect(tab.locator("#hint")).to_have_text("Choose a file first, or drop one here.")
    image = png(40, 20)
    tab.locator("#file").set_input_files({"name": "green.png", "mimeType": "image/png", "buffer": image})
    expect(tab.locator("#file-name")).to_have_text(f"green.png · {len(image)} B · image/png")
    button(tab, "Send").click()
    expect(tab.locator("#log .sent .data")).to_contain_text("green.png")
    received = tab.locator("#log .received.binary")
    expect(received.locator(".size")).to_have_text(f"{len(image)} B")
    received.click()
    expect(details(tab).get_by_text("image/png, 40 \N{MULTIPLICATION SIGN} 20 pixels")).to_be_visible()
    pixel = (
        details(tab)
        .get_by_role("img")
        .evaluate("canvas => [...canvas.getContext('2d').getImageData(5, 5, 1, 1).data]")
    )
    assert pixel == [0x0D, 0x76, 0x6E, 255]
    button(tab, "Hex").click()
    expect(details(tab).locator("pre")).to_contain_text("0000  89 50 4e 47")
    with tab.expect_download() as download:
        button(tab, "Save").click()
    assert Path(download.value.path()).read_bytes() == image


def test_what_only_begins_like_an_image_is_no_harm(tab: Page, url: str) -> None:
    connect(tab, url)
    choose(tab, "Hex")
    say(tab, "89 50 4e 47 0d 0a 1a 0a 00 01")
    tab.locator("#log .received").click()
    expect(details(tab).get_by_text("none that this browser can read")).to_be_visible()


def test_a_file_can_be_dropped(tab: Page, url: str) -> None:
    connect(tab, url)
    tab.evaluate(
        """() => {
            const files = new DataTransfer();
            files.items.add(new File(["dropped bytes"], "note.txt", {type: "text/plain"}));
            const options = {dataTransfer: files, bubbles: true, cancelable: true};
            document.body.dispatchEvent(new DragEvent("dragover", options));
            document.body.dispatchEvent(new DragEvent("drop", options));
        }"""
    )
    expect(tab.get_by_role("radio", name="File")).to_be_checked()
    expect(tab.locator("#file-name")).to_have_text("note.txt · 13 B · text/plain")
    button(tab, "Send").click()
    expect(tab.locator("#log .received.binary .data")).to_contain_text("dropped bytes")


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_a_burst_is_counted_exactly(tab: Page, url: str, binary: bool) -> None:
    connect(tab, url)
    burst(tab, count=5000, size=100, binary=binary)
    expect(tab.locator("#received")).to_have_text("5,000 · 488 KiB")
    expect(tab.locator("#sent")).to_have_text("5,000 · 488 KiB")
    expect(tab.locator("#hint")).to_contain_text("5,000 of 5,000 sent")
    expect(button(tab, "Send")).to_be_enabled()
    # Every one of them came back, and only the rows in view are elements.
    expect(tab.get_by_role("img", name=re.compile("^[\\d,]+ round trips"))).to_be_visible()
    last = tab.locator("#log .received").last
    expect(last).to_be_in_viewport()
    expect(last).to_have_attribute("aria-setsize", "10001")
    assert tab.locator("#log .row").count() < 60


def test_a_burst_keeps_its_pace_and_can_be_stopped(tab: Page, url: str) -> None:
    connect(tab, url)
    burst(tab, count=100_000, interval=1)
    expect(tab.locator("#sent")).to_have_text(re.compile(r"^\d{3,} · "))
    expect(tab.get_by_role("progressbar", name="Burst")).to_be_visible()
    button(tab, "Stop").click()
    expect(tab.locator("#hint")).to_contain_text("stopped")
    sent = count(tab, "sent")
    assert 0 < sent < 100_000
    expect(tab.locator("#received")).to_have_text(re.compile(f"^{sent:,} · "))


def test_a_burst_over_the_limits_is_not_begun(tab: Page, url: str) -> None:
    connect(tab, url)
    burst(tab, count=2_000_000)
    expect(tab.get_by_role("button", name="Stop")).to_have_count(0)
    assert count(tab, "sent") == 0


def test_a_burst_ends_with_its_connection(tab: Page, url: str) -> None:
    connect(tab, url)
    burst(tab, count=100_000, interval=1)
    button(tab, "Disconnect").click()
    expect(tab.get_by_role("status")).to_have_text("Not connected")
    expect(tab.locator("#hint")).to_contain_text("stopped")


def test_the_filter_shows_what_matches(tab: Page, url: str) -> None:
    connect(tab, url)
    for message in ("apple", "banana", "Apple pie"):
        say(tab, message)
        expect(tab.locator("#log .received", has_text=message).first).to_be_visible()
    tab.get_by_label("Filter messages").fill("APPLE")
    expect(tab.locator("#log .data")).to_have_text(["apple", "apple", "Apple pie", "Apple pie"])
    tab.get_by_label("Kinds shown").select_option("received")
    expect(tab.locator("#log .data")).to_have_text(["apple", "Apple pie"])
    say(tab, "pineapple")  # while it is on
    expect(tab.locator("#log .data")).to_have_text(["apple", "Apple pie", "pineapple"])
    tab.get_by_label("Filter messages").fill("cherry")
    expect(tab.get_by_text("Nothing matches the filter.")).to_be_visible()


def test_a_pause_holds_the_list_and_counts_on(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, "before")
    expect(tab.locator("#log .received")).to_have_count(1)
    button(tab, "Pause").click()
    say(tab, "during")
    expect(tab.locator("#received")).to_have_text(re.compile("^2 · "))
    expect(tab.locator("#behind")).to_have_text("2 new")
    assert rows(tab, "received") == ["before"]
    button(tab, "Resume").click()
    expect(tab.locator("#log .received .data")).to_have_text(["before", "during"])


def test_clear_removes_the_messages_and_the_counts(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, "hello")
    expect(tab.locator("#log .received")).to_have_count(1)
    button(tab, "Clear").click()
    expect(tab.locator("#log .row")).to_have_count(0)
    expect(tab.locator("#sent")).to_have_text("0")
    expect(tab.locator("#p50")).to_have_text("\N{EN DASH}")
    say(tab, "again")
    expect(tab.locator("#received")).to_have_text("1 · 5 B")


def test_messages_are_exported_as_json(tab: Page, url: str) -> None:
    connect(tab, url)
    say(tab, "héllo")
    choose(tab, "Hex")
    say(tab, "00 ff")
    expect(tab.locator("#received")).to_have_text(re.compile("^2 · "))
    with tab.expect_download() as download:
        button(tab, "Export").click()
    exported: dict[str, Any] = json.loads(Path(download.value.path()).read_text())
    event, *messages = exported["messages"]
    assert event["event"].startswith("Connected to ws://")
    brief = sorted(
        (each["direction"], each.get("text"), each.get("hex")) for each in messages if "text" in each
    )
    assert brief == [("received", "héllo", None), ("sent", "héllo", None)]
    assert [each["hex"] for each in messages if "hex" in each] == ["00ff", "00ff"]
    assert exported["totals"]["received"] == {"count": 2, "size": 8}


def test_the_newest_message_is_in_view_until_one_scrolls_up(tab: Page, url: str) -> None:
    tab.set_viewport_size({"width": 390, "height": 700})
    connect(tab, url)
    received, jump = tab.locator("#log .received"), button(tab, "Newest messages")
    burst(tab, count=20)
    expect(received.last).to_contain_text("19 abc")
    expect(received.last).to_be_in_viewport()
    # The list gets smaller when the fields come back.
    button(tab, "Disconnect").click()
    expect(tab.locator("#log .event").last).to_contain_text("Closed")
    expect(jump).to_be_hidden()
    button(tab, "Connect").click()
    expect(tab.get_by_role("status")).to_have_text("Connected")

    button(tab, "Send").click()
    expect(received.last).to_contain_text("19 abc")
    tab.locator("#log").hover()
    tab.mouse.wheel(0, -400)
    expect(jump).to_be_visible()
    choose(tab, "Text")
    say(tab, "below")
    expect(tab.locator("#received")).to_have_text(re.compile("^21 · "))
    expect(received.filter(has_text="below")).to_have_count(0)
    jump.click()
    expect(received.last).to_contain_text("below")
    expect(jump).to_be_hidden()
