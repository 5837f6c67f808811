"""``everwire connect`` without a terminal: pipes, --execute, --json, exit codes, signals, reconnecting."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest
import websockets
from conftest import Run
from live import HOST
from raw import Peer

import everwire

pytestmark = pytest.mark.loops("asyncio")


class Done(NamedTuple):
    """What a command did."""

    code: int
    output: bytes
    errors: str

    @property
    def lines(self) -> list[str]:
        return self.output.decode().splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


class Client:
    """A running ``everwire connect`` whose input and output are pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        await self.process.stdin.drain()

    async def read_line(self) -> str:
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def read_error(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.readline()).decode().rstrip("\n")

    async def done(self, data: bytes | None = None) -> Done:
        """Close its input, after this data, and wait for its end."""
        output, errors = await self.process.communicate(data)
        assert self.process.returncode is not None
        return Done(self.process.returncode, output, errors.decode())


@contextlib.asynccontextmanager
async def connecting(*args: str, env: dict[str, str] | None = None) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "everwire.cli",
        "connect",
        *args,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "COLUMNS": "200", **(env or {})},
    )
    try:
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def connected(*args: str, data: bytes = b"", env: dict[str, str] | None = None) -> Done:
    async with connecting(*args, env=env) as client:
        return await client.done(data)


