"""The hub of the nodes: ``everwire serve cluster.hubs:hub --engine URL``."""

from __future__ import annotations

from typing import Any

import everwire

hub = everwire.Hub(insecure=True, node_info_interval=0.3)
hub.namespace("", history=1000, ttl=300)
hub.namespace("room", history=1000, ttl=300, presence=True, join_leave=True, force_push_join_leave=True)


@hub.rpc("double")
async def double(ctx: Any, data: int) -> int:
    return 2 * data
