"""What is played against Centrifugo and everwire, every command of the protocol, done right and wrong."""

from __future__ import annotations

from sdk.scenes.connecting import CONNECTING
from sdk.scenes.extensions import EXTENSIONS
from sdk.scenes.frames import FRAMES
from sdk.scenes.logs import LOGS
from sdk.scenes.presence import PRESENCE
from sdk.scenes.publishing import PUBLISHING
from sdk.scenes.server import SERVER
from sdk.scenes.subscribing import SUBSCRIBING
from sdk.stage import Scene

__all__ = ["SCENES"]

SCENES: list[Scene] = [
    *CONNECTING,
    *FRAMES,
    *SUBSCRIBING,
    *PUBLISHING,
    *LOGS,
    *PRESENCE,
    *EXTENSIONS,
    *SERVER,
]
