"""npm's ``centrifuge`` in Chromium, through the classes of everwire.js, also where WebSockets are blocked.

    npm install centrifuge@5
    python tests/browser/centrifuge_js.py node_modules/centrifuge/dist

Each client subscribes to a channel of a hub in which a number is published every ten milliseconds, loses its
connection twice, and must get each number once, in order. It prints a line for each, and fails if one is
wrong.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
KINDS = ("WebSocket", "FallbackWebSocket", "PollingWebSocket", "EventSourceWebSocket", "StreamingWebSocket")
PAGE = b"<!doctype html><script src=/%b></script>"
SCRIPT = """async kind => {
    const ours = await import("/everwire.js"), said = [];
    ours.FallbackWebSocket.timeout = 1000;
    const client = new Centrifuge(`ws://${location.host}/connection/websocket`, {
        websocket: kind === "WebSocket" ? WebSocket : ours[kind], minReconnectDelay: 50,
        maxReconnectDelay: 100,
    });
    const subscription = client.newSubscription("news", { recoverable: true, positioned: true });
    let last = null, count = 0, wrong = 0, live = 0;
    subscription.on("subscribed", ({ wasRecovering, recovered }) => said.push([wasRecovering, recovered]));
    subscription.on("publication", ({ data }) => {
        const { n } = typeof data === "object" && !ArrayBuffer.isView(data) ? data
            : JSON.parse(new TextDecoder().decode(data));
        if (last !== null && n !== last + 1) wrong++;
        last = n;
        count++;
        live = performance.now();
    });
    subscription.subscribe();
    client.connect();
    await subscription.ready(10000);
    for (let cuts = 0; cuts < 2; cuts++) {
        await new Promise(resolve => setTimeout(resolve, 300));
        client._transport._transport.close();
    }
    await new Promise(resolve => setTimeout(resolve, 500));
    const idle = performance.now() - live; // a recovery brings what is missing, and must not be all that does
    const transport = client._transport._transport.transport ?? "websocket";
    const presence = Object.keys((await subscription.presence()).clients).length;
    client.disconnect();
    const recovered = said.slice(1).every(each => each[0] && each[1]);
    return { transport, count, wrong, live: idle < 200, presence, recovered, subscribed: said.length };
}"""


async def serve(port: int, dist: Path) -> None:
    """A hub, and pages with the library for JSON and for Protobuf, until the process is ended."""
    import everwire.asgi

    hub = everwire.Hub(insecure=True)
    hub.namespace("", history=1000, ttl=300, presence=True)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        name = scope.get("path", "")[1:]
        file = dist / name
        if scope["type"] != "http" or not (name in ("json", "protobuf") or (name and file.is_file())):
            await hub(scope, receive, send)
            return
        page = PAGE % (b"centrifuge.js" if name == "json" else b"centrifuge.protobuf.js")
        kind = b"text/javascript" if name.endswith(".js") else b"text/html"
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
        await send(start)
        body = file.read_bytes() if name.endswith(".js") else page
        await send({"type": "http.response.body", "body": body})

    async with everwire.asgi.serve(app, "127.0.0.1", port, access_log=False, close_timeout=1.0):
        print("serving", flush=True)
        number = 0
        while True:
            await asyncio.sleep(0.01)
            number += 1
            await hub.publish("news", {"n": number})


def main(dist: Path) -> int:
    """Run every class with both formats, directly and behind nginx; return the exit code."""
    sys.path.insert(0, str(TESTS))
    from browser.conftest import ARGUMENTS, NAMES
    from browser.test_everwire_js import nginx
    from commands import Program
    from interop.programs import free_port
    from playwright.sync_api import sync_playwright

    behind, failed = free_port(), 0
    with (
        tempfile.TemporaryDirectory() as folder,
        Program([sys.executable, __file__, "--serve", str(behind), dist]) as program,
        nginx(Path(folder), str(behind)) as (blocking, buffering),
        sync_playwright() as playwright,
    ):
        program.wait_for("serving")
        path = next(filter(None, map(shutil.which, NAMES)))
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS, chromium_sandbox=False)
        for where, port, kinds in (
            ("direct", behind, KINDS),
            ("nginx", blocking, KINDS[1:]),
            ("nginx that buffers", buffering, KINDS[1:3]),
        ):
            for wire in ("json", "protobuf"):
                for kind in kinds:
                    tab = browser.new_page()
                    tab.goto(f"http://127.0.0.1:{port}/{wire}")
                    found = tab.evaluate(SCRIPT, kind)
                    good = found["recovered"] and not found["wrong"] and found["count"] > 20
                    good = good and found["live"] and found["subscribed"] == 3 and found["presence"] == 1
                    failed += not good
                    print("ok  " if good else "FAIL", where, wire, kind, found, flush=True)
                    tab.close()
        browser.close()
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        asyncio.run(serve(int(sys.argv[2]), Path(sys.argv[3])))
    sys.exit(main(Path(sys.argv[1]).resolve()))
