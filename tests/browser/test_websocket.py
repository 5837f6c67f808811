"""A browser's own WebSocket against everwire: messages, subprotocols, compression, closing, origins."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Program
from playwright.sync_api import BrowserContext, Page

PEER = Path(__file__).with_name("peer.py")

# What every test's script may use: dial() opens a WebSocket with promises of its next message and of its end.
HELPERS = """
window.dial = (path, protocols) => new Promise((resolve, reject) => {
    const ws = new WebSocket(path.includes("://") ? path : `ws://${location.host}${path}`, protocols ?? []);
    ws.binaryType = "arraybuffer";
    const queue = [], waiting = [], later = () => new Promise(resolve => waiting.push(resolve));
    ws.onmessage = ({data}) => waiting.length ? waiting.shift()(data) : queue.push(data);
    ws.next = async () => queue.length ? queue.shift() : await later();
    ws.ended = new Promise(resolve => {
        ws.onclose = ({code, reason, wasClean}) => resolve({code, reason, wasClean});
    });
    ws.onopen = () => resolve(ws);
    ws.onerror = () => reject(new Error("refused"));
});
"""


@contextlib.contextmanager
def peer(compression: str = "deflate") -> Iterator[tuple[Program, str]]:
    """The peer, and the address of its page."""
    with Program([sys.executable, PEER, compression]) as program:
        port = program.wait_for(r"port (\d+)\n")[1]
        yield program, f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Program, str]]:
    """A peer that negotiates compression, for all tests that leave it running."""
    with peer() as found:
        yield found


names = map("{:03}".format, itertools.count())
"""What a connection can be told by, in paths and in what the peer prints."""


@pytest.fixture
def page(tab: Page, server: tuple[Program, str]) -> Page:
    """The peer's page, with the helpers."""
    return prepared(tab, server[1])


def prepared(tab: Page, url: str) -> Page:
    tab.add_init_script(HELPERS)
    tab.goto(url)
    return tab


def ending(program: Program, path: str) -> dict[str, Any]:
    """How the peer saw the connection of this path end."""
    line = program.wait_for(rf'\{{"path": "{path}".*\}}\n')[0]
    ended: dict[str, Any] = json.loads(line)
    return ended


@pytest.mark.parametrize(
    "message",
    ["", "hello", "Grüße, 你好, 👋🏽 🎉", "\u0000\u007f\u0080\u07ff\u0800\uffff\U0010ffff"],
    ids=repr,
)
def test_text(page: Page, message: str) -> None:
    script = "async message => { const ws = await dial('/echo'); ws.send(message); return await ws.next(); }"
    assert page.evaluate(script, message) == message


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 100_000])
def test_binary_at_every_size_of_a_frame_header(page: Page, length: int) -> None:
    equal = page.evaluate(
        """async length => {
            const ws = await dial("/echo");
            const sent = Uint8Array.from({length}, (_, index) => index * 7 + (index >> 8));
            ws.send(sent);
            const received = new Uint8Array(await ws.next());
            return received.length === length && sent.every((byte, index) => byte === received[index]);
        }""",
        length,
    )
    assert equal is True


def test_a_blob(page: Page) -> None:
    received = page.evaluate(
        """async () => {
            const ws = await dial("/echo");
            ws.binaryType = "blob";
            ws.send(new Blob(["one", " ", "two"]));
            return await (await ws.next()).text();
        }"""
    )
    assert received == "one two"


@pytest.mark.parametrize(("kind", "mib"), [("random", 16), ("zeros", 16), ("text", 16), ("random", 64)])
def test_large_messages(page: Page, kind: str, mib: int) -> None:
    equal = page.evaluate(
        """async ([kind, mib]) => {
            const size = mib * 1024 * 1024, bytes = new Uint8Array(size);
            for (let at = 0; kind === "random" && at < size; at += 65536)
                crypto.getRandomValues(bytes.subarray(at, at + 65536));
            const sent = kind === "text" ? "0123456789abcdef".repeat(size / 16) : bytes;
            const ws = await dial("/echo");
            ws.send(sent);
            const data = await ws.next();
            if (kind === "text") return data === sent;
            const received = new Uint8Array(data);
            return received.length === size && bytes.every((byte, index) => byte === received[index]);
        }""",
        [kind, mib],
    )
    assert equal is True


def test_many_messages_stay_in_order(page: Page) -> None:
    received = page.evaluate(
        """async () => {
            const ws = await dial("/echo"), received = [];
            for (let i = 0; i < 5000; i++) ws.send(i % 2 ? `${i}` : new TextEncoder().encode(`${i}`));
            for (let i = 0; i < 5000; i++) {
                const data = await ws.next();
                if ((typeof data === "string") !== Boolean(i % 2)) return `${i} changed its kind`;
                received.push(Number(typeof data === "string" ? data : new TextDecoder().decode(data)));
            }
            return received;
        }"""
    )
    assert received == list(range(5000))


