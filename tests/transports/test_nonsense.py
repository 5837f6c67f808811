"""Whatever comes, a hub's application answers or ends it, and serves the next."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transports.sites import open_hub

from everwire.transports.asgi import ENDPOINTS

commands = st.sampled_from(
    [
        b'{"id":1,"connect":{}}',
        b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}',
        b'{"id":1,"connect":{"token":"x.y.z"}}',
        b'{"subs":{"news":{"recover":true,"offset":18446744073709551615,"epoch":"x"}}}',
        b'{"session":"x","node":"","data":"{}"}',
        b"\x04\x08\x01\x22\x00",
        b"{}",
        b"null",
        b"[" * 2000,
    ]
)
bodies = st.one_of(commands, st.binary(max_size=200))
queries = st.one_of(
    st.just(b""),
    bodies.map(lambda body: b"cf_connect=" + quote(body).encode()),
    st.binary(max_size=40).map(lambda data: b"since=" + quote(data).encode() + b"&token=%ff"),
    st.text(max_size=40).map(lambda text: quote(text, safe="&=").encode()),
)
right = st.sampled_from(
    [(method, endpoint.name) for endpoint in ENDPOINTS for method in endpoint.methods or ("GET",)]
).map(lambda pair: (pair[0], pair[1] + "/news" if pair[1] == "/raw" else pair[1]))
wrong = st.tuples(
    st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "PUT", "NONSENSE"]),
    st.one_of(
        st.sampled_from([endpoint.name for endpoint in ENDPOINTS]).flatmap(
            lambda name: st.sampled_from([name, "/connection" + name, name + "/", name + "/x", "/x" + name])
        ),
        st.text(max_size=20).map(lambda text: "/" + text),
    ),
)
"""Methods and paths."""
headers = st.lists(
    st.tuples(
        st.sampled_from([b"content-type", b"origin", b"host", b"last-event-id", b"sec-fetch-site", b"x"]),
        st.one_of(
            st.sampled_from([b"application/octet-stream", b"http://a.example", b"null", b"5,x"]),
            st.binary(max_size=20),
        ),
    ),
    max_size=4,
)


class Exchange:
    """A request that is over when its body was read: the client has gone then."""

    def __init__(self, kind: str, body: bytes) -> None:
        first = {"type": "websocket.connect"} if kind == "websocket" else None
        self.events: list[dict[str, Any]] = [first] if first else []
        if kind == "websocket":
            self.events.append({"type": "websocket.receive", "bytes": body})
            self.events.append({"type": "websocket.receive", "text": body.decode("latin-1")})
            self.events.append({"type": "websocket.disconnect", "code": 1006})
        else:
            self.events.append({"type": "http.request", "body": body, "more_body": False})
            self.events.append({"type": "http.disconnect"})
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        # What was sent before has its effects first.
        for _ in range(5):
            await asyncio.sleep(0)
        return self.events.pop(0) if len(self.events) > 1 else self.events[0]

    async def send(self, event: dict[str, Any]) -> None:
        self.sent.append(event)


def test_nothing_that_comes_is_a_surprise(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    hub = open_hub(origins=None)
    loop.run_until_complete(hub.start())
    seen: set[int] = set()

    @settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(["http", "http", "websocket"]), st.one_of(right, wrong), queries, headers, bodies)
    def check(
        kind: str, where: tuple[str, str], query: bytes, fields: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        method, path = where
        exchange = Exchange(kind, body)
        scope = {"type": kind, "path": path, "query_string": query, "headers": fields}
        if kind == "http":
            scope["method"] = method
        else:
            scope["subprotocols"] = ["centrifuge-protobuf"] if b"\x04" in body else []
        loop.run_until_complete(asyncio.wait_for(hub(scope, exchange.receive, exchange.send), timeout=5))
        starts = [event for event in exchange.sent if event["type"].endswith("start")]
        assert len(starts) <= 1
        assert all(200 <= event["status"] < 500 for event in starts)
        seen.update(event["status"] for event in starts)
        if kind == "http":
            assert exchange.sent, "it was answered"

    try:
        with caplog.at_level(logging.WARNING):
            check()
        assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
        assert hub.info().clients == 0
        assert {200, 400, 404, 405} <= seen, "the requests are too much alike"
    finally:
        loop.run_until_complete(hub.close())
        loop.close()
