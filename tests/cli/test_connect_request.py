"""URLs as people write them."""

from __future__ import annotations

import pytest

from everwire.cli.connect.request import parse_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:8080", "ws://localhost:8080/"),
        (":8080/echo?x=1", "ws://localhost:8080/echo?x=1"),
        ("8080", "ws://localhost:8080/"),
        ("example.com", "ws://example.com/"),
        ("example.com:443/chat", "wss://example.com/chat"),
        ("[::1]:8080/a", "ws://[::1]:8080/a"),
        ("http://example.com/a", "ws://example.com/a"),
        ("https://example.com", "wss://example.com/"),
        ("WSS://Example.COM", "wss://example.com/"),
        ("user:word@example.com/a", "ws://example.com/a"),
    ],
)
def test_urls(text: str, url: str) -> None:
    assert str(parse_url(text)[1]) == url
