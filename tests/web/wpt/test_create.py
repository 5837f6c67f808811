"""``Create-*`` and ``constructor``: URLs, subprotocols, and what the server makes of them."""

from __future__ import annotations

from typing import Any

import pytest

import everwire
from web.wpt.cases import Cases, Web

cases = Cases()


def syntax_error(web: Web, url: object, protocols: Any = ()) -> None:
    """The constructor raises a SyntaxError."""
    with pytest.raises(everwire.DOMException) as caught:
        web.socket(url, protocols)
    assert (caught.value.name, caught.value.code) == ("SyntaxError", 12)


async def opens_and_closes(web: Web, protocols: Any = ()) -> everwire.WebSocket:
    """It opens, and closes cleanly."""
    record = web.record("/echo", protocols)
    await record.next("open")
    assert record.socket.readyState == 1
    record.socket.close()
    assert (await record.next("close")).wasClean
    return record.socket


@cases("Create-asciiSep-protocol-string.any.js")
async def create_ascii_sep_protocol_string(web: Web) -> None:
    syntax_error(web, "/echo", "/echo")


@cases("Create-extensions-empty.any.js")
async def create_extensions_empty(web: Web) -> None:
    record = web.record("/handshake_no_extensions")
    await record.next("open")
    assert record.socket.extensions == ""
    record.socket.close()
    await record.next("close")


@cases("Create-http-urls.any.js")
async def create_http_urls(web: Web) -> None:
    for http, ws in (("http", "ws"), ("https", "wss")):
        options = {} if ws == "wss" else {"ssl": None}
        socket = web.socket(web.url("/", scheme=http), **options)
        assert socket.url == web.url("/", scheme=ws)
        socket.close()


@cases(
    "Create-invalid-urls.any.js",
    each=[
        "ws://foo bar.com/",
        "wss://foo bar.com/",
        "ftp://127.0.0.1/",
        "mailto:example@example.org",
        "about:blank",
        "http://127.0.0.1/#",
        "http://127.0.0.1/#test",
        "#test",
    ],
)
async def create_invalid_urls(web: Web, url: str) -> None:
    syntax_error(web, url)


@cases("Create-non-absolute-url.any.js", "Pass a non absolute URL:", each=["test", "?", None, 123])
async def create_non_absolute_url(web: Web, url: object) -> None:
    syntax_error(web, url)


@cases("Create-nonAscii-protocol-string.any.js")
async def create_non_ascii_protocol_string(web: Web) -> None:
    syntax_error(web, "/echo", "\x80echo")


@cases("Create-protocol-with-space.any.js")
async def create_protocol_with_space(web: Web) -> None:
    syntax_error(web, "/echo", "ec ho")


@cases("Create-protocols-repeated-case-insensitive.any.js")
async def create_protocols_repeated_case_insensitive(web: Web) -> None:
    syntax_error(web, "/echo", ["echo", "eCho"])


@cases("Create-protocols-repeated.any.js")
async def create_protocols_repeated(web: Web) -> None:
    syntax_error(web, "/echo", ["echo", "echo"])


@cases("Create-url-with-space.any.js")
async def create_url_with_space(web: Web) -> None:
    syntax_error(web, web.url("/echo", host="web platform.test"))


@cases("Create-url-with-windows-1252-encoding.html")
async def create_url_with_windows_1252_encoding(web: Web) -> None:
    socket = web.socket(web.url("/?\u20ac"))
    assert socket.url == web.url("/") + "?%E2%82%AC"
    socket.close()


@cases("Create-valid-url-array-protocols.any.js")
async def create_valid_url_array_protocols(web: Web) -> None:
    await opens_and_closes(web, ["echo", "chat"])


@cases("Create-valid-url-binaryType-blob.any.js")
async def create_valid_url_binary_type_blob(web: Web) -> None:
    assert (await opens_and_closes(web)).binaryType == "blob"


@cases("Create-valid-url-protocol-empty.any.js")
async def create_valid_url_protocol_empty(web: Web) -> None:
    socket = web.socket("/echo", "echo")
    assert socket.protocol == ""
    socket.close()


@cases("Create-valid-url-protocol-setCorrectly.any.js")
async def create_valid_url_protocol_set_correctly(web: Web) -> None:
    assert (await opens_and_closes(web, "echo")).protocol == "echo"


@cases("Create-valid-url-protocol-string.any.js")
async def create_valid_url_protocol_string(web: Web) -> None:
    await opens_and_closes(web, "echo")


@cases("Create-valid-url-protocol.any.js")
async def create_valid_url_protocol(web: Web) -> None:
    await opens_and_closes(web, "echo")


@cases("Create-valid-url.any.js")
async def create_valid_url(web: Web) -> None:
    await opens_and_closes(web)


@cases("constructor/001.html", "new WebSocket() with no args")
async def constructor_001(web: Web) -> None:
    with pytest.raises(TypeError):
        everwire.WebSocket()  # type: ignore[call-arg]


