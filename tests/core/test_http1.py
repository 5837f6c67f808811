"""The reader of HTTP/1.1 heads: what it accepts, what it refuses and how, and where a head ends."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from everwire._core import http1
from everwire.errors import InvalidMessage

TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
VALUE = "\t" + "".join(map(chr, [*range(0x20, 0x7F), *range(0x80, 0x100)]))
TARGET = "".join(map(chr, range(0x21, 0x7F))).replace("#", "")
FRAMING = {"host", "content-length", "transfer-encoding"}

names = st.text(TOKEN, min_size=1, max_size=30).filter(lambda name: name.lower() not in FRAMING)
values = st.text(VALUE, max_size=60).map(lambda value: value.strip(" \t"))
fields = st.lists(st.tuples(names, values), max_size=20)
targets = st.text(TARGET, max_size=40).map(lambda rest: "/" + rest)
space = st.text(" \t", max_size=3)


def request(*lines: str, target: str = "/", host: str = "Host: example.com") -> bytes:
    """A valid request with further lines."""
    head = [f"GET {target} HTTP/1.1", *([host] if host else []), *lines]
    return "".join(line + "\r\n" for line in head).encode("latin-1") + b"\r\n"


def refusal(head: bytes) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as caught:
        http1.parse_request(head)
    return caught.value


class TestHeadEnd:
    @pytest.mark.parametrize(
        ("data", "end"),
        [
            (b"", -1),
            (b"\r\n\r", -1),
            (b"\r\n\r\n", 4),
            (b"GET / HTTP/1.1\r\n\r\nrest", 18),
            (b"a\r\n\r\nb\r\n\r\n", 5),
            (b"\n\n", -1),
            (b"a\n\nb", -1),
            (b"\r\n\n\r\n", -1),
            (b"\r\r\n\r\n", 5),
            (b"\r\n\r\r\n\r\n", 7),
        ],
    )
    def test_is_after_the_first_empty_line(self, data: bytes, end: int) -> None:
        assert http1.find_head_end(data) == end

    @given(st.text("\r\na", max_size=24), st.data())
    def test_is_found_however_the_bytes_are_split(self, text: str, data: st.DataObject) -> None:
        whole = text.encode()
        known = 0
        end = -1
        while end < 0 and known < len(whole):
            size = data.draw(st.integers(known + 1, len(whole)))
            end = http1.find_head_end(whole[:size], known)
            known = size
        index = whole.find(b"\r\n\r\n")
        assert end == (index + 4 if index >= 0 else -1)

    def test_takes_any_buffer(self) -> None:
        assert http1.find_head_end(bytearray(b"ab\r\n\r\n")) == 6
        assert http1.find_head_end(b"\x16\x03\x01\x02") == 4, "no head begins so"
        assert http1.find_head_end(memoryview(b"ab\r\n\r\ncd")) == 6

    def test_start_beyond_the_data_finds_nothing(self) -> None:
        assert http1.find_head_end(b"\r\n\r\n", 100) == -1

    def test_start_cannot_be_negative(self) -> None:
        with pytest.raises(ValueError, match="negative"):
            http1.find_head_end(b"\r\n\r\n", -1)


class TestRequest:
    def test_is_taken_apart(self) -> None:
        head = b"GET /chat?a=1 HTTP/1.1\r\nHost: example.com\r\nX-Empty:\r\nx-a: \t b c \t \r\n\r\n"
        assert http1.parse_request(head) == (
            "GET",
            "/chat?a=1",
            1,
            [("Host", "example.com"), ("X-Empty", ""), ("x-a", "b c")],
        )

    @given(
        st.text(TOKEN, min_size=1, max_size=10), targets, fields, st.lists(space, min_size=20, max_size=20)
    )
    def test_of_any_valid_parts_is_read_back(
        self, method: str, target: str, headers: list[tuple[str, str]], spaces: list[str]
    ) -> None:
        lines = [
            f"{name}:{before}{value}{before}" for (name, value), before in zip(headers, spaces, strict=False)
        ]
        head = request(*lines, target=target).replace(b"GET", method.encode(), 1)
        expected = [("Host", "example.com"), *headers]
        assert http1.parse_request(head) == (method, target, 1, expected)

    @given(st.binary(max_size=200))
    @example(b"\r\n\r\n")
    @example(b"GET / HTTP/1.1\r\n\r\n")
    def test_of_any_bytes_is_read_or_refused(self, data: bytes) -> None:
        for parse in (http1.parse_request, http1.parse_response):
            for head in (data, data + b"\r\n\r\n"):
                try:
                    parse(head)
                except InvalidMessage as error:
                    assert error.status in (400, 414, 431, 501, 505)

    def test_of_damaged_bytes_is_read_or_refused(self) -> None:
        source = random.Random(6455)
        good = request("Upgrade: websocket", "Connection: Upgrade", "Content-Length: 12")
        refused = 0
        for _ in range(5000):
            bad = bytearray(good)
            for _ in range(source.randrange(1, 4)):
                at = source.randrange(len(bad))
                match source.randrange(3):
                    case 0:
                        bad[at] = source.randrange(256)
                    case 1:
                        del bad[at : at + source.randrange(1, 10)]
                    case _:
                        bad[at:at] = source.choice([b"\r\n", b"\n", b"\r", b" ", b":", b"\0", b"\xff"])
            try:
                _, _, _, headers = http1.parse_request(bytes(bad))
            except InvalidMessage:
                refused += 1
            else:
                assert all(set(name) <= set(TOKEN) and set(value) <= set(VALUE) for name, value in headers)
        assert 1000 < refused < 5000

    def test_of_http_1_0_needs_no_host(self) -> None:
        assert http1.parse_request(b"GET / HTTP/1.0\r\n\r\n") == ("GET", "/", 0, [])

    def test_of_a_later_minor_version_is_read(self) -> None:
        assert http1.parse_request(b"GET / HTTP/1.2\r\nHost: a\r\n\r\n")[2] == 2

    @pytest.mark.parametrize(
        ("method", "target"),
        [
            ("GET", "http://example.com/a"),
            ("GET", "WSS://example.com"),
            ("OPTIONS", "*"),
            ("CONNECT", "example.com:443"),
        ],
    )
    def test_target_may_have_another_form(self, method: str, target: str) -> None:
        head = request(target=target).replace(b"GET", method.encode())
        assert http1.parse_request(head)[:2] == (method, target)

    @pytest.mark.parametrize(
        ("line", "status"),
        [
            ("", 400),
            ("GET", 400),
            ("GET /", 400),
            ("GET  / HTTP/1.1", 400),
            ("GET / HTTP/1.1 ", 400),
            ("GET /  HTTP/1.1", 400),
            ("GET\t/\tHTTP/1.1", 400),
            (" GET / HTTP/1.1", 400),
            ("G@T / HTTP/1.1", 400),
            ("GET /a b HTTP/1.1", 400),
            ("GET /a#b HTTP/1.1", 400),
            ("GET /\x00 HTTP/1.1", 400),
            ("GET /\x7f HTTP/1.1", 400),
            ("GET /\xe9 HTTP/1.1", 400),
            ("GET chat HTTP/1.1", 400),
            ("GET * HTTP/1.1", 400),
            ("GET example.com:80 HTTP/1.1", 400),
            ("GET ftp://example.com/ HTTP/1.1", 400),
            ("GET http:// HTTP/1.1", 400),
            ("GET http:///a HTTP/1.1", 400),
            ("GET http://user@example.com/ HTTP/1.1", 400),
            ("GET http://a\\b/ HTTP/1.1", 400),
            ("GET / http/1.1", 400),
            ("GET / HTTP/1", 400),
            ("GET / HTTP/1.", 400),
            ("GET / HTTP/1.10", 400),
            ("GET / HTTP/11.1", 400),
            ("GET / HTTP/1,1", 400),
            ("GET / HTTP/a.b", 400),
            ("GET / XTTP/1.1", 400),
            ("GET / HTTP/0.9", 505),
            ("GET / HTTP/2.0", 505),
            ("PRI * HTTP/2.0", 505),
            ("GET / HTTP/1.1\rX: y", 400),
        ],
    )
    def test_line_that_is_not_valid_is_refused(self, line: str, status: int) -> None:
        head = f"{line}\r\nHost: a\r\n\r\n".encode("latin-1")
        assert refusal(head).status == status

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            b"GET / HTTP/1.1",
            b"GET / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\nX: y\r\n\r\n",
            b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        ],
    )
    def test_lines_end_in_crlf_and_the_head_in_an_empty_one(self, head: bytes) -> None:
        assert refusal(head).status == 400


class TestHeader:
    @pytest.mark.parametrize(
        "line",
        [
            "X : y",
            "X\t: y",
            " X: y",
            "\tX: y",
            ": y",
            "X",
            "X y: z",
            "X(: y",
            'X": y',
            "X\x00: y",
            "X\xe9: y",
            "X: a\x00b",
            "X: a\rb",
            "X: a\x0bb",
            "X: a\x1fb",
            "X: a\x7fb",
            "X: a\r",
            "X: a\nY: b",
            "X: a\r\n b",
            "X: a\r\n\tb",
            "X: a\r\n ",
        ],
    )
    def test_that_is_not_valid_is_refused(self, line: str) -> None:
        assert refusal(request(line)).status == 400

    def test_names_and_values_come_as_sent_also_after_others_were_kept(self) -> None:
        for name in ("User-Agent", "user-agent", "USER-AGENT"):
            for value in ("a", "b", "a", "\xe9", ""):
                assert http1.parse_request(request(f"{name}: {value}"))[3][1] == (name, value)

    def test_of_thousands_of_clients_are_not_mixed_up(self) -> None:
        # More values than the tables that keep them have room for.
        heads = [request(f"User-Agent: agent {i}", f"X-{i % 600}: {i}") for i in range(5000)]
        for _ in range(2):
            for i, head in enumerate(heads):
                found = http1.parse_request(head)[3]
                assert found[1:] == [("User-Agent", f"agent {i}"), (f"X-{i % 600}", str(i))]

    def test_repeated_are_all_kept(self) -> None:
        head = request("Upgrade: a", "Upgrade: a", "upgrade: b")
        assert http1.parse_request(head)[3][1:] == [("Upgrade", "a"), ("Upgrade", "a"), ("upgrade", "b")]

    def test_error_says_which(self) -> None:
        assert "X-Bad" in str(refusal(request("X-Bad: \x01")))
        assert "X-Space" in str(refusal(request("X-Space : 1")))
        assert "obs-fold" in str(refusal(request("X: 1", " folded")))

    def test_error_does_not_repeat_all_that_was_sent(self) -> None:
        for head in (request("X" * 9000 + " : 1"), request("X" * 9000 + ": \x00"), request("\x01" * 9000)):
            assert len(str(refusal(head))) < 250


class TestSmuggling:
    """What two readers could take for different messages, or for other hosts (RFC 9112, section 11.2)."""

    @pytest.mark.parametrize(
        "lines",
        [
            ["Content-Length: 1", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: chunked", "Content-Length: 1"],
            ["Content-Length: 1", "Content-Length: 1"],
            ["Content-Length: 1", "content-length: 2"],
            ["Content-Length: 1, 1"],
            ["Content-Length: +1"],
            ["Content-Length: -1"],
            ["Content-Length: 0x1"],
            ["Content-Length: 1_0"],
            ["Content-Length: 1.0"],
            ["Content-Length: 1 1"],
            ["Content-Length: \xb9"],
            ["Content-Length:"],
            ["Content-Length: " + "9" * 19],
            ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: chunked, identity"],
            ["Transfer-Encoding: identity"],
            ["Transfer-Encoding: xchunked"],
            ["Transfer-Encoding: chunked;q=1"],
            ["Transfer-Encoding:"],
            ["Transfer-Encoding : chunked"],
            ["Transfer-Encoding: \x0bchunked"],
            ["Transfer-Encoding\x00: chunked"],
            ["Host: example.com"],
            ["host: other.example"],
        ],
    )
    def test_is_refused(self, lines: list[str]) -> None:
        assert refusal(request(*lines)).status == 400

    def test_of_an_unknown_coding_is_answered_as_such(self) -> None:
        assert refusal(request("Transfer-Encoding: gzip, chunked")).status == 501

    def test_of_a_coding_in_http_1_0_is_refused(self) -> None:
        assert refusal(b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").status == 400

    @pytest.mark.parametrize(
        "line",
        [
            "Content-Length: 0",
            "Content-Length: " + "9" * 18,
            "Transfer-Encoding: chunked",
            "transfer-encoding: Chunked",
        ],
    )
    def test_is_not_seen_in_what_is_clear(self, line: str) -> None:
        name, _, value = line.partition(": ")
        assert http1.parse_request(request(line))[3][1] == (name, value)

    @pytest.mark.parametrize(
        "host",
        [
            "",
            "Host: a b",
            "Host: a/b",
            "Host: a@b",
            "Host: a\\b",
            "Host: a?b",
            "Host: a#b",
            'Host: "a"',
            "Host: \xe9",
        ],
    )
    def test_of_hosts_is_refused(self, host: str) -> None:
        assert refusal(request(host=host)).status == 400

    @pytest.mark.parametrize(
        "host", ["", "a", "a:80", "[::1]:80", "127.0.0.1", "a_b.c-d", "%41", "A.EXAMPLE."]
    )
    def test_host_may_be(self, host: str) -> None:
        assert http1.parse_request(request(host=f"Host: {host}"))[3] == [("Host", host)]


class TestLimits:
    def test_of_the_head(self) -> None:
        room = http1.MAX_HEAD - len(request("X: "))
        assert http1.parse_request(request("X: " + "a" * room))[3][1] == ("X", "a" * room)
        error = refusal(request("X: " + "a" * (room + 1)))
        assert error.status == 431
        assert str(http1.MAX_HEAD) in str(error)

    def test_of_the_request_line(self) -> None:
        room = http1.MAX_LINE - len("GET / HTTP/1.1\r\n")
        target = "/" + "a" * room
        assert http1.parse_request(request(target=target))[1] == target
        error = refusal(request(target=target + "a"))
        assert error.status == 414
        assert str(http1.MAX_LINE) in str(error)

    def test_of_the_number_of_headers(self) -> None:
        lines = [f"X-{i}: {i}" for i in range(http1.MAX_HEADERS - 1)]
        assert len(http1.parse_request(request(*lines))[3]) == http1.MAX_HEADERS
        error = refusal(request(*lines, "one: more"))
        assert error.status == 431
        assert str(http1.MAX_HEADERS) in str(error)

    def test_of_a_head_whose_end_has_not_come(self) -> None:
        assert http1.over_limit(b"GET /" + b"a" * http1.MAX_HEAD).status == 414
        assert http1.over_limit(b"GET / HTTP/1.1\r\n" + b"a" * http1.MAX_HEAD).status == 431
        assert http1.over_limit(bytearray(b"a" * http1.MAX_HEAD)).status == 414

    def test_of_a_response(self) -> None:
        assert len(http1.parse_response(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 128 + b"\r\n")[3]) == 128
        for head in (
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 129 + b"\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * http1.MAX_HEAD + b"\r\n\r\n",
            b"HTTP/1.1 200 " + b"y" * http1.MAX_LINE + b"\r\n\r\n",
        ):
            with pytest.raises(InvalidMessage):
                http1.parse_response(head)


class TestResponse:
    @pytest.mark.parametrize(
        ("line", "status", "reason"),
        [
            ("HTTP/1.1 101 Switching Protocols", 101, "Switching Protocols"),
            ("HTTP/1.1 200 ", 200, ""),
            ("HTTP/1.1 200", 200, ""),
            ("HTTP/1.1 404 N\xe9ant\there", 404, "N\xe9ant\there"),
            ("HTTP/1.0 999 x", 999, "x"),
        ],
    )
    def test_line_is_taken_apart(self, line: str, status: int, reason: str) -> None:
        head = f"{line}\r\nA: b\r\n\r\n".encode("latin-1")
        assert http1.parse_response(head) == (status, reason, int(line[7]), [("A", "b")])

    @pytest.mark.parametrize(
        ("line", "status"),
        [
            ("", 400),
            ("HTTP/1.1", 400),
            ("HTTP/1.1 ", 400),
            ("HTTP/1.1 20", 400),
            ("HTTP/1.1 20 OK", 400),
            ("HTTP/1.1 2000 OK", 400),
            ("HTTP/1.1 099 OK", 400),
            ("HTTP/1.1 2x0 OK", 400),
            ("HTTP/1.1  200 OK", 400),
            ("HTTP/1.1 200\tOK", 400),
            ("HTTP/1.1 200 O\x00K", 400),
            ("HTTP/1.1 200 O\rK", 400),
            ("HTTP/2.0 200 OK", 505),
            ("ICY 200 OK     ", 400),
        ],
    )
    def test_line_that_is_not_valid_is_refused(self, line: str, status: int) -> None:
        with pytest.raises(InvalidMessage) as caught:
            http1.parse_response(f"{line}\r\nA: b\r\n\r\n".encode("latin-1"))
        assert caught.value.status == status

    @given(st.integers(100, 999), values, fields)
    def test_of_any_valid_parts_is_read_back(
        self, status: int, reason: str, headers: list[tuple[str, str]]
    ) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1")
        assert http1.parse_response(head) == (status, reason, 1, headers)

    def test_with_an_ambiguous_length_is_refused(self) -> None:
        for lines in (
            b"Content-Length: 1\r\nContent-Length: 2",
            b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        ):
            with pytest.raises(InvalidMessage):
                http1.parse_response(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\n")


class TestIndex:
    @given(fields)
    def test_has_all_values_by_lower_case_name(self, headers: list[tuple[str, str]]) -> None:
        expected: dict[str, list[str]] = {}
        for name, value in headers:
            expected.setdefault(name.lower(), []).append(value)
        found = http1.index(headers)
        assert {
            name: [value] if isinstance(value, str) else value for name, value in found.items()
        } == expected
        assert all(isinstance(value, str) or len(value) > 1 for value in found.values())

    def test_keeps_a_value_that_is_repeated_as_the_same_object(self) -> None:
        value = "Upgrade"
        assert http1.index([("Connection", value), ("connection", value)]) == {"connection": [value, value]}