def test_the_server_speaks_first_and_at_length(page: Page) -> None:
    received = page.evaluate(
        """async () => {
            const ws = await dial("/count?to=3000"), received = [];
            for (let i = 0; i < 3000; i++) received.push(Number(await ws.next()));
            return received;
        }"""
    )
    assert received == list(range(3000))


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], ""),
        (["chat.v1"], "chat.v1"),
        (["chat.v0", "other", "chat.v1"], "chat.v1"),
        (["other", "chat.v0"], "chat.v0"),
    ],
)
def test_the_subprotocol_is_negotiated(page: Page, offered: list[str], chosen: str) -> None:
    assert page.evaluate("async offered => (await dial('/echo', offered)).protocol", offered) == chosen


def test_a_browser_wants_one_of_its_subprotocols(page: Page) -> None:
    script = "dial('/echo', ['other']).then(() => 'opened', error => error.message)"
    assert page.evaluate(script) == "refused"


def test_compression_is_negotiated(page: Page) -> None:
    extensions = page.evaluate("dial('/echo').then(ws => ws.extensions)")
    assert extensions.startswith("permessage-deflate")


def test_compressed_messages(page: Page) -> None:
    equal = page.evaluate(
        """async () => {
            const ws = await dial("/echo");
            for (const size of [1, 63, 64, 65, 1000, 40_000, 1_000_000]) {
                for (const unit of ["a", "abcdefghij", "größer 🎉 "]) {
                    const sent = unit.repeat(size / unit.length + 1);
                    ws.send(sent);
                    if (await ws.next() !== sent) return `${unit} ${size}`;
                }
            }
            return true;
        }"""
    )
    assert equal is True


def test_without_compression(tab: Page) -> None:
    with peer("none") as (_, url):
        page = prepared(tab, url)
        found = page.evaluate(
            """async () => {
                const ws = await dial("/echo"), sent = "plain ".repeat(10_000);
                ws.send(sent);
                return [ws.extensions, await ws.next() === sent];
            }"""
        )
        page.goto("about:blank")
    assert found == ["", True]


def test_the_browser_answers_pings(page: Page) -> None:
    assert page.evaluate("async () => (await dial('/ping')).next()").startswith("answered after 0.")


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "done"), (1011, "broken"), (3000, "r"), (4999, "adiós, 再见 👋")]
)
def test_the_server_closes(page: Page, server: tuple[Program, str], code: int, reason: str) -> None:
    path = f"/close/{next(names)}"
    ended = page.evaluate(
        """async ([path, code, reason]) => {
            const ws = await dial(`${path}?code=${code}&reason=${encodeURIComponent(reason)}`);
            return await ws.ended;
        }""",
        [path, code, reason],
    )
    assert ended == {"code": code, "reason": reason, "wasClean": True}
    assert ending(server[0], path)["code"] == code


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ([], 1005, ""),
        ([1000], 1000, ""),
        ([1000, "done"], 1000, "done"),
        ([4999, "adiós, 再见 👋"], 4999, "adiós, 再见 👋"),
    ],
)
def test_the_browser_closes(
    page: Page, server: tuple[Program, str], arguments: list[Any], code: int, reason: str
) -> None:
    path = f"/bye/{next(names)}"
    ended = page.evaluate(
        """async ([path, arguments]) => {
            const ws = await dial(path);
            ws.send("the last word");
            await ws.next();
            ws.close(...arguments);
            return await ws.ended;
        }""",
        [path, arguments],
    )
    # The browser tells its page what the server answered: the same code; the reason need not come back.
    assert (ended["code"], ended["wasClean"]) == (code, True)
    seen = ending(server[0], path)
    assert (seen["code"], seen["reason"]) == (code, reason)


def test_leaving_the_page_says_going_away(page: Page, server: tuple[Program, str]) -> None:
    page.evaluate("async () => { window.kept = await dial('/left'); }")
    page.goto("about:blank")
    assert ending(server[0], "/left")["code"] == 1001


def test_a_server_that_dies_is_an_abnormal_closure(tab: Page) -> None:
    with peer() as (program, url):
        page = prepared(tab, url)
        page.evaluate("async () => { window.kept = await dial('/echo'); }")
        program.process.kill()
    assert page.evaluate("kept.ended") == {"code": 1006, "reason": "", "wasClean": False}


def test_a_page_of_another_origin_is_refused(context: BrowserContext, server: tuple[Program, str]) -> None:
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    with peer() as (_, other):
        target = server[1].replace("http:", "ws:") + "echo"
        prepared(page, other)
        assert (
            page.evaluate("url => dial(url).then(() => 'opened', error => error.message)", target)
            == "refused"
        )
        # Its own server takes it, so it was not the page's fault.
        assert page.evaluate("dial('/echo').then(() => 'opened')") == "opened"
        page.close()
    assert [text for text in said if "403" in text], said
