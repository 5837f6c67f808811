"""everwire.js in a browser: its classes beside the browser's own WebSocket, on the same server."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Program
from interop.hops import NGINX_HEAD
from interop.programs import daemon, find, free_port
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
    assert expected != "takes too long"
    for name, shown in zip(CLASSES, found, strict=True):
        assert shown == expected, name


NGINX = (
    NGINX_HEAD
    + """
    proxy_set_header Host $http_host;
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{behind}; }} }}
    server {{
        listen 127.0.0.1:{buffering};
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_ignore_headers X-Accel-Buffering;
            gzip on;
            gzip_proxied any;
            gzip_http_version 1.0;
            gzip_min_length 0;
            gzip_types *;
        }}
    }}
}}
"""
)
"""As many are configured: nothing passes on what upgrades. The second one also compresses what comes, and so
keeps back what streams."""

TINYPROXY = """
Port {port}
Listen 127.0.0.1
Allow 127.0.0.1
Timeout 60
MaxClients 40
ConnectPort 443
"""
"""A proxy as companies have them: CONNECT, which WebSockets need, is for HTTPS only."""


@contextlib.contextmanager
def nginx(folder: Path, behind: str) -> Iterator[tuple[int, int]]:
    """The ports of proxies in front of a port: one that blocks WebSockets, and one that buffers, too."""
    port, buffering = free_port(), free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(**locals()))
    command = [find("nginx"), "-e", "stderr", "-p", folder, "-c", config]
    with daemon(command, folder / "nginx.log", port=port):
        yield port, buffering


@pytest.fixture(scope="module")
def blocked(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of one peer behind proxies that block WebSockets."""
    with (
        peer() as (_, url),
        nginx(tmp_path_factory.mktemp("nginx"), url.split(":")[-1].rstrip("/")) as (port, buffering),
    ):
        yield {
            "nginx": f"http://127.0.0.1:{port}/",
            "nginx that buffers": f"http://127.0.0.1:{buffering}/",
            "peer": url,
        }


TRY = """async () => {
    const { FallbackWebSocket } = await import("/everwire.js");
    let tried = 0;
    FallbackWebSocket.timeout = 1000;
    FallbackWebSocket.WebSocket = class extends WebSocket {
        constructor(...given) {
            super(...given);
            tried++;
        }
    };
    const found = [];
    for (let i = 0; i < 2; i++) {
        const ws = new FallbackWebSocket("/echo", ["chat.v1"]);
        ws.onopen = () => {
            for (let number = 0; number < 100; number++) ws.send(`${number}`);
        };
        const received = [];
        ws.onmessage = ({ data }) => received.push(Number(data)) === 100 && ws.close(3000, "x");
        const end = await new Promise(resolve => ws.onclose = resolve);
        found.push([ws.transport, ws.protocol, end.code, received.every((each, i) => each === i), tried]);
    }
    return found;
}"""


def outcome(transport: str, *tried: int) -> list[list[object]]:
    """What TRY finds if this transport has worked, after so many WebSockets were tried."""
    return [[transport, "chat.v1", 3000, True, count] for count in tried]


@pytest.mark.parametrize(
    ("proxy", "transport"), [("nginx", "http_stream"), ("nginx that buffers", "long_poll")]
)
def test_behind_a_proxy_that_blocks_websockets(
    tab: Page, blocked: dict[str, str], proxy: str, transport: str
) -> None:
    tab.goto(blocked[proxy])
    assert tab.evaluate(TRY) == outcome(transport, 1, 1)  # what worked is remembered
    tab.reload()
    assert tab.evaluate(TRY) == outcome(transport, 0, 0)  # as long as the tab is open


