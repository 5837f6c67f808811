import re
from typing import Literal

from everwire._core.receiver import Receiver
from everwire._core.settings import Settings

FRAMINGS: dict[str, int]
NEWLINE: re.Pattern[bytes]

class Streaming(Receiver):
    def open_stream(
        self,
        head: bytes,
        framing: Literal["lines", "events", "raw"],
        *,
        chunked: bool = True,
        settings: Settings | None = None,
    ) -> None: ...
