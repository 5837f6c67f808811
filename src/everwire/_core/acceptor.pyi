import asyncio
import socket
import ssl

from everwire._core.settings import Settings

class Acceptor:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        settings: Settings,
        tls_context: ssl.SSLContext | None = None,
    ) -> None: ...
    @property
    def sock(self) -> socket.socket: ...
    @property
    def paused(self) -> bool: ...
    def close(self) -> None: ...
