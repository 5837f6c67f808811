"""Tokens in sessions: connecting, subscribing, refreshing, capabilities."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from conftest import Run

from channels.peer import Ended, Peer, Refused, a_hub
from everwire.channels.context import Context
from everwire.channels.hub import Hub
from everwire.channels.options import SubscribeOptions
from everwire.channels.signing import Signer
from everwire.channels.tokens import TokenOptions

SECRET = "a secret of more than thirty-two bytes"
SIGNER = Signer(SECRET)


def hub_with_tokens(**options: Any) -> Hub:
    hub = a_hub(verifier=TokenOptions(token_hmac_secret_key=SECRET).verifier(), **options)
    hub.namespace("", history=10, presence=True)
    return hub


async def connected(hub: Hub, user: str = "42", **claims: Any) -> Peer:
    peer = Peer(hub)
    await peer.ask("connect", token=SIGNER.connection(user, **claims))
    return peer


def test_a_connection_token(run: Run) -> None:
    async def main() -> None:
        async with hub_with_tokens() as hub:
            peer = Peer(hub)
            token = SIGNER.connection("42", info={"name": "Ann"}, channels=["news"], meta={"k": 1})
            reply = await peer.ask("connect", token=token)
            assert reply["expires"] and 3590 <= reply["ttl"] <= 3600
            assert set(reply["subs"]) == {"news"}
            assert (peer.session.user, peer.session.meta) == ("42", {"k": 1})
            for token, ended in (("nonsense", True), (Signer("x" * 40).connection("42"), True), ("", False)):
                with pytest.raises(Ended) as refused:
                    await Peer(hub).ask("connect", token=token)
                assert refused.value.args[0] == (3500 if ended else 3501)
            with pytest.raises(Refused) as expired:
                await Peer(hub).ask("connect", token=SIGNER.connection("42", expires=-10))
            assert expired.value.args == (109, "token expired")

    run(main)


def test_a_subscription_token(run: Run) -> None:
    async def main() -> None:
        async with hub_with_tokens() as hub:
            peer = await connected(hub)
            with pytest.raises(Refused, match="permission denied"):
                await peer.ask("subscribe", channel="a")
            reply = await peer.ask(
                "subscribe", channel="a", token=SIGNER.subscription("42", "a", info={"seat": 1})
            )
            assert reply["expires"] and reply["recoverable"]
            [info] = (await hub.presence("a")).values()
            assert bytes(info.chan_info) == b'{"seat":1}'
            with pytest.raises(Refused) as expired:
                await peer.ask("subscribe", channel="b", token=SIGNER.subscription("42", "b", expires=-10))
            assert expired.value.args == (109, "token expired")
            with pytest.raises(Refused, match="permission denied"):
                await peer.ask("subscribe", channel="b", token="nonsense")
            for token in (SIGNER.subscription("7", "b"), SIGNER.subscription("42", "c")):
                with pytest.raises(Ended, match="invalid token"):
                    await (await connected(hub)).ask("subscribe", channel="b", token=token)
            assert (await peer.ask("subscribe", channel="$b", token=SIGNER.subscription("42", "$b")))["epoch"]

    run(main)


def test_refreshing(run: Run) -> None:
    async def main() -> None:
        async with hub_with_tokens(expired_close_delay=0.2) as hub:
            peer = await connected(hub, expires=1)
            await peer.ask("subscribe", channel="a", token=SIGNER.subscription("42", "a", expires=1))
            reply = await peer.ask("refresh", token=SIGNER.connection("42"))
            assert reply["expires"] and reply["ttl"] > 3000
            reply = await peer.ask("sub_refresh", channel="a", token=SIGNER.subscription("42", "a"))
            assert reply["expires"] and reply["ttl"] > 3000
            with pytest.raises(Ended, match="invalid token"):
                await peer.ask("refresh", token=SIGNER.connection("7"))
            late = await connected(hub, expires=1)
            assert await late.end() == (3005, "connection expired")

    run(main)


def test_capabilities(run: Run) -> None:
    async def main() -> None:
        async with hub_with_tokens() as hub:
            caps = [{"channels": ["room:*", "a"], "match": "wildcard", "allow": ["sub", "pub", "hst", "prs"]}]
            hub.namespace("room", history=5, presence=True, allow_history_for_subscriber=False)
            peer = await connected(hub, caps=caps)
            await peer.ask("subscribe", channel="room:1")
            await peer.ask("publish", channel="room:2", data=1)
            assert (await peer.ask("history", channel="room:2", limit=1))["publications"][0]["data"] == 1
            await peer.ask("presence", channel="room:2")
            with pytest.raises(Refused, match="permission denied"):
                await peer.ask("publish", channel="b", data=1)
            with pytest.raises(Refused, match="permission denied"):
                await (await connected(hub)).ask("history", channel="room:2")

    run(main)


def test_a_subscription_token_allows_more_while_it_lasts(run: Run) -> None:
    async def main() -> None:
        async with hub_with_tokens() as hub:
            closed = {f"allow_{what}_for_subscriber": False for what in ("history", "presence")}
            hub.namespace("room", history=5, presence=True, force_recovery=False, **closed)
            peer = await connected(hub)

            def token(channel: str, *allow: str) -> str:
                return SIGNER.subscription("42", channel, allow=list(allow))

            async def allowed(channel: str) -> set[str]:
                found = set[str]()
                for command, fields in (("publish", {"data": 1}), ("presence", {}), ("history", {})):
                    with contextlib.suppress(Refused):
                        await peer.ask(command, channel=channel, **fields)
                        found.add(command)
                return found

            reply = await peer.ask("subscribe", channel="room:1", token=token("room:1"), recoverable=True)
            assert "recoverable" not in reply
            assert await allowed("room:1") == set()
            everything = token("room:2", "pub", "prs", "hst")
            reply = await peer.ask("subscribe", channel="room:2", token=everything, recoverable=True)
            assert reply["recoverable"]
            assert await allowed("room:2") == {"publish", "presence", "history"}
            assert await allowed("room:1") == set()
            # A new token says anew what is allowed, and nothing is once the subscription is over.
            await peer.ask("sub_refresh", channel="room:2", token=token("room:2", "prs"))
            assert await allowed("room:2") == {"presence"}
            await peer.ask("unsubscribe", channel="room:2")
            assert await allowed("room:2") == set()
            given = await connected(hub, subs={"room:3": {"allow": ["pub"]}})
            await given.ask("publish", channel="room:3", data=1)
            with pytest.raises(Refused, match="permission denied"):
                await given.ask("history", channel="room:3")

    run(main)


def test_the_function_of_a_channel_allows_more_for_a_subscriber(run: Run) -> None:
    async def main() -> None:
        async with hub_with_tokens() as hub:

            @hub.channel("seat:{number}")
            def seat(ctx: Context, number: str) -> SubscribeOptions:
                return SubscribeOptions(allow=["pub"] if number == "1" else [])

            peer = await connected(hub)
            for number in ("1", "2"):
                await peer.ask("subscribe", channel=f"seat:{number}")
            await peer.ask("publish", channel="seat:1", data=1)
            with pytest.raises(Refused, match="permission denied"):
                await peer.ask("publish", channel="seat:2", data=1)

    run(main)


def test_what_is_allowed_has_a_name() -> None:
    wrong: Any = ["publish"]
    with pytest.raises(ValueError, match="allow knows sub, pub, prs, hst, not 'publish'"):
        SubscribeOptions(allow=wrong)
