"""``opening-handshake``, ``basic-auth``, ``referrer``, ``security`` and ``keeping-connection-open``."""

from __future__ import annotations

import everwire
from web.wpt.cases import Cases, Web

cases = Cases()


@cases("basic-auth.any.js")
async def basic_auth(web: Web) -> None:
    await web.record(web.url("/basic_auth", host="foo:bar@127.0.0.1")).next("open")


@cases("referrer.any.js")
async def referrer(web: Web) -> None:
    record = web.record("/referrer")
    await record.next("open")
    assert (await record.next("message")).data == "MISSING AS PER FETCH"


@cases("opening-handshake/001.html", "invalid handshake")
async def opening_handshake_001(web: Web) -> None:
    record = web.record("/invalid")
    assert isinstance((await record.next("error")).error, everwire.InvalidMessage)
    assert not (await record.next("close")).wasClean
    await record.no_more()


@cases("opening-handshake/002.html", "valid handshake")
async def opening_handshake_002(web: Web) -> None:
    record = web.record("/echo")
    await record.next("open")
    record.socket.close()
    assert (await record.next("close")).wasClean
    await record.no_more()


@cases("opening-handshake/003.html", "origin")
async def opening_handshake_003(web: Web) -> None:
    url = web.url("/origin", host="天気の良い日.web-platform.test")
    options = {"host": "127.0.0.1", "origin": "https://web-platform.test"}
    if web.secure:
        options["server_hostname"] = "127.0.0.1"
    record = web.record(url, **options)
    await record.next("open")
    event = await record.next("message")
    expected = web.url("/origin", host="xn--n8j6ds53lwwkrqhv28a.web-platform.test").removesuffix("/origin")
    assert (event.origin, event.data) == (expected, "https://web-platform.test")
    record.socket.close()
    assert (await record.next("close")).wasClean
    await record.no_more()


@cases("opening-handshake/005.html", "response header and close frame in same packet")
async def opening_handshake_005(web: Web) -> None:
    record = web.record("/simple_handshake")
    record.socket.onopen = lambda event: record.socket.close()
    await record.next("open")
    event = await record.next("close")
    assert (event.wasClean, event.code, event.reason) == (True, 1001, "PASS")
    await record.no_more()


@cases("opening-handshake/006.html", "Serialized connection attempts")
async def opening_handshake_006(web: Web) -> None:
    for path in ("/invalid1", "/invalid2", "/invalid3"):
        record = web.record(path)
        await record.next("error")
        assert not (await record.next("close")).wasClean
    record = web.record("/echo")
    await record.next("open")
    record.socket.close()
    assert (await record.next("close")).wasClean


@cases("opening-handshake/received-301-code.html")
async def received_301_code(web: Web) -> None:
    record = web.record("/redirect")
    await record.next("error")
    await record.next("close")


@cases("security/001.html", "wrong accept key")
async def security_001(web: Web) -> None:
    record = web.record("/wrong_accept_key")
    assert isinstance((await record.next("error")).error, everwire.InvalidHeader)
    await record.next("close")


@cases("keeping-connection-open/001.html", "20s inactivity after handshake")
async def keeping_connection_open_001(web: Web) -> None:
    # The clock runs faster: keepalive has to keep it open for three of its intervals, whatever these are.
    record = web.record("/keepalive", ping_interval=0.1, ping_timeout=5)
    await record.next("open")
    await web.server.release.wait()
    await record.no_more()
    record.socket.send("test")
    assert (await record.next("message")).data == "test"
    record.socket.close()
    await record.next("close")


test_opening, test_opening_over_tls = cases.tests()
