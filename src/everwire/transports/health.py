"""What load balancers ask: ``/health``, whether a node lives; ``/health/ready``, whether it takes clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from everwire.errors import HandshakeError
from everwire.transports.incoming import Incoming

if TYPE_CHECKING:
    from everwire.transports.asgi import HubApplication

__all__ = ["health"]

JSON = "application/json"


async def health(app: HubApplication, incoming: Incoming) -> None:
    """Answer 200 to who asks whether it lives; 503 if it is not ready, to who asks for that.

    A node whose engine is away is not ready, and lives: to restart it would cut its clients and mend nothing.
    """
    if not incoming.rest:
        await incoming.answer(200, b"{}", content_type=JSON)
    elif incoming.rest == "ready":
        problems = app.hub.health.problems
        body = msgspec.json.encode({"ready": not problems, "problems": problems})
        await incoming.answer(503 if problems else 200, body, content_type=JSON)
    else:
        raise HandshakeError("there is /health, and /health/ready", 404)
