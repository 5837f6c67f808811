"""``interfaces`` and ``eventhandlers``: the attributes, methods and events, one by one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from live import turns

import everwire
from web.record import TYPES
from web.wpt.cases import Cases, Web

cases = Cases()

BROKEN = b"\x81\x04test\x83\x03LOL"
"""What ``/echo_raw`` sends back as it is: a text frame, then one with a reserved opcode."""


@cases("interfaces/CloseEvent/clean-close.html", "wasClean, true")
async def clean_close(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    record.socket.send("Test")
    await record.next("message")
    record.socket.close()
    assert (await record.next("close")).wasClean


@cases("interfaces/CloseEvent/constructor.html", "new CloseEvent() without dictionary")
async def close_event_without_dictionary(web: Web) -> None:
    event = everwire.CloseEvent("foo")
    assert (event.type, event.bubbles, event.cancelable) == ("foo", False, False)
    assert (event.wasClean, event.code, event.reason) == (False, 0, "")


@cases("interfaces/CloseEvent/constructor.html", "new CloseEvent() with dictionary")
async def close_event_with_dictionary(web: Web) -> None:
    event = everwire.CloseEvent("foo", bubbles=True, cancelable=True, wasClean=True, code=7, reason="x")
    assert (event.type, event.bubbles, event.cancelable) == ("foo", True, True)
    assert (event.wasClean, event.code, event.reason) == (True, 7, "x")


@cases("interfaces/CloseEvent/historical.html", "initCloseEvent")
async def close_event_historical(web: Web) -> None:
    assert not hasattr(everwire.CloseEvent("close"), "initCloseEvent")


async def grows(web: Web, data: Any, size: int) -> Any:
    """``bufferedAmount`` is the size of what is sent in ``open``."""
    record = web.record("/echo")
    amounts: list[int] = []

    def send(event: everwire.Event) -> None:
        record.socket.send(data)
        amounts.append(record.socket.bufferedAmount)

    record.socket.onopen = send
    await record.next("open")
    assert amounts == [size]
    return (await record.next("message")).data


@cases("interfaces/WebSocket/bufferedAmount/bufferedAmount-arraybuffer.html")
async def buffered_amount_arraybuffer(web: Web) -> None:
    assert (await grows(web, bytearray(10), 10)).size == 10


@cases("interfaces/WebSocket/bufferedAmount/bufferedAmount-blob.html")
async def buffered_amount_blob(web: Web) -> None:
    data = await grows(web, everwire.Blob([bytes(10)]), 10)
    assert isinstance(data, everwire.Blob)
    assert data.size == 10


@cases("interfaces/WebSocket/bufferedAmount/bufferedAmount-getting.html")
async def buffered_amount_getting(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    texts = ["x", "\u00e5", "\u5336", "\ud801\udc7e"]
    for text, amount in zip(texts, (1, 3, 6, 10), strict=True):
        record.socket.send(text)
        assert record.socket.bufferedAmount == amount
    for text, most in zip(("x", "\u00e5", "\u5336", "\U0001047e"), (9, 7, 4, 0), strict=True):
        assert (await record.next("message")).data == text
        assert record.socket.bufferedAmount <= most


@cases("interfaces/WebSocket/bufferedAmount/bufferedAmount-initial.html")
async def buffered_amount_initial(web: Web) -> None:
    assert web.socket("/").bufferedAmount == 0


@cases("interfaces/WebSocket/bufferedAmount/bufferedAmount-large.html")
async def buffered_amount_large(web: Web) -> None:
    assert await grows(web, "x" * 65000, 65000) == "x" * 65000


@cases("interfaces/WebSocket/bufferedAmount/bufferedAmount-readonly.html")
async def buffered_amount_readonly(web: Web) -> None:
    read_only(web.socket("/"), "bufferedAmount", 0)


@cases("interfaces/WebSocket/bufferedAmount/bufferedAmount-unicode.html")
async def buffered_amount_unicode(web: Web) -> None:
    assert await grows(web, "¥¥¥¥¥¥", 12) == "¥¥¥¥¥¥"


def read_only(target: object, name: str, value: object) -> None:
    """An attribute cannot be set or deleted, and stays as it is."""
    with pytest.raises(AttributeError):
        setattr(target, name, 5)
    with pytest.raises(AttributeError):
        delattr(target, name)
    assert getattr(target, name) == value


@cases("interfaces/WebSocket/close/close-basic.html", "close()")
async def close_basic(web: Web) -> None:
    record = web.record("/")
    record.socket.close()
    assert record.socket.readyState == record.socket.CLOSING
    await record.next("error")
    event = await record.next("close")
    assert isinstance(event, everwire.CloseEvent)
    read_only(event, "wasClean", False)


@cases("interfaces/WebSocket/close/close-connecting-async.any.js")
async def close_connecting_async(web: Web) -> None:
    record = web.record("/handshake_sleep_2")
    assert record.socket.readyState == everwire.WebSocket.CONNECTING
    record.socket.close()
    assert record.types == []
    assert record.socket.readyState == everwire.WebSocket.CLOSING
    await record.next("error")
    await record.next("close")
    assert record.socket.readyState == everwire.WebSocket.CLOSED
    await record.no_more()


@cases("interfaces/WebSocket/close/close-connecting.html", "close() when connecting")
async def close_connecting(web: Web) -> None:
    record = web.record("/sleep_10_v13")
    while not web.server.requests:
        await asyncio.sleep(0.001)
    assert record.socket.readyState == record.socket.CONNECTING
    record.socket.close()
    assert record.socket.readyState == record.socket.CLOSING
    await record.next("error")
    event = await record.next("close")
    assert (record.socket.readyState, event.wasClean) == (record.socket.CLOSED, False)


@cases("interfaces/WebSocket/close/close-multiple.html", "close() several times")
async def close_multiple(web: Web) -> None:
    record = web.record("/")
    for _ in range(3):
        record.socket.close()
    await record.next("error")
    await record.next("close")
    await record.no_more()


@cases("interfaces/WebSocket/close/close-nested.html", "close() in close event handler")
async def close_nested(web: Web) -> None:
    record = web.record("/")
    states: list[int] = []

    def again(event: everwire.CloseEvent) -> None:
        states.append(record.socket.readyState)
        record.socket.close()
        states.append(record.socket.readyState)

    record.socket.onclose = again
    record.socket.close()
    assert record.socket.readyState == record.socket.CLOSING
    await record.next("error")
    await record.next("close")
    assert states == [record.socket.CLOSED] * 2
    await record.no_more()


@cases("interfaces/WebSocket/close/close-replace.html", "replacing close")
async def close_replace(web: Web) -> None:
    socket = web.socket("/")
    socket.close = 5  # type: ignore[method-assign, assignment]
    assert socket.close == 5
    del socket.close


@cases("interfaces/WebSocket/close/close-return.html", "close() return value")
async def close_return(web: Web) -> None:
    assert web.socket("/").close() is None  # type: ignore[func-returns-value]


CONSTANTS = {"CONNECTING": 0, "OPEN": 1, "CLOSING": 2, "CLOSED": 3}


@cases("interfaces/WebSocket/constants/001.html", "Constants on constructors", each=list(CONSTANTS))
async def constants_001(web: Web, name: str) -> None:
    assert getattr(everwire.WebSocket, name) == CONSTANTS[name]


@cases("interfaces/WebSocket/constants/004.html", "on prototype and object", each=list(CONSTANTS))
async def constants_004(web: Web, name: str) -> None:
    assert getattr(web.socket("/"), name) == CONSTANTS[name]


HANDLERS = ["onclose", "onopen", "onerror", "onmessage"]


@cases("interfaces/WebSocket/events/001.html", "getting on*", each=HANDLERS)
async def events_001(web: Web, name: str) -> None:
    assert getattr(web.socket("/"), name) is None


def nothing(event: everwire.Event) -> None:
    """A listener that does nothing."""


@cases("interfaces/WebSocket/events/002.html", "setting on*", each=HANDLERS)
async def events_002(web: Web, name: str) -> None:
    socket = web.socket("/")
    setattr(socket, name, nothing)
    assert getattr(socket, name) is nothing


class UIEvent(everwire.Event):
    """An event with a detail."""

    def __init__(self, type: str, detail: int) -> None:
        super().__init__(type)
        self.detail = detail


async def listens(web: Web, type: str) -> None:
    """An event of one's own is heard, at once."""
    socket = web.socket("/")
    details: list[int] = []
    setattr(socket, f"on{type}", lambda event: details.append(event.detail))
    assert socket.dispatchEvent(UIEvent(type, 5))
    assert details == [5]
    setattr(socket, f"on{type}", None)


