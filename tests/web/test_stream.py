"""WebSocketStream: what the ported tests in ``wpt`` do not say."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from conftest import Run
from live import HOST, echo, turns, until, uri
from raw import BINARY, CLOSE, TEXT, Listener, Peer, close_payload

import everwire
from everwire.web.stream import WebSocketStream

OPTIONS: dict[str, Any] = {"proxy": None, "close_timeout": 3.0}


def dial(server: everwire.Server | Listener, **options: Any) -> WebSocketStream:
    """A stream to a server."""
    return WebSocketStream(uri(server), **{**OPTIONS, **options})  # type: ignore[arg-type]


async def accept(listener: Listener) -> Peer:
    """The other end of the next connection, open."""
    peer = await listener.accept()
    await peer.answer()
    return peer


def test_messages_by_iteration(run: Run) -> None:
    async def count(ws: everwire.Connection) -> None:
        await ws.send("one")
        await ws.send(b"two")

    async def main() -> None:
        async with everwire.serve(count, HOST, 0) as server:
            stream = dial(server)
            readable, _, _, extensions = await stream.opened
            assert extensions.startswith("permessage-deflate")
            assert [message async for message in readable] == ["one", b"two"]
            assert await stream.closed == (1000, "")

    run(main)


def test_what_came_before_a_loss_is_read(run: Run) -> None:
    async def main() -> None:
        async with Listener() as listener:
            stream = dial(listener)
            peer = await accept(listener)
            readable, writable, _, _ = await stream.opened
            await peer.send_frame(TEXT, b"last words")
            await peer.close()
            with pytest.raises(everwire.WebSocketError) as caught:
                await stream.closed
            assert isinstance(caught.value.__cause__, everwire.ConnectionClosedError)
            reader = readable.getReader()
            assert await reader.read() == ("last words", False)
            with pytest.raises(everwire.WebSocketError):
                await reader.read()
            writer = writable.getWriter()
            assert writer.desiredSize is None
            with pytest.raises(everwire.WebSocketError):
                await writer.write("too late")
            with pytest.raises(everwire.WebSocketError):
                await writer.closed

    run(main)


def test_the_violation_is_told(run: Run) -> None:
    async def main() -> None:
        async with Listener() as listener:
            stream = dial(listener)
            peer = await accept(listener)
            await stream.opened
            await peer.send_frame(3, b"?")
            await peer.read_close()
            await peer.close()
            with pytest.raises(everwire.WebSocketError, match="opcode 3") as caught:
                await stream.closed
            assert caught.value.__cause__ is not None
            assert isinstance(caught.value.__cause__.__cause__, everwire.ProtocolError)

    run(main)


def test_there_is_no_connection(run: Run, unused_tcp_port: int) -> None:
    async def main() -> None:
        stream = WebSocketStream(f"ws://{HOST}:{unused_tcp_port}", **OPTIONS)
        with pytest.raises(everwire.WebSocketError, match="refused") as caught:
            await stream.opened
        assert isinstance(caught.value.__cause__, ConnectionRefusedError)
        assert caught.value.closeCode == 1006

    run(main)


def test_a_subprotocol_is_required_if_some_are_offered(run: Run) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            stream = dial(server, protocols=["chat"])
            with pytest.raises(everwire.WebSocketError, match="chat") as caught:
                await stream.opened
            assert isinstance(caught.value.__cause__, everwire.NegotiationError)

    run(main)


def test_outcomes_that_nobody_awaits_are_no_errors(run: Run, unused_tcp_port: int) -> None:
    async def main() -> None:
        dial_nowhere = WebSocketStream(f"ws://{HOST}:{unused_tcp_port}", **OPTIONS)
        await until(lambda: dial_nowhere.opened.settled)

    run(main)


def test_who_stops_waiting_stops_for_himself(run: Run) -> None:
    async def main() -> None:
        async with Listener() as listener:
            stream = dial(listener)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await stream.opened
            peer = await accept(listener)
            await stream.opened
            waiting = [asyncio.ensure_future(stream.closed) for _ in range(2)]
            await turns()
            waiting[0].cancel()
            await peer.send_frame(CLOSE, close_payload(1000))
            await peer.read_close()
            await peer.close()
            assert await waiting[1] == (1000, "")

    run(main)


def test_the_opening_is_not_forgotten_with_the_stream(run: Run) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            readable, writable, *_ = await dial(server).opened
            gc.collect()
            await writable.getWriter().write("still here")
            assert await anext(readable) == "still here"

    run(main)


@pytest.mark.parametrize("kept", ["nothing", "readable", "writable", "reader", "writer"])
def test_it_is_closed_when_it_is_forgotten(run: Run, kept: str) -> None:
    async def main() -> None:
        async with Listener() as listener:
            stream = dial(listener)
            peer = await accept(listener)
            info: Any = await stream.opened
            everything = {"nothing": None, "readable": info.readable, "writable": info.writable}
            keep = everything.get(kept)
            if kept in ("reader", "writer"):
                keep = info.readable.getReader() if kept == "reader" else info.writable.getWriter()
            closed = stream.closed
            del stream, info, everything
            await turns()
            gc.collect()
            await turns()
            if kept != "nothing":
                assert not closed.settled
                del keep
                gc.collect()
            # What comes is read and dropped, so that the peer gets to its answer.
            for _ in range(200):
                await peer.send_frame(TEXT, b"unheard")
            assert (await peer.read_close()).code == 1005
            await peer.send_frame(CLOSE)
            await peer.close()
            assert await closed == (1005, "")

    run(main)


class TestWriting:
    def test_in_order_and_at_the_peers_pace(self, run: Run) -> None:
        async def main() -> None:
            async with Listener() as listener:
                stream = dial(listener, compression=None, write_limit=1000)
                peer = await accept(listener)
                writer = (await stream.opened).writable.getWriter()
                assert writer.desiredSize == 1
                written = 0
                while writer.desiredSize == 1:
                    writer.write(written.to_bytes(4, "big") + bytes(100_000))
                    written += 1
                    await turns()
                ready = asyncio.ensure_future(writer.ready)
                writer.write("behind")
                assert writer.desiredSize == -1
                await turns()
                assert not ready.done()
                for number in range(written):
                    assert (await peer.read_frame()).payload[:4] == number.to_bytes(4, "big")
                assert (await peer.read_frame()).payload == b"behind"
                await ready
                assert writer.desiredSize == 1
                peer.abort()
                with pytest.raises(everwire.WebSocketError):
                    await stream.closed

        run(main)

    def test_a_message_is_taken_when_it_is_written(self, run: Run) -> None:
        async def main() -> None:
            async with Listener() as listener:
                stream = dial(listener, compression=None)
                peer = await accept(listener)
                writer = (await stream.opened).writable.getWriter()
                data = bytearray(b"as it was")
                for _ in range(10):
                    writer.write(bytes(100_000))
                writer.write(data)
                data[:] = b"as it is "
                for _ in range(10):
                    await peer.read_frame()
                frame = await peer.read_frame()
                assert (frame.opcode, frame.payload) == (BINARY, b"as it was")
                peer.abort()

        run(main)

    def test_who_does_not_wait_is_stopped(self, run: Run) -> None:
        async def main() -> None:
            async with Listener() as listener:
                stream = dial(listener, compression=None, max_backlog=1_000_000)
                peer = await accept(listener)
                writer = (await stream.opened).writable.getWriter()
                with pytest.raises(everwire.DOMException, match=r"writer\.ready") as caught:
                    for _ in range(1000):
                        writer.write(bytes(100_000))
                assert caught.value.name == "QuotaExceededError"
                assert not stream.closed.settled
                peer.abort()
                with pytest.raises(everwire.WebSocketError):
                    await stream.closed

        run(main)

    def test_close_waits_for_what_was_written(self, run: Run) -> None:
        async def main() -> None:
            async with Listener() as listener:
                stream = dial(listener, compression=None)
                peer = await accept(listener)
                writer = (await stream.opened).writable.getWriter()
                writes = [writer.write(bytes(100_000)) for _ in range(10)]
                closing = asyncio.ensure_future(writer.close())
                assert await refused(writer.write("after that")) == "InvalidStateError"
                for _ in writes:
                    assert len((await peer.read_frame()).payload) == 100_000
                assert (await peer.read_close()).code == 1005
                await asyncio.gather(*writes)
                assert not closing.done()
                await peer.send_frame(CLOSE)
                await peer.close()
                await closing
                await writer.ready
                await writer.closed

        run(main)

    def test_abort_drops_what_waits(self, run: Run) -> None:
        async def main() -> None:
            async with Listener() as listener:
                stream = dial(listener, compression=None)
                peer = await accept(listener)
                writer = (await stream.opened).writable.getWriter()
                writes = [writer.write(bytes(1_000_000)) for _ in range(15)]
                writer.abort(everwire.WebSocketError(closeCode=4000, reason="enough"))
                assert await refused(writes[-1]) == "InvalidStateError"
                frames = 0
                while (frame := await peer.read_frame()).opcode != CLOSE:
                    frames += 1
                assert 0 < frames < 15
                assert (frame.code, frame.reason) == (4000, "enough")
                await peer.send_frame(CLOSE, frame.payload)
                await peer.close()
                assert await stream.closed == (4000, "enough")

        run(main)

    def test_an_error_with_a_code_that_may_not_be_sent(self, run: Run) -> None:
        async def main() -> None:
            async with everwire.serve(echo, HOST, 0) as server:
                stream = dial(server)
                _, writable, _, _ = await stream.opened
                await writable.abort(everwire.WebSocketError.received("elsewhere", 1006))
                assert await stream.closed == (1005, "")

        run(main)


async def refused(promise: Any) -> str:
    """The name of the DOMException that a promise fails with."""
    with pytest.raises(everwire.DOMException) as caught:
        await promise
    return caught.value.name


def test_reading_sets_the_pace_of_the_peer(run: Run) -> None:
    async def main() -> None:
        sent = 0

        async def flood(ws: everwire.Connection) -> None:
            nonlocal sent
            for _ in range(200):
                await ws.send(bytes(100_000))
                sent += 1

        async with everwire.serve(flood, HOST, 0, compression=None) as server:
            stream = dial(server, max_queue=2)
            readable = (await stream.opened).readable
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.05)
            assert sent < 200
            assert len([message async for message in readable]) == 200

    run(main)


def test_reads_are_answered_in_order(run: Run) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            stream = dial(server)
            readable, writable, _, _ = await stream.opened
            reader, writer = readable.getReader(), writable.getWriter()
            reads = [asyncio.ensure_future(reader.read()) for _ in range(3)]
            await turns()
            for text in "abc":
                writer.write(text)
            assert [read.value for read in await asyncio.gather(*reads)] == ["a", "b", "c"]
            stream.close()
            await stream.closed

    run(main)


def test_locks(run: Run) -> None:
    async def main() -> None:
        async with everwire.serve(echo, HOST, 0) as server:
            stream = dial(server)
            readable, writable, _, _ = await stream.opened
            reader, writer = readable.getReader(), writable.getWriter()
            assert readable.locked
            assert writable.locked
            for call in (
                readable.getReader,
                readable.cancel,
                writable.getWriter,
                writable.close,
                writable.abort,
            ):
                with pytest.raises(TypeError, match="releaseLock"):
                    call()
            with pytest.raises(TypeError, match="releaseLock"):
                await anext(readable)
            reader.releaseLock()
            writer.releaseLock()
            for call in (reader.cancel, writer.close, writer.abort):
                with pytest.raises(TypeError, match="was released"):
                    call()
            with pytest.raises(TypeError, match="was released"):
                await reader.read()
            assert not readable.locked
            assert not writable.locked
            reader.releaseLock()
            await writable.getWriter().write("x")
            assert await anext(readable) == "x"
            await readable.cancel()
            assert await readable.getReader().read() == (None, True)

    run(main)


def test_a_signal_that_outlives_many_streams_does_not_keep_them(run: Run) -> None:
    async def main() -> None:
        controller = everwire.AbortController()
        async with everwire.serve(echo, HOST, 0) as server:
            for _ in range(3):
                stream = dial(server, signal=controller.signal)
                await stream.opened
                stream.close()
                await stream.closed
            assert not controller.signal._actions
        controller.abort()

    run(main)


def test_the_representations_tell_no_secrets(run: Run) -> None:
    async def main() -> None:
        stream = WebSocketStream("ws://me:secret@example.invalid/path?token=secret", **OPTIONS)
        assert repr(stream) == "<WebSocketStream ws://example.invalid/path>"
        assert stream.url == "ws://me:secret@example.invalid/path?token=secret"
        assert repr(stream.opened) == "<Promise, pending>"
        stream.close()
        assert "WebSocketError" in repr(stream.opened)
        await turns()

    run(main)
