"""The reference of the client protocol names every message, field, number and code."""

from __future__ import annotations

import re

import pytest
from docs.pages import DOCS, tables

from everwire.wire import messages
from everwire.wire.codes import DisconnectCode, ErrorCode, UnsubscribeCode

PAGE = DOCS / "reference" / "client-protocol.md"
GROUPS = ("Commands", "Results", "Pushes", "Parts")
FRAMES = {"Command", "Reply", "Push", "Connect", "WireMessage"}
"""What is described in words."""


def test_messages() -> None:
    rows = {row["message"].strip("`"): row for group in GROUPS for row in tables(PAGE, group)}
    kinds = {name: getattr(messages, name) for name in messages.__all__ if name not in FRAMES}
    assert set(rows) == {name for name, kind in kinds.items() if kind.NUMBERS}
    for name, row in rows.items():
        fields = re.findall(r"`(\w+)` (\d+)", row["fields, with their numbers in Protobuf"])
        assert {field: int(number) for field, number in fields} == kinds[name].NUMBERS, name


@pytest.mark.parametrize(
    ("section", "codes"),
    [
        ("Errors", ErrorCode),
        ("Ends of sessions", DisconnectCode),
        ("Ends of subscriptions", UnsubscribeCode),
    ],
)
def test_codes(section: str, codes: type[ErrorCode] | type[DisconnectCode] | type[UnsubscribeCode]) -> None:
    rows = {int(row["code"]): row["meaning"] for row in tables(PAGE, section)}
    assert rows == {int(code): code.reason for code in codes}