Handler = Callable[[everwire.Connection], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """A server of ours, and its URL."""
    async with everwire.serve(handler, HOST, 0, close_timeout=3.0, **options) as server:
        yield f"ws://{HOST}:{server.port}/"


async def echo(ws: everwire.Connection) -> None:
    async for message in ws:
        await ws.send(message)


def test_lines_are_sent_and_answers_printed(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as url:
            done = await connected(url, data="one\nGrüße 👋\r\n\nlast".encode())
            assert done == (0, "one\nGrüße 👋\n\nlast\n".encode(), done.errors)
            assert done.errors.splitlines() == [
                f"everwire: connected to {url}",
                "everwire: closed by this side: 1000 (normal closure)",
            ]

    run(main)


def test_with_a_server_of_websockets(run: Run) -> None:
    async def handler(ws: websockets.ServerConnection) -> None:
        assert ws.request is not None
        await ws.send(ws.request.headers["User-Agent"])
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with websockets.serve(
            handler, HOST, 0, subprotocols=[websockets.Subprotocol("chat")]
        ) as server:
            port = server.sockets[0].getsockname()[1]
            done = await connected(f"{HOST}:{port}", "-s", "chat", "--json", data=b"hello\n")
            assert done.code == 0
            opened, first, second, closed = done.events
            assert (opened["event"], opened["subprotocol"]) == ("open", "chat")
            assert first["data"].startswith("everwire/")
            assert second["data"] == "hello"
            assert closed["by"] == "client"

    run(main)


def test_binary_is_printed_as_it_is(run: Run) -> None:
    data = bytes(range(256)) * 100

    async def send(ws: everwire.Connection) -> None:
        await ws.send(data)
        await ws.send(b"end")

    async def main() -> None:
        async with serving(send) as url:
            assert (await connected(url)).output == data + b"end"

    run(main)


def test_execute_and_count(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as url:
            done = await connected(url, "-x", "one", "-x", "two", "--count", "2", "--quiet")
            assert done == (0, b"one\ntwo\n", "")

    run(main)


def test_no_more_is_printed_than_count_says(run: Run) -> None:
    async def flood(ws: everwire.Connection) -> None:
        with contextlib.suppress(everwire.ConnectionClosed):
            while True:
                await ws.send("x")

    async def main() -> None:
        async with serving(flood) as url:
            done = await connected(url, "--count", "3", "--quiet")
            assert done == (0, b"x\nx\nx\n", "")

    run(main)


def test_too_few_messages_in_time(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as url:
            done = await connected(url, "-x", "one", "-n", "2", "--wait", "0.2", "-q")
            assert done.code == 4
            assert done.output == b"one\n"
            assert "1 of 2 messages came within 0.2 seconds" in done.errors

    run(main)


def test_json_has_an_object_for_each_event(run: Run) -> None:
    async def handler(ws: everwire.Connection) -> None:
        await ws.send("text\x1b")
        await ws.send(b"\x00\xff")
        await ws.recv()
        await ws.close(4001, "that is it\n")

    async def main() -> None:
        async with serving(handler) as url:
            async with connecting(url, "--json", "--ping-interval", "0.05") as client:
                opened = json.loads(await client.read_line())
                assert opened["event"] == "open"
                assert opened["url"] == url
                assert opened["peer"][0] == HOST
                assert opened["tls"] is opened["subprotocol"] is None
                assert "permessage-deflate" in opened["extensions"]
                text = json.loads(await client.read_line())
                assert (text["type"], text["size"], text["data"]) == ("text", 5, "text\x1b")
                binary = json.loads(await client.read_line())
                assert (binary["type"], binary["size"]) == ("binary", 2)
                assert base64.b64decode(binary["base64"]) == b"\x00\xff"
                ping = json.loads(await client.read_line())
                assert ping["event"] == "ping"
                assert 0 < ping["latency"] < 5
                await client.write(b"go on\n")
                done = await client.done()
            closed = done.events[-1]
            del closed["time"]
            assert closed == {
                "event": "close",
                "code": 4001,
                "name": None,
                "reason": "that is it\n",
                "by": "server",
            }
            assert done.code == 3

    run(main)


@pytest.mark.parametrize(
    ("code", "expected", "said"),
    [
        (1000, 0, "closed by the server: 1000 (normal closure) bye"),
        (1001, 0, "closed by the server: 1001 (going away) bye"),
        (1011, 3, "closed by the server: 1011 (internal error) bye"),
        (4000, 3, "closed by the server: 4000 (private use) bye"),
    ],
)
def test_the_close_is_explained(run: Run, code: int, expected: int, said: str) -> None:
    async def handler(ws: everwire.Connection) -> None:
        await ws.close(code, "bye")

    async def main() -> None:
        async with serving(handler) as url, connecting(url) as client:
            await client.read_error()
            assert await client.read_error() == f"everwire: {said}"
            assert (await client.done()).code == expected

    run(main)


def test_a_connection_that_is_lost(run: Run) -> None:
    async def handler(ws: everwire.Connection) -> None:
        ws.abort()

    async def main() -> None:
        async with serving(handler) as url, connecting(url) as client:
            await client.read_error()
            assert await client.read_error() == "everwire: lost: 1006 (abnormal closure)"
            assert "--ping-interval" in await client.read_error()
            assert (await client.done()).code == 3

    run(main)


def test_a_message_over_the_limit_is_explained(run: Run) -> None:
    async def handler(ws: everwire.Connection) -> None:
        await ws.send("x" * 2000)
        await ws.wait_closed()

    async def main() -> None:
        async with serving(handler) as url, connecting(url, "--max-size", "1KiB") as client:
            await client.process.wait()
            done = await client.done()
            assert done.code == 3
            assert "closed by this side: 1009 (message too big)" in done.errors
            assert "--max-size takes larger messages" in done.errors

    run(main)


def test_what_the_request_says(run: Run) -> None:
    async def handler(ws: everwire.Connection) -> None:
        await ws.send("\n".join(f"{name}: {value}" for name, value in ws.request.headers.items()))
        await ws.close()

    async def main() -> None:
        async with serving(handler, origins=None, subprotocols=["two", "one"]) as url:
            done = await connected(
                *(
                    url,
                    "-q",
                    "-H",
                    "X-One: 1",
                    "-H",
                    "X-Two:  a:b ",
                    "-s",
                    "one",
                    "-s",
                    "two",
                    "-o",
                    "https://a.example",
                ),
                *("-b", "a=1", "-b", "b=2", "--user", "ann", "--no-compression"),
                env={"EVERWIRE_PASSWORD": "pa:ss wörd"},
            )
            assert done.errors == ""
            credentials = base64.b64encode("ann:pa:ss wörd".encode()).decode()
            for line in (
                "X-One: 1",
                "X-Two: a:b",
                "Sec-WebSocket-Protocol: one, two",
                "Origin: https://a.example",
                "Cookie: a=1; b=2",
                f"Authorization: Basic {credentials}",
            ):
                assert line in done.lines
            assert b"Sec-WebSocket-Extensions" not in done.output

    run(main)


def test_an_interrupt_closes_and_ends(run: Run) -> None:
    closed: list[tuple[int | None, str | None]] = []

    async def handler(ws: everwire.Connection) -> None:
        await ws.send("ready")
        await ws.wait_closed()
        closed.append((ws.close_code, ws.close_reason))

    async def main() -> None:
        async with serving(handler) as url:
            for number in (signal.SIGINT, signal.SIGTERM):
                async with connecting(url) as client:
                    assert await client.read_line() == "ready"
                    client.process.send_signal(number)
                    assert await client.process.wait() == 0
        assert closed == [(1001, ""), (1001, "")]

    run(main)


def test_a_second_interrupt_ends_it_at_once(run: Run) -> None:
    async def main() -> None:
        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await Peer(reader, writer, client=False).answer()
            await over.wait()
            writer.close()

        over = asyncio.Event()
        async with await asyncio.start_server(mute, HOST, 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connecting(f":{port}") as client:
                assert "connected" in await client.read_error()
                client.process.send_signal(signal.SIGINT)
                assert "Ctrl-C again" in await client.read_error()
                client.process.send_signal(signal.SIGINT)
                assert await client.process.wait() == 130
                assert "Traceback" not in (await client.done()).errors
            over.set()

    run(main)


def test_an_interrupt_while_it_connects(run: Run) -> None:
    async def main() -> None:
        accepted, over = asyncio.Event(), asyncio.Event()

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set()
            await over.wait()
            writer.close()

        async with await asyncio.start_server(mute, HOST, 0) as server:
            async with connecting(f":{server.sockets[0].getsockname()[1]}") as client:
                await accepted.wait()
                client.process.send_signal(signal.SIGINT)
                assert await client.process.wait() == 130
                assert "Traceback" not in (await client.done()).errors
            over.set()

    run(main)


def test_whoever_reads_may_stop(run: Run) -> None:
    async def flood(ws: everwire.Connection) -> None:
        with contextlib.suppress(everwire.ConnectionClosed):
            while True:
                await ws.send("x" * 1000)

    async def main() -> None:
        async with serving(flood) as url:
            command = f"{sys.executable} -m everwire.cli connect {url} -q -w 10 </dev/null | head -n 2"
            process = await asyncio.create_subprocess_shell(
                f"set -o pipefail; {command}",
                executable="/bin/bash",
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            output, errors = await process.communicate()
            assert (process.returncode, len(output), errors) == (0, 2002, b"")

    run(main)


def test_a_reader_that_is_slow_slows_the_server_and_loses_nothing(run: Run) -> None:
    count = 3000

    async def handler(ws: everwire.Connection) -> None:
        for number in range(count):
            await ws.send(f"{number} " + "x" * 1000)
        await ws.close()

    async def main() -> None:
        async with serving(handler) as url, connecting(url, "--no-compression") as client:
            await client.read_error()
            await client.write(b"not in the way\n")
            done = await client.done()
            assert [line.split()[0] for line in done.lines] == [str(number) for number in range(count)]

    run(main)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"fine\n\xff\xfe\n", "line 2 of the input is not UTF-8"),
        (b"\xc3", "line 1 of the input is not UTF-8"),
    ],
)
def test_input_that_cannot_be_sent(run: Run, data: bytes, problem: str) -> None:
    async def main() -> None:
        async with serving(echo) as url:
            done = await connected(url, data=data)
            assert done.code == 2
            assert problem in done.errors

    run(main)


def test_reconnecting(run: Run) -> None:
    times = 0

    async def handler(ws: everwire.Connection) -> None:
        nonlocal times
        times += 1
        await ws.send(f"welcome {times}")
        if times == 1:
            await ws.ping()  # so that the welcome is not lost, too
            ws.abort()
        elif times == 2:
            await ws.close(1012)
        else:
            await echo(ws)

    async def main() -> None:
        async with serving(handler) as url, connecting(url, "--reconnect") as client:
            assert await client.read_line() == "welcome 1"
            assert await client.read_line() == "welcome 2"
            assert await client.read_line() == "welcome 3"
            await client.write(b"still here\n")
            assert await client.read_line() == "still here"
            client.process.send_signal(signal.SIGINT)
            assert await client.process.wait() == 0
            errors = (await client.done()).errors
            assert errors.count(f"connected to {url}") == 3
            assert errors.count("connecting again in ") == 2
            assert "closed by the server: 1012 (service restart)" in errors

    run(main)


def test_reconnecting_waits_for_a_server_that_is_not_there_yet(run: Run, unused_tcp_port: int) -> None:
    async def main() -> None:
        async with connecting(f":{unused_tcp_port}", "-r", "-x", "hello", "-n", "1") as client:
            waits = await client.read_error()
            assert "refused the connection; connecting again in" in waits
            async with everwire.serve(echo, "localhost", unused_tcp_port):
                assert await client.read_line() == "hello"
                assert await client.process.wait() == 0

    run(main)


def test_reconnecting_gives_up_where_it_is_no_use(run: Run) -> None:
    async def main() -> None:
        async with serving(echo, process_request=everwire.basic_auth(credentials=("a", "b"))) as url:
            done = await connected(url, "--reconnect")
            assert done.code == 1
            assert "401" in done.errors

    run(main)


def test_ping_interval_of_nothing_is_no_pings(run: Run) -> None:
    async def main() -> None:
        async with serving(echo) as url:
            done = await connected(url, "--ping-interval", "0", "-x", "a", "-n", "1", "--json")
            assert [event["event"] for event in done.events] == ["open", "message", "close"]

    run(main)
