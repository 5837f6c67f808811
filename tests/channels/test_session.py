"""Sessions: the order of commands, what a frame may be, pings, limits, the end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from conftest import Run

from channels.peer import Ended, Peer, Refused, a_hub, settled
from everwire.channels.context import Context, Credentials
from everwire.channels.hub import Hub
from everwire.errors import CommandError, Disconnected, Unauthorized


def test_commands_of_a_frame_are_handled_in_order_though_a_hook_is_slow(run: Run) -> None:
    async def main() -> None:
        hub, gate = a_hub(), asyncio.Event()

        @hub.channel("slow")
        async def slow(ctx: Context) -> None:
            await gate.wait()

        @hub.channel("quick")
        async def quick(ctx: Context) -> None: ...

        async with hub:
            peer = Peer(hub)
            peer.session.receive(
                '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"slow"}}\n'
                '{"id":3,"subscribe":{"channel":"quick"}}'
            )
            peer.session.receive('{"id":4,"unsubscribe":{"channel":"quick"}}')
            await peer.until(lambda: len(peer.got) == 1)
            await settled()
            assert [each["id"] for each in peer.got] == [1]
            gate.set()
            await peer.until(lambda: len(peer.got) == 4)
            assert [each["id"] for each in peer.got] == [1, 2, 3, 4]

    run(main)


@pytest.mark.parametrize(
    "frame",
    [
        '{"id":1,"subscribe":{"channel":"a"}}',  # before connect
        '{"id":1,"connect":{}}\n{"id":2,"connect":{}}',  # twice
        '{"connect":{}}',  # without an id
        '{"id":1}',  # no command
        '{"id":1,"ping":{}}',  # a command of old
        '{"id":1,"connect":{},"rpc":{}}',  # two at once
        "{}",  # a pong that nobody asked for
        "",
        "\n",
        "nonsense",
        '{"id":1,"connect":{}}\n{"id":2,"subscribe":{}}',  # no channel
        '{"id":1,"connect":{}}\n{"id":2,"refresh":{}}',  # no token
    ],
)
def test_a_frame_that_breaks_the_protocol_ends_the_session(run: Run, frame: str) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.namespace("", allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True)
        async with hub:
            peer = Peer(hub)
            peer.session.receive(frame)
            assert await peer.end() == (3501, "bad request")
            assert peer.session.is_closed
            assert hub.info().clients == 0

    run(main)


@pytest.mark.loops("asyncio")
def test_sessions_do_not_stay_together_that_were_pinged_together(run: Run) -> None:
    async def main() -> None:
        async with a_hub(ping_interval=40.0) as hub:
            peers = [Peer(hub) for _ in range(200)]
            for peer in peers:
                await peer.ask("connect")
            first = {peer.session.due for peer in peers}
            # Half an interval is 80 ticks of the wheel.
            assert len(first) > 40
            for peer in peers:
                peer.session.tick()
                peer.session.receive("{}")
            # Presence is refreshed with pings, so it is as spread.
            due = {peer.session.due for peer in peers}
            assert len(due) > 8
            assert max(due) - min(due) <= 18

    run(main)


def test_a_server_pings_and_a_client_answers(run: Run) -> None:
    async def main() -> None:
        async with a_hub(ping_interval=1.0, pong_timeout=0.5) as hub:
            peer = Peer(hub)
            reply = await peer.ask("connect")
            assert (reply["ping"], reply["pong"]) == (1, True)
            await peer.until(lambda: {} in peer.got)
            peer.session.receive("{}")
            peer.got.clear()
            await peer.until(lambda: {} in peer.got)
            assert await peer.end() == (3012, "no pong")

    run(main)


@pytest.mark.loops("asyncio")
def test_who_does_not_say_who_it_is_is_stale(run: Run) -> None:
    async def main() -> None:
        async with a_hub(stale_timeout=0.3) as hub:
            assert await Peer(hub).end() == (3502, "stale")

    run(main)


def test_too_many_commands_that_wait_end_the_session(run: Run) -> None:
    async def main() -> None:
        hub = a_hub(max_queued=1000)

        @hub.rpc("wait")
        async def wait(ctx: Context, data: Any) -> None:
            await asyncio.Event().wait()

        async with hub:
            peer = Peer(hub)
            await peer.ask("connect")
            for id in range(2, 100):
                peer.session.receive(json.dumps({"id": id, "rpc": {"method": "wait"}}))
                if peer.ended:
                    break
            assert peer.ended == (3013, "too many requests")

    run(main)


# Who it is


def test_a_connect_hook_says_who_it_is(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        seen: list[Any] = []

        @hub.on_connect
        async def who(ctx: Context) -> Credentials:
            seen.append(
                (ctx.data, ctx.headers.get("cookie"), ctx.scope.get("user"), ctx.transport, ctx.token)
            )
            return Credentials(user="ann", info={"name": "Ann"}, data={"hello": 1}, meta="kept")

        @hub.rpc("me")
        def me(ctx: Context, data: Any) -> Any:
            return [ctx.user, ctx.info, ctx.meta, ctx.client]

        async with hub:
            peer = Peer(hub, headers={"cookie": "c=1"}, scope={"user": "from the framework"})
            reply = await peer.ask("connect", data={"k": "v"}, token="t")
            assert reply["data"] == {"hello": 1}
            assert seen == [({"k": "v"}, "c=1", "from the framework", "test", "t")]
            assert (await peer.ask("rpc", method="me"))["data"] == [
                "ann",
                {"name": "Ann"},
                "kept",
                reply["client"],
            ]
            assert hub.info()[1:5] == (1, 1, 0, 0)

    run(main)


@pytest.mark.parametrize(
    ("problem", "answer"),
    [
        (Unauthorized(), Refused(101, "unauthorized")),
        (CommandError(1000, "not today"), Refused(1000, "not today")),
        (Disconnected(4501, "banned"), Ended(4501, "banned")),
        (RuntimeError("a bug"), Refused(100, "internal server error")),
    ],
)
@pytest.mark.parametrize("after", ['{"id":2,"connect":{}}', '{"id":2,"subscribe":{"channel":"open"}}'])
def test_a_connect_hook_refuses(
    run: Run, problem: Exception, answer: Exception, after: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.namespace("", allow_subscribe_for_client=True, allow_subscribe_for_anonymous=True)

        @hub.on_connect
        def who(ctx: Context) -> None:
            raise problem

        async with hub:
            peer = Peer(hub)
            with pytest.raises(type(answer)) as caught:
                await peer.ask("connect")
            assert caught.value.args == answer.args
            if isinstance(answer, Refused):  # the connection is of no use after that
                peer.session.receive(after)
                assert await peer.end() == (3501, "bad request")
            assert hub.info()[1:5] == (0, 0, 0, 0)

    run(main)
    assert ("a bug" in caplog.text) is (type(problem) is RuntimeError)


def test_without_a_key_a_token_is_refused_and_the_log_says_why(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with a_hub() as hub:
            with pytest.raises(Ended, match="invalid token"):
                await Peer(hub).ask("connect", token="secret-token")
            assert "no key to check it with" in caplog.text
            assert "secret-token" not in caplog.text

    run(main)


@pytest.mark.parametrize(("allowed", "hook"), [(None, False), (True, True), (False, False), (None, True)])
def test_who_has_no_token_and_no_hook_knows(run: Run, allowed: bool | None, hook: bool) -> None:
    async def main() -> None:
        hub = a_hub(allow_anonymous_connect_without_token=allowed)
        if hook:
            hub.on_connect(lambda ctx: None)
        async with hub:
            peer = Peer(hub)
            if allowed or (allowed is None and not hook):
                assert "client" in await peer.ask("connect")
                assert peer.session.user == ""
            else:
                with pytest.raises(Ended):
                    await peer.ask("connect")

    run(main)


def test_limits_of_connections(run: Run) -> None:
    async def main() -> None:
        hub = a_hub(user_connection_limit=2, connection_limit=3)
        hub.on_connect(lambda ctx: {"user": ctx.data})
        async with hub:
            for _ in range(2):
                await Peer(hub).ask("connect", data="ann")
            third = Peer(hub)
            with pytest.raises(Ended) as ended:
                await third.ask("connect", data="ann")
            assert ended.value.args == (3504, "connection limit")
            await Peer(hub).ask("connect", data="bob")
            assert await Peer(hub).end() == (3504, "connection limit")

    run(main)


# Calls


def test_rpc(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        @hub.rpc("add")
        async def add(ctx: Context, data: list[int]) -> int:
            return sum(data)

        async with hub:
            peer = Peer(hub)
            await peer.ask("connect")
            assert await peer.ask("rpc", method="add", data=[1, 2]) == {"data": 3}
            with pytest.raises(Refused, match="Expected `int`, got `str`") as refused:
                await peer.ask("rpc", method="add", data=["x"])
            assert refused.value.args[0] == 107
            with pytest.raises(Refused) as refused:
                await peer.ask("rpc", method="other")
            assert refused.value.args == (104, "method not found")

        hub = a_hub()

        @hub.rpc()
        def rest(ctx: Context, method: str, data: Any) -> Any:
            return [method, data]

        async with hub:
            peer = Peer(hub)
            await peer.ask("connect")
            assert await peer.ask("rpc", method="x") == {"data": ["x", None]}

        async with a_hub() as hub:
            peer = Peer(hub)
            await peer.ask("connect")
            with pytest.raises(Refused) as refused:
                await peer.ask("rpc", method="x", data={})
            assert refused.value.args == (108, "not available")

    run(main)


def test_messages_that_are_not_answered(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        seen: list[Any] = []

        @hub.on_message
        def message(ctx: Context, data: dict[str, int]) -> None:
            seen.append(data)

        async with hub:
            peer = Peer(hub)
            await peer.ask("connect")
            peer.session.receive('{"send":{"data":{"a":1}}}')
            await settled()
            assert seen == [{"a": 1}]
            await hub.send("", {"b": 2})
            assert await peer.pushes(1) == [{"message": {"data": {"b": 2}}}]

        async with a_hub() as hub:
            peer = Peer(hub)
            await peer.ask("connect")
            peer.session.receive('{"send":{"data":1}}')
            assert await peer.end() == (3508, "not available")

    run(main)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda hub: hub.on_connect(lambda: None),
        lambda hub: hub.rpc("x")(lambda ctx: None),
        lambda hub: hub.rpc()(lambda ctx, data: None),
        lambda hub: hub.on_message(lambda ctx: None),
        lambda hub: hub.channel("a:{b}")(lambda ctx: None),
        lambda hub: hub.channel("a")(lambda ctx, b: None),
    ],
)
def test_a_hook_that_cannot_take_what_it_gets_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match="must take"):
        wrong(a_hub())


def test_a_hook_is_set_once() -> None:
    hub = a_hub()
    hub.on_connect(lambda ctx: None)
    with pytest.raises(ValueError, match="already"):
        hub.on_connect(lambda ctx: None)
    hub.namespace("a")
    with pytest.raises(ValueError, match="already"):
        hub.namespace("a")
    hub.channel("b")(lambda ctx: None)
    with pytest.raises(ValueError, match="already"):
        hub.channel("b")(lambda ctx: None)


# Time


def test_a_session_expires_unless_the_hook_prolongs_it(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        times: list[float] = []
        asked = asyncio.Event()
        hub.on_connect(
            lambda ctx: Credentials(user="u", expire_at=hub.clock() + 0.2, client_side_refresh=False)
        )

        @hub.on_refresh
        async def refresh(ctx: Context) -> float | None:
            times.append(hub.clock())
            asked.set()
            return hub.clock() + 0.2 if len(times) == 1 else None

        async with hub:
            peer = Peer(hub)
            reply = await peer.ask("connect")
            assert "expires" not in reply
            assert await peer.end() == (3005, "connection expired")
            assert len(times) == 2

    run(main)


def test_an_expired_session_of_a_client_that_does_not_refresh_it_ends_later(run: Run) -> None:
    async def main() -> None:
        hub = a_hub(expired_close_delay=0.1)
        hub.on_connect(lambda ctx: Credentials(user="u", expire_at=hub.clock() + 0.2))
        async with hub:
            peer = Peer(hub)
            reply = await peer.ask("connect")
            assert reply["expires"] and reply["ttl"] == 1
            assert await peer.end() == (3005, "connection expired")

        hub = a_hub()
        hub.on_connect(lambda ctx: Credentials(user="u", expire_at=hub.clock() - 1))
        async with hub:
            with pytest.raises(Refused) as refused:
                await Peer(hub).ask("connect")
            assert refused.value.args == (110, "expired")

    run(main)


# The end


def test_the_hub_tells_of_the_end_and_waits_for_the_hooks(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        ends: list[Any] = []

        @hub.on_disconnect
        async def ended(ctx: Context, code: int, reason: str) -> None:
            await asyncio.sleep(0.01)
            ends.append((ctx.client, code, reason))

        async with hub:
            gone, stays, silent = Peer(hub), Peer(hub), Peer(hub)
            await gone.ask("connect")
            await stays.ask("connect")
            gone.session.closed()
            gone.session.closed()
            gone.session.receive('{"id":5,"rpc":{}}')
        assert await stays.end() == (3001, "shutdown")
        assert await silent.end() == (3001, "shutdown")
        assert ends == [
            (gone.session.client, 3000, "connection closed"),
            (stays.session.client, 3001, "shutdown"),
        ]
        assert hub.info()[1:5] == (0, 0, 0, 0)

    run(main)


def test_a_session_that_ends_while_its_hook_runs_leaves_nothing(run: Run) -> None:
    async def main() -> None:
        hub, gate = a_hub(), asyncio.Event()

        @hub.channel("a", presence=True, history=10)
        async def a(ctx: Context) -> None:
            await gate.wait()

        async with hub:
            peer = Peer(hub)
            await peer.ask("connect")
            peer.session.receive('{"id":9,"subscribe":{"channel":"a"}}')
            await settled()
            peer.session.closed()
            gate.set()
            await settled()
            assert await hub.presence("a") == {}
            assert await hub.channels() == {}
            assert hub._channels == {}

    run(main)


def test_a_hook_that_does_not_end_is_cancelled_when_the_hub_closes(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        hub, began = a_hub(), asyncio.Event()
        never = asyncio.Event()

        @hub.rpc("wait")
        async def wait(ctx: Context, data: Any) -> None:
            began.set()
            await never.wait()

        await hub.start()
        peer = Peer(hub)
        await peer.ask("connect")
        peer.session.receive('{"id":9,"rpc":{"method":"wait"}}')
        await began.wait()
        await hub.close(timeout=0.05)
        assert "hooks that do not end are cancelled: 1" in caplog.text

    run(main)


@pytest.mark.parametrize(
    ("code", "reason", "end"),
    [
        (4000, "x" * 200, (4000, "x" * 123)),
        (4000, "é" * 100, (4000, "é" * 61)),
        (99, "no such code", (3004, "internal server error")),
        (5000, "", (3004, "internal server error")),
    ],
)
def test_an_end_that_no_close_frame_can_say_ends_the_session_all_the_same(
    run: Run, code: int, reason: str, end: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        hub = a_hub()

        @hub.rpc("end")
        def stop(ctx: Context, data: Any) -> None:
            raise Disconnected(code, reason)

        async with hub:
            peer = Peer(hub)
            await peer.ask("connect")
            with pytest.raises(Ended) as ended:
                await peer.ask("rpc", method="end")
            assert ended.value.args == end
            assert ("cannot end with the code" in caplog.text) is (end[0] == 3004)

    run(main)


def test_a_hub_is_used_in_one_loop_and_only_once_started() -> None:
    hub: Hub = a_hub()
    with pytest.raises(RuntimeError, match="not started"):
        _ = hub.loop

    async def once() -> None:
        await hub.start()
        await hub.start()

    asyncio.run(once())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(once())
