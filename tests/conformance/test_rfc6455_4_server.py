"""RFC 6455, section 4.2 and 4.4, and 10.2: what a server makes of the client's opening handshake."""

from __future__ import annotations

from typing import Any

import pytest
from raw import KEY, TEXT, Head, accept_value, dial, given, head

from .endpoints import STYLES, serving

pytestmark = pytest.mark.parametrize("style", STYLES)


async def ask(style: str, options: dict[str, Any] | None = None, **request: Any) -> Head:
    """The answer of a server to a request; after a refusal the server closes the connection."""
    async with serving(style, **(options or {})) as (_, port), dial(port) as peer:
        answer = await peer.request(**request)
        if answer.status != 101:
            body = await peer.reader.readexactly(int(answer.headers["content-length"]))
            assert body, "a refusal says why"
            assert "sec-websocket-accept" not in answer.headers
            assert "close" in answer.tokens("connection")
            await peer.read_eof()
        return answer


# 4.2.2, 5: the response


def test_4_2_2_the_response_accepts_the_key(run: Any, style: str) -> None:
    async def main() -> None:
        answer = await ask(style)
        assert answer.start.startswith("HTTP/1.1 101 ")
        assert answer.headers["upgrade"].lower() == "websocket"
        assert answer.tokens("connection") == ["upgrade"]
        assert answer.headers["sec-websocket-accept"] == accept_value(KEY)
        assert "sec-websocket-protocol" not in answer.headers
        assert "sec-websocket-extensions" not in answer.headers
        assert "content-length" not in answer.headers
        assert "transfer-encoding" not in answer.headers

    run(main)


def test_4_2_2_the_key_of_the_example_is_accepted_as_there(run: Any, style: str) -> None:
    async def main() -> None:
        answer = await ask(style, sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==")
        assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

    run(main)


# 4.2.1: the request


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "get"])
def test_4_2_1_1_the_method_is_get(run: Any, style: str, method: str) -> None:
    async def main() -> None:
        async with serving(style) as (_, port), dial(port) as peer:
            answer = await peer.request(start=f"{method} / HTTP/1.1")
            assert answer.status == 405
            assert answer.headers["allow"] == "GET"

    run(main)


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1", "HTTPS/1.1"])
def test_4_2_1_1_the_http_version_is_1_1_or_higher(run: Any, style: str, version: str) -> None:
    async def main() -> None:
        answer = await ask(style, start=f"GET / {version}")
        assert answer.status in (400, 426, 505)

    run(main)


@pytest.mark.parametrize(
    "target", ["/", "/chat", "/chat?room=1&x=%20", "/%e2%82%ac", "http://127.0.0.1/chat"]
)
def test_4_2_1_1_the_target_is_a_path_or_an_absolute_uri(run: Any, style: str, target: str) -> None:
    async def main() -> None:
        answer = await ask(style, start=f"GET {target} HTTP/1.1")
        assert answer.status == 101

    run(main)


def test_4_2_1_2_host_is_needed(run: Any, style: str) -> None:
    async def main() -> None:
        assert (await ask(style, without="Host")).status == 400

    run(main)


def test_4_2_1_2_host_is_there_once(run: Any, style: str) -> None:
    async def main() -> None:
        assert (await ask(style, extra=[("Host", "127.0.0.1")])).status == 400

    run(main)


@pytest.mark.parametrize("value", ["websocket", "WebSocket", "WEBSOCKET", "h2c, websocket"])
def test_4_2_1_3_upgrade_has_websocket_in_any_case(run: Any, style: str, value: str) -> None:
    async def main() -> None:
        assert (await ask(style, upgrade=value)).status == 101

    run(main)


@pytest.mark.parametrize("value", [None, "", "h2c", "websockets", "web socket"])
def test_4_2_1_3_upgrade_is_needed(run: Any, style: str, value: str | None) -> None:
    async def main() -> None:
        answer = await ask(style, **given("Upgrade", value))
        assert answer.status in (400, 426)
        if answer.status == 426:
            assert answer.tokens("upgrade") == ["websocket"]

    run(main)


@pytest.mark.parametrize(
    "value",
    [
        "upgrade",
        "UPGRADE",
        "keep-alive, Upgrade",
        "Upgrade, keep-alive",
        "keep-alive ,\tUpgrade",
        ", Upgrade ,",
    ],
)
def test_4_2_1_4_connection_is_a_list_with_upgrade_in_any_case(run: Any, style: str, value: str) -> None:
    async def main() -> None:
        assert (await ask(style, connection=value)).status == 101

    run(main)