@cases("interfaces/WebSocket/events/003.html", "listening for events with onopen")
async def events_003(web: Web) -> None:
    await listens(web, "open")


@cases("interfaces/WebSocket/events/004.html", "members of EventTarget")
async def events_004(web: Web) -> None:
    socket = web.socket("/")
    assert callable(socket.addEventListener)
    assert callable(socket.removeEventListener)
    assert callable(socket.dispatchEvent)


@cases("interfaces/WebSocket/events/006.html", "'on*' in ws", each=HANDLERS)
async def events_006(web: Web, name: str) -> None:
    assert hasattr(web.socket("/"), name)


@cases("interfaces/WebSocket/events/007.html", "listening for events with onmessage")
async def events_007(web: Web) -> None:
    await listens(web, "message")


@cases("interfaces/WebSocket/events/008.html", "listening for events with onerror")
async def events_008(web: Web) -> None:
    await listens(web, "error")


@cases("interfaces/WebSocket/events/009.html", "listening for events with onclose")
async def events_009(web: Web) -> None:
    await listens(web, "close")


def unset(socket: everwire.WebSocket, name: str) -> None:
    """Setting a handler to None takes it away."""
    setattr(socket, name, nothing)
    assert getattr(socket, name) is nothing
    setattr(socket, name, None)
    assert getattr(socket, name) is None


