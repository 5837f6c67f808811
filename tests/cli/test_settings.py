"""The values that ``everwire serve`` takes, one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer import BadParameter

from everwire.cli.settings import parse_address, parse_origins, parse_size


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, ("127.0.0.1", 8080)),
        ("9000", ("127.0.0.1", 9000)),
        (":9000", ("127.0.0.1", 9000)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("example.com", ("example.com", 8080)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]", ("::1", 8080)),
        ("[::]:80", ("::", 80)),
    ],
)
def test_addresses(address: str | None, expected: tuple[str, int]) -> None:
    assert parse_address(address, None, None, None) == expected


def test_host_and_port_as_options() -> None:
    assert parse_address(None, "::1", None, None) == ("::1", 8080)
    assert parse_address(None, None, 0, None) == ("127.0.0.1", 0)


@pytest.mark.parametrize(
    "address", ["::1", "a:b", "a:", "http://a:80", "a:65536", "65536", "[::1", "a:80:80", "a:-1"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(BadParameter, match=r"address|port"):
        parse_address(address, None, None, None)


@pytest.mark.parametrize(
    ("address", "host", "port", "unix"),
    [
        ("a:80", "b", None, None),
        ("a:80", None, 81, None),
        ("a", None, None, Path("x")),
        (None, "a", None, Path("x")),
    ],
)
def test_an_address_given_twice(
    address: str | None, host: str | None, port: int | None, unix: Path | None
) -> None:
    with pytest.raises(BadParameter, match=r"once|one or the other"):
        parse_address(address, host, port, unix)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("1", 1),
        ("65536", 65536),
        ("64k", 65536),
        ("64KiB", 65536),
        ("64 KB", 65536),
        ("1MiB", 1 << 20),
        ("2g", 2 << 30),
        ("none", None),
        ("None", None),
    ],
)
def test_sizes(size: str, expected: int | None) -> None:
    assert parse_size(size) == expected


@pytest.mark.parametrize("size", ["", "0", "-1", "1.5MiB", "MiB", "1TiB", "ten"])
def test_what_is_no_size(size: str) -> None:
    with pytest.raises(BadParameter, match="write it like"):
        parse_size(size)


def test_origins() -> None:
    assert parse_origins([]) == ["same"]
    listed = ["https://a.example", "HTTP://localhost:3000", "null"]
    assert parse_origins(listed) == ["same", *listed]
    assert parse_origins(["https://a.example", "*"]) is None


@pytest.mark.parametrize(
    "origin", ["", "a.example", "https://a.example/", "https://", "https://a b", "null "]
)
def test_what_is_no_origin(origin: str) -> None:
    with pytest.raises(BadParameter, match="is not an origin"):
        parse_origins([origin])
