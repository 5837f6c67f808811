"""Events and their targets: listeners, the ``on...`` attributes, and how they are called (DOM, section 2)."""

# An event and its target work closely together, on what is nobody else's business:
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, Self, TypeVar, overload

from everwire.web.exceptions import DOMException

if TYPE_CHECKING:
    from everwire.web.abort import AbortSignal

__all__ = ["Event", "EventHandler", "EventTarget"]

E = TypeVar("E", bound="Event")


class Event:
    """Something that happened to an :class:`EventTarget`.

    Args:
        type: its name, such as ``"open"``.
        bubbles: kept for whoever asks; there is no tree that an event could rise in.
        cancelable: whether ``preventDefault`` has an effect.
    """

    NONE: Final = 0
    CAPTURING_PHASE: Final = 1
    AT_TARGET: Final = 2
    BUBBLING_PHASE: Final = 3

    def __init__(self, type: str, *, bubbles: bool = False, cancelable: bool = False) -> None:
        self._type = type
        self._bubbles = bubbles
        self._cancelable = cancelable
        self._time_stamp = time.perf_counter() * 1000
        self._target: EventTarget | None = None
        self._dispatching = False
        self._stopped = False
        self._prevented = False
        self._trusted = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._type!r}>"

    @property
    def type(self) -> str:
        """Its name."""
        return self._type

    @property
    def target(self) -> EventTarget | None:
        """What it happened to; None before it was dispatched."""
        return self._target

    @property
    def currentTarget(self) -> EventTarget | None:
        """The target whose listeners are being called; None before and after."""
        return self._target if self._dispatching else None

    @property
    def eventPhase(self) -> int:
        """``AT_TARGET`` (2) while listeners are called, else ``NONE`` (0)."""
        return self.AT_TARGET if self._dispatching else self.NONE

    @property
    def bubbles(self) -> bool:
        """As it was made."""
        return self._bubbles

    @property
    def cancelable(self) -> bool:
        """As it was made."""
        return self._cancelable

    @property
    def defaultPrevented(self) -> bool:
        """Whether a listener called ``preventDefault``."""
        return self._prevented

    @property
    def isTrusted(self) -> bool:
        """Whether everwire made it, and not a caller of ``dispatchEvent``."""
        return self._trusted

    @property
    def timeStamp(self) -> float:
        """When it was made: milliseconds of the clock ``time.perf_counter``."""
        return self._time_stamp

    def preventDefault(self) -> None:
        """Have ``dispatchEvent`` answer False, if the event is cancelable."""
        self._prevented = self._prevented or self._cancelable

    def stopImmediatePropagation(self) -> None:
        """Call no further listener."""
        self._stopped = True


class EventListener(Protocol):
    """An object that listens, in place of a function."""

    def handleEvent(self, event: Any, /) -> object:
        """Called with each event."""


Callback = Callable[[Any], object] | EventListener


class Registration:
    """A listener that was added."""

    __slots__ = ("callback", "capture", "forget", "handler", "once", "removed")

    def __init__(
        self, callback: Callback, *, capture: bool = False, once: bool = False, handler: bool = False
    ) -> None:
        self.callback = callback
        self.capture = capture
        self.once = once
        self.handler = handler
        """Whether it is that of an ``on...`` attribute, which ``removeEventListener`` does not remove."""
        self.removed = False
        self.forget: Callable[[], None] | None = None
        """What tells the signal that removes it that this is done."""

    def __call__(self, event: Event) -> object:
        callback = self.callback
        return callback(event) if callable(callback) else callback.handleEvent(event)