@cases("interfaces/WebSocket/events/010.html", "setting event handlers to undefined", each=HANDLERS)
async def events_010(web: Web, name: str) -> None:
    unset(web.socket("/empty-message"), name)


def not_a_handler(socket: everwire.WebSocket, name: str, value: object) -> None:
    """What cannot be called is no handler: it is refused, and the handler stays None."""
    with pytest.raises(TypeError, match=name):
        setattr(socket, name, value)
    assert getattr(socket, name) is None


@cases("interfaces/WebSocket/events/011.html", "setting event handlers to 1", each=HANDLERS)
async def events_011(web: Web, name: str) -> None:
    not_a_handler(web.socket("/empty-message"), name, 1)


@cases("interfaces/WebSocket/events/012.html", 'setting event handlers to ";"', each=HANDLERS)
async def events_012(web: Web, name: str) -> None:
    not_a_handler(web.socket("/empty-message"), name, ";")


class Listening:
    """An object with a method handleEvent."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def handleEvent(self, event: everwire.Event) -> None:
        self.heard.append(event.type)


@cases("interfaces/WebSocket/events/013.html", "setting event handlers to {handleEvent}", each=HANDLERS)
async def events_013(web: Web, name: str) -> None:
    socket, listening = web.socket("/empty-message"), Listening()
    not_a_handler(socket, name, listening)
    socket.dispatchEvent(everwire.Event(name[2:]))
    assert listening.heard == []


@cases("interfaces/WebSocket/events/014.html", "setting event handlers to null", each=HANDLERS)
async def events_014(web: Web, name: str) -> None:
    unset(web.socket("/empty-message"), name)


async def broken(web: Web) -> list[Any]:
    """The four events of a connection that the server breaks."""
    record = web.record("/echo_raw")
    states: list[int] = []
    for type in ("message", "error"):
        record.socket.addEventListener(type, lambda event: states.append(record.socket.readyState))
    events = [await record.next("open")]
    record.socket.send(BROKEN)
    events += [await record.next(type) for type in ("message", "error", "close")]
    assert states == [record.socket.OPEN, record.socket.CLOSED]
    return events


@cases("interfaces/WebSocket/events/015.html", "instanceof on events")
async def events_015(web: Web) -> None:
    events = await broken(web)
    assert all(isinstance(event, everwire.Event) for event in events)
    assert isinstance(events[1], everwire.MessageEvent)
    assert isinstance(events[3], everwire.CloseEvent)


@cases("interfaces/WebSocket/events/016.html", "addEventListener")
async def events_016(web: Web) -> None:
    record = web.record("/echo")
    socket, order = record.socket, []

    def note(name: str) -> Any:
        return lambda event: order.append(f"{event.type} {name}")

    for type in ("open", "message", "close"):
        socket.addEventListener(type, note("first"))
        setattr(socket, f"on{type}", note("handler"))
        socket.addEventListener(type, note("last"))
    await record.next("open")
    socket.send("Goodbye")
    await record.next("message")
    await record.next("close")
    assert order == [
        f"{type} {n}" for type in ("open", "message", "close") for n in ("first", "handler", "last")
    ]


@cases("interfaces/WebSocket/events/017.html", "this, e.target, e.currentTarget, e.eventPhase")
async def events_017(web: Web) -> None:
    record = web.record("/echo_raw")
    seen: list[tuple[Any, ...]] = []
    for type in TYPES:
        record.socket.addEventListener(
            type, lambda event: seen.append((event.target, event.currentTarget, event.eventPhase))
        )
    await record.next("open")
    record.socket.send(BROKEN)
    events = [await record.next(type) for type in ("message", "error", "close")]
    assert seen == [(record.socket, record.socket, 2)] * 4
    assert [(event.target, event.currentTarget, event.eventPhase) for event in events] == [
        (record.socket, None, 0)
    ] * 3


@cases("interfaces/WebSocket/events/018.html", "open, message, error and close events")
async def events_018(web: Web) -> None:
    events = await broken(web)
    assert [type(event).__name__ for event in events] == ["Event", "MessageEvent", "ErrorEvent", "CloseEvent"]
    assert not any(event.bubbles or event.cancelable for event in events)
    assert all(event.isTrusted for event in events)


@cases("interfaces/WebSocket/events/019.html", "removeEventListener", each=TYPES)
async def events_019(web: Web, type: str) -> None:
    socket = web.socket("/echo")
    socket.close()
    got: list[everwire.Event] = []
    socket.addEventListener(type, got.append)
    socket.removeEventListener(type, got.append)
    socket.dispatchEvent(everwire.Event(type))
    assert got == []


@cases("interfaces/WebSocket/events/020.html", "error events")
async def events_020(web: Web) -> None:
    assert isinstance(await web.record("ws://example.invalid/", ssl=None).next("error"), everwire.Event)


@cases("interfaces/WebSocket/extensions/001.html", "getting extensions in connecting")
async def extensions_001(web: Web) -> None:
    assert web.socket("/empty-message").extensions == ""


@cases("interfaces/WebSocket/protocol/protocol-initial.html", "getting protocol in connecting")
async def protocol_initial(web: Web) -> None:
    assert web.socket("/empty-message").protocol == ""


@cases("interfaces/WebSocket/readyState/001.html", "getting readyState in connecting")
async def ready_state_001(web: Web) -> None:
    assert web.socket("/").readyState == everwire.WebSocket.CONNECTING


@cases("interfaces/WebSocket/readyState/002.html", "setting readyState")
async def ready_state_002(web: Web) -> None:
    socket = web.socket("/")
    read_only(socket, "readyState", socket.CONNECTING)


@cases("interfaces/WebSocket/readyState/003.html", "delete readyState")
async def ready_state_003(web: Web) -> None:
    socket = web.socket("/")
    socket.close()
    read_only(socket, "readyState", socket.CLOSING)


@cases("interfaces/WebSocket/readyState/006.html", "getting readyState in open")
async def ready_state_006(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    assert record.socket.readyState == record.socket.OPEN


@cases("interfaces/WebSocket/readyState/007.html", "getting readyState in closing")
async def ready_state_007(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    record.socket.close()
    assert record.socket.readyState == record.socket.CLOSING


@cases("interfaces/WebSocket/readyState/008.html", "getting readyState in closed")
async def ready_state_008(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    record.socket.close()
    await record.next("close")
    assert record.socket.readyState == record.socket.CLOSED


@cases("interfaces/WebSocket/send/001.html", "send() with no args")
async def send_001(web: Web) -> None:
    with pytest.raises(TypeError):
        web.socket("/").send()  # type: ignore[call-arg]


@cases("interfaces/WebSocket/send/002.html", "replacing send")
async def send_002(web: Web) -> None:
    socket = web.socket("/")
    socket.send = 5  # type: ignore[method-assign, assignment]
    assert socket.send == 5


@cases("interfaces/WebSocket/send/003.html", "send() when readyState is CONNECTING", each=["a"])
@cases(
    "interfaces/WebSocket/send/004.html",
    "send() with unpaired surrogate when readyState is CONNECTING",
    each={
        "lone low surrogate": "a\udc00x",
        "lone high surrogate": "a\ud800x",
        "surrogates in wrong order": "a\udc00\ud800x",
    },
)
async def send_003(web: Web, text: str) -> None:
    with pytest.raises(everwire.DOMException) as caught:
        web.socket("/").send(text)
    assert caught.value.name == "InvalidStateError"


@cases("interfaces/WebSocket/send/005.html", "send() return value")
async def send_005(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    assert record.socket.send("test") is None  # type: ignore[func-returns-value]


@cases("interfaces/WebSocket/send/006.html", "send() with unpaired surrogate when readyState is OPEN")
async def send_006(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    record.socket.send("a\udc00xb\ud800xc\udc00\ud800x")
    assert (await record.next("message")).data == "a\ufffdxb\ufffdxc\ufffd\ufffdx"
    record.socket.close()
    await record.next("close")
    await record.no_more()


@cases("interfaces/WebSocket/send/007.html", "close() followed by send()")
async def send_007(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    record.socket.close()
    assert record.socket.send("test") is None  # type: ignore[func-returns-value]
    await record.next("close")
    await record.no_more()
    assert record.socket.bufferedAmount == 4


@cases("interfaces/WebSocket/send/008.html", "send() in onclose")
async def send_008(web: Web) -> None:
    record = web.record("/echo")
    record.socket.onclose = lambda event: record.socket.send("test")
    await record.next("open")
    record.socket.send("Goodbye")
    await record.next("message")
    await record.next("close")
    await record.no_more()


@cases("interfaces/WebSocket/send/009.html", "send('')")
async def send_009(web: Web) -> None:
    record = web.record("/empty-message")
    await record.next("open")
    record.socket.send("")
    assert (await record.next("message")).data == "pass"
    await record.next("close")
    await record.no_more()


@cases(
    "interfaces/WebSocket/send/010.html",
    "sending non-strings",
    each={"null": None, "1": 1, "{}": {}, "[]": [], "function(){}": nothing, "new Error()": ValueError()},
)
async def send_010(web: Web, value: Any) -> None:
    record = web.record("/echo")
    await record.next("open")
    with pytest.raises(TypeError, match=type(value).__name__):
        record.socket.send(value)
    await turns()
    await record.no_more()


@cases("interfaces/WebSocket/send/011.html", "sending non-ascii, combining chars and non-BMP")
async def send_011(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    record.socket.send("\u00e5 a\u030a \ud801\udc7e")
    assert (await record.next("message")).data == "\u00e5 a\u030a \U0001047e"
    record.socket.close()
    await record.next("close")
    await record.no_more()


@cases("interfaces/WebSocket/send/012.html", "sending null")
async def send_012(web: Web) -> None:
    await send_010(web, None)


@cases("interfaces/WebSocket/url/001.html", "getting url")
async def url_001(web: Web) -> None:
    assert web.socket(web.url("")).url == web.url("/")


@cases("interfaces/WebSocket/url/002.html", "setting url")
async def url_002(web: Web) -> None:
    read_only(web.socket("/"), "url", web.url("/"))


@cases("interfaces/WebSocket/url/003.html", "deleting url")
async def url_003(web: Web) -> None:
    read_only(web.socket("/"), "url", web.url("/"))


@cases("interfaces/WebSocket/url/004.html", "'URL'")
async def url_004(web: Web) -> None:
    assert not hasattr(web.socket("/"), "URL")


@cases("interfaces/WebSocket/url/resolve.html", "resolving")
async def url_resolve(web: Web) -> None:
    assert web.socket("/echo?foo%20bar baz").url == web.url("/echo?foo%20bar%20baz")


@cases("eventhandlers.any.js", "[TreatNonCallableAsNull]", each=HANDLERS)
async def eventhandlers(web: Web, name: str) -> None:
    socket = web.socket("/echo", "echo")
    not_a_handler(socket, name, 2)


test_interfaces, test_interfaces_over_tls = cases.tests()
