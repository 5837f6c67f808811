import asyncio

from everwire._core.protocol import Protocol

class Outlet(Protocol):
    @property
    def transport(self) -> asyncio.Transport | None: ...
    @property
    def phase(self) -> int: ...
