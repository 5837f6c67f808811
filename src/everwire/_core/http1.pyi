"""The heads of HTTP/1.1 messages, read strictly (RFC 9112)."""

from typing_extensions import Buffer

from everwire.errors import InvalidMessage

MAX_HEAD: int
"""The most bytes of a whole head, its last CRLF CRLF included."""
MAX_LINE: int
"""The most bytes of a request line or a status line, its CRLF included."""
MAX_HEADERS: int
"""The most header fields of one head."""

def find_head_end(data: Buffer, start: int = 0) -> int: ...
def over_limit(data: bytes | bytearray | memoryview) -> InvalidMessage: ...
def parse_request(head: bytes) -> tuple[str, str, int, list[tuple[str, str]]]: ...
def parse_response(head: bytes) -> tuple[int, str, int, list[tuple[str, str]]]: ...
def index(items: list[tuple[str, str]]) -> dict[str, str | list[str]]: ...
