"""Which pages may open a WebSocket."""

from __future__ import annotations

import re

import pytest

from everwire.errors import InvalidOrigin
from everwire.websocket.origins import Origins, origin_check


def allows(origins: Origins, origin: str | None, host: str = "example.com") -> bool:
    check = origin_check(origins)
    assert check is not None
    try:
        check(origin, host)
    except InvalidOrigin as error:
        assert error.status == 403
        assert error.value == origin
        return False
    return True


class TestSame:
    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("http://example.com", "example.com"),
            ("https://example.com", "example.com"),
            ("http://example.com:8080", "example.com:8080"),
            ("https://example.com:8080", "example.com:8080"),
            ("http://EXAMPLE.com", "example.COM"),
            ("http://example.com", "example.com:80"),
            ("http://example.com:80", "example.com"),
            ("https://example.com", "example.com:443"),
            ("http://[::1]:8000", "[::1]:8000"),
            ("http://[::1]", "[::1]:80"),
            ("http://127.0.0.1:1", "127.0.0.1:1"),
        ],
    )
    def test_is_the_host_and_the_port(self, origin: str, host: str) -> None:
        assert allows("same", origin, host)
        assert allows(["same"], origin, host)

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("http://evil.example", "example.com"),
            ("http://example.com.evil.example", "example.com"),
            ("http://evilexample.com", "example.com"),
            ("http://sub.example.com", "example.com"),
            ("http://example.com", "sub.example.com"),
            ("http://example.com:8080", "example.com"),
            ("http://example.com", "example.com:8080"),
            ("http://example.com", "example.com:443"),
            ("https://example.com", "example.com:80"),
            ("http://example.com/", "example.com"),
            ("http://example.com:80:80", "example.com:80"),
            ("http://example.com example.com", "example.com"),
            ("example.com", "example.com"),
            ("//example.com", "example.com"),
            ("null", "example.com"),
            ("null", "null"),
            ("", ""),
            ("", "example.com"),
            ("http://", ""),
            ("file://", ""),
            ("chrome-extension://abc", "example.com"),
        ],
    )
    def test_is_nothing_else(self, origin: str, host: str) -> None:
        assert not allows("same", origin, host)
        assert not allows(["same"], origin, host)

    def test_lets_those_pass_that_are_no_pages(self) -> None:
        assert allows("same", None)
        assert allows(["same"], None)
        assert allows(["same", "https://a.example"], None)


class TestList:
    def test_of_origins(self) -> None:
        origins = ["https://a.example", "http://b.example:8080"]
        assert allows(origins, "https://a.example")
        assert allows(origins, "http://b.example:8080")
        assert not allows(origins, "http://a.example")
        assert not allows(origins, "https://b.example:8080")
        assert not allows(origins, "https://a.example.evil.example")
        assert not allows(origins, "http://example.com")
        assert not allows(origins, "null")
        assert not allows(origins, None)

    @pytest.mark.parametrize("entry", ["https://a.example", "HTTPS://A.example", "https://a.example:443"])
    @pytest.mark.parametrize("origin", ["https://a.example", "https://A.EXAMPLE", "https://a.example:443"])
    def test_has_no_case_and_no_default_ports(self, entry: str, origin: str) -> None:
        assert allows([entry], origin)

    def test_of_patterns_which_match_the_whole(self) -> None:
        origins = [re.compile(r"https://[a-z]+\.example")]
        assert allows(origins, "https://a.example")
        assert not allows(origins, "https://a.example.com")
        assert not allows(origins, "xhttps://a.example")
        assert not allows(origins, None)

    def test_of_none_lets_those_pass_that_are_no_pages(self) -> None:
        assert allows([None], None)
        assert allows(["https://a.example", None], None)
        assert not allows([None], "https://a.example")

    def test_of_nothing_lets_nobody_pass(self) -> None:
        assert not allows([], None)
        assert not allows([], "http://example.com")

    def test_of_null_is_for_pages_without_an_origin(self) -> None:
        assert allows(["null"], "null")
        assert not allows(["null"], None)

    def test_of_same_and_others(self) -> None:
        origins: Origins = ["same", "https://a.example"]
        assert allows(origins, "http://example.com")
        assert allows(origins, "https://a.example")
        assert not allows(origins, "https://b.example")
        assert not allows(origins, "same")


class TestOption:
    def test_none_allows_all(self) -> None:
        assert origin_check(None) is None

    @pytest.mark.parametrize(
        "entry",
        [
            "example.com",
            "https://",
            "https://a.example/",
            "https://a.example/path",
            "https://u@a.example",
            "https://a.example?b",
            "*",
            "https://a b",
            "",
            "//a.example",
            "https://a\\b",
        ],
    )
    def test_entry_that_is_no_origin_is_refused(self, entry: str) -> None:
        with pytest.raises(ValueError, match="no origin"):
            origin_check([entry])

    def test_of_a_wrong_type_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"\['https://a.example'\]"):
            origin_check("https://a.example")
        with pytest.raises(TypeError, match="b'a'"):
            origin_check([b"a"])  # type: ignore[list-item]

    def test_error_names_the_origin_and_the_remedy(self) -> None:
        check = origin_check("same")
        assert check is not None
        with pytest.raises(InvalidOrigin, match=r"'http://evil\.example'.*option origins"):
            check("http://evil.example", "example.com")
