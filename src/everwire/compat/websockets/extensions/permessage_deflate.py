"""The parameters of permessage-deflate (RFC 7692) as elements of the option ``extensions``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from everwire.websocket.extensions import Deflate

__all__ = ["ClientPerMessageDeflateFactory", "ServerPerMessageDeflateFactory"]


@dataclass(frozen=True, slots=True)
class ServerPerMessageDeflateFactory:
    """How a server compresses messages.

    Args:
        server_no_context_takeover: whether the server's messages stand alone.
        client_no_context_takeover: whether the client's messages do.
        server_max_window_bits: the server's window, from 8 to 15; None: 15.
        client_max_window_bits: the client's window, from 8 to 15, if it can limit it; None or True: 15.
        compress_settings: ``level`` and ``memLevel`` of the compressor; other keys are refused.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | bool | None = None
    compress_settings: Mapping[str, Any] | None = None

    def deflate(self) -> Deflate:
        """The same as everwire's option ``compression``.

        Raises:
            ValueError: a value is out of range, or there is none like it.
        """
        settings = dict(self.compress_settings or {})
        default = Deflate()
        level = settings.pop("level", default.level)
        mem_level = settings.pop("memLevel", default.mem_level)
        if settings:
            raise ValueError(f"compress_settings takes level and memLevel, not {', '.join(settings)}")
        client = self.client_max_window_bits
        return Deflate(
            server_no_context_takeover=self.server_no_context_takeover,
            client_no_context_takeover=self.client_no_context_takeover,
            server_max_window_bits=self.server_max_window_bits or 15,
            client_max_window_bits=15 if client is None or client is True else client,
            level=level,
            mem_level=mem_level,
        )


@dataclass(frozen=True, slots=True)
class ClientPerMessageDeflateFactory(ServerPerMessageDeflateFactory):
    """How a client compresses messages; the parameters are the same."""

    client_max_window_bits: int | bool | None = True