INVALID = ["", *(f"a{chr(code)}b" for code in (*range(1, 0x20), *range(0x7F, 0x100)))]


@cases("constructor/004.html", "new WebSocket(url, invalid protocol)")
async def constructor_004(web: Web) -> None:
    for protocol in INVALID:
        syntax_error(web, "/empty-message", protocol)


@cases("constructor/005.html", "return value")
async def constructor_005(web: Web) -> None:
    assert isinstance(web.socket("/empty-message"), everwire.WebSocket)


class Anchor:
    """Something that is a URL as a string."""

    def __init__(self, href: str) -> None:
        self.href = href

    def __str__(self) -> str:
        return self.href


@cases("constructor/006.html", "converting first arguments")
async def constructor_006(web: Web) -> None:
    anchor = Anchor(web.url("/echo"))
    record = web.record(anchor)
    assert record.socket.url == anchor.href
    await record.next("open")
    record.socket.send("test")
    assert (await record.next("message")).data == "test"
    record.socket.close()
    await record.next("close")
    await record.no_more()


@cases("constructor/007.html", "new WebSocket(url, null char)")
async def constructor_007(web: Web) -> None:
    syntax_error(web, "/empty-message", "a\0b")


@cases("constructor/008.html", "new WebSocket(url with not blocked port)")
async def constructor_008(web: Web) -> None:
    for scheme in ("ws", "wss"):
        for port in (80, 443):
            everwire.WebSocket(f"{scheme}://example.invalid:{port}/", proxy=None).close()


@cases("constructor/009.html", "protocol")
async def constructor_009(web: Web) -> None:
    record = web.record("/protocol", "foobar")
    await record.next("open")
    await record.next("message")
    assert record.socket.protocol == "foobar"
    record.socket.close()
    await record.next("close")
    await record.no_more()


@cases("constructor/010.html", "protocol in response but no requested protocol")
async def constructor_010(web: Web) -> None:
    record = web.record("/handshake_protocol")
    await record.next("error")
    event = await record.next("close")
    assert (event.wasClean, event.code) == (False, 1006)


@cases("constructor/011.html", "protocol mismatch")
async def constructor_011(web: Web) -> None:
    record = web.record("/handshake_protocol", "FOOBAR")
    await record.next("error")
    await record.next("close")


@cases("constructor/012.html", "no protocol in response")
async def constructor_012(web: Web) -> None:
    record = web.record("/handshake_no_protocol", "foobar")
    assert isinstance((await record.next("error")).error, everwire.NegotiationError)
    await record.next("close")
    await record.no_more()


@cases("constructor/013.html", "multiple WebSocket objects")
async def constructor_013(web: Web) -> None:
    records = [web.record("/echo") for _ in range(25)]
    for number, record in enumerate(records):
        await record.next("open")
        record.socket.send(str(number))
    for number, record in enumerate(records):
        assert (await record.next("message")).data == str(number)
        record.socket.close()
    for record in records:
        await record.next("close")
        await record.no_more()


@cases("constructor/016.html", "non-ascii URL in query, document encoding windows-1252")
async def constructor_016(web: Web) -> None:
    record = web.record(web.url("/echo-query?") + "åäö")
    await record.next("open")
    assert (await record.next("message")).data == "%C3%A5%C3%A4%C3%B6"


@cases("constructor/017.html", "too few slashes after ws: and wss:", each={":": ":", ":/": ":/"})
async def constructor_017(web: Web, separator: str) -> None:
    record = web.record(web.url("/echo").replace("://", separator))
    assert record.socket.url == web.url("/echo")
    await record.next("open")


@cases("constructor/018.html", "NULL char in url")
async def constructor_018(web: Web) -> None:
    record = web.record(web.url("/echo-query?") + "x\0y\0")
    await record.next("open")
    assert (await record.next("message")).data == "x%00y"


@cases("constructor/019.html", "uppercase 'WS:'")
async def constructor_019(web: Web) -> None:
    scheme, _, rest = web.url("/echo").partition(":")
    await web.record(f"{scheme.upper()}:{rest}").next("open")


@cases("constructor/020.html", "uppercase host")
async def constructor_020(web: Web) -> None:
    await web.record(web.url("/echo", host="LOCALHOST"), host="127.0.0.1").next("open")


@cases("constructor/021.html", "Same sub protocol twice")
async def constructor_021(web: Web) -> None:
    syntax_error(web, "/protocol_array", ["foobar, foobar"])


@cases("constructor/022.html", "protocol array")
async def constructor_022(web: Web) -> None:
    record = web.record("/protocol_array", ["foobar", "foobar2"])
    await record.next("open")
    await record.next("message")
    assert record.socket.protocol == "foobar"
    record.socket.close()
    await record.next("close")
    await record.no_more()


test_create, test_create_over_tls = cases.tests()
