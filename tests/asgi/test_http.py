"""How HTTP connections end when the server does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Run
from live import HOST
from raw import dial

from everwire.asgi import serve
from everwire.asgi.http import LINGER


@pytest.mark.transports
def test_an_idle_connection_that_its_client_keeps_is_not_waited_for(run: Run) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def main() -> None:
        # Nothing but the end of the connections ends the wait.
        forever: dict[str, Any] = {"close_timeout": None, "timeout_graceful_shutdown": None}
        async with (
            serve(app, HOST, 0, lifespan="off", **forever) as server,
            dial(server.port) as used,
            dial(server.port) as unused,
        ):
            await used.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await used.read_head()).status == 200
            server.close()
            await server.wait_closed()
            assert await used.reader.readexactly(2) == b"ok"
            await used.read_eof()
            await unused.read_eof()

    run(main)


@pytest.mark.transports
def test_a_last_response_that_is_taken_slowly_is_whole(run: Run) -> None:
    size = 1 << 24

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(size)})

    async def main() -> None:
        async with serve(app, HOST, 0, lifespan="off") as server, dial(server.port) as slow:
            await slow.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await slow.read_head()).status == 200
            server.close()
            # Longer than who takes nothing has to close its end.
            await asyncio.sleep(2 * LINGER)
            assert len(await slow.reader.readexactly(size)) == size
            await slow.read_eof()
            await slow.close()
            await server.wait_closed()

    run(main)
