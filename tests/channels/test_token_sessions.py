"""Tokens in sessions: connecting, subscribing, refreshing, capabilities."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Run

from channels.peer import Ended, Peer, Refused, a_hub
from everwire.channels.hub import Hub
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
