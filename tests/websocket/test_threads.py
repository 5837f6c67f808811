"""Threads: sending from others than the loop's, and loops in several."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

import pytest
from live import HOST, Recorder, connect, echo, pair, serve_echo

import everwire
from everwire import ConnectionClosed, SendStatus


def test_sending_from_threads(run: Any) -> None:
    """Messages of one thread arrive in order, those of several in any."""
    threads, each = 4, 100

    async def main() -> None:
        async with pair(client={"max_queue": None}) as (ws, peer):

            def send(name: int) -> list[SendStatus]:
                futures = [ws.send_threadsafe(f"{name} {i}") for i in range(each)]
                return [future.result(10) for future in futures]

            tasks = [asyncio.create_task(asyncio.to_thread(send, name)) for name in range(threads)]
            got: dict[int, list[int]] = {name: [] for name in range(threads)}
            for _ in range(threads * each):
                name, i = str(await peer.recv()).split()
                got[int(name)].append(int(i))
            assert got == {name: list(range(each)) for name in range(threads)}
            for task in tasks:
                assert set(await task) <= {SendStatus.SENT, SendStatus.BUFFERED}

    run(main)


@pytest.mark.parametrize(
    ("message", "options", "expected"),
    [
        ("text", {}, "text"),
        (b"data", {}, b"data"),
        (b"text", {"text": True}, "text"),
        ("b", {"text": False}, b"b"),
    ],
)
def test_what_is_sent_from_a_thread(run: Any, message: Any, options: Any, expected: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            future = await asyncio.to_thread(ws.send_threadsafe, message, **options)
            assert isinstance(future, concurrent.futures.Future)
            assert await asyncio.wrap_future(future) is SendStatus.SENT
            assert await peer.recv() == expected

    run(main)


def test_a_connection_that_is_closed_says_so_in_the_future(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            await peer.close()
            await ws.wait_closed()
            future = await asyncio.to_thread(ws.send_threadsafe, "too late")
            with pytest.raises(ConnectionClosed):
                await asyncio.wrap_future(future)

    run(main)


def test_a_message_of_a_wrong_type_says_so_in_the_future(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, _):
            with pytest.raises(TypeError):
                await asyncio.wrap_future(ws.send_threadsafe(5))
            assert ws.is_open

    run(main)


def test_a_future_that_is_cancelled_in_time_sends_nothing(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            # The loop, whose thread this is, takes it in its next turn.
            assert ws.send_threadsafe("not sent").cancel()
            await asyncio.wrap_future(ws.send_threadsafe("sent"))
            assert await peer.recv() == "sent"

    run(main)


def test_threads_wake_an_idle_loop(run: Any) -> None:
    async def main() -> None:
        async with pair() as (ws, peer):
            receiving = asyncio.create_task(peer.recv())
            timer = threading.Timer(0.05, ws.send_threadsafe, ["wake up"])
            timer.start()
            assert await asyncio.wait_for(receiving, 5) == "wake up"
            await asyncio.to_thread(timer.join)

    run(main)


def test_a_loop_in_each_of_several_threads(run: Any) -> None:
    """Nothing is shared between loops: each has a reactor of its own."""

    def work(name: int) -> int:
        async def main() -> int:
            n = 0
            async with serve_echo("listener" if name % 2 else "coroutine") as server:

                async def talk() -> None:
                    nonlocal n
                    async with connect(server) as ws:
                        for i in range(50):
                            message = f"{name}/{i}" * (i + 1)
                            await ws.send(message)
                            assert await ws.recv() == message
                            n += 1

                await asyncio.gather(*(talk() for _ in range(5)))
            return n

        return asyncio.run(main())

    async def main() -> None:
        results = await asyncio.gather(*(asyncio.to_thread(work, name) for name in range(4)))
        assert results == [250] * 4
        # This thread's loop has not noticed.
        async with serve_echo("coroutine") as server, connect(server) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"

    run(main)


def test_a_server_in_a_thread_and_clients_in_another(run: Any) -> None:
    async def main() -> None:
        started: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def serve() -> None:
            async def body() -> None:
                async with everwire.serve(echo, HOST, 0, compression="deflate") as server:
                    started.set_result((server, asyncio.get_running_loop()))
                    await server.serve_forever()

            asyncio.run(body())

        serving = asyncio.create_task(asyncio.to_thread(serve))
        server, loop = await asyncio.wrap_future(started)

        async def talk(i: int) -> None:
            async with connect(server) as ws:
                for n in range(30):
                    message = f"{i} {n} " * 200
                    await ws.send(message)
                    assert await ws.recv() == message

        await asyncio.gather(*(talk(i) for i in range(10)))
        loop.call_soon_threadsafe(server.close)
        await serving

    run(main)


def test_a_listener_answers_from_worker_threads(run: Any) -> None:
    async def main() -> None:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:

            class Works(everwire.Listener):
                def on_message(self, ws: everwire.Connection, message: str | bytes) -> None:
                    assert isinstance(message, str)
                    pool.submit(lambda: ws.send_threadsafe(message.upper()))

            async with everwire.serve(Works(), HOST, 0) as server, connect(server) as ws:
                for i in range(100):
                    await ws.send(f"abc{i}")
                assert {await ws.recv() for _ in range(100)} == {f"ABC{i}" for i in range(100)}

    run(main)


def test_sending_while_the_connection_closes(run: Any) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with everwire.serve(recorder, HOST, 0) as server:
            client = await connect(server)
            ws = await recorder.opened
            stop = threading.Event()
            results: list[concurrent.futures.Future[SendStatus]] = []

            def send() -> None:
                while not stop.is_set():
                    results.append(ws.send_threadsafe("x" * 100))
                    stop.wait(0.0005)

            sending = asyncio.create_task(asyncio.to_thread(send))
            for _ in range(10):
                await client.recv()
            await client.close()
            await recorder.closed
            stop.set()
            await sending
            ends = [await asyncio.wait_for(asyncio.wrap_future(each), 5) for each in results[:5]]
            assert set(ends) == {SendStatus.SENT}
            late = ws.send_threadsafe("late")
            with pytest.raises(ConnectionClosed):
                await asyncio.wrap_future(late)
            for each in results:
                assert each.done()
                each.exception()

    run(main)
