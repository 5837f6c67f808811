"""Clients of hubs in memory, for tests of applications."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from conftest import Run
from fastapi import FastAPI

import everwire
from everwire import Forbidden, Unauthorized, Unrecovered
from everwire.channels.context import Context, Credentials
from everwire.testing import client

SECRET = "a secret for tests that is long enough to be one"


def a_hub(**options: Any) -> everwire.Hub:
    """A hub with rooms that only members may enter."""
    hub = everwire.Hub(**options)

    @hub.channel("room:{room}", history=3, presence=True, allow_publish_for_subscriber=True)
    async def room(ctx: Context, room: str) -> None:
        if ctx.user not in room.split("-"):
            raise Forbidden

    @hub.rpc("who")
    async def who(ctx: Context, data: Any) -> Any:
        return {"user": ctx.user, "meta": ctx.meta, "room": ctx.headers.get("x-room")}

    return hub


@pytest.mark.transports
@pytest.mark.parametrize("format", ["json", "protobuf"])
def test_two_users_talk(run: Run, format: str) -> None:
    async def main() -> None:
        hub = a_hub()
        async with client(hub, user="ann", format=format) as ann, client(hub, user="bob") as bob:
            async with ann.subscribe("room:ann-bob") as hers, bob.subscribe("room:ann-bob"):
                await bob.publish("room:ann-bob", {"text": "hello"})
                publication = await anext(hers)
                assert publication.data == {"text": "hello"}
                assert publication.info is not None and publication.info.user == "bob"
                assert {each.user for each in (await hers.presence()).values()} == {"ann", "bob"}
            with pytest.raises(Forbidden):
                await bob.subscribe("room:ann")
        assert not hub.is_started

    run(main)


def test_the_way_that_a_client_says_who_it_is(run: Run) -> None:
    async def main() -> None:
        asked: list[str] = []
        hub = a_hub(token_hmac_secret_key=SECRET)

        @hub.on_connect
        async def connect(ctx: Context) -> Credentials:
            asked.append(ctx.headers.get("x-room", ""))
            if not ctx.headers.get("x-room"):
                raise Unauthorized
            return Credentials(user="by header")

        import jwt

        token = jwt.encode({"sub": "by token", "meta": 1}, SECRET, "HS256")
        credentials = Credentials(user="known", meta={"staff": True})
        async with AsyncExitStack() as stack:
            for options, expected in [
                ({"token": token}, {"user": "by token", "meta": 1, "room": None}),
                ({"credentials": credentials}, {"user": "known", "meta": {"staff": True}, "room": None}),
                ({"additional_headers": {"X-Room": "7"}}, {"user": "by header", "meta": None, "room": "7"}),
            ]:
                made: Any = client(hub, **options)
                one = await stack.enter_async_context(made)
                assert await one.rpc("who") == expected
            assert asked == ["7"]
            with pytest.raises(Unauthorized):
                async with client(hub):
                    pass

    run(main)


@pytest.mark.parametrize(
    "options", [{"user": "ann", "credentials": Credentials()}, {"user": "ann", "token": "x"}]
)
def test_two_ways_at_once_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"leave|not by both"):
        client(a_hub(), **options)
    with pytest.raises(ValueError, match="are for hubs"):
        client(FastAPI(), user="ann")


def test_what_was_missed_offline_is_recovered_and_what_is_gone_is_told(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with hub, client(hub, user="ann") as ann, ann.subscribe("room:ann") as room:
            async with ann.offline():
                assert await hub.presence("room:ann") == {}
                await hub.publish("room:ann", 1)
                await hub.publish("room:ann", 2)
            assert (room.was_recovering, room.recovered) == (True, True)
            assert [(await anext(room)).data for _ in range(2)] == [1, 2]
            async with ann.offline():
                for n in range(4):
                    await hub.publish("room:ann", n)
            assert (room.was_recovering, room.recovered) == (True, False)
            with pytest.raises(Unrecovered):
                await anext(room)
        assert not hub.is_started

    run(main)


def test_a_cut_is_noticed_and_the_client_comes_back_by_itself(run: Run) -> None:
    async def main() -> None:
        async with client(a_hub(), user="ann") as ann:
            events = ann.events("connecting", "connected")
            first = ann.id
            ann.cut()
            assert [type(await anext(events)).__name__ for _ in range(2)] == ["Connecting", "Connected"]
            assert ann.id != first
            events.close()

    run(main)


def test_who_leaves_or_disconnects_while_offline_leaves_nothing(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with client(hub, user="ann") as ann:
            async with ann.offline():
                await ann.disconnect()
            assert not ann.id or ann.state is everwire.client.ClientState.DISCONNECTED
        with pytest.raises(KeyError):
            async with client(hub, user="ann") as ann, ann.offline():
                raise KeyError
        assert not hub.is_started

    run(main)


def test_a_hub_that_is_started_stays_so_and_another_ends_with_its_last_client(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with hub:
            async with client(hub, user="ann"):
                await hub.publish("room:ann", 1)
            assert (await hub.history("room:ann")).top.offset == 1
        async with client(hub, user="ann"):
            async with client(hub, user="bob"):
                await hub.publish("room:ann", 1)
            assert (await hub.history("room:ann")).top.offset == 1
        assert not hub.is_started

    run(main)


def test_an_application_that_mounts_a_hub(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        life: list[str] = []

        @hub.on_connect
        async def connect(ctx: Context) -> Credentials:
            return Credentials(user=ctx.scope["state"]["user"])

        async def lifespan(app: Any) -> Any:
            async with hub:
                life.append("begun")
                yield {"user": "of the lifespan"}
            life.append("ended")

        from contextlib import asynccontextmanager

        app = FastAPI(lifespan=asynccontextmanager(lifespan))
        app.mount("/rt", hub.asgi())
        async with client(app, path="/rt/websocket") as one, client(app, path="/rt/websocket") as two:
            assert (await one.rpc("who"))["user"] == (await two.rpc("who"))["user"] == "of the lifespan"
            async with one.offline():
                assert life == ["begun"]
            assert (await one.rpc("who"))["user"] == "of the lifespan"
        assert life == ["begun", "ended"]

    run(main)


def test_a_client_outside_of_its_block_says_what_to_do(run: Run) -> None:
    async def main() -> None:
        one = client(a_hub(), user="ann")
        with pytest.raises(RuntimeError, match="async with"):
            await one.connect()
        await one.disconnect()
        await asyncio.sleep(0)

    run(main)
