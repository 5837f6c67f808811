"""Workers that a NATS server of their own joins: one hub, whatever becomes of its processes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import signal
import stat
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from asgi.programs import hosting
from commands import Program, everwire
from conftest import Run
from live import until
from transports.clients import Ended, client
from transports.sites import Site

from everwire.cli.embedded import EmbeddedServer
from everwire.client import Client
from everwire.engines.memory import MemoryEngine
from everwire.errors import ConfigError
from everwire.hub import Hub
from everwire.supervised import supervised

pytestmark = pytest.mark.loops("asyncio")

HUB = """
import os
import everwire

app = everwire.Hub(insecure=True, ping_interval=300)
app.namespace("", history=2000)

@app.rpc("pid")
async def pid(ctx, data):
    return os.getpid()
"""


def post(url: str, method: str, **params: Any) -> dict[str, Any]:
    """Ask the server API; each request has a connection of its own, to any of the workers."""
    request = urllib.request.Request(f"{url}/api/{method}", data=json.dumps(params).encode())
    with urllib.request.urlopen(request, timeout=20) as response:
        answer: dict[str, Any] = json.load(response)
        return answer["result"]  # type: ignore[no-any-return]


async def publish(url: str, number: int) -> None:
    """Publish a number; again until it is known to be there, once."""
    while True:
        try:
            await asyncio.to_thread(
                post, url, "publish", channel="n", data=number, idempotency_key=f"{number}"
            )
            return
        except (OSError, KeyError):
            await asyncio.sleep(0.01)


class Counter:
    """A client that notes the numbers that come, and whether any were lost on the way."""

    def __init__(self, url: str, transport: str) -> None:
        uri = f"ws{url.removeprefix('http')}/connection/websocket"
        self.client = Client(uri, transports=[transport], min_reconnect_delay=0.01, max_reconnect_delay=0.1)
        self.got: list[int] = []

    async def pid(self) -> int:
        return int(await self.client.rpc("pid", None))

    @asynccontextmanager
    async def counting(self) -> AsyncGenerator[None]:
        async with self.client:
            subscription = self.client.subscribe(
                "n", on_publication=lambda publication: self.got.append(publication.data)
            )
            async with subscription:
                yield


def nats_pid(folder: Path) -> int:
    """The process of the server whose data is there."""
    (ports,) = folder.glob("nats-server_*.ports")
    return int(ports.stem.rpartition("_")[2])


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # One that nobody has waited for yet.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_one_hub_over_workers_that_are_replaced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, doubled or out of order for those who follow, on any transport."""

    async def main(program: Program, url: str) -> None:
        counters = [Counter(url, name) for name in ("websocket", "http_stream", "sse") * 2]
        async with contextlib.AsyncExitStack() as stack:
            for counter in counters:
                await stack.enter_async_context(counter.counting())
            before = {await counter.pid() for counter in counters}
            polling = [asyncio.create_task(poll(url)) for _ in range(4)]
            publishing = asyncio.create_task(publish_all(url))
            await until(lambda: len(counters[0].got) > 20)
            program.send_signal(signal.SIGHUP)
            await asyncio.to_thread(program.wait_for, "replacing the workers")
            await until(lambda: all(is_gone(pid) for pid in before), seconds=30)
            await publishing
            await until(lambda: all(len(counter.got) >= 300 for counter in counters), seconds=30)
            # Polls reach sessions of any worker, and none is held by one that ends.
            for numbers, code in await asyncio.gather(*polling):
                assert code == 3001
                assert numbers == list(range(numbers[0], numbers[-1] + 1))
            for counter in counters:
                assert counter.got == list(range(300))
                assert await counter.pid() not in before

    async def poll(url: str) -> tuple[list[int], int]:
        """Follow by long polling until the end: what has come, and the code of the end."""
        place = Site(Hub(), urlsplit(url).port or 0, "/connection", lambda: None)
        numbers: list[int] = []
        async with client("long_poll-json", place) as one:
            await one.start("n")
            while True:
                try:
                    numbers.append(int(bytes((await one.publication()).data)))
                except Ended as ended:
                    return numbers, ended.code
                except httpx.TransportError:
                    # A worker that ends does not wait for ever for the request of a new connection.
                    continue
                except AssertionError as gone:
                    assert "no such tunnel" in str(gone), "it has ended between two polls"
                    return numbers, 3001

    # Each request on a connection of its own.
    limits = httpx.Limits(max_keepalive_connections=0)
    monkeypatch.setattr(httpx, "AsyncClient", functools.partial(httpx.AsyncClient, limits=limits))

    async def publish_all(url: str) -> None:
        for number in range(300):
            await publish(url, number)

    with hosting(tmp_path, "--workers", "2", "--no-access-log", source=HUB) as (program, url):
        data = tmp_path / ".everwire"
        assert "the workers' channels are kept in .everwire" in program.output
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert stat.S_IMODE((data / "nats.conf").stat().st_mode) == 0o600
        run(lambda: main(program, url), timeout=60)
        server = nats_pid(data)
        assert program.stop(signal.SIGTERM) == 0
        assert is_gone(server)
        assert "Traceback" not in program.output