def test_4_2_1_4_connection_may_be_repeated(run: Any, style: str) -> None:
    async def main() -> None:
        assert (await ask(style, connection="keep-alive", extra=[("Connection", "Upgrade")])).status == 101

    run(main)


@pytest.mark.parametrize("value", [None, "", "keep-alive", "close", "Upgraded", "keep-alive Upgrade"])
def test_4_2_1_4_connection_with_upgrade_is_needed(run: Any, style: str, value: str | None) -> None:
    async def main() -> None:
        answer = await ask(style, **given("Connection", value))
        assert answer.status in (400, 426)

    run(main)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "AQIDBAUGBwgJCgsMDQ4P",  # 15 bytes
        "AQIDBAUGBwgJCgsMDQ4PEBE=",  # 17 bytes
        "AQIDBAUGBwgJCgsMDQ4PEA",  # no padding
        "AQIDBAUGBwgJCgsMDQ4PE===",
        "AQIDBAUGBwgJCgs-DQ4PEA==",  # not of the alphabet
        "not base64",
        "AQIDBAUGBwgJCgsMDQ4PEA==, AQIDBAUGBwgJCgsMDQ4PEA==",
    ],
)
def test_4_2_1_5_the_key_stands_for_16_bytes(run: Any, style: str, value: str | None) -> None:
    async def main() -> None:
        request = given("Sec-WebSocket-Key", value)
        assert (await ask(style, **request)).status == 400

    run(main)


def test_11_3_1_the_key_is_there_once(run: Any, style: str) -> None:
    async def main() -> None:
        assert (await ask(style, extra=[("Sec-WebSocket-Key", KEY)])).status == 400

    run(main)


def test_4_2_1_6_the_version_is_needed(run: Any, style: str) -> None:
    async def main() -> None:
        assert (await ask(style, without="Sec-WebSocket-Version")).status in (400, 426)

    run(main)


@pytest.mark.parametrize("value", ["", "0", "8", "12", "14", "25", "013", "13.0", "thirteen", "13, 8"])
def test_4_4_another_version_is_refused_and_13_named(run: Any, style: str, value: str) -> None:
    async def main() -> None:
        answer = await ask(style, sec_websocket_version=value)
        assert answer.status == 426
        assert answer.headers["sec-websocket-version"] == "13"
        assert answer.tokens("upgrade") == ["websocket"]
        assert "upgrade" in answer.tokens("connection")

    run(main)


def test_11_3_5_the_version_is_there_once(run: Any, style: str) -> None:
    async def main() -> None:
        answer = await ask(style, extra=[("Sec-WebSocket-Version", "13")])
        assert answer.status in (400, 426)

    run(main)


def test_4_2_1_unknown_headers_are_ignored(run: Any, style: str) -> None:
    async def main() -> None:
        extra = [("X-Unknown", "any\tthing: at all"), ("x-unknown", ""), ("Cookie", "a=b; c=d"), ("DNT", "1")]
        assert (await ask(style, extra=extra)).status == 101

    run(main)


@pytest.mark.parametrize(
    "line",
    [
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
    ],
)
def test_4_1_a_request_with_a_body_is_refused(run: Any, style: str, line: tuple[str, str]) -> None:
    async def main() -> None:
        assert (await ask(style, extra=[line])).status == 400

    run(main)