class EventTarget:
    """Something that events happen to.

    Listeners are functions of one argument, the event; or coroutine functions, which run as tasks: see
    :meth:`addEventListener`. What a listener raises is reported to the exception handler of the event loop,
    and keeps no other listener from being called.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, list[Registration]] = {}
        self._handlers: dict[str, Registration] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def addEventListener(
        self,
        type: str,
        callback: Callback | None,
        *,
        capture: bool = False,
        once: bool = False,
        signal: AbortSignal | None = None,
    ) -> None:
        """Call a function at each event of a type, after those that were added before.

        Adding it again does nothing.

        A coroutine function is started as a task, and the next event waits until it has come to its first
        ``await``, but no longer.

        Args:
            type: the events' type.
            callback: a function or a coroutine function, or an object with such a method ``handleEvent``.
            capture: tells two registrations of one function apart.
            once: remove it when it is called.
            signal: remove it when this is aborted.

        Raises:
            TypeError: *callback* cannot be called.
        """
        if callback is None:
            return
        if not (callable(callback) or hasattr(callback, "handleEvent")):
            raise TypeError(f"a listener is a function of an event, not {callback!r}")
        if signal is not None and signal.aborted:
            return
        if self._find(type, callback, capture) is not None:
            return
        registration = Registration(callback, capture=capture, once=once)
        if signal is not None:
            registration.forget = signal.on_abort(lambda reason: self._unregister(type, registration))
        self._register(type, registration)

    def removeEventListener(self, type: str, callback: Callback | None, *, capture: bool = False) -> None:
        """Call a function no more that was added with the same *type* and *capture*."""
        registration = self._find(type, callback, capture)
        if registration is not None:
            self._unregister(type, registration)

    def dispatchEvent(self, event: Event) -> bool:
        """Call the listeners of an event, now, and tell whether none of them called ``preventDefault``.

        Raises:
            DOMException: ``InvalidStateError``: the event is being dispatched already.
        """
        if event._dispatching:
            raise DOMException(f"{event!r} is being dispatched already", "InvalidStateError")
        event._trusted = False
        self._dispatch(event)
        return not event.defaultPrevented

    def _fire(self, event: Event) -> None:
        """Dispatch an event of our own."""
        event._trusted = True
        self._dispatch(event)

    def _dispatch(self, event: Event) -> None:
        event._target = self
        event._dispatching = True
        event._stopped = False
        try:
            for registration in tuple(self._listeners.get(event.type, ())):
                if registration.removed:
                    continue
                if registration.once:
                    self._unregister(event.type, registration)
                try:
                    result = registration(event)
                except Exception as exc:
                    self._report(exc)
                else:
                    if asyncio.iscoroutine(result):
                        self._start(result)
                if event._stopped:
                    break
        finally:
            event._dispatching = False

    def _start(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run what a coroutine function among the listeners has returned."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self._report(error)

    def _report(self, error: BaseException) -> None:
        context = {"message": f"a listener of {self!r} failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    def _find(self, type: str, callback: Callback | None, capture: bool) -> Registration | None:
        for each in self._listeners.get(type, ()):
            if not each.handler and each.capture == capture and each.callback == callback:
                return each
        return None

    def _register(self, type: str, registration: Registration) -> None:
        self._listeners.setdefault(type, []).append(registration)
        self._listeners_changed()

    def _unregister(self, type: str, registration: Registration) -> None:
        if not registration.removed:
            registration.removed = True
            if registration.forget is not None:
                registration.forget()
            self._listeners[type].remove(registration)
            self._listeners_changed()

    def _listeners_changed(self) -> None:
        """For subclasses: a listener was added or removed."""

    def _handler(self, type: str) -> Callback | None:
        registration = self._handlers.get(type)
        return None if registration is None else registration.callback

    def _set_handler(self, type: str, callback: Callback | None) -> None:
        """Set an ``on...`` attribute; a new function takes the place among the listeners of the old one."""
        registration = self._handlers.get(type)
        if callback is None:
            if registration is not None:
                del self._handlers[type]
                self._unregister(type, registration)
        elif registration is not None:
            registration.callback = callback
        else:
            registration = self._handlers[type] = Registration(callback, handler=True)
            self._register(type, registration)


class EventHandler(Generic[E]):
    """An ``on...`` attribute of an event target: the function to call at its event, or None.

    Raises:
        TypeError: (when it is set) the value is neither a function nor None.
    """

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type[EventTarget], name: str) -> None:
        self._name = name
        self._type = name.removeprefix("on")

    @overload
    def __get__(self, target: None, owner: type[EventTarget]) -> Self: ...
    @overload
    def __get__(self, target: EventTarget, owner: type[EventTarget]) -> Callable[[E], object] | None: ...
    def __get__(self, target: EventTarget | None, owner: type[EventTarget]) -> Any:
        return self if target is None else target._handler(self._type)

    def __set__(self, target: EventTarget, callback: Callable[[E], object] | None) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"{self._name} is a function of an event, or None, not {callback!r}")
        target._set_handler(self._type, callback)
