"""URIs: what is read, what is refused, and that no secret is shown."""

from __future__ import annotations

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.errors import InvalidURI
from everwire.websocket.uri import WebSocketURI, is_ip_address, parse_authority, parse_uri, redact

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("uri", "secure", "host", "port", "path"),
    [
        ("ws://example.com", False, "example.com", 80, "/"),
        ("wss://example.com", True, "example.com", 443, "/"),
        ("http://example.com/chat", False, "example.com", 80, "/chat"),
        ("HTTPS://Example.COM/Chat", True, "example.com", 443, "/Chat"),
        ("ws://example.com:8080/", False, "example.com", 8080, "/"),
        ("ws://example.com:/", False, "example.com", 80, "/"),
        ("ws://example.com?room=1", False, "example.com", 80, "/?room=1"),
        ("ws://example.com/?next=/a?b@c", False, "example.com", 80, "/?next=/a?b@c"),
        ("ws://example.com/a b/ä?q=ü", False, "example.com", 80, "/a%20b/%C3%A4?q=%C3%BC"),
        ("ws://example.com/%41%2f", False, "example.com", 80, "/%41%2f"),
        ("ws://example.com./", False, "example.com.", 80, "/"),
        ("ws://my_service:1/", False, "my_service", 1, "/"),
        ("ws://127.0.0.1:9/", False, "127.0.0.1", 9, "/"),
        ("ws://[::1]/", False, "::1", 80, "/"),
        ("ws://[2001:DB8:0:0::1]:81/", False, "2001:db8::1", 81, "/"),
        ("ws://[fe80::1%25eth0]:81/", False, "fe80::1%eth0", 81, "/"),
        ("ws://[fe80::1%eth0]:81/", False, "fe80::1%eth0", 81, "/"),
        ("wss://Bücher.example/", True, "xn--bcher-kva.example", 443, "/"),
        ("wss://faß.de/", True, "xn--fa-hia.de", 443, "/"),
    ],
)
def test_reads(uri: str, secure: bool, host: str, port: int, path: str) -> None:
    parsed = parse_uri(uri)
    assert (parsed.secure, parsed.host, parsed.port, parsed.path) == (secure, host, port, path)
    assert parsed.userinfo is None
    assert parsed.scheme == ("wss" if secure else "ws")


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("", "must begin with"),
        ("example.com", "must begin with"),
        ("ftp://example.com/", "must begin with"),
        ("ws:/example.com/", "must begin with"),
        ("ws:///chat", "no host"),
        ("ws://:80/", "no host"),
        ("ws://example.com/#top", "fragment"),
        ("ws://example.com#", "fragment"),
        ("ws://example.com/?a#b", "fragment"),
        ("ws://example.com:0/", "port"),
        ("ws://example.com:65536/", "port"),
        ("ws://example.com:8o/", "port"),
        ("ws://example.com:+80/", "port"),
        ("ws://example.com:٨٠/", "port"),
        ("ws://::1/", "colons"),
        ("ws://[::1/", "between"),
        ("ws://[::1]x/", "between"),
        ("ws://[]/", "IPv6"),
        ("ws://[127.0.0.1]/", "IPv6"),
        ("ws://[fe80::1%25]/", "zone"),
        ("ws://[fe80::1%25e/0]/", "between"),
        ("ws://127.1/", "number"),
        ("ws://2130706433/", "number"),
        ("ws://0x7f000001/", "number"),
        ("ws://127.0.0.0x1/", "number"),
        ("ws://127.0.0.01/", "number"),
        ("ws://256.0.0.1/", "number"),
        ("ws://exam ple.com/", "valid name"),
        ("ws://example..com/", "valid name"),
        ("ws://-example.com/", "valid name"),
        ("ws://exa%6dple.com/", "valid name"),
        ("ws://good.example\\@evil.example/", "percent-encoded"),
        ("ws://good.example\\.evil.example/", "valid name"),
        ("ws://" + "a" * 64 + ".example/", "valid name"),
        ("ws://" + "a." * 127 + "example/", "valid name"),
        ("ws://a\u2024b\u3002\u3002c/", "international name"),
        ("ws://example.com/\r\nX: y", "control"),
        ("ws://example.com/\x00", "control"),
        ("ws://example.com/\ud800", "surrogates"),
        ("ws://example.com/" + "a" * 8192, "longer than"),
    ],
)
def test_refuses(uri: str, why: str) -> None:
    with pytest.raises(InvalidURI, match=why):
        parse_uri(uri)


