"""The hooks of a hub: functions of the application that are asked, or told."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from everwire.channels.payload import decoder, parameter_type

__all__ = ["Hooks"]

Hook = TypeVar("Hook", bound=Callable[..., Any])


class Hooks:
    """What the application wants to be asked and told: see the decorators of the same names of a hub."""

    __slots__ = (
        "connect",
        "connected",
        "disconnect",
        "message",
        "publish",
        "publish_decoder",
        "refresh",
        "rpc",
        "subscribe",
    )

    def __init__(self) -> None:
        self.connect: Callable[..., Any] | None = None
        self.connected: Callable[..., Any] | None = None
        self.refresh: Callable[..., Any] | None = None
        self.subscribe: Callable[..., Any] | None = None
        self.publish: Callable[..., Any] | None = None
        self.publish_decoder: Callable[[Any], Any] | None = None
        self.message: tuple[Callable[..., Any], Callable[[Any], Any]] | None = None
        self.disconnect: Callable[..., Any] | None = None
        self.rpc: dict[str, tuple[Callable[..., Any], Callable[[Any], Any], bool]] = {}

    def set(self, name: str, hook: Hook, takes: tuple[str, ...]) -> Hook:
        """Set a hook that takes these arguments.

        Raises:
            TypeError: it cannot take them.
            ValueError: there is one already.
        """
        fit(hook, name, takes)
        if getattr(self, name) is not None:
            raise ValueError(f"there is an on_{name} hook already")
        setattr(self, name, hook)
        return hook

    def set_publish(self, hook: Hook) -> Hook:
        """Set the hook for what clients publish into channels that have none of their own."""
        self.set("publish", hook, ("ctx", "data"))
        self.publish_decoder = decoder(_kind(hook, 1))
        return hook

    def set_message(self, hook: Hook) -> Hook:
        """Set the hook for messages that are not answered."""
        fit(hook, "message", ("ctx", "data"))
        if self.message is not None:
            raise ValueError("there is an on_message hook already")
        self.message = hook, decoder(_kind(hook, 1))
        return hook

    def add_rpc(self, method: str, hook: Hook) -> Hook:
        """Set the function that a method calls; that of the method ``""`` gets all others, with names."""
        fit(hook, f"rpc({method!r})", ("ctx", "data") if method else ("ctx", "method", "data"))
        if method in self.rpc:
            raise ValueError(f"there is a function for the method {method!r} already")
        self.rpc[method] = hook, decoder(_kind(hook, 1 if method else 2)), not method
        return hook


def fit(hook: Callable[..., Any], name: str, takes: tuple[str, ...]) -> None:
    """Complain of a hook that cannot take what it will be given.

    Raises:
        TypeError: it cannot.
    """
    try:
        inspect.signature(hook).bind(*takes)
    except TypeError as error:
        called = getattr(hook, "__name__", repr(hook))
        raise TypeError(f"the hook {called!r} for {name} must take ({', '.join(takes)}): {error}") from None


def _kind(hook: Callable[..., Any], place: int) -> Any:
    """The annotation of the argument at a place."""
    names = list(inspect.signature(hook).parameters)
    return parameter_type(hook, names[place]) if len(names) > place else None
