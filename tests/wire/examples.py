"""Messages of every kind, made at random."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from hypothesis import strategies as st
from msgspec import Raw

from everwire.wire.fields import Field, Kind, fields
from everwire.wire.messages import NOTHING, FilterNode, WireMessage

M = TypeVar("M", bound=WireMessage)

texts = st.text(st.characters(codec="utf-8"), max_size=8)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
payloads = st.one_of(st.just(NOTHING), values.map(lambda value: Raw(json.dumps(value).encode())))


def of_field(field: Field, depth: int) -> st.SearchStrategy[Any]:
    match field.kind:
        case Kind.TEXT:
            return texts
        case Kind.BOOLEAN:
            return st.booleans()
        case Kind.INTEGER:
            return st.sampled_from((0, 1, field.highest, field.lowest)) | st.integers(
                field.lowest, field.highest
            )
        case Kind.PAYLOAD:
            return payloads
        case Kind.TEXTS:
            return st.lists(texts, max_size=3)
        case Kind.TEXT_MAP:
            return st.dictionaries(texts, texts, max_size=3)
        case _:
            pass
    assert field.message is not None
    inner = messages(field.message, depth - 1)
    if field.kind is Kind.MESSAGE:
        return st.none() if depth == 0 else st.none() | inner
    if field.kind is Kind.LIST:
        return st.builds(list) if depth == 0 else st.lists(inner, max_size=2)
    return st.builds(dict) if depth == 0 else st.dictionaries(texts, inner, max_size=2)


def messages(of: type[M], depth: int = 4) -> st.SearchStrategy[M]:
    """Messages of a type, nested so deeply at most."""
    if of is FilterNode:
        depth = min(depth, 2)
    return st.deferred(
        lambda: st.fixed_dictionaries(
            {}, optional={field.name: of_field(field, depth) for field in fields(of)}
        ).map(lambda some: of(**some))
    )
