"""Listeners: a connection's events as calls, for when a coroutine a connection is too much."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from everwire._core.connection import Connection

__all__ = ["Listener"]


class Listener:
    """What happens to connections, told by calling these methods; override those that matter.

    One listener serves all connections of a server. There is no task and no queue: a connection costs half a
    kilobyte. The methods are plain functions that return at once; an exception in one of them is logged, and
    closes the connection with 1011.

    Attributes:
        limits: options of :func:`everwire.serve` that are others for the connections which the application
            of a host gives to this listener: ``max_size``, ``ping_interval`` and the like, and ``close_code``
            and ``close_reason`` of a connection that is closed at ``max_backlog``.
    """

    limits: Mapping[str, Any] = MappingProxyType({})

    def on_open(self, ws: Connection) -> None:
        """The opening handshake is done; messages can be sent."""

    def on_message(self, ws: Connection, message: str | bytes) -> None:
        """A message has come: text as ``str``, binary as ``bytes``."""

    def on_drain(self, ws: Connection) -> None:
        """After ``send_nowait`` answered ``BUFFERED``: what was unsent has shrunk below the lower limit."""

    def on_close(self, ws: Connection, code: int, reason: str) -> None:
        """The connection is over. *code* is the peer's: 1005 if it gave none, 1006 without a close frame."""


class Callbacks:
    """A listener's methods as the core calls them: None for those that do nothing.

    Raises:
        TypeError: a method is a coroutine function, or the listener is a class.
    """

    __slots__ = ("on_close", "on_drain", "on_message", "on_open")

    on_open: Any
    on_message: Any
    on_drain: Any
    on_close: Any

    def __init__(self, listener: Listener) -> None:
        for name in self.__slots__:
            method = getattr(listener, name)
            if inspect.iscoroutinefunction(method):
                raise TypeError(
                    f"{type(listener).__name__}.{name} is a coroutine function; a listener's methods are "
                    "plain functions. Pass a coroutine function as the handler instead"
                )
            inherited = getattr(type(listener), name, None) is getattr(Listener, name)
            setattr(self, name, None if inherited and name != "on_message" else method)
