"""Tokens of a client and of its subscriptions: asked for, renewed in time, refused, and given up."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from channels.keys import SECRET
from conftest import Run

import everwire
from everwire.channels.options import SubscribeOptions
from everwire.channels.signing import Signer
from everwire.client import ClientState, Disconnected, Failure, SubscriptionState
from everwire.client.options import refresh_after
from everwire.errors import CommandError, Unauthorized
from everwire.testing import client

SIGNER = Signer(SECRET)


def a_hub() -> everwire.Hub:
    """A hub that wants tokens: to connect, and for the channels of one namespace."""
    hub = everwire.Hub(token_hmac_secret_key=SECRET)
    hub.namespace("log", history=10, allow_subscribe_for_client=True)
    hub.namespace("token", history=10)
    return hub


class Issuer:
    """Gives tokens, one after the other, and counts; an exception among them is raised.

    The numbers are the seconds that each is valid for; the last one is for all that follow.
    """

    def __init__(self, *seconds: float | Exception) -> None:
        self._left = list(seconds)
        self.asked = 0
        self.again = asyncio.Event()

    def _next(self) -> float:
        self.asked += 1
        if self.asked > 1:
            self.again.set()
        now = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        if isinstance(now, Exception):
            raise now
        return now

    async def connection(self) -> str:
        """A token for the connection."""
        return SIGNER.connection("ann", expires=self._next())

    async def subscription(self, channel: str) -> str:
        """A token for a channel."""
        return SIGNER.subscription("ann", channel, expires=self._next())


def test_a_token_is_renewed_somewhat_before_its_end() -> None:
    assert [refresh_after(ttl) for ttl in (1, 10, 60, 1000)] == [1.0, 9.0, 54.0, 990.0]


def test_tokens_are_renewed_while_everything_goes_on(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        # Valid for one second at least, and renewed after one: beside each other.
        connection, subscription = Issuer(2, 3600), Issuer(2, 3600)
        async with client(hub, get_token=connection.connection) as ann:
            told = ann.events("connecting", "error")
            async with ann.subscribe("token:a", get_token=subscription.subscription) as news:
                news.on("subscribing", lambda event: pytest.fail("it was subscribed anew"))
                (session,) = hub.sessions_of("ann")
                first = session.expire_at
                await asyncio.gather(connection.again.wait(), subscription.again.wait())
                # Both were answered when a command after them is.
                await hub.publish("token:a", 1)
                assert (await anext(news)).data == 1
                await news.history()
                assert (connection.asked, subscription.asked) == (2, 2)
                assert session.expire_at > first + 1000
                assert hub.sessions_of("ann") == [session]
            told.close()
            assert [each async for each in told] == []

    run(main)


def test_a_token_that_has_expired_is_replaced(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        failures: list[Any] = []
        connection, subscription = Issuer(-10, 3600), Issuer(-10, 3600)
        ann = client(hub, get_token=connection.connection)
        ann.on("error", failures.append)
        async with ann:
            news = ann.subscribe("token:a", get_token=subscription.subscription)
            news.on("error", failures.append)
            await news
            assert (connection.asked, subscription.asked) == (2, 2)
        assert [(each.what, each.error.code) for each in failures] == [("connect", 109), ("subscribe", 109)]

    run(main)


def test_who_has_no_new_token_is_told_that_it_has_expired(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        with pytest.raises(CommandError) as caught:
            async with client(hub, token=SIGNER.connection("ann", expires=-10)):
                pass
        assert caught.value.code == 109
        async with client(hub, user="ann") as ann:
            with pytest.raises(CommandError) as caught:
                await ann.subscribe("token:a", token=SIGNER.subscription("ann", "token:a", expires=-10))
            assert caught.value.code == 109

    run(main)


def test_a_failure_to_get_a_token_is_tried_again(run: Run) -> None:
    async def main() -> None:
        failures: list[Failure] = []
        connection, subscription = Issuer(OSError("no way"), 3600), Issuer(OSError("no way"), 3600)
        ann = client(a_hub(), get_token=connection.connection)
        ann.on("error", failures.append)
        async with ann:
            await ann.subscribe("token:a", get_token=subscription.subscription)
        assert [(each.what, each.channel) for each in failures] == [("connect", ""), ("token", "token:a")]
        assert {str(each.error) for each in failures} == {"no way"}

    run(main)


def test_who_is_not_to_have_a_token_is_out_for_good(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        async def nothing() -> str:
            return ""

        for get_token in (Issuer(Unauthorized("no")).connection, nothing):
            with pytest.raises(Unauthorized):
                async with client(hub, get_token=get_token):
                    pass
        async with client(hub, user="ann") as ann:
            with pytest.raises(Unauthorized, match="no"):
                await ann.subscribe("token:a", get_token=Issuer(Unauthorized("no")).subscription)
            assert ann.subscription("token:a") is None

    run(main)


def test_who_is_not_to_have_another_token_is_out_then(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        ended: asyncio.Queue[Any] = asyncio.Queue()
        connection, subscription = Issuer(2, Unauthorized("no more")), Issuer(2, Unauthorized("no more"))
        ann = client(hub, get_token=connection.connection)
        ann.on("disconnected", ended.put_nowait)
        async with ann, client(hub, user="ann") as other:
            news = await other.subscribe("token:a", get_token=subscription.subscription)
            news.on("unsubscribed", ended.put_nowait)
            told = {type(each).__name__: each.code for each in (await ended.get(), await ended.get())}
            assert told == {"Disconnected": 1, "Unsubscribed": 1}
            with pytest.raises(Unauthorized, match="no more"):
                await ann.rpc("x")
            with pytest.raises(Unauthorized, match="no more"):
                await anext(news)
            # The hub was told, too: the next answer comes after that.
            await other.subscribe("log:a")
            (session,) = (each for each in hub.sessions_of("ann") if each.client == other.id)
            assert set(session.subscriptions) == {"log:a"}
        assert ann.state is ClientState.DISCONNECTED

    run(main)


def test_a_failure_while_renewing_is_told_and_everything_goes_on(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        failures: asyncio.Queue[Any] = asyncio.Queue()
        connection, subscription = Issuer(2, OSError("no way")), Issuer(2, OSError("no way"))
        ann = client(hub, get_token=connection.connection)
        ann.on("error", failures.put_nowait)
        async with ann:
            news = await ann.subscribe("token:a", get_token=subscription.subscription)
            told = [await failures.get() for _ in range(2)]
            assert {(each.what, each.channel) for each in told} == {("refresh", ""), ("refresh", "token:a")}
            await hub.publish("token:a", 1)
            assert (await anext(news)).data == 1

    run(main)


def test_the_server_prolongs_a_session_or_ends_it(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        connection = Issuer(3600)
        async with client(hub, get_token=connection.connection) as ann:
            events = ann.events("connecting", "connected")
            assert await hub.refresh("ann", expire_at=time.time() + 2) == 1
            await connection.again.wait()
            assert connection.asked == 2
            await hub.refresh("ann", expired=True)
            lost, back = await anext(events), await anext(events)
            assert (type(lost).__name__, lost.code, type(back).__name__) == ("Connecting", 3005, "Connected")  # type: ignore[union-attr]
            events.close()

    run(main)


def test_an_invalidated_client_forgets_tokens_and_positions(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        connection, subscription = Issuer(3600), Issuer(3600)
        async with client(hub, get_token=connection.connection) as ann:
            news = await ann.subscribe("token:a", get_token=subscription.subscription)
            settled = asyncio.Event()
            news.on("subscribed", lambda event: settled.set())
            await hub.publish("token:a", 1)
            assert (await anext(news)).data == 1
            async with ann.offline():
                pass
            assert (connection.asked, subscription.asked) == (1, 1)
            assert news.recovered
            settled.clear()
            await hub.disconnect("ann", code=3014, reason="state invalidated")
            await settled.wait()
            assert (connection.asked, subscription.asked) == (2, 2)
            assert (news.was_recovering, news.recovered) == (True, False)
            with pytest.raises(everwire.Unrecovered):
                await anext(news)
            settled.clear()
            await hub.unsubscribe("ann", "token:a", code=2502, reason="state invalidated")
            await settled.wait()
            assert (connection.asked, subscription.asked) == (2, 3)
            assert (news.was_recovering, news.recovered) == (True, False)

    run(main)


def test_state_is_loaded_anew_where_what_was_missed_is_gone(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        hub.namespace("short", history=2, allow_subscribe_for_client=True)
        loaded: list[everwire.Position] = []

        async def get_state() -> everwire.Position:
            page = await hub.history("short:a")
            loaded.append(page.top)
            return page.top

        async with hub, client(hub, user="ann") as ann:
            news = ann.subscribe("short:a", get_state=get_state)
            failures: list[Any] = []
            news.on("error", failures.append)
            await news
            assert [each.offset for each in loaded] == [0]
            async with ann.offline():
                await hub.publish("short:a", 1)
            assert (await anext(news)).data == 1
            assert len(loaded) == 1
            async with ann.offline():
                for n in range(2, 7):
                    await hub.publish("short:a", n)
            assert [each.offset for each in loaded] == [0, 6]
            assert [(each.what, each.error.code) for each in failures] == [("subscribe", 112)]
            assert news.state is SubscriptionState.SUBSCRIBED
            await hub.publish("short:a", 7)
            # What came before is in the state; the iteration goes on after it.
            assert (await anext(news)).data == 7
            settled = asyncio.Event()
            news.on("subscribed", lambda event: settled.set())
            await hub.unsubscribe("ann", "short:a", code=2502)
            await settled.wait()
            assert [each.offset for each in loaded] == [0, 6, 7]
            await hub.publish("short:a", 8)
            assert (await anext(news)).data == 8

    run(main)


def test_a_subscription_without_a_token_that_expires_ends(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()

        @hub.channel("brief:{name}")
        async def brief(ctx: Any, name: str) -> SubscribeOptions:
            return SubscribeOptions(expire_at=time.time() + 0.05, client_side_refresh=False)

        async with client(hub, user="ann") as ann:
            news = ann.subscribe("brief:a")
            told: asyncio.Queue[Any] = asyncio.Queue()
            news.on("subscribing", told.put_nowait)
            await news
            ended = await told.get()
            assert (ended.code, ended.reason) == (2501, "subscription expired")

    run(main)


def test_a_session_that_expires_comes_back_with_the_same_token_and_is_refused(run: Run) -> None:
    async def main() -> None:
        hub = a_hub()
        async with client(hub, token=SIGNER.connection("ann", expires=2)) as ann:
            told = ann.events("disconnected")
            hub.verifier._clock = lambda: time.time() + 60
            await hub.refresh("ann", expired=True)
            ended = await anext(told)
            assert isinstance(ended, Disconnected) and ended.code == 109
            with pytest.raises(CommandError):
                await ann.rpc("x")
            told.close()

    run(main)