@pytest.mark.parametrize(
    "broken",
    [
        b"GET / HTTP/1.1\nHost: a\n\n\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_4_2_1_what_is_not_http_is_refused(run: Any, style: str, broken: bytes) -> None:
    async def main() -> None:
        async with serving(style) as (_, port), dial(port) as peer:
            await peer.send(broken)
            assert (await peer.read_head()).status == 400

    run(main)


def test_4_2_1_a_head_without_end_is_refused(run: Any, style: str) -> None:
    async def main() -> None:
        async with serving(style) as (_, port), dial(port) as peer:
            await peer.send(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 70_000)
            assert (await peer.read_head()).status in (400, 431)

    run(main)


def test_4_2_1_the_request_may_come_byte_by_byte(run: Any, style: str) -> None:
    async def main() -> None:
        async with serving(style) as (_, port), dial(port) as peer:
            request = head(
                "GET / HTTP/1.1", [("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
            )
            rest = f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            await peer.trickle(request[:-2] + rest)
            assert (await peer.read_head()).status == 101

    run(main)


def test_4_2_frames_may_follow_the_request_at_once(run: Any, style: str) -> None:
    async def main() -> None:
        async with serving(style) as (_, port), dial(port) as peer:
            lines = [("Host", "a"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
            lines += [("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Version", "13")]
            await peer.send(head("GET / HTTP/1.1", lines) + peer.frame(TEXT, b"at once"))
            assert (await peer.read_head()).status == 101
            assert (await peer.read_frame()).payload == b"at once"

    run(main)


# 4.2.2, 4: subprotocols


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [
        (["chat"], "chat"),
        (["superchat, chat"], "superchat"),
        (["chat, superchat"], "superchat"),
        (["unknown", "chat"], "chat"),
        (["unknown ,\tchat "], "chat"),
        (["unknown"], None),
        (["Chat"], None),
        ([""], None),
        ([",, ,"], None),
    ],
)
def test_4_2_2_a_subprotocol_is_one_that_was_offered(
    run: Any, style: str, offer: list[str], chosen: str | None
) -> None:
    async def main() -> None:
        extra = [("Sec-WebSocket-Protocol", value) for value in offer]
        answer = await ask(style, {"subprotocols": ["superchat", "chat"]}, extra=extra)
        assert answer.status == 101
        assert answer.headers.get("sec-websocket-protocol") == chosen

    run(main)


@pytest.mark.parametrize("offer", ["", "chat"])
def test_4_2_2_a_server_without_subprotocols_chooses_none(run: Any, style: str, offer: str) -> None:
    async def main() -> None:
        answer = await ask(style, sec_websocket_protocol=offer)
        assert answer.status == 101
        assert "sec-websocket-protocol" not in answer.headers

    run(main)


# 9.1: extensions


@pytest.mark.parametrize(
    "offer", ["", "x-unknown", 'x-unknown; a=1; b="2"', "permessage-deflate2, x-webkit-deflate-frame"]
)
def test_9_1_unknown_extensions_are_not_accepted(run: Any, style: str, offer: str) -> None:
    async def main() -> None:
        answer = await ask(style, sec_websocket_extensions=offer)
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers

    run(main)


@pytest.mark.parametrize("offer", ["a b", "a;", "a; b=", 'a; b="', "a; b=c d", "=a", "a; =b", 'a; b="c d"'])
def test_9_1_extensions_that_do_not_follow_the_grammar_are_refused(run: Any, style: str, offer: str) -> None:
    async def main() -> None:
        answer = await ask(style, sec_websocket_extensions=offer)
        assert answer.status == 400

    run(main)


# 10.2: origins


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "example.com"),
        ("http://example.com", "example.com"),
        ("https://example.com", "example.com"),
        ("http://example.com:8080", "example.com:8080"),
        ("http://EXAMPLE.com", "example.com"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_10_2_a_page_of_the_same_host_may_connect(
    run: Any, style: str, origin: str | None, host: str
) -> None:
    async def main() -> None:
        request: dict[str, Any] = {"host": host} | ({} if origin is None else {"origin": origin})
        assert (await ask(style, **request)).status == 101

    run(main)


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://example.com.evil.example",
        "http://example.com:81",
        "null",
        "example.com",
        "",
    ],
)
def test_10_2_a_page_of_another_host_may_not(run: Any, style: str, origin: str) -> None:
    async def main() -> None:
        assert (await ask(style, host="example.com", origin=origin)).status == 403

    run(main)


def test_10_2_several_origins_are_none(run: Any, style: str) -> None:
    async def main() -> None:
        extra = [("Origin", "http://evil.example"), ("Origin", "http://example.com")]
        assert (await ask(style, host="example.com", extra=extra)).status in (400, 403)
        assert (await ask(style, {"origins": ["http://example.com"]}, extra=extra[::-1])).status in (400, 403)

    run(main)


@pytest.mark.parametrize(
    ("origin", "status"), [("http://a.example", 101), ("http://b.example", 403), (None, 403)]
)
def test_10_2_the_server_names_the_origins_that_may(
    run: Any, style: str, origin: str | None, status: int
) -> None:
    async def main() -> None:
        request: dict[str, Any] = {} if origin is None else {"origin": origin}
        assert (await ask(style, {"origins": ["http://a.example"]}, **request)).status == status

    run(main)


def test_10_2_all_origins_may_if_the_server_says_so(run: Any, style: str) -> None:
    async def main() -> None:
        assert (await ask(style, {"origins": None}, origin="http://evil.example")).status == 101

    run(main)


def test_4_2_2_the_application_may_refuse(run: Any, style: str) -> None:
    async def main() -> None:
        async with serving(style, origins=["http://a.example"]) as (endpoint, port), dial(port) as peer:
            assert (await peer.request(origin="http://b.example")).status == 403
            assert not endpoint.opened.done()

    run(main)
