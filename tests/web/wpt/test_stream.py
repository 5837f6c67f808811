"""``stream/tentative``: WebSocketStream."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from live import turns

import everwire
from everwire.web.streams import ReadableStream, WritableStream
from web.wpt.cases import Cases, Web

cases = Cases()

INVALID_CODES = [999, 1001, 2999, 5000]


async def rejects(awaitable: Any, name: str) -> everwire.DOMException:
    """What is awaited fails with a DOMException of this name."""
    with pytest.raises(everwire.DOMException) as caught:
        await awaitable
    assert caught.value.name == name
    return caught.value


async def websocket_error(awaitable: Any) -> everwire.WebSocketError:
    """What is awaited fails with a WebSocketError."""
    error = await rejects(awaitable, "WebSocketError")
    assert type(error) is everwire.WebSocketError
    return error


@cases("stream/tentative/abort.any.js", "abort before constructing should prevent connection")
async def abort_before_constructing(web: Web) -> None:
    controller = everwire.AbortController()
    controller.abort()
    stream = web.stream("/echo", signal=controller.signal)
    await rejects(stream.opened, "AbortError")
    await rejects(stream.closed, "AbortError")
    await turns(50)
    assert web.server.requests == []


@cases("stream/tentative/abort.any.js", "abort during handshake should work")
async def abort_during_handshake(web: Web) -> None:
    controller = everwire.AbortController()
    stream = web.stream("/handshake_sleep_2", signal=controller.signal)
    while not web.server.requests:
        await asyncio.sleep(0.001)
    controller.abort()
    await rejects(stream.opened, "AbortError")
    await rejects(stream.closed, "AbortError")


@cases("stream/tentative/abort.any.js", "abort after connect should do nothing")
async def abort_after_connect(web: Web) -> None:
    controller = everwire.AbortController()
    stream = web.stream("/echo", signal=controller.signal)
    readable, writable, _, _ = await stream.opened
    controller.abort()
    writable.getWriter().write("connected")
    value, done = await readable.getReader().read()
    assert (value, done) == ("connected", False)


@cases("stream/tentative/backpressure-receive.any.js", "backpressure should be applied to received messages")
async def backpressure_receive(web: Web) -> None:
    stream = web.stream("/send-backpressure")
    reader = (await stream.opened).readable.getReader()
    await asyncio.sleep(0.1)  # if nothing held the server back, it would be done by then
    web.server.release.set()
    for _ in range(17):
        await reader.read()
    value, _ = await reader.read()
    assert value == "read"


@cases("stream/tentative/backpressure-send.any.js", "backpressure should be applied to sent messages")
async def backpressure_send(web: Web) -> None:
    stream = web.stream("/receive-backpressure")
    writer = (await stream.opened).writable.getWriter()
    written = asyncio.ensure_future(writer.write(bytes(8 * 1024 * 1024)))
    await asyncio.sleep(0.1)  # if nothing held us back, all would be written by then
    assert not written.done()
    assert writer.desiredSize == 0
    web.server.release.set()
    await written
    assert writer.desiredSize == 1


async def closes(web: Web, expected: tuple[int, str], **how: Any) -> None:
    """``close`` sends this code and reason, and they come back."""
    stream = web.stream("/echo")
    await stream.opened
    stream.close(**how)
    assert await stream.closed == expected


@cases("stream/tentative/close.any.js", "close code should be sent to server and reflected back")
async def close_code(web: Web) -> None:
    await closes(web, (3456, "pizza"), closeCode=3456, reason="pizza")


@cases("stream/tentative/close.any.js", "no close argument should send empty Close frame")
@cases("stream/tentative/close.any.js", "unspecified close code should send empty Close frame")
async def close_without_code(web: Web) -> None:
    await closes(web, (1005, ""))


@cases(
    "stream/tentative/close.any.js", "unspecified close code with empty reason should send empty Close frame"
)
async def close_with_empty_reason(web: Web) -> None:
    await closes(web, (1005, ""), reason="")


@cases(
    "stream/tentative/close.any.js", "unspecified close code with non-empty reason should set code to 1000"
)
async def close_with_reason(web: Web) -> None:
    await closes(web, (1000, "non-empty"), reason="non-empty")


@cases("stream/tentative/close.any.js", "close(true) should throw a TypeError")
async def close_true(web: Web) -> None:
    stream = web.stream("/echo")
    await stream.opened
    with pytest.raises(TypeError):
        stream.close(True)  # type: ignore[misc]


@cases("stream/tentative/close.any.js", "close() with an overlong reason should throw")
async def close_overlong_reason(web: Web) -> None:
    stream = web.stream("/echo")
    await stream.opened
    with pytest.raises(everwire.DOMException) as caught:
        stream.close(reason="." * 124)
    assert caught.value.name == "SyntaxError"


@cases("stream/tentative/close.any.js", "close during handshake should work")
async def close_during_handshake(web: Web) -> None:
    stream = web.stream("/echo")
    stream.close()
    await websocket_error(stream.opened)
    await websocket_error(stream.closed)


@cases("stream/tentative/close.any.js", "close() with invalid code should throw", each=INVALID_CODES)
async def close_invalid_code(web: Web, code: int) -> None:
    stream = web.stream("/echo")
    await stream.opened
    with pytest.raises(everwire.DOMException) as caught:
        stream.close(closeCode=code)
    assert caught.value.name == "InvalidAccessError"


@cases("stream/tentative/close.any.js", "closing the writable should result in a clean close")
async def close_writable(web: Web) -> None:
    stream = web.stream("/echo")
    (await stream.opened).writable.getWriter().close()
    assert await stream.closed == (1005, "")


@cases("stream/tentative/close.any.js", "writer close() promise should not resolve until handshake completes")
async def close_writer(web: Web) -> None:
    stream = web.stream("/delayed-passive-close")
    closing = asyncio.ensure_future((await stream.opened).writable.getWriter().close())
    await turns(50)
    assert not closing.done()
    web.server.release.set()
    await closing


@cases("stream/tentative/close.any.js", "incomplete closing handshake should be considered unclean close")
async def close_incomplete(web: Web) -> None:
    stream = web.stream("/passive-close-abort")
    await stream.opened
    stream.close(closeCode=4000, reason="because")
    assert (await websocket_error(stream.closed)).closeCode == 1006


ABORT_OR_CANCEL = {
    "aborting the writable": ("writable", "abort"),
    "canceling the readable": ("readable", "cancel"),
}


async def ends(web: Web, how: tuple[str, str], code: int, reason: str, *arguments: Any) -> None:
    """``abort`` or ``cancel`` with these arguments closes with this code and reason."""
    side, method = how
    stream = web.stream("/echo")
    await getattr(getattr(await stream.opened, side), method)(*arguments)
    assert await stream.closed == (code, reason)


@cases("stream/tentative/close.any.js", "should result in a clean close", each=ABORT_OR_CANCEL)
async def ends_cleanly(web: Web, how: tuple[str, str]) -> None:
    await ends(web, how, 1005, "")


class Obsolete(Exception):
    """Has the attributes, and is no WebSocketError."""

    closeCode = 3333
    reason = "obsolete"


@cases("stream/tentative/close.any.js", "attributes not in a WebSocketError ignored", each=ABORT_OR_CANCEL)
async def ends_with_attributes(web: Web, how: tuple[str, str]) -> None:
    await ends(web, how, 1005, "", Obsolete())


@cases("stream/tentative/close.any.js", "with a code should send that code", each=ABORT_OR_CANCEL)
async def ends_with_code(web: Web, how: tuple[str, str]) -> None:
    await ends(web, how, 3333, "", everwire.WebSocketError("", closeCode=3333))


@cases("stream/tentative/close.any.js", "with a code and reason should use them", each=ABORT_OR_CANCEL)
async def ends_with_code_and_reason(web: Web, how: tuple[str, str]) -> None:
    await ends(web, how, 3456, "set", everwire.WebSocketError("", closeCode=3456, reason="set"))


@cases("stream/tentative/close.any.js", "with a reason but no code should default", each=ABORT_OR_CANCEL)
async def ends_with_reason(web: Web, how: tuple[str, str]) -> None:
    await ends(web, how, 1000, "specified", everwire.WebSocketError("", reason="specified"))


@cases("stream/tentative/close.any.js", "with a DOMException not set code or reason", each=ABORT_OR_CANCEL)
async def ends_with_dom_exception(web: Web, how: tuple[str, str]) -> None:
    error = everwire.DOMException("yes", "DataCloneError")
    error.closeCode, error.reason = 1000, "should be ignored"  # type: ignore[attr-defined]
    await ends(web, how, 1005, "", error)


@cases("stream/tentative/constructor.any.js", "constructing with no URL should throw")
async def construct_without_url(web: Web) -> None:
    with pytest.raises(TypeError):
        everwire.WebSocketStream()  # type: ignore[call-arg]


@cases("stream/tentative/constructor.any.js", "constructing with an invalid URL should throw")
async def construct_with_invalid_url(web: Web) -> None:
    with pytest.raises(everwire.DOMException) as caught:
        everwire.WebSocketStream("invalid:")
    assert caught.value.name == "SyntaxError"


@cases("stream/tentative/constructor.any.js", "constructing with invalid options should throw")
async def construct_with_invalid_options(web: Web) -> None:
    with pytest.raises(TypeError):
        everwire.WebSocketStream(web.url("/"), True)  # type: ignore[misc]


@cases("stream/tentative/constructor.any.js", "protocols should be required to be a list")
async def construct_with_protocol(web: Web) -> None:
    with pytest.raises(TypeError, match=r"\['hi'\]"):
        web.stream("/", protocols="hi")


@cases("stream/tentative/constructor.any.js", "constructing with a valid URL should work")
async def construct(web: Web) -> None:
    stream = web.stream("/echo")
    await stream.opened
    assert stream.url == web.url("/echo")


@cases("stream/tentative/constructor.any.js", "setting a protocol in the constructor should work")
async def construct_with_protocols(web: Web) -> None:
    stream = web.stream("/protocol_array", protocols=["alpha", "beta"])
    readable, _, protocol, _ = await stream.opened
    assert protocol == "alpha"
    assert (await readable.getReader().read()).value == "alpha"


@cases("stream/tentative/constructor.any.js", "connection failure should reject the promises")
async def construct_and_fail(web: Web) -> None:
    stream = web.stream("/404")
    error = await websocket_error(stream.opened)
    assert await websocket_error(stream.closed) is error
    assert isinstance(error.__cause__, everwire.InvalidStatus)


@cases("stream/tentative/constructor.any.js", "wss.opened should resolve to the right types")
async def opened_types(web: Web) -> None:
    info = await web.stream("/echo").opened
    assert isinstance(info.readable, ReadableStream)
    assert isinstance(info.writable, WritableStream)
    assert isinstance(info.protocol, str)
    assert isinstance(info.extensions, str)


@cases("stream/tentative/remote-close.any.js", "clean close should be clean")
async def remote_clean(web: Web) -> None:
    stream = web.stream("/remote-close?code=1000")
    readable, writable, _, _ = await stream.opened
    assert await stream.closed == (1000, "")
    assert await readable.getReader().read() == (None, True)
    await rejects(writable.getWriter().ready, "InvalidStateError")


@cases("stream/tentative/remote-close.any.js", "close frame with no body should result in status code 1005")
async def remote_without_code(web: Web) -> None:
    assert await web.stream("/remote-close").closed == (1005, "")


@cases("stream/tentative/remote-close.any.js", "reason should be passed through")
async def remote_reason(web: Web) -> None:
    assert await web.stream("/remote-close?code=4000&reason=robot").closed == (4000, "robot")


@cases("stream/tentative/remote-close.any.js", "UTF-8 reason should work")
async def remote_utf8(web: Web) -> None:
    reason = "%E3%83%AD%E3%83%9C%E3%83%83%E3%83%88"
    assert (await web.stream(f"/remote-close?code=4000&reason={reason}").closed).reason == "ロボット"


@cases("stream/tentative/remote-close.any.js", "close with unwritten data should not be considered clean")
async def remote_unwritten(web: Web) -> None:
    stream = web.stream("/goodbye-unread?code=4567", close_timeout=0.2)
    writer = (await stream.opened).writable.getWriter()
    writer.write("Goodbye")
    written = writer.write(bytes(20 * 1024 * 1024))
    assert (await websocket_error(stream.closed)).closeCode == 4567
    await rejects(written, "InvalidStateError")


@cases("stream/tentative/remote-close.any.js", "remote code and reason should be used")
async def remote_first(web: Web) -> None:
    stream = web.stream("/remote-close?code=4222&reason=remote")
    await stream.opened
    stream.close(closeCode=4111, reason="local")
    assert await stream.closed == (4222, "remote")


@cases("stream/tentative/remote-close.any.js", "abrupt close should give an error")
async def remote_abrupt(web: Web) -> None:
    stream = web.stream("/remote-close?abrupt=1")
    readable, writable, _, _ = await stream.opened
    error = await websocket_error(stream.closed)
    assert error.closeCode == 1006
    assert await websocket_error(readable.getReader().read()) is error
    assert await websocket_error(writable.getWriter().ready) is error


@cases("stream/tentative/websocket-error.any.js", "WebSocketError defaults should be correct")
async def error_defaults(web: Web) -> None:
    error = everwire.WebSocketError()
    assert (error.code, error.name, error.message) == (0, "WebSocketError", "")
    assert (error.closeCode, error.reason) == (None, "")


@cases("stream/tentative/websocket-error.any.js", "WebSocketError should be initialised from arguments")
async def error_arguments(web: Web) -> None:
    error = everwire.WebSocketError("message", closeCode=3456, reason="reason")
    assert (error.code, error.name, error.message) == (0, "WebSocketError", "message")
    assert (error.closeCode, error.reason) == (3456, "reason")


@cases("stream/tentative/websocket-error.any.js", "invalid code should throw", each=INVALID_CODES)
async def error_invalid_code(web: Web, code: int) -> None:
    with pytest.raises(everwire.DOMException) as caught:
        everwire.WebSocketError("", closeCode=code)
    assert caught.value.name == "InvalidAccessError"


@cases("stream/tentative/websocket-error.any.js", "passing only close code to WebSocketError should work")
async def error_code(web: Web) -> None:
    error = everwire.WebSocketError("", closeCode=3333)
    assert (error.closeCode, error.reason) == (3333, "")


@cases("stream/tentative/websocket-error.any.js", "a non-empty reason should cause the close code to be 1000")
async def error_reason(web: Web) -> None:
    error = everwire.WebSocketError("", reason="specified")
    assert (error.closeCode, error.reason) == (1000, "specified")


@cases(
    "stream/tentative/websocket-error.any.js",
    "overlong reason should throw",
    each={"in characters": "x" * 124, "in bytes of UTF-8": "\N{ELECTRIC PLUG}" * 32},
)
async def error_overlong_reason(web: Web, reason: str) -> None:
    with pytest.raises(everwire.DOMException) as caught:
        everwire.WebSocketError("", closeCode=1000, reason=reason)
    assert caught.value.name == "SyntaxError"


async def goodbye_then_big(web: Web) -> tuple[Any, Any]:
    """Tell the server to close, and have it close before it has taken what follows."""
    stream = web.stream("/goodbye-unread", close_timeout=0.2)
    writer = (await stream.opened).writable.getWriter()
    goodbye = writer.write("Goodbye")
    big = writer.write(bytes(8 * 1024 * 1024))
    await goodbye
    await websocket_error(stream.closed)
    return writer, big


@cases("stream/tentative/write.any.js", "a write that was incomplete at close time should reject")
async def write_incomplete(web: Web) -> None:
    writer, big = await goodbye_then_big(web)
    error = await rejects(big, "InvalidStateError")
    assert await rejects(writer.write("word"), "InvalidStateError") is error


@cases("stream/tentative/write.any.js", "garbage collection with a pending write promise should not crash")
async def write_collected(web: Web) -> None:
    _, big = await goodbye_then_big(web)
    gc.collect()
    await rejects(big, "InvalidStateError")


@cases("stream/tentative/write.any.js", "writing a value that cannot be stringified should cause a rejection")
async def write_other(web: Web) -> None:
    writer = (await web.stream("/echo").opened).writable.getWriter()
    with pytest.raises(TypeError, match="object"):
        await writer.write(object())  # type: ignore[arg-type]


@cases(
    "stream/tentative/write.any.js",
    "Garbage collecting doesn't crash while write promise is pending",
)
async def write_forgotten(web: Web) -> None:
    stream = everwire.WebSocketStream(web.url("/echo"), **web.options)
    writer = (await stream.opened).writable.getWriter()
    closed, writes = stream.closed, [writer.write(bytes(100_000)) for _ in range(20)]
    del stream, writer
    await turns()
    gc.collect()
    for write in writes:
        await write
    assert await closed == (1005, "")


test_stream, test_stream_over_tls = cases.tests()
