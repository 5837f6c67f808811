"""Requests of one session that come to different nodes: no transport needs its client to stay with one."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from channels.bus import acquainted, nodes
from conftest import Run
from live import until
from msgspec import Raw
from transports import tunnels
from transports.clients import KINDS, client
from transports.sites import Site, site
from transports.tunnels import take_apart

import everwire
from everwire.transports.tunnel import places
from everwire.transports.tunnel.records import CLOSE, TEXT, Record, close_record
from everwire.wire.messages import Command, PresenceRequest, PublishRequest, RPCRequest

pytestmark = pytest.mark.loops("asyncio")


class Alternating(Site):
    """Several sites, of which each request is for another one."""

    def __init__(self, sites: list[Site]) -> None:
        self.sites = sites
        self._sites = itertools.cycle(sites)
        self.prefix = sites[0].prefix

    def url(self, path: str, scheme: str = "http") -> str:
        return next(self._sites).url(path, scheme)

    @property
    def port(self) -> int:
        return next(self._sites).port


@asynccontextmanager
async def two(**options: Any) -> AsyncIterator[tuple[list[Any], Alternating]]:
    """Two nodes, each served by itself."""
    async with (
        nodes(2, kind=everwire.Hub, **options) as hubs,
        site("everwire", hubs[0]) as one,
        site("everwire", hubs[1]) as other,
    ):
        for hub in hubs:
            hub.namespace("room", history=20, presence=True)
        yield hubs, Alternating([one, other])


def number(publication: Any) -> int:
    return int(json.loads(bytes(publication.data)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_whose_requests_come_to_both(run: Run, kind: str) -> None:
    async def main() -> None:
        async with two() as (hubs, place):
            for hub in hubs:

                @hub.rpc("double")
                async def double(ctx: Any, data: int) -> int:
                    return 2 * data

            async with client(kind, place) as one, client(kind, place) as other:
                _, subscribed = await one.start("room:a")
                await other.start()
                for value in range(20):
                    answer = await one.ask(rpc=RPCRequest(method="double", data=Raw(b"%d" % value)))
                    assert answer.rpc is not None and bytes(answer.rpc.data) == b"%d" % (2 * value)
                await other.ask(publish=PublishRequest(channel="room:a", data=Raw(b"1")))
                assert number(await one.publication()) == 1
                answer = await one.ask(presence=PresenceRequest(channel="room:a"))
                assert answer.presence is not None and len(answer.presence.presence) == 1
                for value in range(2, 20):
                    await hubs[value % 2].publish("room:a", value)
                assert [number(await one.publication()) for _ in range(18)] == list(range(2, 20))
                await one.cut()
            await until(lambda: not any(hub.info().subscriptions for hub in hubs))
            await hubs[0].publish("room:a", 20)
            async with client(kind, place) as one:
                epoch = subscribed.subscribe.epoch
                _, again = await one.start("room:a", recover=True, epoch=epoch, offset=18)
                assert again.subscribe.recovered
                assert [number(each) for each in again.subscribe.publications] == [19, 20]

    run(main)


def test_emulated_commands_for_what_is_gone_or_silent(run: Run, caplog: Any) -> None:
    async def main() -> None:
        async with two(node_info_interval=0.3) as ((one, other), place), client("sse-json", place) as peer:
            await peer.start()
            home = next(hub for hub in (one, other) if hub.info().clients)
            away = other if home is one else one
            frame = peer.codec.encode_commands((Command(id=5, rpc=RPCRequest(method="x", data=Raw(b"1"))),))
            both = 2  # requests alternate, so each of two is for another node
            for _ in range(both):
                assert (await peer.post("no such session", frame)).status_code == 404
                assert (await peer.post(peer.session, frame, node="no such node")).status_code == 404
            session = home.find_session(peer.session)
            assert session is not None and not session.is_closed
            # The other node cannot reach it: one of two requests does.
            home.engine.mute.add(away.node)
            away.engine.cut()
            statuses = {(await peer.post(peer.session, frame)).status_code for _ in range(both)}
            assert statuses == {204, 503}
            away.engine.mend()
            await until(lambda: home.node not in away.cluster.members)
            statuses = {(await peer.post(peer.session, frame)).status_code for _ in range(both)}
            assert statuses == {204, 404}
            assert {(await peer.reply()).id for _ in range(2)} == {5}

    run(main)
    caplog.clear()


# Tunnels


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Sends back what comes."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        if event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "so"})
        else:
            await send(
                {"type": "websocket.send", **{key: event[key] for key in ("text", "bytes") if key in event}}
            )


@asynccontextmanager
async def tunnel(
    peers: list[Any], **options: Any
) -> AsyncIterator[tuple[tunnels.Client, httpx.AsyncClient, httpx.AsyncClient]]:
    """A tunnel that is at the first of two nodes, and clients of HTTP for both."""
    async with (
        tunnels.serving("everwire", app, peers=peers[0].cluster, **options) as (_, first),
        tunnels.serving("everwire", app, peers=peers[1].cluster, **options) as (_, second),
        tunnels.browsing(first) as near,
        tunnels.browsing(second) as far,
    ):
        one = tunnels.Client(near)
        one.node = (await one.open())["node"]
        assert one.node == peers[0].node
        yield one, near, far


def text(*texts: str) -> list[Record]:
    return [Record(TEXT, each.encode()) for each in texts]


def test_a_tunnel_is_served_from_the_other_node_and_loses_nothing(run: Run) -> None:
    async def main() -> None:
        async with nodes(2, kind=everwire.Hub) as peers, tunnel(peers) as (one, near, far):
            one.http = far
            assert await one.send(1, *text("a", "b", "c")) == 3
            assert await one.poll() == text("a", "b", "c")
            assert await one.poll() == text("a", "b", "c"), "what is not acknowledged comes again"
            one.http = near
            assert await one.poll(1) == text("b", "c")
            one.http = far
            assert await one.send(1, *text("a", "b", "c", "d")) == 4, "what came already counts once"
            assert await one.poll(3) == text("d")
            waiting = asyncio.ensure_future(one.poll(4))
            await until(lambda: one.polls == 5)
            assert await one.send(5, *text("e"), ack=4) == 5
            assert await waiting == text("e")
            large = "x" * 900_000
            assert await one.send(6, *text(large, "f"), ack=5) == 7
            assert await one.poll(5) == text(large)
            assert await one.poll(6) == text("f")
            assert await one.send(8, *text("close"), ack=7) == 8
            assert await one.poll(7) == [close_record(4001, "so")]
            assert await one.send(9, ack=8) == 8
            assert (await one.ask("poll", poll=99, ack=8)).status_code == 404

    run(main)


@pytest.mark.parametrize("kind", ["http_stream", "sse"])
def test_streams_come_from_the_other_node_too(run: Run, kind: str) -> None:
    async def main() -> None:
        async with nodes(2, kind=everwire.Hub) as peers, tunnel(peers, poll_timeout=0.3) as (one, near, far):
            one.http = far
            async with one.stream(kind) as stream:
                chunks = stream.aiter_bytes()
                assert b"1" in await anext(chunks)
                got = b""
                for value in range(1, 4):
                    one.http = (near, far)[value % 2]
                    await one.send(value, *text(f"message {value}"))
                    while f"message {value}".encode() not in got:
                        got += await anext(chunks)
                sign_of_life = b"event: p" if kind == "sse" else b"p\0\0\0\0"
                while sign_of_life not in got:
                    got += await anext(chunks)
                one.http = near
                # A later poll ends the stream, wherever it comes.
                assert await one.poll(3 - 1) == text("message 3")
                async for chunk in chunks:
                    got += chunk
            one.http = far
            async with one.stream(kind, 3) as stream:
                await one.send(4, *text("close"), ack=3)
                body = await stream.aread()
                assert (b"event: c" in body) if kind == "sse" else (take_apart(body)[-1].kind == CLOSE)

    run(main)


def test_wrong_requests_to_the_other_node_are_refused_as_here(run: Run) -> None:
    async def main() -> None:
        async with nodes(2, kind=everwire.Hub) as peers, tunnel(peers) as (one, near, far):
            one.http = far
            key, one.key = one.key, "0" * 32
            assert (await one.ask("poll", poll=1)).status_code == 404
            assert (await one.ask("send", *text("a"), seq=1)).status_code == 404
            one.key = key
            node, one.node = one.node, ""
            assert (await one.ask("poll", poll=1)).status_code == 404
            one.node = "another.>"
            assert (await one.ask("poll", poll=1)).status_code == 404
            one.node = node
            stale = asyncio.ensure_future(one.ask("poll", poll=5))
            await asyncio.sleep(0.05)
            assert (await one.ask("poll", poll=4)).status_code == 409
            one.http = near
            assert (await one.ask("poll", poll=3)).status_code == 409
            one.http = far
            assert (await one.ask("poll", poll=6, ack=7)).status_code == 400
            refused = await one.ask("send", *text("c"), seq=3)
            assert refused.status_code == 400 and "message 3 comes after 0" in refused.text
            assert take_apart((await stale).content)[-1].close_frame()[0] == 1002

    run(main)


def test_the_node_of_a_tunnel_dies_or_is_not_reached(
    run: Run, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MARGIN", 0.1)

    async def main() -> None:
        options = {"poll_timeout": 0.2}
        async with nodes(2, kind=everwire.Hub) as peers, tunnel(peers, **options) as (one, _, far):
            one.http = far
            home, away = peers
            home.engine.mute.add(away.node)  # its answers are lost
            assert (await one.ask("send", *text("a"), seq=1)).status_code == 503
            assert (await one.ask("poll", poll=1)).status_code == 503
            one.polls = 1
            home.engine.mute.clear()
            assert await one.send(1, *text("a")) == 1, "it is repeated, and counts once"
            assert [await one.poll()] == [text("a")]
            async with one.stream("http_stream", 1) as stream:
                home.engine.mute.add(away.node)
                async with asyncio.timeout(5):
                    await stream.aread()
            home.engine.mute.clear()
            await acquainted(home, away)
            monkeypatch.setattr(places, "MARGIN", 30.0)
            home.engine.mute.add(away.node)
            one.polls += 1
            waiting = asyncio.ensure_future(one.ask("poll", poll=one.polls, ack=1))
            await until(lambda: away.cluster._waiting)
            away.on_control(b"\x92\x02\xd9$" + home.node.encode())  # it says that it ends
            assert (await waiting).status_code == 404

    run(main)
    caplog.clear()


def test_a_client_that_leaves_frees_the_other_node(run: Run) -> None:
    async def main() -> None:
        async with nodes(2, kind=everwire.Hub) as peers, tunnel(peers) as (one, _, far):
            one.http = far
            waiting = asyncio.ensure_future(one.ask("poll", poll=1))
            await until(lambda: peers[1].cluster._waiting)
            waiting.cancel()
            await until(lambda: not peers[1].cluster._waiting)
            one.polls = 1
            await one.send(1, *text("a"))
            assert await one.poll() == text("a")

    run(main)


def test_a_hub_that_closes_answers_polls_of_other_nodes(run: Run) -> None:
    async def main() -> None:
        async with two() as (hubs, place), client("long_poll-json", place) as one:
            await one.start("room:a")
            home = next(hub for hub in hubs if hub.info().clients)
            one.site = next(site for site in place.sites if site.hub is not home)
            ending = asyncio.ensure_future(one.end())
            await until(lambda: any(hub.cluster._waiting for hub in hubs))
            await home.close()
            assert (await ending).code == 3001

    run(main)