def test_what_was_published_outlives_every_process(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "data"
    config = tmp_path / "hub.toml"
    config.write_text("[channel.without_namespace]\nhistory_size = 10\n")
    args = ("serve", "--config", config, "--insecure", "--workers", "2", "--port", "0", "--no-page")
    args = (*args, "--no-access-log", "--data-dir", data)
    with everwire(*args) as program:
        url = program.wait_for(r"(?s)\b(https?://[\w.:\[\]]+)/(?!\w).*Ctrl-C")[1]
        assert f"ws{url[4:]}/connection/websocket  its WebSockets" in program.output
        first = post(url, "publish", channel="n", data=1)
        server = nats_pid(data)
        # The server alone: it is started again, at the same place.
        os.kill(server, signal.SIGKILL)
        program.wait_for("nats-server has ended: exit code -9; starting it again")

        async def goes_on() -> None:
            await asyncio.wait_for(publish(url, 2), 20)

        run(goes_on)
        server = nats_pid(data)

        # Another one cannot have the same folder.
        async def refused() -> None:
            other = EmbeddedServer(data)
            with pytest.raises(ConfigError, match=f"in use by process {program.process.pid}"):
                await other.url()
            await other.close()

        run(refused)
        # The supervisor: everything ends with it.
        program.process.kill()
        program.wait()
        run(lambda: until(lambda: is_gone(server), seconds=20))
    with everwire(*args) as program:
        url = program.wait_for(r"(?s)\b(https?://[\w.:\[\]]+)/(?!\w).*Ctrl-C")[1]
        page = post(url, "history", channel="n", limit=-1)
        assert [each["data"] for each in page["publications"]] == [1, 2]
        assert page["epoch"] == first["epoch"]


ORPHAN = """
import asyncio, os, sys
from pathlib import Path
from everwire.cli import embedded

embedded._end_with = lambda parent: None

async def main():
    await embedded.EmbeddedServer(Path(sys.argv[1])).url()
    os._exit(0)

asyncio.run(main())
"""


def test_a_server_that_has_outlived_its_parent_is_ended_by_the_next(run: Run, tmp_path: Path) -> None:
    """Where the system does not end it with its parent."""
    subprocess.run([sys.executable, "-c", ORPHAN, tmp_path], check=True, timeout=30)
    orphan = nats_pid(tmp_path)
    assert not is_gone(orphan)

    async def main() -> None:
        server = EmbeddedServer(tmp_path)
        url = await server.url()
        assert url == await server.url()
        assert is_gone(orphan)
        await server.close()

    run(main)


def test_what_cannot_be_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        (tmp_path / "file").touch()
        server = EmbeddedServer(tmp_path / "file" / "folder")
        with pytest.raises(ConfigError, match="--data-dir"):
            await server.url()
        await server.close()
        monkeypatch.setenv("PATH", "")
        monkeypatch.setattr(sysconfig, "get_path", {"scripts": str(tmp_path)}.get)
        server = EmbeddedServer(tmp_path / "folder")
        with pytest.raises(ConfigError, match=r"everwire\[workers\]"):
            await server.url()
        await server.close()

    run(main)


def test_an_engine_of_one_process_is_not_for_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "hub.toml"
    config.write_text('engine = "memory:"\n')
    with everwire("serve", "--config", config, "--workers", "2", "--port", "0") as program:
        assert program.wait() == 2
    assert "each of 2 workers would have channels of its own" in " ".join(program.output.split())
    monkeypatch.setattr(supervised, "workers", 3)
    for engine in ("memory:", MemoryEngine()):
        with pytest.raises(ConfigError, match="each of 3 workers"):
            Hub(engine)
    monkeypatch.setattr(supervised, "ask", {"engine": "nats://127.0.0.1:1"}.__getitem__)
    assert Hub().engine.name == "nats"
    monkeypatch.setenv("EVERWIRE_ENGINE", "redis://127.0.0.1:1")
    assert Hub().engine.name == "redis"
