"""The reference of the hub names every option, with its default."""

from __future__ import annotations

import dataclasses

import pytest
from docs.pages import DOCS, tables

from everwire.channels.context import Credentials
from everwire.channels.options import ChannelOptions, HubOptions, SubscribeOptions

PAGE = DOCS / "reference" / "hub.md"


def rows(section: str, column: str) -> dict[str, str]:
    found = [row for row in tables(PAGE, section) if column in row]
    return {row[column].strip("`"): row.get("default", "").strip("`") for row in found}


@pytest.mark.parametrize(("section", "kind"), [("Options", HubOptions), ("Channel options", ChannelOptions)])
def test_defaults(section: str, kind: type[HubOptions] | type[ChannelOptions]) -> None:
    fields = {each.name: str(each.default) for each in dataclasses.fields(kind) if each.init}
    documented = {name: default for name, default in rows(section, "option").items() if default}
    assert documented == fields


@pytest.mark.parametrize(
    ("section", "kind"), [("Credentials", Credentials), ("SubscribeOptions", SubscribeOptions)]
)
def test_attributes(section: str, kind: type[Credentials] | type[SubscribeOptions]) -> None:
    assert set(rows(section, "attribute")) == {each.name for each in dataclasses.fields(kind)}