@pytest.mark.parametrize(
    ("userinfo", "expected"),
    [
        ("user", ("user", "")),
        ("user:", ("user", "")),
        (":pass", ("", "pass")),
        ("user:pa:ss", ("user", "pa:ss")),
        ("us%40er:p%2Fss%C3%A4", ("us@er", "p/ssä")),
        ("a@b:c", ("a@b", "c")),
    ],
)
def test_userinfo(userinfo: str, expected: tuple[str, str]) -> None:
    assert parse_uri(f"ws://{userinfo}@example.com/").userinfo == expected


@pytest.mark.parametrize("userinfo", ["a%", "a%zz", "a%ff", "a%0d%0a", "a b", "a\\b", "a:b%00", "\ud800"])
def test_refuses_userinfo(userinfo: str) -> None:
    with pytest.raises(InvalidURI, match="user name or password"):
        parse_uri(f"ws://{userinfo}@example.com/")


@pytest.mark.parametrize(
    "uri",
    [
        f"wss://user:{SECRET}@example.com:99999/",
        f"wss://user:{SECRET}@/",
        f"wss://user:{SECRET}/{SECRET}@example.com/",
        f"wss://user:{SECRET}?{SECRET}@example.com/",
        f"wss://user:{SECRET}#{SECRET}@example.com/",
        f"wss://user:{SECRET}@{SECRET}@exa mple.com/",
        f"wss:user:{SECRET}@example.com/",
        f"user:{SECRET}@example.com",
        f"ftp://user:{SECRET}@example.com/",
        f"ws://user:{SECRET}@example.com/" + "a" * 9000,
        f"ws://user:{'a' * 9000}{SECRET}@example.com/",
    ],
)
def test_errors_show_no_secret(uri: str) -> None:
    with pytest.raises(InvalidURI) as info:
        parse_uri(uri)
    assert SECRET not in str(info.value) + repr(info.value) + info.value.uri
    assert "user" not in info.value.uri


def test_shows_no_secret() -> None:
    uri = parse_uri(f"wss://someone:{SECRET}@example.com/chat?a=b")
    assert str(uri) == "wss://example.com/chat?a=b"
    for shown in (str(uri), repr(uri), f"{uri}"):
        assert SECRET not in shown
        assert "someone" not in shown


def test_what_holds_a_password_is_not_kept() -> None:
    assert parse_uri("ws://example.com/x") is parse_uri("ws://example.com/x")
    assert parse_uri("ws://a:b@example.com/x") is not parse_uri("ws://a:b@example.com/x")


@pytest.mark.parametrize(
    ("uri", "header"),
    [
        ("ws://example.com/", "example.com"),
        ("ws://example.com:80/", "example.com"),
        ("ws://example.com:443/", "example.com:443"),
        ("wss://example.com:443/", "example.com"),
        ("wss://example.com:80/", "example.com:80"),
        ("ws://[::1]:81/", "[::1]:81"),
        ("ws://[fe80::1%25eth0]/", "[fe80::1]"),
    ],
)
def test_host_header(uri: str, header: str) -> None:
    assert parse_uri(uri).host_header == header


