"""Unidirectional transports: pushes without replies, for clients that only listen."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from conftest import Run
from live import until
from transports.clients import events
from transports.sites import Site, open_hub, site

import everwire
from everwire.channels.context import Credentials
from everwire.errors import ConnectionClosed

pytestmark = pytest.mark.loops("asyncio")

KINDS = ("uni_sse", "uni_sse-post", "uni_http_stream", "uni_websocket", "uni_websocket-message")
each_kind = pytest.mark.parametrize("kind", KINDS)
each_server = pytest.mark.parametrize("where", ["everwire", "uvicorn"])


class Listening:
    """A client: its pushes, one after the other."""

    def __init__(self, kind: str, site: Site, request: str) -> None:
        self.kind = kind
        self.site = site
        self.request = request

    async def __aenter__(self) -> Listening:
        url = self.site.url("/" + self.kind.partition("-")[0])
        if "websocket" in self.kind:
            url = url.replace("http", "ws", 1)
            given = str(httpx.QueryParams({"cf_connect": self.request}))
            self.ws = await everwire.connect(url if "message" in self.kind else f"{url}?{given}", proxy=None)
            if "message" in self.kind:
                await self.ws.send(self.request)
            return self
        self.http = httpx.AsyncClient(timeout=10, trust_env=False)
        get = self.kind == "uni_sse"
        self.stream: Any = self.http.stream(
            "GET" if get else "POST",
            url,
            params={"cf_connect": self.request} if get else None,
            content=None if get else self.request,
        )
        response = await self.stream.__aenter__()
        assert response.status_code == 200
        self.parts = events(response.aiter_bytes()) if "sse" in self.kind else response.aiter_lines()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        if "websocket" in self.kind:
            await self.ws.close()
        else:
            await self.stream.__aexit__(*exc)
            await self.http.aclose()

    async def push(self) -> dict[str, Any]:
        """Wait for a push."""
        if "websocket" in self.kind:
            part: Any = await self.ws.recv()
        else:
            part = await anext(self.parts)
        push: dict[str, Any] = json.loads(part["data"] if isinstance(part, dict) else part)
        return push


@each_server
@each_kind
def test_pushes_come_without_replies_around_them(run: Run, kind: str, where: str) -> None:
    async def main() -> None:
        hub = open_hub()

        @hub.on_connect
        async def connect(ctx: Any) -> Credentials:
            return Credentials(user=ctx.data["user"], channels=["news"])

        request = json.dumps({"data": {"user": "ann"}, "name": "test"})
        async with site(where, hub) as place, Listening(kind, place, request) as one:
            connected = (await one.push())["connect"]
            assert connected["client"] and "news" in connected["subs"]
            assert "pong" not in connected
            await hub.publish("news", {"n": 1})
            push = await one.push()
            assert push["channel"] == "news" and push["pub"]["data"] == {"n": 1}
            await hub.disconnect("ann", code=4500, reason="go away")
            push = await one.push()
            assert push["disconnect"] == {"code": 4500, "reason": "go away"}
            if "websocket" in kind:
                with pytest.raises(ConnectionClosed) as closed:
                    await one.push()
                assert closed.value.code == 4500
            await until(lambda: hub.info().clients == 0)

    run(main)


@each_kind
def test_who_comes_back_recovers(run: Run, kind: str) -> None:
    async def main() -> None:
        hub = open_hub()
        async with site("everwire", hub) as place:
            async with Listening(kind, place, '{"subs":{"news":{}}}') as one:
                epoch = (await one.push())["connect"]["subs"]["news"]["epoch"]
            for value in range(3):
                await hub.publish("news", value)
            position = {"recover": True, "epoch": epoch, "offset": 1}
            async with Listening(kind, place, json.dumps({"subs": {"news": position}})) as one:
                again = (await one.push())["connect"]["subs"]["news"]
                assert again["recovered"] and [each["data"] for each in again["publications"]] == [1, 2]

    run(main)


def test_nonsense_in_place_of_the_connect_request_ends_it(run: Run) -> None:
    async def main() -> None:
        async with (
            site("everwire", open_hub()) as place,
            everwire.connect(place.url("/uni_websocket", "ws"), proxy=None) as ws,
        ):
            await ws.send("{nonsense")
            assert json.loads(await ws.recv())["disconnect"]["code"] == 3501
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.code == 3501

    run(main)
