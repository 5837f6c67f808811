"""URLs as browsers read and write them (URL standard)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.web.exceptions import DOMException
from everwire.web.url import read_url, write_origin, write_url
from everwire.websocket.uri import parse_uri


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("ws://host", "ws://host/"),
        ("http://host:80", "ws://host/"),
        ("https://host:443/a", "wss://host/a"),
        ("wss://host:80", "wss://host:80/"),
        ("WS://HOST/Path", "ws://host/Path"),
        (" \x00ws://host/a b\n", "ws://host/a%20b"),
        ("w\ts://ho\nst/\ra", "ws://host/a"),
        ("ws:host/a", "ws://host/a"),
        ("ws:///host/a\\b?c\\d", "ws://host/a/b?c%5Cd"),
        ("ws://host/a/./b/../c/%2E%2e/d/..", "ws://host/a/"),
        ("ws://host/../a/.", "ws://host/a/"),
        ("ws://host?a/../b", "ws://host/?a/../b"),
        ("ws://host/a\x00b?c\x01d'e", "ws://host/a%00b?c%01d%27e"),
        ("ws://host/\ud800", "ws://host/%EF%BF%BD"),
        ("ws://[::1]:8080/a", "ws://[::1]:8080/a"),
        ("ws://bücher.example/", "ws://xn--bcher-kva.example/"),
        ("ws://me:p%40ss@host/", "ws://me:p%40ss@host/"),
        ("ws://me@host/", "ws://me@host/"),
    ],
)
def test_what_is_read_and_written(url: str, written: str) -> None:
    uri = read_url(url)
    assert write_url(uri) == written
    # What is written means the same to connect.
    assert parse_uri(write_url(uri)) == uri


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "//host/a",
        "ws:",
        "ws://",
        "ftp://host",
        "ws://host/#",
        "ws://host/a#b",
        "ws://host/?#",
        "ws://ho st/",
        "ws://h%6Fst/",
        "ws://host:99999/",
        "ws://0x7f.1/",
        "ws:\\\\host/",
        "ws://host\\@other/",  # browsers would take the backslash for the end of the host, others would not
        None,
        b"ws://host/",
    ],
)
def test_what_is_not_valid(url: object) -> None:
    with pytest.raises(DOMException) as caught:
        read_url(url)
    assert caught.value.name == "SyntaxError"


def test_the_error_tells_no_password() -> None:
    with pytest.raises(DOMException) as caught:
        read_url("ws://me:secret@host/#")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("ws://host/a?b", "ws://host"),
        ("wss://host:8443/", "wss://host:8443"),
        ("ws://me:secret@[::1]/a", "ws://[::1]"),
    ],
)
def test_the_origin(url: str, origin: str) -> None:
    assert write_origin(read_url(url)) == origin


SEGMENT = st.text("abcXYZ019-._~%20ü", max_size=6).map(lambda text: text.replace("%", "%25"))


@given(st.lists(SEGMENT, max_size=4), st.text("abc=&1", max_size=6))
def test_reading_what_was_written_changes_nothing(segments: list[str], query: str) -> None:
    once = write_url(read_url(f"ws://host/{'/'.join(segments)}?{query}"))
    assert write_url(read_url(once)) == once
