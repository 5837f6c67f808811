"""RFC 6455, section 4.1: the client's opening handshake, and what it makes of the server's."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from typing import Any

import pytest
from raw import CLOSE, Head, Listener, given

import everwire


async def answered(options: dict[str, Any] | None = None, **answer: Any) -> Head:
    """Connect to a server that answers so; return the request. What ``connect`` raises is raised."""
    async with Listener() as listener:

        async def client() -> None:
            async with everwire.connect(listener.uri, proxy=None, **(options or {})):
                pass

        task = asyncio.create_task(client())
        peer = await listener.accept()
        request = await peer.answer(**answer)
        if answer.get("status", "101").startswith("101"):
            # a client that fails the handshake just closes; one that does not sends a close frame
            with suppress(asyncio.IncompleteReadError):
                await peer.send_frame(CLOSE, (await peer.read_close()).payload)
        await peer.close()
        await task
        return request


async def refused(error: type[Exception], options: dict[str, Any] | None = None, **answer: Any) -> None:
    """The client fails the handshake over this answer."""
    with pytest.raises(error):
        await answered(options, **answer)


# The request


def test_4_1_the_request_is_as_the_section_lists_it(run: Any) -> None:
    async def main() -> None:
        request = await answered()
        assert request.start == "GET / HTTP/1.1"
        assert request.headers["host"].startswith("127.0.0.1:")
        assert "websocket" in request.tokens("upgrade")
        assert "upgrade" in request.tokens("connection")
        assert len(base64.b64decode(request.headers["sec-websocket-key"], validate=True)) == 16
        assert request.headers["sec-websocket-version"] == "13"
        assert "origin" not in request.headers
        assert "sec-websocket-protocol" not in request.headers

    run(main)


def test_4_1_7_the_key_is_chosen_anew_for_each_connection(run: Any) -> None:
    async def main() -> None:
        keys = {(await answered()).headers["sec-websocket-key"] for _ in range(20)}
        assert len(keys) == 20

    run(main)


def test_4_1_8_the_origin_is_sent_when_there_is_one(run: Any) -> None:
    async def main() -> None:
        request = await answered({"origin": "https://example.com"})
        assert request.headers["origin"] == "https://example.com"

    run(main)


def test_4_1_10_subprotocols_are_offered_in_order(run: Any) -> None:
    async def main() -> None:
        request = await answered({"subprotocols": ["b", "a"]}, sec_websocket_protocol="a")
        assert request.headers["sec-websocket-protocol"] == "b, a"

    run(main)


def test_4_1_11_extensions_are_offered(run: Any) -> None:
    async def main() -> None:
        assert "permessage-deflate" in (await answered()).headers["sec-websocket-extensions"]
        assert "sec-websocket-extensions" not in (await answered({"compression": None})).headers

    run(main)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/"),
        ("/chat", "/chat"),
        ("/chat?a=1&b=%20", "/chat?a=1&b=%20"),
        ("?a=1", "/?a=1"),
    ],
)
def test_3_the_target_is_path_and_query(run: Any, path: str, target: str) -> None:
    async def main() -> None:
        async with Listener() as listener:

            async def client() -> None:
                async with everwire.connect(listener.uri.rstrip("/") + path, proxy=None):
                    pass

            task = asyncio.create_task(client())
            peer = await listener.accept()
            assert (await peer.answer()).start == f"GET {target} HTTP/1.1"
            await peer.read_close()
            await peer.send_frame(CLOSE, b"\x03\xe8")
            await peer.close()
            await task

    run(main)


def test_3_a_fragment_in_the_uri_is_an_error(run: Any) -> None:
    async def main() -> None:
        with pytest.raises(everwire.InvalidURI):
            async with everwire.connect("ws://127.0.0.1:1/#fragment", proxy=None):
                pass

    run(main)


# The response


@pytest.mark.parametrize(
    "status", ["200 OK", "400 Bad Request", "403 Forbidden", "426 Upgrade Required", "500 Oops"]
)
def test_4_1_1_another_status_than_101_fails(run: Any, status: str) -> None:
    async def main() -> None:
        with pytest.raises(everwire.InvalidStatus) as caught:
            await answered(status=status, extra=[("Content-Length", "0")])
        assert caught.value.response.status == int(status[:3])

    run(main)


@pytest.mark.parametrize("value", ["websocket", "WebSocket"])
def test_4_1_2_upgrade_is_websocket_in_any_case(run: Any, value: str) -> None:
    async def main() -> None:
        await answered(upgrade=value)

    run(main)


@pytest.mark.parametrize("value", [None, "", "h2c", "websockets"])
def test_4_1_2_another_upgrade_fails(run: Any, value: str | None) -> None:
    async def main() -> None:
        await refused(everwire.InvalidHeader, **given("Upgrade", value))

    run(main)


@pytest.mark.parametrize("value", ["upgrade", "UPGRADE", "keep-alive, Upgrade"])
def test_4_1_3_connection_has_upgrade_in_any_case(run: Any, value: str) -> None:
    async def main() -> None:
        await answered(connection=value)

    run(main)


@pytest.mark.parametrize("value", [None, "", "close", "Upgraded"])
def test_4_1_3_connection_without_upgrade_fails(run: Any, value: str | None) -> None:
    async def main() -> None:
        await refused(everwire.InvalidHeader, **given("Connection", value))

    run(main)


@pytest.mark.parametrize("value", [None, "", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="])
def test_4_1_4_a_wrong_accept_fails(run: Any, value: str | None) -> None:
    async def main() -> None:
        answer = given("Sec-WebSocket-Accept", value)
        await refused(everwire.InvalidHeader, **answer)

    run(main)


@pytest.mark.parametrize(
    "value",
    [
        "x-unknown",
        "permessage-deflate; unknown",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate, x-unknown",
        "permessage-bzip2",
    ],
)
def test_4_1_5_an_extension_that_was_not_offered_fails(run: Any, value: str) -> None:
    async def main() -> None:
        # an offer that a bare permessage-deflate would answer
        options = {"compression": everwire.Deflate(context_takeover=True)}
        await refused(everwire.HandshakeError, options, sec_websocket_extensions=value)

    run(main)


def test_4_1_5_any_extension_fails_if_none_was_offered(run: Any) -> None:
    async def main() -> None:
        await refused(
            everwire.NegotiationError, {"compression": None}, sec_websocket_extensions="permessage-deflate"
        )

    run(main)


@pytest.mark.parametrize(
    ("offered", "value"), [([], "chat"), (["chat"], "superchat"), (["chat"], "Chat"), (["a", "b"], "a, b")]
)
def test_4_1_6_a_subprotocol_that_was_not_offered_fails(run: Any, offered: list[str], value: str) -> None:
    async def main() -> None:
        await refused(everwire.NegotiationError, {"subprotocols": offered}, sec_websocket_protocol=value)

    run(main)


def test_4_1_6_a_server_may_choose_no_subprotocol(run: Any) -> None:
    async def main() -> None:
        await answered({"subprotocols": ["chat"]})

    run(main)


def test_11_3_3_a_repeated_accept_fails(run: Any) -> None:
    async def main() -> None:
        await refused(
            everwire.InvalidHeader, extra=[("Sec-WebSocket-Accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
        )

    run(main)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 101 OK\nUpgrade: websocket\n\n\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n",
        b"HTTP/1.1 101 OK\r\n" + b"X: " + b"y" * 70_000,
    ],
    ids=["nothing", "half", "words", "status", "line feeds", "ssh", "tls alert", "too long"],
)
def test_4_1_what_is_not_http_fails(run: Any, data: bytes) -> None:
    async def main() -> None:
        async with Listener() as listener:

            async def client() -> None:
                async with everwire.connect(listener.uri, proxy=None):
                    pass

            task = asyncio.create_task(client())
            peer = await listener.accept()
            await peer.read_head()
            await peer.send(data)
            await peer.close()
            with pytest.raises((everwire.HandshakeError, OSError, EOFError)):
                await task

    run(main)


def test_4_1_frames_may_follow_the_response_at_once(run: Any) -> None:
    async def main() -> None:
        async with Listener() as listener:

            async def client() -> str | bytes:
                async with everwire.connect(listener.uri, proxy=None) as ws:
                    return await ws.recv()

            task = asyncio.create_task(client())
            peer = await listener.accept()
            sent = peer.send

            async def with_frame(data: bytes) -> None:
                await sent(data + peer.frame(1, b"at once"))

            peer.send = with_frame  # type: ignore[method-assign]
            await peer.answer()
            peer.send = sent  # type: ignore[method-assign]
            await peer.read_close()
            await peer.send_frame(CLOSE, b"\x03\xe8")
            await peer.close()
            assert await task == "at once"

    run(main)
