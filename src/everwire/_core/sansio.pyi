from typing import Literal

from typing_extensions import Buffer

from everwire._core.deflate import Deflater, Inflater
from everwire._core.protocol import Protocol
from everwire.errors import ConnectionClosed

_SansIOEvent = (
    tuple[Literal["message"], str | bytes]
    | tuple[Literal["ping", "pong"], bytes]
    | tuple[Literal["close"], ConnectionClosed]
)
"""What :meth:`SansIO.events_received` tells; of the stub only."""

class SansIO(Protocol):
    def __init__(
        self,
        *,
        client: bool,
        max_size: int = 1048576,
        deflater: Deflater | None = None,
        inflater: Inflater | None = None,
        threshold: int = 0,
    ) -> None: ...
    def receive_data(self, data: Buffer) -> None: ...
    def data_to_send(self) -> bytes: ...
    def events_received(self) -> list[_SansIOEvent]: ...
    def send(self, opcode: int, data: bytes, first: bool = True, last: bool = True) -> None: ...
    def control(self, opcode: int, data: bytes) -> None: ...
    def close(self, code: int = 1000, reason: str = "") -> None: ...
    @property
    def close_error(self) -> ConnectionClosed | None: ...
