"""Blobs (File API, section 3)."""

from __future__ import annotations

import array
from typing import Any

import pytest
from conftest import Run
from hypothesis import given
from hypothesis import strategies as st

import everwire
from everwire import Blob


def test_what_it_is_put_together_from() -> None:
    parts = ["Grüße", b"\0", bytearray(b"\1"), memoryview(b"\2"), array.array("H", [3]), Blob(["!"])]
    data = "Grüße".encode() + b"\0\1\2" + array.array("H", [3]).tobytes() + b"!"
    blob = Blob(parts)
    assert bytes(blob) == data
    assert blob.size == len(data)
    assert bytes(Blob()) == b""
    assert bytes(Blob(["\ud800"])) == "\ufffd".encode()


def test_a_part_is_taken_as_it_is_now() -> None:
    data = bytearray(b"now")
    blob = Blob([data])
    data[:] = b"new"
    assert bytes(blob) == b"now"


def test_its_bytes(run: Run) -> None:
    async def main() -> None:
        blob = Blob(["\ufeffGrüße"])
        assert await blob.text() == "Grüße"
        assert await Blob([b"\xff"]).text() == "\ufffd"
        assert await blob.arrayBuffer() == await blob.bytes() == bytes(blob) == "\ufeffGrüße".encode()

    run(main)


@pytest.mark.parametrize(
    ("given", "type"), [("", ""), ("Text/PLAIN", "text/plain"), ("text/plän", ""), ("a\nb", "")]
)
def test_its_type(given: str, type: str) -> None:
    assert Blob([], type=given).type == type


@given(st.binary(max_size=20), st.integers(-30, 30), st.none() | st.integers(-30, 30))
def test_a_slice(data: bytes, start: int, end: int | None) -> None:
    blob = Blob([data], type="a/b").slice(start, end, "C/D")
    assert bytes(blob) == data[start:end]
    assert blob.type == "c/d"


@pytest.mark.parametrize("parts", ["text", b"bytes", Blob()])
def test_parts_are_a_list(parts: Any) -> None:
    with pytest.raises(TypeError, match="parts is a list"):
        Blob(parts)


def test_other_parts() -> None:
    with pytest.raises(TypeError):
        Blob([5])  # type: ignore[list-item]


def test_the_representation() -> None:
    assert repr(Blob(["abc"], type="text/plain")) == "<Blob 3 bytes text/plain>"
    assert repr(everwire.Blob()) == "<Blob 0 bytes>"
