"""A uvicorn that is told to stop does so, although there are streams."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import httpx
import pytest
from conftest import Run
from live import HOST, until
from transports.clients import events

pytestmark = pytest.mark.loops("asyncio")

APP = """
import everwire

hub = everwire.Hub(insecure=True)
hub.namespace("", history=10)
app = hub.asgi()
"""


def test_streams_end_when_uvicorn_stops(run: Run, tmp_path: Path, unused_tcp_port: int) -> None:
    (tmp_path / "served.py").write_text(APP)

    async def main() -> None:
        uvicorn = [sys.executable, "-m", "uvicorn", "served:app", "--port", str(unused_tcp_port)]
        process = await asyncio.create_subprocess_exec(*uvicorn, cwd=tmp_path, stderr=asyncio.subprocess.PIPE)
        try:
            assert process.stderr is not None
            while b"running on" not in await process.stderr.readline():
                pass
            url = f"http://{HOST}:{unused_tcp_port}/connection/sse"
            async with (
                httpx.AsyncClient(timeout=10, trust_env=False) as http,
                http.stream("GET", url, params={"cf_connect": '{"id":1,"connect":{}}'}) as response,
            ):
                stream = events(response.aiter_bytes())
                assert '"connect"' in (await anext(stream))["data"]
                process.send_signal(signal.SIGTERM)
                assert '"code":3001' in (await anext(stream))["data"]
                assert await anext(stream, None) is None
            log = (await process.stderr.read()).decode()
            assert "Traceback" not in log and "ERROR" not in log
            await until(lambda: process.returncode is not None)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    run(main)
