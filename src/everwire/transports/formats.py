"""Which format a client speaks: by the WebSocket's subprotocol, or by the query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from everwire.wire.codec import Codec
from everwire.wire.formats import codec

__all__ = ["SUBPROTOCOLS", "Format", "choose"]

SUBPROTOCOLS = {"centrifuge-json": "json", "centrifuge-protobuf": "protobuf"}


class Format(NamedTuple):
    """What was chosen for a WebSocket.

    Attributes:
        codec: the format.
        subprotocol: the one to answer with; None: none was offered that is known.
        frame_pings: whether pings are those of WebSocket, rather than messages.
    """

    codec: Codec
    subprotocol: str | None
    frame_pings: bool


def choose(offered: Sequence[str], parameter: Callable[[str], str]) -> Format:
    """The format of a WebSocket, as Centrifugo's clients ask for it.

    Parameters:
        offered: the subprotocols of the client.
        parameter: gives a parameter of the query by its name, or an empty string.
    """
    subprotocol = next((name for name in offered if name in SUBPROTOCOLS), None)
    asked = (parameter("format"), parameter("cf_protocol"))
    name = SUBPROTOCOLS[subprotocol] if subprotocol else "protobuf" if "protobuf" in asked else "json"
    return Format(codec(name), subprotocol, parameter("cf_ws_frame_ping_pong") == "true")