def test_through_a_proxy_that_blocks_websockets(
    browser: Browser, blocked: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    config = tmp_path / "tinyproxy.conf"
    config.write_text(TINYPROXY.format(port=port))
    with daemon([find("tinyproxy"), "-d", "-c", config], tmp_path / "tinyproxy.log", port=port):
        context = browser.new_context(proxy={"server": f"http://127.0.0.1:{port}", "bypass": "<-loopback>"})
        tab = context.new_page()
        tab.goto(blocked["peer"])
        assert tab.evaluate(TRY) == outcome("http_stream", 1, 1)
        context.close()


def test_where_nothing_is_blocked_it_is_a_websocket(tab: Page, blocked: dict[str, str]) -> None:
    tab.goto(blocked["peer"])
    assert tab.evaluate(TRY) == outcome("websocket", 1, 2)


def test_leaving_the_page_says_going_away(tab: Page) -> None:
    with peer() as (program, url):
        tab.goto(url)
        tab.evaluate(
            """async names => {
                const ours = await import("/everwire.js");
                window.kept = names.map(name => new ours[name](`/left/${name}`));
                await Promise.all(kept.map(ws => new Promise(resolve => ws.onopen = resolve)));
            }""",
            CLASSES,
        )
        tab.goto("about:blank")
        for name in CLASSES:
            ended = program.wait_for(rf'\{{"path": "/left/{name}".*\}}\n')[0]
            assert json.loads(ended)["code"] == 1001


def test_a_restart_of_the_server(tab: Page) -> None:
    """The server stops as it should, or is killed; another one takes its place."""
    port = free_port()
    opening = """async names => {
        const ours = await import("/everwire.js");
        window.ended = Promise.all(names.map(name => new Promise(resolve => {
            const ws = new ours[name]("/echo");
            ws.onclose = ({ code, reason, wasClean }) => resolve([code, reason, wasClean]);
            ws.onopen = () => ws.send("x");
            ws.onmessage = () => window.open++;
        })));
        window.open = 0;
        while (open < names.length) await new Promise(resolve => setTimeout(resolve, 5));
    }"""
    with peer(port) as (program, url):
        tab.goto(url)
        tab.evaluate(opening, CLASSES)
        program.stop()
    assert tab.evaluate("ended") == [[1012, "", True]] * len(CLASSES)
    with peer(port) as (program, _):
        tab.evaluate(opening, CLASSES)
        program.process.kill()
        program.wait()
    with peer(port):
        assert tab.evaluate("ended") == [[1006, "", False]] * len(CLASSES)
        tab.evaluate(opening, CLASSES)
        tab.goto("about:blank")


def test_the_hub_behind_a_proxy_that_blocks_websockets(tab: Page, blocked: dict[str, str]) -> None:
    """A session of the hub's client protocol, cut off while others publish, that gets what it has missed."""
    tab.goto(blocked["nginx"])
    found = tab.evaluate(
        """async () => {
            const { FallbackWebSocket } = await import("/everwire.js");
            const dial = async how => {
                const ws = new FallbackWebSocket(`ws://${location.host}/connection/websocket`);
                await new Promise((resolve, reject) => [ws.onopen, ws.onclose] = [resolve, reject]);
                const queue = [], waiting = [];
                ws.onmessage = ({ data }) => {
                    for (const line of data.split("\\n").map(each => JSON.parse(each)))
                        (waiting.shift() ?? (each => queue.push(each)))(line);
                };
                const next = async () => queue.shift() ?? await new Promise(resolve => waiting.push(resolve));
                const ask = async command => {
                    ws.send(JSON.stringify(command));
                    for (let reply; ;) if ((reply = await next()).id === command.id) return reply;
                };
                await ask({ id: 1, connect: {} });
                const { subscribe } = await ask({ id: 2, subscribe: { channel: "news", ...how } });
                return { ws, ask, subscribe };
            };
            const first = await dial({ recoverable: true }), other = await dial();
            const { epoch, offset = 0 } = first.subscribe;
            first.ws.close();
            for (let id = 3; id < 13; id++) await other.ask({ id, publish: { channel: "news", data: id } });
            const again = await dial({ recover: true, epoch, offset });
            const { recovered, publications } = again.subscribe;
            return [again.ws.transport, recovered, publications.map(({ data }) => data)];
        }"""
    )
    assert found == ["http_stream", True, list(range(3, 13))]
