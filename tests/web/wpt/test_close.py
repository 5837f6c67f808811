"""``Close-*``, ``close-invalid`` and ``closing-handshake``: how a connection is closed."""

from __future__ import annotations

import math
from typing import Any

import pytest
from live import turns

import everwire
from web.wpt.cases import Cases, Web

cases = Cases()


async def refused(web: Web, name: str, *arguments: Any) -> None:
    """``close`` raises an exception of this name, and does nothing."""
    record = web.record("/echo")
    await record.next("open")
    with pytest.raises(everwire.DOMException) as caught:
        record.socket.close(*arguments)
    assert caught.value.name == name
    await record.no_more()


async def closed(web: Web, *arguments: Any) -> everwire.CloseEvent:
    """``close`` is called in ``open``, and the end is clean."""
    record = web.record("/echo")
    record.socket.onopen = lambda event: record.socket.close(*arguments)
    await record.next("open")
    event = await record.next("close")
    assert isinstance(event, everwire.CloseEvent)
    assert record.socket.readyState == 3
    assert event.wasClean
    return event


@cases("Close-1000-reason.any.js")
async def close_1000_reason(web: Web) -> None:
    await closed(web, 1000, "Clean Close")


@cases("Close-1000-verify-code.any.js")
async def close_1000_verify_code(web: Web) -> None:
    event = await closed(web, 1000, "Clean Close")
    assert (event.code, event.reason) == (1000, "Clean Close")


@cases("Close-1000.any.js")
async def close_1000(web: Web) -> None:
    await closed(web, 1000)


@cases("Close-1005-verify-code.any.js")
async def close_1005_verify_code(web: Web) -> None:
    event = await closed(web)
    assert (event.code, event.reason) == (1005, "")


@cases("Close-1005.any.js")
async def close_1005(web: Web) -> None:
    await refused(web, "InvalidAccessError", 1005, "1005 - reserved code")


@cases("Close-2999-reason.any.js")
async def close_2999_reason(web: Web) -> None:
    await refused(web, "InvalidAccessError", 2999, "Close not in range 3000-4999")


@cases("Close-3000-reason.any.js")
async def close_3000_reason(web: Web) -> None:
    await closed(web, 3000, "Clean Close with code - 3000")


@cases("Close-3000-verify-code.any.js")
async def close_3000_verify_code(web: Web) -> None:
    assert (await closed(web, 3000, "Clean Close")).code == 3000


@cases("Close-4999-reason.any.js")
async def close_4999_reason(web: Web) -> None:
    await closed(web, 3000, "Clean Close with code - 4999")


@cases("Close-Reason-124Bytes.any.js")
async def close_reason_124_bytes(web: Web) -> None:
    await refused(web, "SyntaxError", 1000, "0123456789" * 12 + "0123")


@cases("Close-delayed.any.js")
async def close_delayed(web: Web) -> None:
    record = web.record("/delayed-passive-close")
    await record.next("open")
    record.socket.close()
    await turns(50)
    assert record.socket.readyState == 2
    await record.no_more()
    web.server.release.set()
    event = await record.next("close")
    assert record.socket.readyState == 3
    assert event.wasClean


@cases("Close-onlyReason.any.js")
async def close_only_reason(web: Web) -> None:
    await refused(web, "InvalidAccessError", "Close with only reason")


@cases("Close-readyState-Closed.any.js")
async def close_ready_state_closed(web: Web) -> None:
    await closed(web)


@cases("Close-readyState-Closing.any.js")
async def close_ready_state_closing(web: Web) -> None:
    record = web.record("/echo")
    states: list[int] = []

    def close(event: everwire.Event) -> None:
        record.socket.close()
        states.append(record.socket.readyState)

    record.socket.onopen = close
    await record.next("open")
    await record.next("close")
    assert states == [2]


@cases("Close-reason-unpaired-surrogates.any.js")
async def close_reason_unpaired_surrogates(web: Web) -> None:
    assert (await closed(web, 1000, "\ud807")).reason == "\ufffd"


@cases("Close-server-initiated-close.any.js")
async def close_server_initiated_close(web: Web) -> None:
    record = web.record("/echo")
    record.socket.onopen = lambda event: record.socket.send("Goodbye")
    await record.next("open")
    await record.next("message")
    event = await record.next("close")
    assert record.socket.readyState == 3
    assert event.wasClean


@cases("Close-undefined.any.js")
async def close_undefined(web: Web) -> None:
    await closed(web, None)


# What is null in JavaScript is None here, and None is no code.
@cases(
    "close-invalid.any.js",
    each={"0": 0, "500": 500, "NaN": math.nan, "String": "string", "2**16+1000": 2**16 + 1000},
)
async def close_invalid(web: Web, code: Any) -> None:
    record = web.record("/echo")
    with pytest.raises(everwire.DOMException) as caught:
        record.socket.close(code)
    assert caught.value.name == "InvalidAccessError"
    await record.next("open")


@cases("closing-handshake/002.html", "server sends closing handshake")
async def closing_handshake_002(web: Web) -> None:
    record = web.record("/echo_exit")
    await record.next("open")
    record.socket.send("Goodbye")
    assert (await record.next("close")).wasClean
    await record.no_more()


@cases("closing-handshake/003.html", "client sends closing handshake")
async def closing_handshake_003(web: Web) -> None:
    event = await closed(web)
    assert event.code == 1005


@cases("closing-handshake/004.html", "data after closing handshake")
async def closing_handshake_004(web: Web) -> None:
    record = web.record("/echo_close_data")
    await record.next("open")
    record.socket.send("Goodbye")
    assert (await record.next("close")).wasClean
    await record.no_more()


test_close, test_close_over_tls = cases.tests()
