"""Two nodes on NATS and on Redis behind a balancer: clients come back to the other one and miss nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import Run
from live import HOST, until
from msgspec import Raw
from transports.clients import KINDS, client
from transports.sites import Site

import everwire
from cluster.balancer import Balancer
from cluster.site import ENGINES, Nodes, engine, nodes
from everwire.wire.messages import Command, PresenceRequest, PublishRequest, RPCRequest

pytestmark = pytest.mark.loops("asyncio")

HASTY: dict[str, Any] = {"min_reconnect_delay": 0.01, "max_reconnect_delay": 0.1, "proxy": None}


@pytest.fixture(scope="module", params=ENGINES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes that know each other."""
    with engine(request.param, tmp_path_factory.mktemp("engine")) as url, nodes(url) as found:
        found.wait_for_each_other()
        yield found


class Balanced(Site):
    """What clients see: a balancer, which gets a new connection for each request."""

    limits = httpx.Limits(max_keepalive_connections=0)

    def __init__(self, balancer: Balancer) -> None:
        self.port = balancer.port
        self.prefix = "/connection"


async def api(pair: Nodes, node: int, method: str, **parameters: Any) -> Any:
    return await asyncio.to_thread(pair.api, node, method, **parameters)


def number(publication: Any) -> int:
    return int(json.loads(bytes(publication.data)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_comes_back_to_the_other_node(run: Run, pair: Nodes, kind: str) -> None:
    async def main() -> None:
        channel = f"from-{kind}"
        async with Balancer(pair.ports) as balancer:
            place = Balanced(balancer)
            async with client(kind, place) as one:
                home = balancer.turn
                _, subscribed = await one.start(channel)
                epoch = subscribed.subscribe.epoch
                for value in range(1, 7):
                    await api(pair, value % 2, "publish", channel=channel, data=value)
                got = [await one.publication() for _ in range(6)]
                assert [number(each) for each in got] == [1, 2, 3, 4, 5, 6]
                # Each of these comes by a request of its own, but on a WebSocket: every other to each node.
                for value in range(6):
                    answer = await one.ask(rpc=RPCRequest(method="double", data=Raw(b"%d" % value)))
                    assert answer.rpc is not None and bytes(answer.rpc.data) == b"%d" % (2 * value)
                assert kind.startswith("websocket") or set(balancer.targets) == {0, 1}
                await one.cut()
            for value in range(7, 12):
                await api(pair, value % 2, "publish", channel=channel, data=value)
            balancer.turn = 1 - home
            async with client(kind, place) as one:
                _, again = await one.start(channel, recover=True, epoch=epoch, offset=got[-1].offset)
                assert again.subscribe.recovered
                assert [number(each) for each in again.subscribe.publications] == [7, 8, 9, 10, 11]
                await one.send(Command(id=9, publish=PublishRequest(channel=channel, data=Raw(b"12"))))
                replies = [await one.reply(), await one.reply()]  # the publication, and the answer
                assert {reply.id for reply in replies} == {0, 9}
                assert [number(reply.push.pub) for reply in replies if reply.push is not None] == [12]

    run(main)


@pytest.mark.parametrize("transport", ["websocket", "http_stream"])
def test_cuts_between_two_nodes_lose_nothing_and_repeat_nothing(
    run: Run, pair: Nodes, transport: str
) -> None:
    count = 40

    async def main() -> None:
        channel = f"cut-{transport}"
        async with Balancer(pair.ports) as balancer:
            uri = f"ws://{HOST}:{balancer.port}/connection/websocket"
            options: dict[str, Any] = {
                "min_reconnect_delay": 0.01,
                "max_reconnect_delay": 0.05,
                "proxy": None,
            }
            async with everwire.Client(uri, transports=(transport,), **options) as one:
                subscription = await one.subscribe(channel)
                got: list[int] = []

                async def collect() -> None:
                    async for publication in subscription:
                        got.append(publication.data)
                        if publication.data == count:
                            break

                collecting = asyncio.ensure_future(collect())
                for value in range(1, count + 1):
                    await api(pair, value % 2, "publish", channel=channel, data=value)
                    if not value % 10:
                        await until(lambda value=value: got and got[-1] > value - 8)
                        balancer.cut()
                async with asyncio.timeout(10):
                    await collecting
                assert got == list(range(1, count + 1))
                assert set(balancer.targets) == {0, 1}

    run(main)


def test_the_nodes_are_one_hub(run: Run, pair: Nodes) -> None:
    async def main() -> None:
        async with Balancer(pair.ports) as balancer:
            place = Balanced(balancer)
            async with client("websocket-json", place) as one, client("sse-json", place) as other:
                connected, _ = await one.start("room:a")
                await one.reply()  # its own join
                balancer.turn = 1
                there, _ = await other.start("room:a")
                join = (await one.reply()).push
                assert join is not None and join.join.info.client == there.connect.client
                answer = await one.ask(presence=PresenceRequest(channel="room:a"))
                here = {connected.connect.client, there.connect.client}
                assert set(answer.presence.presence) == here
                for node in (0, 1):
                    found = await api(pair, node, "presence", channel="room:a")
                    assert set(found["presence"]) == here
                    found = await api(pair, node, "channels", pattern="room:*")
                    assert found == {"channels": {"room:a": {"num_clients": 2}}}
                key = {"channel": "room:a", "data": 1, "idempotency_key": "once"}
                first = await api(pair, 0, "publish", **key)
                assert await api(pair, 1, "publish", **key) == first
                assert number(await one.publication()) == 1
                await other.reply()  # its own join
                assert number(await other.publication()) == 1
                await api(pair, 0, "disconnect", client=there.connect.client, disconnect={"code": 4500})
                assert (await other.end()).code == 4500
                leave = (await one.reply()).push
                assert leave is not None and leave.leave.info.client == there.connect.client
                await api(pair, 1, "subscribe", user="", client=connected.connect.client, channel="by-server")
                told = (await one.reply()).push
                assert told is not None and told.channel == "by-server"

    run(main)


def test_a_node_is_killed_and_its_clients_go_on_at_the_other(run: Run, pair: Nodes) -> None:
    """The last one: it leaves a node behind that has begun anew."""

    async def main() -> None:
        async with Balancer(pair.ports) as balancer:
            uri = f"ws://{HOST}:{balancer.port}/connection/websocket"
            clients = [
                everwire.Client(uri, transports=(transport,), **HASTY)
                for transport in ("websocket", "http_stream", "sse")
            ]
            subscriptions = []
            for one in clients:
                balancer.turn = 0
                await one.connect()
                subscriptions.append(await one.subscribe("killed"))
            for value in range(5):
                await api(pair, 1, "publish", channel="killed", data=value)
            pair.programs[0].send_signal(signal.SIGKILL)
            for value in range(5, 10):
                await api(pair, 1, "publish", channel="killed", data=value)
            for subscription in subscriptions:
                got = [(await anext(subscription)).data for _ in range(10)]
                assert got == list(range(10))
            for one in clients:
                await one.disconnect()
            await until(lambda: len(pair.api(1, "info")["nodes"]) == 1)

    run(main)
