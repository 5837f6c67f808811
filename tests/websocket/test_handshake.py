"""The opening handshake of server and client, without I/O."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.errors import (
    HandshakeError,
    InvalidHeader,
    InvalidMessage,
    InvalidOrigin,
    InvalidStatus,
    NegotiationError,
)
from everwire.websocket.extensions import Deflate, DeflateParams
from everwire.websocket.handshake import (
    Accepted,
    ClientHandshake,
    Negotiated,
    ServerHandshake,
    accept_key,
    error_response,
)
from everwire.websocket.messages import Headers, Request, Response

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the example of RFC 6455, section 1.3

REQUEST = {
    "Host": "example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
RESPONSE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}

FIREFOX = b"""\
GET /chat?room=1 HTTP/1.1
Host: example.com:8080
User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0
Accept: */*
Accept-Language: en-US,en;q=0.5
Accept-Encoding: gzip, deflate, br, zstd
Sec-WebSocket-Version: 13
Origin: http://example.com:8080
Sec-WebSocket-Extensions: permessage-deflate
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Connection: keep-alive, Upgrade
Sec-Fetch-Dest: empty
Sec-Fetch-Mode: websocket
Sec-Fetch-Site: same-origin
Pragma: no-cache
Cache-Control: no-cache
Upgrade: websocket

""".replace(b"\n", b"\r\n")


def request(
    changes: dict[str, str | list[str] | None] | None = None, *, path: str = "/", method: str = "GET"
) -> Request:
    """The request of a handshake with other values for some headers, several, or none."""
    fields: dict[str, str | list[str] | None] = {**REQUEST, **(changes or {})}
    headers = Headers()
    for name, value in fields.items():
        for each in [value] if isinstance(value, str) else value or []:
            headers.add(name, each)
    return Request(method, path, headers)


def response(changes: dict[str, str | list[str] | None] | None = None) -> Response:
    fields: dict[str, str | list[str] | None] = {**RESPONSE, **(changes or {})}
    headers = Headers()
    for name, value in fields.items():
        for each in [value] if isinstance(value, str) else value or []:
            headers.add(name, each)
    return Response(101, "Switching Protocols", headers)


def refusal(request: Request, server: ServerHandshake | None = None) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        (server or ServerHandshake()).accept(request)
    return caught.value


class TestServer:
    def test_accepts_the_example_of_the_rfc(self) -> None:
        assert accept_key(KEY) == ACCEPT
        accepted = ServerHandshake().accept(request())
        assert accepted == Accepted(
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"\r\n",
            None,
            None,
        )

    def test_accepts_a_browser(self) -> None:
        server = ServerHandshake(compression=Deflate(context_takeover=True))
        parsed = Request.parse(FIREFOX)
        accepted = server.accept(parsed)
        assert accepted.deflate == DeflateParams()
        headers = accepted.to_response().headers
        assert headers["Sec-WebSocket-Accept"] == ACCEPT
        assert headers["Sec-WebSocket-Extensions"] == "permessage-deflate"
        assert parsed.headers["sec-fetch-mode"] == "websocket"

    @pytest.mark.parametrize(
        "changes",
        [
            {"Upgrade": "WebSocket"},
            {"Upgrade": "h2c, websocket"},
            {"Upgrade": ["h2c", "websocket"]},
            {"Connection": "upgrade"},
            {"Connection": "keep-alive, Upgrade"},
            {"Connection": "keep-alive\t,\tUPGRADE ,"},
            {"Connection": ["keep-alive", "Upgrade"]},
            {"Content-Length": "0"},
            {"Sec-WebSocket-Protocol": ""},
            {"Sec-WebSocket-Protocol": " , "},
            {"Sec-WebSocket-Extensions": ""},
            {"Sec-WebSocket-Key": "A" * 22 + "=="},
            {"Sec-WebSocket-Key": "/+" * 11 + "=="},
        ],
    )
    def test_accepts_what_means_the_same(self, changes: dict[str, str | list[str] | None]) -> None:
        server = ServerHandshake(subprotocols=["a"], compression=Deflate())
        assert server.accept(request(changes))[1:] == (None, None)

    @pytest.mark.parametrize(
        ("changes", "status", "name"),
        [
            ({"Upgrade": None}, 426, "Upgrade"),
            ({"Upgrade": "h2c"}, 426, "Upgrade"),
            ({"Upgrade": "websockets"}, 426, "Upgrade"),
            ({"Upgrade": "web socket"}, 426, "Upgrade"),
            ({"Connection": None}, 426, "Connection"),
            ({"Connection": "keep-alive"}, 426, "Connection"),
            ({"Connection": "keep-alive Upgrade"}, 426, "Connection"),
            ({"Sec-WebSocket-Version": None}, 400, "Sec-WebSocket-Version"),
            ({"Sec-WebSocket-Version": "8"}, 426, "Sec-WebSocket-Version"),
            ({"Sec-WebSocket-Version": "14"}, 426, "Sec-WebSocket-Version"),
            ({"Sec-WebSocket-Version": ["13", "13"]}, 426, "Sec-WebSocket-Version"),
            ({"Sec-WebSocket-Key": None}, 400, "Sec-WebSocket-Key"),
            ({"Sec-WebSocket-Key": ""}, 400, "Sec-WebSocket-Key"),
            ({"Sec-WebSocket-Key": KEY[:-1]}, 400, "Sec-WebSocket-Key"),
            ({"Sec-WebSocket-Key": KEY + "="}, 400, "Sec-WebSocket-Key"),
            ({"Sec-WebSocket-Key": "!" + KEY[1:]}, 400, "Sec-WebSocket-Key"),
            ({"Sec-WebSocket-Key": base64.b64encode(bytes(15)).decode()}, 400, "Sec-WebSocket-Key"),
            ({"Sec-WebSocket-Key": base64.b64encode(bytes(17)).decode()}, 400, "Sec-WebSocket-Key"),
            ({"Sec-WebSocket-Key": [KEY, KEY]}, 400, "Sec-WebSocket-Key"),
            ({"Sec-WebSocket-Protocol": "a b"}, 400, "Sec-WebSocket-Protocol"),
            ({"Sec-WebSocket-Extensions": "a b"}, 400, "Sec-WebSocket-Extensions"),
        ],
    )
    def test_refuses_what_is_no_handshake(
        self, changes: dict[str, str | list[str] | None], status: int, name: str
    ) -> None:
        server = ServerHandshake(subprotocols=["a"], compression=Deflate())
        error = refusal(request(changes), server)
        assert isinstance(error, InvalidHeader)
        assert (error.status, error.name) == (status, name)
        assert name in str(error) or "WebSocket" in str(error)

    @pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "CONNECT", "get"])
    def test_refuses_other_methods(self, method: str) -> None:
        error = refusal(request(method=method))
        assert error.status == 405
        assert method in str(error)

    def test_refuses_http_1_0(self) -> None:
        old = request()
        old.version = "HTTP/1.0"
        error = refusal(old)
        assert isinstance(error, InvalidMessage)
        assert error.status == 505

    @pytest.mark.parametrize(
        "changes", [{"Content-Length": "1"}, {"Content-Length": "00"}, {"Transfer-Encoding": "chunked"}]
    )
    def test_refuses_a_body_which_would_be_read_as_frames(
        self, changes: dict[str, str | list[str] | None]
    ) -> None:
        error = refusal(request(changes))
        assert error.status == 400
        assert "body" in str(error)

    def test_adds_headers(self) -> None:
        server = ServerHandshake(
            server_header="everwire", additional_headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
        )
        headers = server.accept(request()).to_response().headers
        assert headers["Server"] == "everwire"
        assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        assert headers["Upgrade"] == "websocket"

    def test_response_can_be_changed(self) -> None:
        accepted = ServerHandshake(subprotocols=["a"]).accept(request({"Sec-WebSocket-Protocol": "a"}))
        changed = accepted.to_response()
        assert changed.serialize() == accepted.response
        changed.headers["X-Node"] = "1"
        assert Response.parse(changed.serialize()).headers["X-Node"] == "1"

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"subprotocols": "chat"}, TypeError),
            ({"subprotocols": ["a b"]}, ValueError),
            ({"subprotocols": [""]}, ValueError),
            ({"subprotocols": ["a", "a"]}, ValueError),
            ({"origins": ["example.com"]}, ValueError),
            ({"additional_headers": {"Upgrade": "h2c"}}, ValueError),
            ({"additional_headers": {"content-length": "1"}}, ValueError),
            ({"additional_headers": {"X": "a\r\nb"}}, ValueError),
            ({"server_header": "a\nb"}, ValueError),
        ],
    )
    def test_options_that_cannot_work_are_refused(
        self, options: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            ServerHandshake(**options)


class TestOrigin:
    def test_is_by_default_that_of_the_server(self) -> None:
        server = ServerHandshake()
        assert server.accept(request({"Origin": "https://example.com"}))
        assert server.accept(request({"Origin": "http://other"}, path="http://other/"))
        for changes in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": ""}):
            error = refusal(request({**changes}), server)
            assert isinstance(error, InvalidOrigin)
            assert error.status == 403

    def test_of_an_absolute_target_is_that_target_s(self) -> None:
        assert isinstance(
            refusal(request({"Origin": "http://example.com"}, path="http://other/")), InvalidOrigin
        )

    @pytest.mark.parametrize("second", ["http://example.com", "http://evil.example"])
    def test_is_one(self, second: str) -> None:
        error = refusal(request({"Origin": ["http://example.com", second]}))
        assert isinstance(error, InvalidOrigin)

    def test_is_not_looked_at_if_all_are_allowed(self) -> None:
        server = ServerHandshake(origins=None)
        assert server.accept(request({"Origin": "http://evil.example"}))
        assert server.accept(request({"Origin": ["a", "b"]}))

    def test_may_be_required(self) -> None:
        server = ServerHandshake(origins=["https://a.example", re.compile("https://b[0-9]")])
        assert server.accept(request({"Origin": "https://a.example"}))
        assert server.accept(request({"Origin": "https://b7"}))
        assert refusal(request(), server).status == 403
        assert refusal(request({"Origin": "https://example.com"}), server).status == 403
        assert ServerHandshake(origins=[None]).accept(request())


class TestSubprotocol:
    @pytest.mark.parametrize(
        ("spoken", "offered", "chosen"),
        [
            ([], None, None),
            ([], "a", None),
            (["a"], None, None),
            (["a"], "a", "a"),
            (["a", "b"], "b, a", "a"),
            (["a", "b"], "c, b", "b"),
            (["a", "b"], ["c", "b"], "b"),
            (["a"], "b", None),
            (["a"], "A", None),
            (["a"], "a, a", "a"),
        ],
    )
    def test_is_the_server_s_first_that_is_offered(
        self, spoken: Sequence[str], offered: str | list[str] | None, chosen: str | None
    ) -> None:
        accepted = ServerHandshake(subprotocols=spoken).accept(request({"Sec-WebSocket-Protocol": offered}))
        assert accepted.subprotocol == chosen
        assert accepted.to_response().headers.get("Sec-WebSocket-Protocol") == chosen

    def test_may_be_chosen_by_a_function(self) -> None:
        seen: list[tuple[str, list[str]]] = []

        def choose(request: Request, offered: list[str]) -> str | None:
            seen.append((request.path, offered))
            return offered[-1] if offered else None

        server = ServerHandshake(select_subprotocol=choose)
        assert server.accept(request({"Sec-WebSocket-Protocol": "a, b"}, path="/x")).subprotocol == "b"
        assert server.accept(request()).subprotocol is None
        assert seen == [("/x", ["a", "b"]), ("/", [])]

    def test_function_may_refuse(self) -> None:
        def choose(request: Request, offered: list[str]) -> str | None:
            raise NegotiationError("one of a, b is needed", 403)

        assert refusal(request(), ServerHandshake(select_subprotocol=choose)).status == 403

    def test_function_must_choose_what_is_offered(self) -> None:
        server = ServerHandshake(select_subprotocol=lambda request, offered: "c")
        with pytest.raises(ValueError, match="'c'"):
            server.accept(request({"Sec-WebSocket-Protocol": "a, b"}))


class TestCompression:
    def test_is_off_unless_both_want_it(self) -> None:
        offer: dict[str, str | list[str] | None] = {"Sec-WebSocket-Extensions": "permessage-deflate"}
        assert ServerHandshake().accept(request(offer)).deflate is None
        assert ServerHandshake(compression=Deflate()).accept(request()).deflate is None
        assert ServerHandshake(compression=Deflate()).accept(request(offer)).deflate is not None

    def test_answers_each_offer_the_same_whether_or_not_it_is_known(self) -> None:
        server = ServerHandshake(compression=Deflate(context_takeover=True))
        for _ in range(2):
            for i in range(400):
                bits = 8 + i % 8
                offers = [
                    "x-unknown",
                    f"permessage-deflate; server_max_window_bits={bits}; client_max_window_bits",
                ]
                header = [", ".join([f"x-{i}", *offers])] if i % 2 else offers
                accepted = server.accept(request({"Sec-WebSocket-Extensions": header}))
                assert accepted.deflate == DeflateParams(server_max_window_bits=bits)
                expected = f"permessage-deflate; server_max_window_bits={bits}"
                assert accepted.to_response().headers["Sec-WebSocket-Extensions"] == expected

    def test_is_left_out_if_no_offer_can_be_accepted(self) -> None:
        server = ServerHandshake(compression=Deflate())
        accepted = server.accept(request({"Sec-WebSocket-Extensions": "permessage-deflate; unknown"}))
        assert accepted.deflate is None
        assert "Sec-WebSocket-Extensions" not in accepted.to_response().headers

    def test_keeps_a_bounded_number_of_offers(self) -> None:
        server = ServerHandshake(compression=Deflate())
        for i in range(1000):
            server.accept(request({"Sec-WebSocket-Extensions": f"x-{i}"}))
        assert len(server._answers) <= 256


class TestErrorResponse:
    @pytest.mark.parametrize(
        ("error", "headers"),
        [
            (HandshakeError("no"), {"Connection": "close"}),
            (InvalidOrigin("http://a"), {"Connection": "close"}),
            (HandshakeError("no", 405), {"Allow": "GET", "Connection": "close"}),
            (
                HandshakeError("no", 426),
                {"Upgrade": "websocket", "Connection": "Upgrade, close", "Sec-WebSocket-Version": "13"},
            ),
            (HandshakeError("no", 503), {"Connection": "close"}),
        ],
    )
    def test_has_the_status_the_reason_and_what_a_client_needs(
        self, error: HandshakeError, headers: dict[str, str]
    ) -> None:
        made = error_response(error)
        assert made.status == error.status
        assert str(error) in made.body.decode()
        assert {name: made.headers[name] for name in headers} == headers
        assert "Date" in made.headers
        head, _, body = made.serialize().partition(b"\r\n\r\n")
        again = Response.parse(head + b"\r\n\r\n")
        assert again.headers["Content-Length"] == str(len(body))
        assert again.headers["Content-Type"] == "text/plain; charset=utf-8"

    def test_of_what_was_sent_cannot_break_out(self) -> None:
        made = error_response(refusal(request({"Sec-WebSocket-Key": "<script>\xe9"})))
        assert made.headers["Content-Type"].startswith("text/plain")
        assert made.serialize().count(b"\r\n\r\n") == 1


class TestClient:
    def test_asks(self) -> None:
        client = ClientHandshake(
            host="example.com:8080",
            path="/chat?a=1",
            key=KEY,
            origin="http://example.com",
            subprotocols=["a", "b"],
            compression=Deflate(context_takeover=True),
            additional_headers={"X-One": "1"},
            user_agent_header="everwire",
            authorization="Basic eDp5",
        )
        assert list(client.request().headers.raw_items()) == [
            ("Host", "example.com:8080"),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", KEY),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
            ("Sec-WebSocket-Protocol", "a, b"),
            ("Origin", "http://example.com"),
            ("User-Agent", "everwire"),
            ("Authorization", "Basic eDp5"),
            ("X-One", "1"),
        ]
        assert (
            client.request().serialize().startswith(b"GET /chat?a=1 HTTP/1.1\r\nHost: example.com:8080\r\n")
        )

    def test_asks_for_as_little_as_it_can(self) -> None:
        names = list(ClientHandshake(host="h").request().headers)
        assert names == ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"]

    def test_has_a_new_key_each_time(self) -> None:
        keys = {ClientHandshake(host="h").key for _ in range(50)}
        assert len(keys) == 50
        assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}

    def test_lets_additional_headers_take_precedence(self) -> None:
        additional = {
            "host": "virtual",
            "user-agent": "mine",
            "Authorization": "Bearer x",
            "origin": "http://o",
        }
        client = ClientHandshake(
            host="h",
            origin="http://a",
            user_agent_header="b",
            authorization="Basic c",
            additional_headers=additional,
        )
        headers = client.request().headers
        assert {name: headers[name] for name in additional} == additional

    @pytest.mark.parametrize(
        "options",
        [
            {"additional_headers": {"Sec-WebSocket-Key": KEY}},
            {"additional_headers": {"connection": "close"}},
            {"additional_headers": {"Content-Length": "0"}},
            {"additional_headers": {"A": "b\nc"}},
            {"subprotocols": ["a b"]},
            {"subprotocols": ["a", "a"]},
            {"host": "a\r\nb"},
            {"path": "/a b"},
        ],
    )
    def test_options_that_cannot_be_sent_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r".+"):
            ClientHandshake(**{"host": "h", **options}).request().serialize()

    def test_subprotocols_is_no_string(self) -> None:
        with pytest.raises(TypeError, match="list"):
            ClientHandshake(host="h", subprotocols="chat")

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"Upgrade": "WebSocket"},
            {"Connection": "upgrade"},
            {"Connection": "keep-alive, Upgrade"},
            {"Sec-WebSocket-Protocol": ""},
            {"Sec-WebSocket-Extensions": ""},
        ],
    )
    def test_accepts_the_response(self, changes: dict[str, str | list[str] | None]) -> None:
        assert ClientHandshake(host="h", key=KEY).check(response(changes)) == Negotiated(None, None)

    @pytest.mark.parametrize(
        ("changes", "name"),
        [
            ({"Upgrade": None}, "Upgrade"),
            ({"Upgrade": "h2c"}, "Upgrade"),
            ({"Upgrade": ["websocket", "websocket"]}, "Upgrade"),
            ({"Connection": None}, "Connection"),
            ({"Connection": "close"}, "Connection"),
            ({"Sec-WebSocket-Accept": None}, "Sec-WebSocket-Accept"),
            ({"Sec-WebSocket-Accept": accept_key("A" * 22 + "==")}, "Sec-WebSocket-Accept"),
            ({"Sec-WebSocket-Accept": ACCEPT.lower()}, "Sec-WebSocket-Accept"),
            ({"Sec-WebSocket-Accept": [ACCEPT, ACCEPT]}, "Sec-WebSocket-Accept"),
            ({"Sec-WebSocket-Extensions": "a b"}, "Sec-WebSocket-Extensions"),
            ({"Sec-WebSocket-Protocol": "a b"}, "Sec-WebSocket-Protocol"),
        ],
    )
    def test_refuses_a_response_that_is_no_handshake(
        self, changes: dict[str, str | list[str] | None], name: str
    ) -> None:
        with pytest.raises(InvalidHeader) as caught:
            ClientHandshake(host="h", key=KEY, subprotocols=["a"]).check(response(changes))
        assert caught.value.name == name

    @pytest.mark.parametrize("status", [200, 301, 401, 404, 426, 500, 100])
    def test_refuses_another_status_and_keeps_the_response(self, status: int) -> None:
        other = Response.of(status, "why")
        with pytest.raises(InvalidStatus) as caught:
            ClientHandshake(host="h").check(other)
        assert caught.value.response is other

    def test_takes_the_subprotocol(self) -> None:
        client = ClientHandshake(host="h", key=KEY, subprotocols=["a", "b"])
        assert client.check(response({"Sec-WebSocket-Protocol": "b"})).subprotocol == "b"
        assert client.check(response()).subprotocol is None

    @pytest.mark.parametrize("chosen", ["c", "A", "a, b", ["a", "b"], ["a", "a"]])
    def test_refuses_a_subprotocol_that_it_did_not_offer_or_several(self, chosen: str | list[str]) -> None:
        with pytest.raises(NegotiationError):
            ClientHandshake(host="h", key=KEY, subprotocols=["a", "b"]).check(
                response({"Sec-WebSocket-Protocol": chosen})
            )

    def test_refuses_an_extension_that_it_did_not_offer(self) -> None:
        with pytest.raises(NegotiationError):
            ClientHandshake(host="h", key=KEY).check(
                response({"Sec-WebSocket-Extensions": "permessage-deflate"})
            )


tokens = st.text("abc-.", min_size=1, max_size=3)
subprotocols = st.lists(tokens, max_size=4, unique=True)
compressions = st.one_of(
    st.none(),
    st.builds(
        Deflate,
        context_takeover=st.booleans(),
        server_max_window_bits=st.integers(8, 15),
        client_max_window_bits=st.integers(8, 15),
    ),
)


class TestBoth:
    @given(
        subprotocols,
        subprotocols,
        compressions,
        compressions,
        st.sampled_from([None, "http://h", "https://h"]),
    )
    def test_understand_each_other(
        self,
        spoken: list[str],
        offered: list[str],
        server_compression: Deflate | None,
        client_compression: Deflate | None,
        origin: str | None,
    ) -> None:
        client = ClientHandshake(
            host="h", subprotocols=offered, compression=client_compression, origin=origin
        )
        server = ServerHandshake(subprotocols=spoken, compression=server_compression, server_header="s")
        accepted = server.accept(Request.parse(client.request().serialize()))
        negotiated = client.check(Response.parse(accepted.response))
        assert negotiated == (accepted.subprotocol, accepted.deflate)
        common = [name for name in spoken if name in offered]
        assert negotiated.subprotocol == (common[0] if common else None)
        assert (negotiated.deflate is None) == (server_compression is None or client_compression is None)
