"""Headers, requests and responses of the opening handshake."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.errors import InvalidMessage
from everwire.websocket.messages import Headers, MultipleValuesError, Request, Response

TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
VALUE = "\t" + "".join(map(chr, [*range(0x20, 0x7F), *range(0x80, 0x100)]))

names = st.text(TOKEN, min_size=1, max_size=12)
values = st.text(VALUE, max_size=20).map(lambda value: value.strip(" \t"))
fields = st.lists(st.tuples(names, values), max_size=12)


class TestHeaders:
    def test_are_made_of_mappings_pairs_and_keywords(self) -> None:
        pairs = [("A", "1"), ("a", "2")]
        assert list(Headers(pairs).raw_items()) == pairs
        assert list(Headers({"A": "1"}, [("B", "2")], C="3").raw_items()) == [
            ("A", "1"),
            ("B", "2"),
            ("C", "3"),
        ]
        assert list(Headers(Headers(pairs)).raw_items()) == pairs
        assert list(Headers(pair for pair in pairs).raw_items()) == pairs

    def test_names_have_no_case_and_keep_theirs(self) -> None:
        headers = Headers([("X-One", "1")])
        assert headers["x-one"] == headers["X-ONE"] == "1"
        assert "x-ONE" in headers
        assert "x-two" not in headers
        assert 1 not in headers
        assert list(headers) == ["X-One"]

    def test_missing_is_a_key_error_and_get_has_a_default(self) -> None:
        with pytest.raises(KeyError):
            Headers()["A"]
        assert Headers().get("A") is None
        assert Headers().get("A", "b") == "b"
        assert Headers().get_all("A") == []

    def test_several_values_are_asked_for_by_get_all(self) -> None:
        headers = Headers([("A", "1"), ("B", "2"), ("a", "1")])
        assert headers.get_all("a") == ["1", "1"]
        assert len(headers) == 2
        assert list(headers) == ["A", "B"]
        with pytest.raises(MultipleValuesError, match="get_all"):
            headers["A"]
        assert issubclass(MultipleValuesError, LookupError)
        assert str(MultipleValuesError()) == ""

    def test_get_all_gives_a_list_of_ones_own(self) -> None:
        headers = Headers([("A", "1"), ("a", "2")])
        headers.get_all("A").append("3")
        assert headers.get_all("A") == ["1", "2"]

    def test_setting_replaces_all_values_in_place(self) -> None:
        headers = Headers([("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")])
        headers["a"] = "5"
        headers["D"] = "6"
        assert list(headers.raw_items()) == [("a", "5"), ("B", "2"), ("C", "4"), ("D", "6")]

    def test_adding_keeps_the_values_there_are(self) -> None:
        headers = Headers(A="1")
        assert headers["A"] == "1"
        headers.add("a", "2")
        assert headers.get_all("A") == ["1", "2"]

    def test_deleting_removes_all_values(self) -> None:
        headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
        del headers["A"]
        assert list(headers.raw_items()) == [("B", "2")]
        with pytest.raises(KeyError):
            del headers["A"]
        headers.clear()
        assert len(headers) == 0
        assert list(headers) == []

    def test_update_replaces_names_with_all_their_new_values(self) -> None:
        headers = Headers([("A", "1"), ("B", "2")])
        headers.update(Headers([("b", "3"), ("C", "4"), ("B", "5")]), D="6")
        assert list(headers.raw_items()) == [("A", "1"), ("b", "3"), ("C", "4"), ("B", "5"), ("D", "6")]

    def test_a_copy_is_independent(self) -> None:
        headers = Headers(A="1")
        copy = headers.copy()
        copy["A"] = "2"
        copy.add("B", "3")
        assert list(headers.raw_items()) == [("A", "1")]

    def test_are_equal_whatever_the_case_and_the_order_of_names(self) -> None:
        assert Headers([("A", "1"), ("B", "2")]) == Headers([("b", "2"), ("a", "1")])
        assert Headers([("A", "1"), ("A", "2")]) != Headers([("A", "2"), ("A", "1")])
        assert Headers(A="1") != {"A": "1"}

    def test_read_as_sent(self) -> None:
        headers = Headers([("A", "1"), ("B", "")])
        assert str(headers) == "A: 1\r\nB: \r\n\r\n"
        assert repr(headers) == "Headers([('A', '1'), ('B', '')])"

    @pytest.mark.parametrize("name", ["", "A B", "A:", "A\r\n", "A\n", "\xe9", "A\x00", "(A)"])
    def test_names_that_cannot_be_sent_are_refused(self, name: str) -> None:
        headers = Headers()
        for attempt in (headers.add, headers.__setitem__):
            with pytest.raises(ValueError, match="not a header name"):
                attempt(name, "value")
        with pytest.raises(ValueError, match="not a header name"):
            Headers([(name, "value")])

    @pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\r", "\x00", "\x7f", "\u0100", "\U0001f600"])
    def test_values_that_cannot_be_sent_are_refused(self, value: str) -> None:
        headers = Headers(A="1")
        for attempt in (headers.add, headers.__setitem__):
            with pytest.raises(ValueError, match="header A"):
                attempt("A", value)
        assert list(headers.raw_items()) == [("A", "1")]

    @given(
        st.lists(st.tuples(st.sampled_from(["set", "add", "del", "get"]), st.sampled_from("AaBbC"), values))
    )
    def test_behave_like_a_list_of_pairs(self, steps: list[tuple[str, str, str]]) -> None:
        headers = Headers()
        model: list[tuple[str, str]] = []
        for step, name, value in steps:
            having = [i for i, pair in enumerate(model) if pair[0].lower() == name.lower()]
            if step == "add" or (step == "set" and not having):
                headers.add(name, value) if step == "add" else headers.__setitem__(name, value)
                model.append((name, value))
            elif step == "set":
                headers[name] = value
                model[having[0]] = (name, value)
                model = [pair for i, pair in enumerate(model) if i not in having[1:]]
            elif step == "del" and having:
                del headers[name]
                model = [pair for i, pair in enumerate(model) if i not in having]
            assert headers.get_all(name) == [v for n, v in model if n.lower() == name.lower()]
            assert list(headers.raw_items()) == model
            assert len(headers) == len({n.lower() for n, _ in model})


class TestRequest:
    @given(names, st.text("".join(map(chr, range(0x21, 0x7F))).replace("#", ""), max_size=20), fields)
    def test_is_read_back_as_it_was_written(
        self, method: str, rest: str, headers: list[tuple[str, str]]
    ) -> None:
        framing = {"host", "content-length", "transfer-encoding"}
        given = [("Host", "h"), *[pair for pair in headers if pair[0].lower() not in framing]]
        request = Request(method, f"/{rest}", Headers(given))
        assert Request.parse(request.serialize()) == request
        assert list(Request.parse(request.serialize()).headers.raw_items()) == given

    def test_of_http_1_0_says_so(self) -> None:
        request = Request.parse(b"GET / HTTP/1.0\r\n\r\n")
        assert request.version == "HTTP/1.0"
        assert request.serialize() == b"GET / HTTP/1.0\r\n\r\n"

    def test_of_nonsense_is_refused(self) -> None:
        with pytest.raises(InvalidMessage):
            Request.parse(b"nonsense\r\n\r\n")

    @pytest.mark.parametrize(
        ("method", "path", "version"),
        [
            ("G T", "/", "HTTP/1.1"),
            ("", "/", "HTTP/1.1"),
            ("GET", "/a b", "HTTP/1.1"),
            ("GET", "", "HTTP/1.1"),
            ("GET", "/\r\nX: y", "HTTP/1.1"),
            ("GET", "/\xe9", "HTTP/1.1"),
            ("GET", "/#a", "HTTP/1.1"),
            ("GET", "/", "HTTP/2"),
        ],
    )
    def test_that_cannot_be_sent_is_refused(self, method: str, path: str, version: str) -> None:
        with pytest.raises(ValueError, match=r"HTTP|target"):
            Request(method, path, Headers(), version).serialize()

    @pytest.mark.parametrize(
        ("path", "pathname", "query", "params"),
        [
            ("/", "/", "", {}),
            ("/a%20b?", "/a%20b", "", {}),
            ("/a?b=1&b=2&c=&d=%C3%A9", "/a", "b=1&b=2&c=&d=%C3%A9", {"b": ["1", "2"], "c": [""], "d": ["é"]}),
            ("//a//b?x?y", "//a//b", "x?y", {"x?y": [""]}),
            ("http://example.com/a?b=1", "/a", "b=1", {"b": ["1"]}),
            ("ws://example.com?b=1", "/", "b=1", {"b": ["1"]}),
            ("*", "*", "", {}),
        ],
    )
    def test_target_is_taken_apart(
        self, path: str, pathname: str, query: str, params: dict[str, list[str]]
    ) -> None:
        request = Request("GET", path, Headers())
        assert (request.pathname, request.query, request.query_params) == (pathname, query, params)

    @pytest.mark.parametrize(
        ("headers", "cookies"),
        [
            ([], {}),
            ([("Cookie", "a=1")], {"a": "1"}),
            (
                [("Cookie", "a=1; b=x=y; c=; d"), ("cookie", "a=2;e=5")],
                {"a": "1", "b": "x=y", "c": "", "e": "5"},
            ),
        ],
    )
    def test_cookies_are_read(self, headers: list[tuple[str, str]], cookies: dict[str, str]) -> None:
        assert Request("GET", "/", Headers(headers)).cookies == cookies

    @pytest.mark.parametrize(
        ("path", "host"),
        [
            ("/", "h:1"),
            ("*", "h:1"),
            ("http://other:2/a", "other:2"),
            ("http://other?a", "other"),
            ("/?http://other", "h:1"),
        ],
    )
    def test_host_is_the_target_s_before_the_header_s(self, path: str, host: str) -> None:
        assert Request("GET", path, Headers(Host="h:1")).host == host

    def test_host_may_be_missing(self) -> None:
        assert Request("GET", "/", Headers()).host == ""


class TestResponse:
    def test_of_text_and_of_bytes(self) -> None:
        assert Response.of(404, "é").serialize() == (
            b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: 2\r\n\r\n\xc3\xa9"
        )
        assert Response.of(200, b"\x00").headers["Content-Type"] == "application/octet-stream"
        assert Response.of(200, "<p>", {"content-type": "text/html"}).headers.get_all("Content-Type") == [
            "text/html"
        ]
        assert Response.of(299).reason == ""

    def test_without_a_body_has_a_length_of_zero(self) -> None:
        assert Response.of(200).serialize() == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    @pytest.mark.parametrize("status", [101, 204, 304])
    def test_that_cannot_have_a_body_has_none(self, status: int) -> None:
        data = Response(status, "", Headers(), b"body").serialize()
        assert data == f"HTTP/1.1 {status} \r\n\r\n".encode()

    def test_keeps_the_length_that_is_given(self) -> None:
        response = Response.of(200, headers={"Content-Length": "5"})
        assert response.serialize() == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

    def test_is_not_changed_by_being_serialized(self) -> None:
        response = Response.of(200, "a")
        assert response.serialize() == response.serialize()
        assert "Content-Length" not in response.headers

    @given(st.integers(100, 999), values, fields)
    def test_is_read_back_as_it_was_written(
        self, status: int, reason: str, headers: list[tuple[str, str]]
    ) -> None:
        framing = {"content-length", "transfer-encoding"}
        given = [("Content-Length", "0"), *[pair for pair in headers if pair[0].lower() not in framing]]
        response = Response(status, reason, Headers(given))
        assert Response.parse(response.serialize()) == response

    @pytest.mark.parametrize(
        ("status", "reason"), [(99, ""), (1000, ""), (200, "a\r\nX: y"), (200, "\u0100")]
    )
    def test_that_cannot_be_sent_is_refused(self, status: int, reason: str) -> None:
        with pytest.raises(ValueError, match=r"status|reason"):
            Response(status, reason).serialize()
