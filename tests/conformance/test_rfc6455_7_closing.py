"""RFC 6455, sections 5.5.1 and 7: closing, from either end, rightly and wrongly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from raw import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_payload, dial, frame

import everwire

from .endpoints import SIDES, Endpoint, connected, expect_failure, port_of

both_sides = pytest.mark.parametrize("side", SIDES)


# 7.1.2 to 7.1.6: the peer begins


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (b"", 1005, ""),
        (close_payload(1000), 1000, ""),
        (close_payload(1000, "done"), 1000, "done"),
        (close_payload(1001, "Grüße \N{ROCKET}"), 1001, "Grüße \N{ROCKET}"),
        (close_payload(4999, "r" * 123), 4999, "r" * 123),
    ],
    ids=["empty", "1000", "reason", "unicode", "longest"],
)
@both_sides
def test_5_5_1_a_close_frame_is_answered(run: Any, side: str, payload: bytes, code: int, reason: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await peer.send_frame(CLOSE, payload)
            close = await peer.read_close()
            # typically the code that was received is echoed
            assert close.payload[:2] == payload[:2]
            if side != "client":
                await peer.read_eof()
            await peer.close()
            error = await endpoint.closed()
            assert error.received == (code, reason)
            assert error.sent is not None
            assert error.sent.code == code
            assert error.received_first is True
            assert isinstance(error, everwire.ConnectionClosedOK) == (code in (1000, 1001, 1005))
            ws = endpoint.opened.result()
            assert (ws.close_code, ws.close_reason) == (code, reason)

    run(main)


@both_sides
def test_5_5_1_a_close_frame_may_come_byte_by_byte(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await peer.trickle(peer.frame(CLOSE, close_payload(1000, "slow")))
            assert (await peer.read_close()).code == 1000
            await peer.close()
            assert (await endpoint.closed()).received == (1000, "slow")

    run(main)


@both_sides
def test_5_5_1_messages_before_the_close_frame_are_delivered(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            messages = b"".join(peer.frame(TEXT, b"%d" % i) for i in range(10))
            await peer.send(messages + peer.frame(CLOSE, close_payload(1000)))
            while (await peer.read_frame()).opcode != CLOSE:
                pass
            await peer.close()
            await endpoint.closed()
            assert endpoint.messages == [str(i) for i in range(10)]

    run(main)


@both_sides
def test_5_5_1_what_follows_the_close_frame_is_ignored(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            after = (
                peer.frame(TEXT, b"late") + peer.frame(PING, b"late") + peer.frame(CLOSE, close_payload(4000))
            )
            await peer.send(peer.frame(CLOSE, close_payload(1000)) + after + b"\xff" * 100)
            assert (await peer.read_close()).code == 1000
            if side == "client":
                peer.writer.write_eof()
            await peer.read_eof()
            await peer.close()
            assert (await endpoint.closed()).received == (1000, "")
            assert endpoint.messages == []

    run(main)


@both_sides
def test_5_5_1_a_close_frame_may_interrupt_a_fragmented_message(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            data = peer.frame(TEXT, b"unfinished", fin=False) + peer.frame(CLOSE, close_payload(1000))
            await peer.send(data + peer.frame(CONTINUATION, b"too late"))
            assert (await peer.read_close()).code == 1000
            await peer.close()
            assert (await endpoint.closed()).received == (1000, "")
            assert endpoint.messages == []

    run(main)


# 7.4: codes


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
)
@both_sides
def test_7_4_codes_that_may_be_sent_are_accepted(run: Any, side: str, code: int) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await peer.send_frame(CLOSE, close_payload(code))
            assert (await peer.read_close()).code == code
            await peer.close()
            assert (await endpoint.closed()).code == code

    run(main)


@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32_768, 65_535]
)
@both_sides
def test_7_4_codes_that_may_not_be_sent_are_1002(run: Any, side: str, code: int) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await peer.send_frame(CLOSE, close_payload(code))
            await expect_failure(peer, 1002)
            error = await endpoint.closed()
            assert isinstance(error, everwire.ConnectionClosedError)
            assert error.sent is not None
            assert error.sent.code == 1002

    run(main)


@pytest.mark.parametrize("byte", [b"\x03", b"\x00", b"\xff"])
@both_sides
def test_5_5_1_a_payload_of_one_byte_is_1002(run: Any, side: str, byte: bytes) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            await peer.send_frame(CLOSE, byte)
            await expect_failure(peer, 1002)

    run(main)


@pytest.mark.parametrize("reason", [b"\xff", b"ok \xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"])
@both_sides
def test_5_5_1_a_reason_that_is_not_utf_8_is_1007(run: Any, side: str, reason: bytes) -> None:
    async def main() -> None:
        async with connected(side) as (_, peer):
            await peer.send_frame(CLOSE, close_payload(1000, reason))
            await expect_failure(peer, 1007)

    run(main)


# 7.1: we begin


@pytest.mark.parametrize(
    ("arguments", "payload"),
    [
        ((), close_payload(1000)),
        ((1001,), close_payload(1001)),
        ((4000, "wait, wäit"), close_payload(4000, "wait, wäit")),
        ((3000, "r" * 123), close_payload(3000, "r" * 123)),
    ],
)
@both_sides
def test_7_1_2_we_begin(run: Any, side: str, arguments: tuple[Any, ...], payload: bytes) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            ws = await endpoint.opened
            closing = asyncio.ensure_future(closed(ws, *arguments))
            assert (await peer.read_close()).payload == payload
            await peer.send_frame(CLOSE, payload[:2])
            if side == "client":
                # 7.1.1: it is the server that closes first
                peer.writer.write_eof()
            await peer.read_eof()
            await closing
            error = await endpoint.closed()
            assert error.sent is not None
            assert error.sent.code == error.code == int.from_bytes(payload[:2], "big")
            assert error.received_first is False

    run(main)


async def closed(ws: everwire.Connection, *arguments: Any) -> None:
    """Close, and wait for the end."""
    await ws.close(*arguments)


@both_sides
def test_5_5_1_nothing_is_sent_after_our_close_frame(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            ws = await endpoint.opened
            closing = asyncio.ensure_future(closed(ws))
            await peer.read_close()
            await peer.send_frame(TEXT, b"crossed")
            await peer.send_frame(PING, b"crossed")
            await peer.send_frame(CLOSE, close_payload(1000))
            if side == "client":
                peer.writer.write_eof()
            # neither an answer nor a pong
            await peer.read_eof()
            await closing
            assert (await endpoint.closed()).code == 1000

    run(main)


@both_sides
def test_5_5_1_both_may_begin_at_the_same_time(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            ws = await endpoint.opened
            peer.writer.write(peer.frame(CLOSE, close_payload(4001)))
            closing = asyncio.ensure_future(closed(ws, 4002))
            await peer.writer.drain()
            assert (await peer.read_close()).code in (4001, 4002)
            if side == "client":
                peer.writer.write_eof()
            await peer.read_eof()
            await closing
            assert (await endpoint.closed()).code == 4001

    run(main)


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_536])
@both_sides
def test_7_4_we_cannot_send_a_code_that_may_not_be_sent(run: Any, side: str, code: int) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            ws = await endpoint.opened
            with pytest.raises(ValueError, match=str(code)):
                await ws.close(code)
            await peer.send_frame(TEXT, b"still open")
            assert (await peer.read_frame()).payload == b"still open"

    run(main)


@pytest.mark.parametrize("reason", ["r" * 124, "ü" * 62])
@both_sides
def test_5_5_we_cannot_send_a_reason_over_123_bytes(run: Any, side: str, reason: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            ws = await endpoint.opened
            with pytest.raises(ValueError, match="123"):
                await ws.close(1000, reason)
            await peer.send_frame(TEXT, b"still open")
            assert (await peer.read_frame()).payload == b"still open"

    run(main)


@both_sides
def test_7_1_1_a_peer_that_does_not_answer_is_not_waited_for_for_ever(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side, close_timeout=0.2) as (endpoint, peer):
            ws = await endpoint.opened
            closing = asyncio.ensure_future(closed(ws))
            await peer.read_close()
            await closing
            assert ws.close_code == 1006
            assert (await endpoint.closed()).received is None

    run(main)


def test_7_1_1_a_client_lets_the_server_close_first(run: Any) -> None:
    async def main() -> None:
        async with connected("client") as (endpoint, peer):
            await peer.send_frame(CLOSE, close_payload(1000))
            await peer.read_close()
            for _ in range(20):
                await asyncio.sleep(0)
            assert not peer.reader.at_eof()
            assert not endpoint.ended.done()
            await peer.close()
            assert (await endpoint.closed()).code == 1000

    run(main)


def test_7_1_1_a_server_that_does_not_close_is_not_waited_for_for_ever(run: Any) -> None:
    async def main() -> None:
        async with connected("client", close_timeout=0.2) as (endpoint, peer):
            await peer.send_frame(CLOSE, close_payload(1000))
            await peer.read_close()
            assert (await endpoint.closed()).code == 1000

    run(main)


# 7.1.5 and 7.1.7: no close frame


@pytest.mark.parametrize("how", ["eof", "reset"])
@both_sides
def test_7_1_5_an_end_without_close_frame_is_1006(run: Any, side: str, how: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await endpoint.opened
            if how == "eof":
                await peer.close()
            else:
                peer.abort()
            error = await endpoint.closed()
            assert isinstance(error, everwire.ConnectionClosedError)
            assert error.received is None
            assert error.code == 1006
            assert endpoint.opened.result().close_code == 1006

    run(main)


@both_sides
def test_7_1_7_after_a_failure_nothing_more_is_read(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            after = b"".join(peer.frame(BINARY, b"late" * 1000) for _ in range(50))
            await peer.send(peer.frame(3) + after)
            await expect_failure(peer, 1002)
            await endpoint.closed()
            assert endpoint.messages == []

    run(main)


@both_sides
def test_7_1_7_the_failure_says_why(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await peer.send(frame(11, key=b"abcd" if side != "client" else None))
            close = await peer.read_close()
            assert close.code == 1002
            assert "opcode 11" in close.reason
            await peer.close()
            error = await endpoint.closed()
            assert isinstance(error.__cause__, everwire.ProtocolError)

    run(main)


@both_sides
def test_7_2_nothing_can_be_sent_after_the_end(run: Any, side: str) -> None:
    async def main() -> None:
        async with connected(side) as (endpoint, peer):
            await peer.send_frame(CLOSE, close_payload(1000))
            await peer.read_close()
            await peer.close()
            await endpoint.closed()
            ws = endpoint.opened.result()
            with pytest.raises(everwire.ConnectionClosedOK):
                await ws.send("late")
            with pytest.raises(everwire.ConnectionClosedOK):
                await ws.recv()

    run(main)


@pytest.mark.parametrize("style", ["coroutine", "listener"])
def test_7_3_a_server_that_ends_says_1001(run: Any, style: str) -> None:
    async def main() -> None:
        endpoint = Endpoint()
        handler = endpoint.echo if style == "coroutine" else endpoint.listener()
        server = everwire.serve(handler, "127.0.0.1", 0)
        async with server as running, dial(port_of(running)) as peer:
            await peer.open()
            running.close()
            assert (await peer.read_close()).code == 1001
            await peer.send_frame(CLOSE, close_payload(1001))
            await peer.read_eof()
            await running.wait_closed()

    run(main)
