"""A node of a chaos run: ``python server.py PORT ENGINE HISTORY PING``. Its clients publish by calls."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import everwire
import everwire.asgi
from everwire.cli.settings import Loop, pick_loop


async def main(port: int, engine: str, history: int, ping: float) -> None:
    hub = everwire.Hub(
        engine,
        insecure=True,
        origins=None,
        ping_interval=ping,
        pong_timeout=ping / 2,
        position_check_interval=5.0,
        # A node may be started while its engine has no leader.
        engine_start_timeout=30.0,
        recovery_max_publication_limit=0,
        history_max_publication_limit=0,
    )
    hub.namespace("", history=history, ttl=3600, presence=True, join_leave=True)

    @hub.rpc("publish")
    async def publish(ctx: Any, data: dict[str, Any]) -> dict[str, Any]:
        position = await hub.publish(data["channel"], data["value"], idempotency_key=data["key"])
        return {"offset": position.offset, "epoch": position.epoch}

    async with everwire.asgi.serve(hub, "127.0.0.1", port, access_log=False):
        print("ready", flush=True)
        # The end of whoever started it is its end, too.
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=pick_loop(Loop.AUTO)[1]) as runner:
        runner.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
