"""Engines: where the logs of channels are kept."""

from __future__ import annotations

from everwire.channels.engine import Engine
from everwire.errors import ConfigError

__all__ = ["open_engine"]


def open_engine(url: str | None = None) -> Engine:
    """The engine that a URL names; it is started by the hub.

    ``memory:`` (and None) keeps everything in the memory of the process.

    Raises:
        ConfigError: no engine has such a URL.
    """
    scheme, _, _ = (url or "memory:").partition(":")
    if scheme == "memory":
        from everwire.engines.memory import MemoryEngine

        return MemoryEngine()
    raise ConfigError(f"there is no engine {url!r}: it is memory:")
