"""The server API: methods, parameters, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Run

from channels.peer import Peer, a_hub
from everwire.channels.api import Api
from everwire.channels.hub import Hub


def api_of(hub: Hub) -> Api:
    hub.namespace("", history=10, presence=True, allow_subscribe_for_client=True)
    hub.namespace("plain")
    return Api(hub)


async def ask(api: Api, called: str, /, **params: Any) -> Any:
    """The result of a method."""
    answer = await api.call(called, json.dumps(params).encode())
    decoded = json.loads(answer.body)
    assert answer.error == 0, decoded
    return decoded["result"]


async def refused(api: Api, called: str, body: bytes | None = None, /, **fields: Any) -> tuple[int, str]:
    """The error of a method."""
    answer = await api.call(called, json.dumps(fields).encode() if body is None else body)
    error = json.loads(answer.body)["error"]
    assert answer.error == error["code"]
    return error["code"], error["message"]


def connected(hub: Hub, user: str = "42") -> Peer:
    @hub.on_connect
    def connect(ctx: Any) -> dict[str, Any]:
        return {"user": user}

    return Peer(hub)


def test_publish_and_history(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            api = api_of(hub)
            first = await ask(
                api, "publish", channel="news", data={"a": 1}, tags={"k": "v"}, idempotency_key="x"
            )
            again = await ask(api, "publish", channel="news", data={"a": 2}, idempotency_key="x")
            assert first == again == {"offset": 1, "epoch": first["epoch"]}
            await ask(api, "publish", channel="news", b64data="/wA=")
            await ask(api, "publish", channel="news", data=3, skip_history=True)
            found = await ask(api, "history", channel="news", limit=-1)
            assert found["publications"] == [
                {"data": {"a": 1}, "offset": 1, "tags": {"k": "v"}},
                {"data": None, "offset": 2, "b64data": "/wA="},
            ]
            assert found["offset"] == 2
            since = {"offset": 1, "epoch": found["epoch"]}
            after = await ask(api, "history", channel="news", limit=10, since=since)
            assert [each["offset"] for each in after["publications"]] == [2]
            assert (await refused(api, "history", channel="news", since={"epoch": "x"}))[0] == 112
            assert await ask(api, "history_remove", channel="news") == {}
            left = await ask(api, "history", channel="news", limit=-1)
            assert (left["publications"], left["offset"]) == ([], 2)

    run(main)


def test_versions(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            api = api_of(hub)
            for version in (2, 1, 3):
                await ask(api, "publish", channel="news", data=version, version=version)
            found = await ask(api, "history", channel="news", limit=-1)
            assert [each["data"] for each in found["publications"]] == [2, 3]

    run(main)


def test_broadcast_says_for_each_channel_what_became_of_it(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            api = api_of(hub)
            found = await ask(api, "broadcast", channels=["a", "no:such", "b"], data=1)
            one, two, three = found["responses"]
            assert one["result"]["offset"] == three["result"]["offset"] == 1
            assert two["error"]["code"] == 102

    run(main)


def test_sessions_are_reached(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            api = api_of(hub)
            peer = connected(hub)
            client = (await peer.ask("connect"))["client"]
            await ask(api, "subscribe", user="42", channel="news", info={"i": 1}, data={"d": 1})
            await peer.until(lambda: any("subscribe" in m.get("push", {}) for m in peer.got))
            presence = (await ask(api, "presence", channel="news"))["presence"]
            assert presence == {client: {"user": "42", "client": client, "chan_info": {"i": 1}}}
            stats = await ask(api, "presence_stats", channel="news")
            assert stats == {"num_clients": 1, "num_users": 1}
            assert (await ask(api, "channels", pattern="n*"))["channels"] == {"news": {"num_clients": 1}}
            assert (await ask(api, "channels", pattern="x*"))["channels"] == {}
            (node,) = (await ask(api, "info"))["nodes"]
            assert (node["num_clients"], node["num_users"], node["num_channels"]) == (1, 1, 1)
            assert await ask(api, "unsubscribe", user="42", channel="news") == {}
            await peer.until(lambda: any("unsubscribe" in m.get("push", {}) for m in peer.got))
            assert await ask(api, "refresh", user="42", expire_at=int(hub.clock()) + 60) == {}
            assert (await refused(api, "refresh", user="42", expire_at=1))[0] == 110
            assert await ask(api, "disconnect", user="42", whitelist=[client]) == {}
            assert peer.ended is None
            assert await ask(api, "disconnect", user="42", disconnect={"code": 4000, "reason": "why"}) == {}
            await peer.until(lambda: peer.ended is not None)
            assert peer.ended == (4000, "why")

    run(main)


def test_subscribe_with_other_options_than_the_channel(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            api = api_of(hub)
            peer = connected(hub)
            await peer.ask("connect")
            override = {"presence": {"value": False}}
            await ask(api, "subscribe", user="42", channel="news", override=override)
            assert (await ask(api, "presence", channel="news"))["presence"] == {}

    run(main)


def test_batch(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            api = api_of(hub)
            commands = [
                {"publish": {"channel": "a", "data": 1}},
                {"presence": {"channel": "plain:a"}},
                {"history": {"channel": "a", "limit": 1}},
                {"publish": {}, "info": {}},
                {},
                {"nothing": {}},
                {"publish": None},
            ]
            answer = await api.call("batch", json.dumps({"commands": commands}).encode())
            replies = json.loads(answer.body)["replies"]
            assert replies[0]["publish"]["offset"] == 1
            assert replies[2]["history"]["publications"][0]["data"] == 1
            codes = [reply.get("error", {}).get("code") for reply in replies]
            assert codes == [None, 108, None, 107, 107, 104, 107]
            assert (await refused(api, "batch", commands=7))[0] == 107
            assert (await refused(api, "batch", commands=[{}] * 10_001))[0] == 107

    run(main)


def test_rpc(run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            api = api_of(hub)

            @api.rpc("add")
            async def add(params: Any) -> Any:
                return params["a"] + params["b"]

            assert await ask(api, "rpc", method="add", params={"a": 1, "b": 2}) == {"data": 3}
            assert (await refused(api, "rpc", method="sub"))[0] == 104
            assert await refused(api, "rpc", method="add", params=[]) == (100, "internal server error")

    run(main)


@pytest.mark.parametrize(
    ("method", "params", "code", "says"),
    [
        ("publish", b"", 107, "missing required field `channel`"),
        ("publish", b"[", 107, "bad request"),
        ("publish", b"\xff", 107, "bad request"),
        ("publish", b'{"channel": 7}', 107, r"Expected `str`, got `int` - at `$.channel`"),
        ("publish", b'{"channel": ""}', 107, "channel is empty"),
        ("publish", b'{"channel": "a"}', 107, "data is missing"),
        ("publish", b'{"channel": "a", "b64data": "?"}', 107, "b64data is not base64"),
        ("publish", b'{"channel": "a", "data": 1, "tags": {"a": 1}}', 107, "$.tags"),
        ("publish", b'{"channel": "no:such", "data": 1}', 102, "'no:such'"),
        ("broadcast", b'{"channels": [], "data": 1}', 107, "channels is empty"),
        ("history", b'{"channel": "plain:a"}', 108, "no log"),
        ("presence", b'{"channel": "plain:a"}', 108, "no presence"),
        ("disconnect", b'{"user": "1", "disconnect": {"code": 1}}', 107, "disconnect.code"),
        ("subscribe", b'{"user": "1", "channel": "no:such"}', 102, "'no:such'"),
        ("nothing", b"{}", 104, "there is no method 'nothing'; there are publish, "),
    ],
)
def test_errors_name_what_is_wrong(method: str, params: bytes, code: int, says: str, run: Run) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            got, message = await refused(api_of(hub), method, params)
            assert got == code
            assert says in message

    run(main)
