"""A connection's messages, pings and close, from both ends of it."""

from __future__ import annotations

import array
import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from live import HOST, both_ends, connect, echo, ends, idle, pair, turns, until
from raw import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, dial

import everwire
from everwire import ConcurrencyError, ConnectionClosed, ConnectionClosedError, ConnectionClosedOK, SendStatus

# Receiving


@both_ends
def test_text_comes_as_str_and_binary_as_bytes(run: Any, end: str) -> None:
    async def main() -> None:
        async with ends(end) as (ws, peer):
            for message in ("", "text", "Grüße \N{ROCKET}", b"", b"\x00\xff"):
                await peer.send(message)
                got = await ws.recv()
                assert got == message
                assert type(got) is type(message)

    run(main)


@pytest.mark.parametrize(
    ("message", "decode", "expected"),
    [
        ("text", True, "text"),
        ("text", False, b"text"),
        (b"data", True, "data"),
        (b"data", False, b"data"),
        ("text", None, "text"),
        (b"data", None, b"data"),
    ],
)
def test_recv_decodes_as_it_is_told(run: Any, message: Any, decode: bool | None, expected: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            await peer.send(message)
            assert await ws.recv(decode) == expected
            await peer.send(message)
            assert await ws.recv(decode=decode) == expected

    run(main)


def test_recv_that_cannot_decode_says_so_and_goes_on(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            await peer.send(b"\xff")
            await peer.send("next")
            with pytest.raises(UnicodeDecodeError) as caught:
                await ws.recv(decode=True)
            assert caught.value.object == b"\xff"
            assert await ws.recv() == "next"

    run(main)


@both_ends
def test_messages_that_came_before_the_close_are_received_first(run: Any, end: str) -> None:
    async def main() -> None:
        async with ends(end) as (ws, peer):
            for i in range(10):
                await peer.send(str(i))
            peer.close()
            await peer.wait_closed()
            assert [await ws.recv() for _ in range(10)] == [str(i) for i in range(10)]
            for _ in range(2):
                with pytest.raises(ConnectionClosedOK):
                    await ws.recv()

    run(main)


@pytest.mark.parametrize("code", [1000, 1001])
@both_ends
def test_iteration_ends_with_a_connection_that_ends_well(run: Any, end: str, code: int) -> None:
    async def main() -> None:
        async with ends(end) as (ws, peer):
            await peer.send("a")
            await peer.send(b"b")
            peer.close(code)
            assert [message async for message in ws] == ["a", b"b"]
            assert ws.close_code == code

    run(main)


@both_ends
def test_iteration_raises_when_a_connection_ends_otherwise(run: Any, end: str) -> None:
    async def main() -> None:
        async with ends(end) as (ws, peer):
            await peer.send("a")
            peer.close(4000, "enough")
            got = []
            with pytest.raises(ConnectionClosedError) as caught:
                async for message in ws:
                    got += [message]
            assert got == ["a"]
            assert caught.value.received == (4000, "enough")

    run(main)


def test_iteration_raises_when_a_connection_is_lost(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            await peer.send("a")
            await ws.recv()
            peer.abort()
            with pytest.raises(ConnectionClosedError) as caught:
                async for _ in ws:
                    pass
            assert caught.value.received is None
            assert caught.value.code == 1006
            assert (ws.close_code, ws.close_reason) == (1006, "")

    run(main)


@both_ends
def test_only_one_coroutine_may_wait(run: Any, end: str) -> None:
    async def main() -> None:
        async with ends(end) as (ws, peer):
            first = asyncio.create_task(ws.recv())
            await turns()
            with pytest.raises(ConcurrencyError, match="already"):
                await ws.recv()
            with pytest.raises(ConcurrencyError):
                async for _ in ws:
                    pass
            await peer.send("for the first")
            assert await first == "for the first"
            await peer.send("again")
            assert await ws.recv() == "again"

    run(main)


def test_a_receiver_that_was_cancelled_makes_room_for_another(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            first = asyncio.create_task(ws.recv())
            await turns()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            second = asyncio.create_task(ws.recv())
            await turns()
            await peer.send("x")
            assert await second == "x"

    run(main)


def test_a_message_that_waits_is_received_without_a_turn_of_the_loop(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            await peer.send("a")
            await peer.send("b")
            await ws.recv()
            turned = False

            def turn() -> None:
                nonlocal turned
                turned = True

            asyncio.get_running_loop().call_soon(turn)
            assert await ws.recv() == "b"
            assert not turned

    run(main)


# Cancellation


@both_ends
def test_recv_with_a_timeout_loses_nothing(run: Any, end: str) -> None:
    total = 300

    async def main() -> None:
        async with ends(end, max_queue=4, client={"max_queue": 4}) as (ws, peer):

            async def send() -> None:
                for i in range(total):
                    await peer.send(str(i))
                    await turns(i % 5)

            sender = asyncio.create_task(send())
            got: list[Any] = []
            misses = 0
            while len(got) < total:
                try:
                    if misses % 2:
                        got.append(await asyncio.wait_for(ws.recv(), 0.0002))
                    else:
                        async with asyncio.timeout(0.0001):
                            got.append(await ws.recv())
                except TimeoutError:
                    misses += 1
            assert got == [str(i) for i in range(total)]
            await sender

    run(main)


@pytest.mark.parametrize("before", range(5))
@pytest.mark.parametrize("after", range(5))
def test_recv_cancelled_at_any_turn_loses_nothing(run: Any, before: int, after: int) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            got: list[Any] = []
            for i in range(10):
                task = asyncio.create_task(ws.recv())
                await turns(before)
                peer.send_nowait(str(i))
                await turns(after)
                task.cancel()
                try:
                    got.append(await task)
                except asyncio.CancelledError:
                    got.append(await ws.recv())
            assert got == [str(i) for i in range(10)]

    run(main)


def test_a_cancelled_recv_can_be_shielded(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            inner = asyncio.ensure_future(ws.recv())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(inner), 0.01)
            await peer.send("kept")
            assert await inner == "kept"

    run(main)


@both_ends
def test_a_cancelled_send_has_sent_its_message(run: Any, end: str) -> None:
    """The message is taken when send is called: what is cancelled is the waiting."""

    async def main() -> None:
        async with ends(end, write_limit=1024, client={"write_limit": 1024}) as (ws, peer):
            sent = []
            waited = 0
            for i in range(400):
                message = f"{i}".encode().ljust(20000)
                try:
                    async with asyncio.timeout(0):
                        await ws.send(message)
                except TimeoutError:
                    waited += 1
                sent.append(message)
            assert waited > 0
            assert [await peer.recv() for _ in sent] == sent

    run(main)


def test_a_cancelled_ping_leaves_the_connection_as_it_was(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            waiting = ws.ping(b"once")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting, 0)
            assert await ws.ping() >= 0
            await peer.send("still open")
            assert await ws.recv() == "still open"

    run(main)


def test_close_goes_on_when_the_waiting_for_it_is_cancelled(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await ws.close(1001, "bye")
            await ws.wait_closed()
            assert ws.closed
            with pytest.raises(ConnectionClosedOK) as caught:
                await peer.recv()
            assert caught.value.received == (1001, "bye")

    run(main)


def test_waiting_for_the_end_can_be_cancelled(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ws.wait_closed(), 0.01)
            others = [asyncio.create_task(ws.wait_closed()) for _ in range(3)]
            await turns()
            others[0].cancel()
            await peer.close()
            await asyncio.gather(*others, return_exceptions=True)
            assert ws.closed
            await ws.wait_closed()

    run(main)


# Tasks, groups, gather, wait


def test_recv_in_tasks(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            task = asyncio.create_task(ws.recv())
            await peer.send("a")
            assert await task == "a"
            waiting = asyncio.create_task(ws.recv())
            done, pending = await asyncio.wait([waiting], timeout=0.01)
            assert (done, pending) == (set(), {waiting})
            await peer.send("b")
            done, pending = await asyncio.wait([waiting])
            assert [one.result() for one in done] == ["b"]
            async with asyncio.TaskGroup() as group:
                task = group.create_task(ws.recv())
                group.create_task(peer.send("c"))
            assert task.result() == "c"
            assert await asyncio.gather(ws.recv(), peer.send("d")) == ["d", None]

    run(main)


@pytest.mark.parametrize("size", [10, 100_000])
def test_sends_gathered_arrive_in_order(run: Any, size: int) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            messages = [f"{i}".ljust(size) for i in range(50)]
            sending = asyncio.gather(*(ws.send(message) for message in messages), return_exceptions=True)
            assert [await peer.recv() for _ in messages] == messages
            assert await sending == [None] * 50

    run(main)


def test_sends_gathered_on_a_closed_connection_all_raise(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            await peer.close()
            await ws.wait_closed()
            results = await asyncio.gather(*(ws.send(str(i)) for i in range(5)), return_exceptions=True)
            assert [type(each) for each in results] == [ConnectionClosedOK] * 5
            task = asyncio.create_task(ws.send("x"))
            with pytest.raises(ConnectionClosedOK):
                await task

    run(main)


@pytest.mark.parametrize(
    "way",
    [
        asyncio.create_task,
        asyncio.ensure_future,
        asyncio.gather,
        lambda closing: asyncio.wait_for(closing, 5),
        lambda closing: closing,
    ],
    ids=["create_task", "ensure_future", "gather", "wait_for", "await"],
)
def test_close_is_awaited_in_any_way(run: Any, way: Callable[[Any], Awaitable[Any]]) -> None:
    async def main() -> None:
        async with pair() as (ws, _):
            await way(ws.close())
            assert ws.closed

    run(main)


# Sending


@pytest.mark.parametrize(
    ("message", "options", "expected"),
    [
        ("text", {}, "text"),
        (b"bytes", {}, b"bytes"),
        (bytearray(b"bytearray"), {}, b"bytearray"),
        (memoryview(b"..view..")[2:6], {}, b"view"),
        (memoryview(b"a-b-c-d-").cast("B"), {}, b"a-b-c-d-"),
        (array.array("H", [1, 2]), {}, array.array("H", [1, 2]).tobytes()),
        ("as binary", {"text": False}, b"as binary"),
        ("as text", {"text": True}, "as text"),
        ("Grüße".encode(), {"text": True}, "Grüße"),
        (bytearray(b"text"), {"text": True}, "text"),
        (memoryview(b"text"), {"text": True}, "text"),
        (b"bytes", {"text": False}, b"bytes"),
    ],
)
@both_ends
def test_what_can_be_sent(run: Any, end: str, message: Any, options: Any, expected: Any) -> None:
    async def main() -> None:
        async with ends(end) as (ws, peer):
            await ws.send(message, **options)
            assert await peer.recv() == expected
            assert ws.send_nowait(message, **options) is SendStatus.SENT
            assert await peer.recv() == expected

    run(main)


@pytest.mark.parametrize("message", [None, 5, 1.5, {"a": 1}, object()])
def test_what_cannot_be_sent(run: Any, message: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            with pytest.raises(TypeError):
                await ws.send(message)
            with pytest.raises(TypeError):
                ws.send_nowait(message)
            await ws.send("goes on")
            assert await peer.recv() == "goes on"

    run(main)


def test_a_lone_surrogate_cannot_be_sent(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            with pytest.raises(UnicodeEncodeError):
                await ws.send("\ud800")
            with pytest.raises(UnicodeEncodeError):
                ws.send_nowait("\ud800")
            await ws.send("goes on")
            assert await peer.recv() == "goes on"

    run(main)


def test_a_buffer_may_change_as_soon_as_send_is_called(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            for size in (10, 5000, 3_000_00):
                data = bytearray(b"a" * size)
                sending = ws.send(data)
                data[:] = b"b" * size
                data.extend(b"more")
                got, _ = await asyncio.gather(peer.recv(), sending)
                assert got == b"a" * size

    run(main)


@pytest.mark.parametrize(
    "size", [0, 1, 125, 126, 127, 2047, 2048, 16383, 16384, 65535, 65536, 262144, 1 << 20]
)
@both_ends
def test_messages_of_all_sizes(run: Any, end: str, size: int) -> None:
    async def main() -> None:
        async with ends(end) as (ws, peer):
            data = bytes(i * 7 & 255 for i in range(251)) * (size // 251 + 1)
            text = "".join(chr(32 + i % 90) for i in range(97)) * (size // 97 + 1)
            for message in (data[:size], text[:size]):
                _, got = await asyncio.gather(ws.send(message), peer.recv())
                assert got == message

    run(main)


async def asynchronous(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


def generated(*items: Any) -> Iterator[Any]:
    yield from items


@pytest.mark.parametrize("make", [lambda *items: list(items), generated, asynchronous])
@pytest.mark.parametrize(
    ("items", "options", "expected"),
    [
        (("a", "", "b"), {}, "ab"),
        ((b"a", bytearray(b"b"), memoryview(b"c")), {}, b"abc"),
        (("only",), {}, "only"),
        (("a", "b"), {"text": False}, b"ab"),
        ((b"Gr\xc3", b"\xbc\xc3\x9fe"), {"text": True}, "Grüße"),
    ],
)
def test_an_iterable_is_sent_as_one_message(
    run: Any, make: Any, items: Any, options: Any, expected: Any
) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            await ws.send(make(*items), **options)
            assert await peer.recv() == expected

    run(main)


def test_an_iterable_goes_in_frames_as_it_yields(run: Any) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def fragments() -> AsyncIterator[str]:
            yield "first"
            await go.wait()
            yield "second"

        async def handler(ws: everwire.Connection) -> None:
            await ws.send(fragments())

        async with everwire.serve(handler, HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            frame = await peer.read_frame()
            assert (frame.opcode, frame.payload, frame.fin) == (TEXT, b"first", False)
            go.set()
            message = await peer.read_message()
            assert (message.opcode, message.payload) == (CONTINUATION, b"second")
            await peer.read_close()

    run(main)


def test_other_messages_wait_for_one_that_is_sent_in_fragments(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            go = asyncio.Event()

            async def fragments(name: str) -> AsyncIterator[str]:
                yield f"{name}1"
                await go.wait()
                yield f"{name}2"

            first = asyncio.create_task(ws.send(fragments("a")))
            await turns()
            others = [
                asyncio.create_task(ws.send("b")),
                asyncio.create_task(ws.send(fragments("c"))),
                asyncio.create_task(ws.send(b"d")),
            ]
            await turns()
            assert await ws.ping() >= 0
            with pytest.raises(everwire.InvalidState, match="fragments"):
                ws.send_nowait("not now")
            assert not any(task.done() for task in (first, *others))
            go.set()
            assert [await peer.recv() for _ in range(4)] == ["a1a2", "b", "c1c2", b"d"]
            await asyncio.gather(first, *others)
            ws.send_nowait("now")
            assert await peer.recv() == "now"

    run(main)


def test_an_empty_iterable_is_no_message(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            with pytest.raises(ValueError, match="empty"):
                await ws.send([])
            await ws.send("next")
            assert await peer.recv() == "next"

    run(main)


@pytest.mark.parametrize("items", [("a", b"b"), (b"a", "b"), ("a", 5)])
def test_fragments_are_all_of_one_kind(run: Any, items: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            with pytest.raises(TypeError):
                await ws.send(list(items))
            # Half a message cannot be taken back.
            with pytest.raises(ConnectionClosedError) as caught:
                await peer.recv()
            assert caught.value.code == 1011

    run(main)


def test_a_first_fragment_that_cannot_be_sent_does_no_harm(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            with pytest.raises(TypeError):
                await ws.send([5])
            await ws.send("next")
            assert await peer.recv() == "next"

    run(main)


def test_half_a_message_closes_the_connection(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):

            async def fragments() -> AsyncIterator[str]:
                yield "half"
                raise KeyError("the source failed")

            with pytest.raises(KeyError):
                await ws.send(fragments())
            with pytest.raises(ConnectionClosedError) as caught:
                await peer.recv()
            assert caught.value.code == 1011
            await ws.wait_closed()

    run(main)


def test_a_fragmented_send_that_is_cancelled_closes_the_connection(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            never = asyncio.Event()

            async def fragments() -> AsyncIterator[str]:
                yield "half"
                await never.wait()

            sending = asyncio.create_task(ws.send(fragments()))
            await turns()
            waiting = asyncio.create_task(ws.send("behind"))
            await turns()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            with pytest.raises(ConnectionClosed):
                await waiting
            with pytest.raises(ConnectionClosedError) as caught:
                await peer.recv()
            assert caught.value.code == 1011

    run(main)


def test_send_nowait_says_what_became_of_a_message() -> None:
    assert SendStatus.SENT
    assert SendStatus.BUFFERED
    assert not SendStatus.DROPPED


def test_sending_after_the_end_raises(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            ws.close(1000, "done")
            for _ in range(2):
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.send("x")
                assert caught.value.sent == (1000, "done")
                with pytest.raises(ConnectionClosed):
                    ws.send_nowait("x")
                with pytest.raises(ConnectionClosed):
                    await ws.send(["a", "b"])
                with pytest.raises(ConnectionClosed):
                    ws.ping()
                with pytest.raises(ConnectionClosed):
                    ws.pong()
                await ws.wait_closed()
            with pytest.raises(ConnectionClosedOK):
                await peer.recv()

    run(main)


def test_what_is_unsent_is_counted(run: Any) -> None:
    async def main() -> None:
        async with pair(max_queue=1, client={"max_queue": 1}) as (ws, peer):
            assert ws.buffered_amount == 0
            n = 0
            while not ws.buffered_amount:
                ws.send_nowait(b"x" * 500_000)
                n += 1
            assert 0 < ws.buffered_amount <= 500_014
            for _ in range(n):
                await peer.recv()
            await until(lambda: ws.buffered_amount == 0)

    run(main)


# Pings


@both_ends
def test_a_ping_is_answered_in_the_time_that_it_tells(run: Any, end: str) -> None:
    async def main() -> None:
        async with ends(end) as (ws, _):
            assert ws.latency == 0
            seconds = await ws.ping()
            assert 0 < seconds < 5
            assert ws.latency == pytest.approx(seconds, rel=1e-3)
            for data in ("text", b"data", bytearray(b"array"), b"", b"x" * 125):
                assert 0 < await ws.ping(data) < 5
            assert all(0 < one < 5 for one in await asyncio.gather(*(ws.ping() for _ in range(20))))

    run(main)


def test_a_ping_is_limited_and_unique(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, _):
            with pytest.raises(ValueError, match="125"):
                ws.ping(b"x" * 126)
            with pytest.raises(ValueError, match="125"):
                ws.ping("\N{ROCKET}" * 32)
            with pytest.raises(ValueError, match="125"):
                ws.pong(b"x" * 126)
            first = ws.ping(b"same")
            with pytest.raises(ValueError, match="under way"):
                ws.ping(b"same")
            await first
            await ws.ping(b"same")

    run(main)


def test_a_pong_answers_the_pings_before_it(run: Any) -> None:
    async def main() -> None:
        opened = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            opened.set_result(ws)
            await ws.wait_closed()

        async with everwire.serve(handler, HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            ws = await opened
            pings = [ws.ping(str(i)) for i in range(4)]
            payloads = [(await peer.read_frame()).payload for _ in range(4)]
            assert payloads == [b"0", b"1", b"2", b"3"]
            await peer.send_frame(PONG, b"something else")
            await peer.send_frame(PONG, b"2")
            await asyncio.gather(*pings[:3])
            assert not pings[3].done()
            await peer.send_frame(CLOSE)
            with pytest.raises(ConnectionClosedOK):
                await pings[3]

    run(main)


def test_pings_nobody_waits_for_make_no_noise(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            ws.ping()
            peer.abort()
            ws.ping()
            await ws.wait_closed()

    run(main)


def test_a_pong_may_be_sent_unasked(run: Any) -> None:
    async def main() -> None:
        async def handler(ws: everwire.Connection) -> None:
            ws.pong()
            ws.pong("text")
            ws.pong(b"data")

        async with everwire.serve(handler, HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            frames = [await peer.read_frame() for _ in range(3)]
            assert [(one.opcode, one.payload) for one in frames] == [
                (PONG, b""),
                (PONG, b"text"),
                (PONG, b"data"),
            ]

    run(main)


# Closing


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1014, 3000, 4999])
@both_ends
def test_a_close_carries_its_code_and_reason(run: Any, end: str, code: int) -> None:
    async def main() -> None:
        async with ends(end) as (ws, peer):
            await ws.close(code, "Grüße")
            assert ws.closed
            with pytest.raises(ConnectionClosed) as caught:
                await peer.recv()
            assert isinstance(caught.value, ConnectionClosedOK) == (code in (1000, 1001))
            assert caught.value.received == (code, "Grüße")
            assert caught.value.received_first is True
            assert (peer.close_code, peer.close_reason) == (code, "Grüße")
            # What closes is what was answered.
            assert ws.close_code == code
            error = ws.close_error
            assert isinstance(error, ConnectionClosed)
            assert error.sent == (code, "Grüße")
            assert error.received_first is False

    run(main)


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70000])
def test_codes_that_may_not_be_sent(run: Any, code: int) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            with pytest.raises(ValueError, match="close code"):
                ws.close(code)
            await ws.send("still open")
            assert await peer.recv() == "still open"

    run(main)


def test_a_reason_is_limited(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            for reason in ("x" * 124, "\N{ROCKET}" * 31):
                with pytest.raises(ValueError, match="123"):
                    ws.close(1000, reason)
            await ws.close(1000, "x" * 123)
            await peer.wait_closed()
            assert peer.close_reason == "x" * 123

    run(main)


def test_both_ends_may_close_at_once(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            await asyncio.gather(ws.close(4001, "server"), peer.close(4002, "client"))
            assert ws.closed
            assert peer.closed
            assert (ws.close_code, ws.close_reason) == (4002, "client")
            assert (peer.close_code, peer.close_reason) == (4001, "server")

    run(main)


def test_closing_again_does_nothing(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            await asyncio.gather(ws.close(4001, "first"), ws.close(4002, "second"))
            await ws.close()
            await peer.wait_closed()
            assert peer.close_code == 4001

    run(main)


def test_a_close_without_a_code(run: Any) -> None:
    async def main() -> None:
        opened = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            opened.set_result(ws)
            async for _ in ws:
                pass

        async with everwire.serve(handler, HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            await peer.send_frame(CLOSE)
            assert (await peer.read_close()).payload == b""
            await peer.read_eof()
            ws = await opened
            assert (ws.close_code, ws.close_reason) == (1005, "")
            assert isinstance(ws.close_error, ConnectionClosedOK)

    run(main)


@both_ends
def test_a_close_without_a_code_is_sent(run: Any, end: str) -> None:
    async def main() -> None:
        async with ends(end) as (ws, peer):
            await ws.close(None)
            with pytest.raises(ConnectionClosedOK) as caught:
                await peer.recv()
            assert caught.value.received == (1005, "")
            assert (ws.close_code, peer.close_code) == (1005, 1005)

    run(main)


def test_what_is_sent_before_a_close_arrives(run: Any) -> None:
    async def main() -> None:
        async with pair(max_queue=4, client={"max_queue": 4}) as (ws, peer):
            messages = [f"{i}".encode().ljust(50_000) for i in range(100)]
            for message in messages:
                ws.send_nowait(message)
            closing = asyncio.create_task(ws.wait_closed())
            ws.close()
            assert [message async for message in peer] == messages
            await closing
            assert ws.close_code == 1000

    run(main)


def test_what_the_peer_sent_before_its_close_is_received_after_ours(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            await until(lambda: server.connections)
            ws = server.connections[0]
            ws.close()
            await peer.send_frame(TEXT, b"late")
            await peer.send_frame(CLOSE, close_payload(1000))
            await ws.wait_closed()
            assert ws.close_code == 1000

    run(main)


def test_the_end_is_known_while_closing(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(idle, HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            await until(lambda: server.connections)
            ws = server.connections[0]
            assert ws.is_open
            assert (ws.close_code, ws.close_reason, ws.close_error) == (None, None, None)
            ws.close(1000, "bye")
            assert not ws.is_open
            assert not ws.closed
            assert (ws.close_code, ws.close_reason) == (None, None)
            assert str(ws.close_error) == "sent 1000 (normal closure) bye; no close frame received"
            await peer.read_close()
            await peer.send_frame(CLOSE, close_payload(1000, "answer"))
            await ws.wait_closed()
            assert (ws.close_code, ws.close_reason) == (1000, "answer")
            assert str(ws.close_error) == (
                "sent 1000 (normal closure) bye; then received 1000 (normal closure) answer"
            )

    run(main)


def test_a_connection_is_a_context(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            async with ws:
                pass
            assert ws.closed
            await peer.wait_closed()
            assert peer.close_code == 1000
        async with pair() as (ws, peer):
            with pytest.raises(KeyError):
                async with ws:
                    raise KeyError
            assert ws.closed
            await peer.wait_closed()
            assert peer.close_code == 1011

    run(main)


def test_abort_ends_at_once(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            receiving = asyncio.create_task(ws.recv())
            await turns()
            ws.abort()
            assert ws.closed
            with pytest.raises(ConnectionClosedError):
                await receiving
            await peer.wait_closed()
            assert peer.close_code == 1006

    run(main)


# What is known of a connection


def test_a_connection_describes_itself(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            assert repr(ws) == f"<server connection {ws.id}, open>"
            assert repr(peer) == f"<client connection {peer.id}, open>"
            assert ws.id != peer.id
            ws.close()
            assert "closing" in repr(ws)
            await ws.wait_closed()
            assert "closed" in repr(ws)

    run(main)


def test_a_connection_carries_data_of_its_user(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            assert ws.data is None
            assert peer.data is None
            ws.data = {"user": 5}
            assert ws.data == {"user": 5}
            with pytest.raises(AttributeError):
                ws.unknown = 1

    run(main)


def test_the_request_is_known(run: Any) -> None:
    async def main() -> None:
        opened = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            opened.set_result(ws)
            await ws.wait_closed()

        async with (
            everwire.serve(handler, HOST, 0, subprotocols=["chat"]) as server,
            connect(
                server,
                "/room/1?x=%20y",
                subprotocols=["other", "chat"],
                additional_headers=[("X-One", "1"), ("X-Many", "a"), ("X-Many", "b")],
            ) as peer,
        ):
            ws = await opened
            assert ws.request.method == "GET"
            assert ws.request.path == "/room/1?x=%20y"
            assert ws.request.headers["x-one"] == "1"
            assert ws.request.headers.get_all("X-Many") == ["a", "b"]
            assert ws.request == ws.request
            assert ws.response is None
            assert ws.subprotocol == peer.subprotocol == "chat"
            assert peer.request.path == "/room/1?x=%20y"
            assert peer.response.status == 101

    run(main)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_addresses_are_known(run: Any, host: str) -> None:
    async def main() -> None:
        opened = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            opened.set_result(ws)
            await ws.wait_closed()

        async with everwire.serve(handler, host, 0) as server:
            target = f"ws://[{host}]:{server.port}" if ":" in host else f"ws://{host}:{server.port}"
            async with everwire.connect(target, proxy=None) as peer:
                ws = await opened
                assert ws.local_address == peer.remote_address
                assert ws.remote_address == peer.local_address
                assert ws.local_address[:2] == (host, server.port)
                assert len(ws.remote_address) == (4 if ":" in host else 2)
                remote = ws.remote_address
                ws.close()
                await ws.wait_closed()
                # Logging wants it after the end as well.
                assert ws.remote_address == remote

    run(main)


def test_the_addresses_of_a_unix_socket(run: Any, tmp_path: Any) -> None:
    path = str(tmp_path / "s")

    async def main() -> None:
        async with (
            everwire.serve(echo, unix=path) as server,
            everwire.connect("ws://localhost/", unix=path) as peer,
        ):
            await peer.send("x")
            assert await peer.recv() == "x"
            ws = server.connections[0]
            assert ws.remote_address == ""
            assert ws.local_address == path

    run(main)


def test_a_closed_connection_is_let_go(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            gone = weakref.ref(ws)
            await ws.send("x")
            await peer.recv()
            await ws.close()
            del ws
            await peer.wait_closed()
            await turns()
        gc.collect()
        assert gone() is None

    run(main)


def test_an_exception_tells_the_whole_story() -> None:
    close = everwire.Close
    error = ConnectionClosedError(close(1002, "bad"), close(1002, ""), True)
    assert (error.code, error.reason) == (1002, "bad")
    assert str(error) == "received 1002 (protocol error) bad; then sent 1002 (protocol error)"
    lost = ConnectionClosedError(None, None)
    assert (lost.code, lost.reason) == (1006, "")
    assert issubclass(ConnectionClosedOK, ConnectionClosed)
    assert issubclass(ConnectionClosed, everwire.EverwireError)


def test_a_protocol_error_is_the_cause_of_the_end(run: Any) -> None:
    async def main() -> None:
        ended = asyncio.get_running_loop().create_future()

        async def handler(ws: everwire.Connection) -> None:
            try:
                await ws.recv()
            except ConnectionClosed as exc:
                ended.set_result(exc)

        async with everwire.serve(handler, HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            await peer.send_frame(BINARY, b"x", rsv=0x20)
            assert (await peer.read_close()).code == 1002
            error = await ended
            assert isinstance(error, ConnectionClosedError)
            assert isinstance(error.__cause__, everwire.ProtocolError)
            assert error.sent.code == 1002
            assert error.received is None

    run(main)


def test_pings_and_pongs_do_not_wake_the_receiver(run: Any) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server, dial(server.port) as peer:
            await peer.open()
            await peer.send(
                peer.frame(PING, b"1")
                + peer.frame(TEXT, b"a", fin=False)
                + peer.frame(PING, b"2")
                + peer.frame(PONG)
                + peer.frame(CONTINUATION, b"b")
            )
            frames = [await peer.read_frame() for _ in range(3)]
            assert [(one.opcode, one.payload) for one in frames] == [
                (PONG, b"1"),
                (PONG, b"2"),
                (TEXT, b"ab"),
            ]

    run(main)


def test_a_flood_leaves_others_their_turns(run: Any) -> None:
    async def main() -> None:
        count, turns = 2000, 0
        loop = asyncio.get_running_loop()

        def turn() -> None:
            nonlocal turns, handle
            turns += 1
            handle = loop.call_soon(turn)

        async with pair(client={"max_queue": None}) as (server, client):
            for i in range(count):
                server.send_nowait(str(i))
            await server.ping()  # the pong stands behind them: all have been read
            handle = loop.call_soon(turn)
            for i in range(count):
                assert await client.recv() == str(i)
            handle.cancel()
            assert turns >= count // 200

    run(main)
