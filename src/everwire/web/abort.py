"""Calling off what is under way (DOM, section 3)."""

from __future__ import annotations

from collections.abc import Callable

from everwire.web.exceptions import DOMException
from everwire.web.target import Event, EventHandler, EventTarget

__all__ = ["AbortController", "AbortSignal"]


class AbortSignal(EventTarget):
    """What an :class:`AbortController` tells: whether to go on. It has an event, ``abort``."""

    onabort: EventHandler[Event] = EventHandler("The function to call when it is aborted, or None.")

    def __init__(self) -> None:
        super().__init__()
        self._reason: BaseException | None = None
        self._actions: dict[Callable[[BaseException], None], None] = {}

    @property
    def aborted(self) -> bool:
        """Whether ``abort`` was called."""
        return self._reason is not None

    @property
    def reason(self) -> BaseException | None:
        """The exception that says why; None before."""
        return self._reason

    def throwIfAborted(self) -> None:
        """Raise the reason if it was aborted."""
        if self._reason is not None:
            raise self._reason

    def on_abort(self, action: Callable[[BaseException], None]) -> Callable[[], None]:
        """Call a function with the reason, before the listeners are called; for what takes a signal.

        Returns:
            What takes it back.
        """
        self._actions[action] = None
        return lambda: self._actions.pop(action, None)

    def abort(self, reason: BaseException) -> None:
        """Tell everybody; for the controller."""
        if self._reason is not None:
            return
        self._reason = reason
        actions, self._actions = self._actions, {}
        for action in actions:
            action(reason)
        self._fire(Event("abort"))


class AbortController:
    """Calls off whatever was given its ``signal``: a connection that is being opened, a listener."""

    def __init__(self) -> None:
        self._signal = AbortSignal()

    @property
    def signal(self) -> AbortSignal:
        """What to give to those who are to be called off."""
        return self._signal

    def abort(self, reason: BaseException | None = None) -> None:
        """Call it off. Doing so again does nothing.

        Args:
            reason: the exception that those who wait get; by default a DOMException, ``AbortError``.
        """
        self._signal.abort(
            DOMException("the operation was aborted", "AbortError") if reason is None else reason
        )
