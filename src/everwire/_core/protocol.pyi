from typing import ClassVar

from everwire._core.deflate import Deflater, Inflater
from everwire.errors import ConnectionClosedError, ConnectionClosedOK, ProtocolError

OK_CODES: frozenset[int]

def check_close(code: int | None, reason: str) -> int: ...
def clip(reason: str) -> str: ...

class Codec:
    deflater: Deflater
    inflater: Inflater
    threshold: int
    def __init__(self, deflater: Deflater, inflater: Inflater, threshold: int = 0) -> None: ...

class Protocol:
    closed_ok: ClassVar[type[ConnectionClosedOK]]
    closed_error: ClassVar[type[ConnectionClosedError]]
    @property
    def client(self) -> bool: ...
    @property
    def state(self) -> int: ...
    @property
    def failure(self) -> ProtocolError | None: ...
