"""The types that annotations of programs name."""

from __future__ import annotations

import http
import logging
from typing import Any, NewType

__all__ = [
    "BytesLike",
    "Data",
    "DataLike",
    "ExtensionName",
    "ExtensionParameter",
    "LoggerLike",
    "Origin",
    "StatusLike",
    "Subprotocol",
]

Data = str | bytes
"""A message as it is received."""

BytesLike = bytes | bytearray | memoryview
"""What is taken for bytes."""

DataLike = str | bytes | bytearray | memoryview
"""A message as it is sent."""

LoggerLike = logging.Logger | logging.LoggerAdapter[Any]
"""What can be given as ``logger``."""

StatusLike = http.HTTPStatus | int
"""An HTTP status."""

Origin = NewType("Origin", str)
"""The value of a header Origin."""

Subprotocol = NewType("Subprotocol", str)
"""The name of a subprotocol."""

ExtensionName = NewType("ExtensionName", str)
"""The name of an extension."""

ExtensionParameter = tuple[str, str | None]
"""A parameter of an extension: its name, and its value if it has one."""
