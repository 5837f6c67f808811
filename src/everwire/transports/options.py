"""The options that all transports of a hub have in common."""

from __future__ import annotations

from dataclasses import dataclass

from everwire.websocket.origins import Origins, origin_check

__all__ = ["TransportOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """What transports let through.

    Attributes:
        origins: pages that may connect, as for :func:`everwire.serve`.
        max_size: bytes of the largest message, and of the largest body of a request.
        max_backlog: unsent bytes of one client; one that is behind by more is closed with 3008.
        body_timeout: seconds that the body of a request may take to come.

    Raises:
        ValueError, TypeError: an option does not make sense.
    """

    origins: Origins = "same"
    max_size: int = 1 << 16
    max_backlog: int = 1 << 20
    body_timeout: float = 10.0

    def __post_init__(self) -> None:
        origin_check(self.origins)
        for name in ("max_size", "max_backlog"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is a number of bytes above 0, not {getattr(self, name)!r}")
        if not self.body_timeout > 0:
            raise ValueError(f"body_timeout is a number of seconds above 0, not {self.body_timeout!r}")