@pytest.mark.parametrize(
    ("base", "location", "joined"),
    [
        ("ws://example.com/a/b?c", "/d", "ws://example.com/d"),
        ("ws://example.com/a/b?c", "d", "ws://example.com/a/d"),
        ("ws://example.com/a/b?c", "?d", "ws://example.com/a/b?d"),
        ("ws://example.com/a", "//other.example/d", "ws://other.example/d"),
        ("ws://example.com/a", "https://example.com/d", "wss://example.com/d"),
        ("ws://example.com/a", "wss://other.example:81/", "wss://other.example:81/"),
        ("ws://example.com/a", "/d#there", "ws://example.com/d"),
        ("ws://[fe80::1%25eth0]:81/a", "/d", "ws://[fe80::1%25eth0]:81/d"),
    ],
)
def test_join(base: str, location: str, joined: str) -> None:
    assert str(parse_uri(base).join(location)) == joined


@pytest.mark.parametrize(
    ("location", "userinfo"),
    [
        ("/b", ("user", "pass")),
        ("ws://example.com/b", ("user", "pass")),
        ("http://example.com:80/b", ("user", "pass")),
        ("ws://me:mine@example.com/b", ("me", "mine")),
        ("wss://example.com/b", None),
        ("ws://example.com:81/b", None),
        ("ws://sub.example.com/b", None),
        ("ws://me:mine@other.example/b", None),
    ],
)
def test_userinfo_stays_within_its_origin(location: str, userinfo: tuple[str, str] | None) -> None:
    assert parse_uri("ws://user:pass@example.com/a").join(location).userinfo == userinfo


@pytest.mark.parametrize("location", ["ftp://example.com/", "ws://exa mple/", "javascript:alert(1)"])
def test_join_refuses(location: str) -> None:
    with pytest.raises(InvalidURI):
        parse_uri("ws://example.com/a").join(location)


def test_redact() -> None:
    assert redact("ws://example.com/") == "ws://example.com/"
    assert redact("ws://a:b@example.com/") == "ws://***@example.com/"
    assert redact("a:b@example.com") == "***@example.com"
    assert redact("a/b://c@d") == "***@d"


names = st.from_regex(
    r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]([a-z0-9-]{0,10}[a-z0-9])?){0,3}", fullmatch=True
)
hosts = st.one_of(
    names,
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
targets = st.text(st.sampled_from(string.ascii_letters + string.digits + "/?&=%-._~:@!$'()*+,;"), max_size=30)


@given(st.sampled_from(["ws", "wss", "http", "https"]), hosts, st.integers(1, 65535), targets)
def test_round_trip(scheme: str, host: str, port: int, target: str) -> None:
    parsed = parse_uri(f"{scheme}://{host}:{port}/{target}")
    assert parsed.host == host.strip("[]")
    assert parsed.port == port
    assert parsed.path == "/" + target
    assert parse_uri(str(parsed)) == parsed
    assert is_ip_address(parsed.host) == (host[0] in "[0123456789")


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_read_or_refused(authority: str, rest: str) -> None:
    try:
        parsed = parse_uri(f"ws://{authority}{rest}")
    except InvalidURI:
        return
    # What was accepted can be put into a request, and names one host.
    assert parsed.path.isascii()
    assert not set(parsed.path) & set(string.whitespace)
    assert parsed.host.isascii()
    assert not set(parsed.host) & set("/?#@\\[] ")
    assert 0 < parsed.port < 65536


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20))
def test_any_password_can_be_written(password: str) -> None:
    quoted = "".join(f"%{byte:02X}" for byte in password.encode())
    assert parse_uri(f"ws://user:{quoted}@example.com/").userinfo == ("user", password)


def test_authority_without_anything() -> None:
    assert parse_authority("example.com") == ("example.com", None, None, None)


def test_is_hashable_and_comparable() -> None:
    first, second = parse_uri("ws://example.com/"), parse_uri("http://example.com:80")
    assert first == second
    assert len({first, second}) == 1
    assert isinstance(first, WebSocketURI)
    assert not is_ip_address("example.com")
    assert is_ip_address(str(ipaddress.IPv4Address(1)))
