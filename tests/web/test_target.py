"""Events and their targets (DOM, section 2)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Run
from live import turns

import everwire
from everwire.web.target import EventHandler


class Bell(everwire.EventTarget):
    """A target with a handler of its own."""

    onring: EventHandler[everwire.Event] = EventHandler("The function to call when it rings, or None.")


def heard(bell: everwire.EventTarget, *types: str) -> list[str]:
    """The types of the events that are heard from now on."""
    events: list[str] = []
    for type in types or ("ring",):
        bell.addEventListener(type, lambda event: events.append(event.type))
    return events


def test_listeners_are_called_in_order() -> None:
    bell, order = Bell(), []
    bell.addEventListener("ring", lambda event: order.append(1))
    bell.onring = lambda event: order.append(2)
    bell.addEventListener("ring", lambda event: order.append(3))
    bell.onring = lambda event: order.append(4)  # in the place of the first handler
    assert bell.dispatchEvent(everwire.Event("ring"))
    bell.dispatchEvent(everwire.Event("other"))
    assert order == [1, 4, 3]
    bell.onring = None
    bell.onring = lambda event: order.append(5)
    bell.dispatchEvent(everwire.Event("ring"))
    assert order[3:] == [1, 3, 5]


def test_a_listener_is_there_once() -> None:
    bell, events = Bell(), []
    for _ in range(2):
        bell.addEventListener("ring", events.append)
    bell.addEventListener("ring", events.append, capture=True)
    bell.dispatchEvent(everwire.Event("ring"))
    assert len(events) == 2
    bell.removeEventListener("ring", events.append)
    bell.removeEventListener("ring", events.append)
    bell.dispatchEvent(everwire.Event("ring"))
    assert len(events) == 3
    bell.removeEventListener("ring", events.append, capture=True)
    bell.dispatchEvent(everwire.Event("ring"))
    assert len(events) == 3


def test_a_handler_is_removed_as_a_handler_only() -> None:
    bell, events = Bell(), []
    bell.onring = events.append
    bell.removeEventListener("ring", events.append)
    bell.addEventListener("ring", events.append)
    bell.dispatchEvent(everwire.Event("ring"))
    assert len(events) == 2


def test_once() -> None:
    bell, events = Bell(), []

    def again(event: everwire.Event) -> None:
        events.append(event)
        bell.dispatchEvent(everwire.Event("ring"))

    bell.addEventListener("ring", again, once=True)
    bell.dispatchEvent(everwire.Event("ring"))
    assert len(events) == 1


def test_a_signal_removes_listeners() -> None:
    bell, events, controller = Bell(), [], everwire.AbortController()
    bell.addEventListener("ring", events.append, signal=controller.signal)
    bell.addEventListener("ring", lambda event: events.append(event), signal=controller.signal, once=True)
    bell.dispatchEvent(everwire.Event("ring"))
    assert len(events) == 2
    controller.abort()
    controller.abort()
    bell.addEventListener("ring", events.append, signal=controller.signal)
    bell.dispatchEvent(everwire.Event("ring"))
    assert len(events) == 2


def test_what_is_removed_or_added_meanwhile() -> None:
    bell, order = Bell(), []

    def second(event: everwire.Event) -> None:
        order.append("second")

    def first(event: everwire.Event) -> None:
        order.append("first")
        bell.removeEventListener("ring", second)
        bell.addEventListener("ring", lambda event: order.append("third"))

    bell.addEventListener("ring", first)
    bell.addEventListener("ring", second)
    bell.dispatchEvent(everwire.Event("ring"))
    assert order == ["first"]


def test_stopping_and_preventing() -> None:
    bell = Bell()
    bell.addEventListener("ring", lambda event: event.preventDefault())
    bell.addEventListener("ring", lambda event: event.stopImmediatePropagation())
    events = heard(bell)
    assert bell.dispatchEvent(everwire.Event("ring"))
    event = everwire.Event("ring", cancelable=True)
    assert not bell.dispatchEvent(event)
    assert event.defaultPrevented
    assert events == []


def test_an_event_while_it_is_dispatched() -> None:
    bell, seen = Bell(), []

    def look(event: everwire.Event) -> None:
        seen.append((event.target, event.currentTarget, event.eventPhase, event.isTrusted))
        with pytest.raises(everwire.DOMException, match="dispatched already"):
            bell.dispatchEvent(event)

    bell.onring = look
    event = everwire.Event("ring")
    assert (event.target, event.currentTarget, event.eventPhase) == (None, None, event.NONE)
    bell.dispatchEvent(event)
    assert seen == [(bell, bell, event.AT_TARGET, False)]
    assert (event.target, event.currentTarget, event.eventPhase) == (bell, None, event.NONE)


def test_an_object_that_listens() -> None:
    class Listening:
        def __init__(self) -> None:
            self.events: list[everwire.Event] = []

        def handleEvent(self, event: everwire.Event) -> None:
            self.events.append(event)

    bell, listening = Bell(), Listening()
    bell.addEventListener("ring", listening)
    bell.addEventListener("ring", None)
    bell.dispatchEvent(everwire.Event("ring"))
    assert len(listening.events) == 1


@pytest.mark.parametrize("callback", [5, "print", object()])
def test_what_cannot_be_called(callback: Any) -> None:
    bell = Bell()
    with pytest.raises(TypeError, match="a listener is a function"):
        bell.addEventListener("ring", callback)
    with pytest.raises(TypeError, match="onring is a function"):
        bell.onring = callback
    assert bell.onring is None


def test_what_one_listener_raises_keeps_no_other_from_being_called(run: Run) -> None:
    async def main() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))

        def fail(event: everwire.Event) -> None:
            raise KeyError("mine")

        bell = Bell()
        bell.addEventListener("ring", fail)
        events = heard(bell)
        bell.dispatchEvent(everwire.Event("ring"))
        assert events == ["ring"]
        assert [type(each["exception"]) for each in reported] == [KeyError]

    run(main)


def test_coroutines_are_kept_until_they_are_done(run: Run) -> None:
    async def main() -> None:
        done: list[str] = []

        async def ring(event: everwire.Event) -> None:
            await turns()
            done.append(event.type)

        bell = Bell()
        bell.onring = ring
        bell.dispatchEvent(everwire.Event("ring"))
        assert done == []
        await turns(20)
        assert done == ["ring"]

    run(main)


def test_an_abort_signal() -> None:
    controller = everwire.AbortController()
    signal, events = controller.signal, []
    signal.onabort = events.append
    assert (signal.aborted, signal.reason) == (False, None)
    signal.throwIfAborted()
    controller.abort()
    assert signal.aborted
    assert [event.type for event in events] == ["abort"]
    with pytest.raises(everwire.DOMException) as caught:
        signal.throwIfAborted()
    assert (caught.value.name, caught.value.code) == ("AbortError", 20)
    controller.abort(ValueError("too late"))
    assert signal.reason is caught.value
    assert len(events) == 1


def test_a_reason_of_ones_own() -> None:
    controller, reason = everwire.AbortController(), ValueError("mine")
    controller.abort(reason)
    assert controller.signal.reason is reason


def test_the_representations() -> None:
    assert repr(everwire.Event("x")) == "<Event 'x'>"
    assert str(everwire.MessageEvent("message", data="hello", origin="ws://h")) == "<MessageEvent 'message'>"
    close = everwire.CloseEvent("close", code=1000, wasClean=True)
    assert repr(close) == "<CloseEvent 'close' code=1000 reason='' wasClean=True>"
    error = everwire.ErrorEvent("error", message="it broke", error=ValueError("it broke"))
    assert (str(error), repr(error)) == ("it broke", "<ErrorEvent 'error'>")
    assert str(everwire.ErrorEvent("error")) == "<ErrorEvent 'error'>"
    assert everwire.Event("x").timeStamp <= everwire.Event("x").timeStamp
