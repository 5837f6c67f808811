"""Filters of tags: each comparison by case, all together against an evaluation that is made naively."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everwire.errors import WireError
from everwire.wire.filters import MAX_DEPTH, MAX_NODES, MAX_VALUES, check_filter, compile_filter
from everwire.wire.messages import FilterNode

TAGS = {"name": "everwire", "n": "10", "half": "0.50", "minus": "-3", "empty": ""}


def leaf(key: str, cmp: str, val: str = "", *vals: str) -> FilterNode:
    return FilterNode(key=key, cmp=cmp, val=val, vals=list(vals))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (leaf("name", "eq", "everwire"), True),
        (leaf("name", "eq", "ever"), False),
        (leaf("none", "eq", "x"), False),
        (leaf("name", "neq", "everwire"), False),
        (leaf("none", "neq", "x"), True),
        (leaf("name", "in", "", "a", "everwire"), True),
        (leaf("name", "in", "", "a"), False),
        (leaf("none", "in", "", "a"), False),
        (leaf("none", "in", "", "a", ""), True),
        (leaf("name", "nin", "", "a"), True),
        (leaf("none", "nin", "", "a"), True),
        (leaf("name", "nin", "", "everwire"), False),
        (leaf("empty", "ex"), True),
        (leaf("none", "ex"), False),
        (leaf("none", "nex"), True),
        (leaf("empty", "nex"), False),
        (leaf("name", "sw", "ever"), True),
        (leaf("name", "sw", "wire"), False),
        (leaf("none", "sw", "x"), False),
        (leaf("name", "ew", "wire"), True),
        (leaf("name", "ew", "ever"), False),
        (leaf("name", "ct", "rwi"), True),
        (leaf("none", "ct", "x"), False),
        (leaf("n", "lt", "9"), False),  # as texts it would be
        (leaf("n", "lt", "10.01"), True),
        (leaf("n", "lte", "10.000"), True),
        (leaf("n", "gt", "9.99"), True),
        (leaf("n", "gt", "10"), False),
        (leaf("n", "gte", "10"), True),
        (leaf("half", "gte", "0.5"), True),
        (leaf("minus", "lt", "-2.5"), True),
        (leaf("minus", "lt", "-3.5"), False),
        (leaf("name", "lt", "5"), False),
        (leaf("name", "gte", "5"), False),
        (leaf("n", "gt", "none"), False),
        (leaf("n", "lt", "1e9"), False),
        (leaf("n", "lt", "Infinity"), False),
        (leaf("none", "lt", "5"), False),
        (FilterNode(op="and", nodes=[leaf("n", "ex"), leaf("none", "nex")]), True),
        (FilterNode(op="and", nodes=[leaf("n", "ex"), leaf("none", "ex")]), False),
        (FilterNode(op="or", nodes=[leaf("n", "nex"), leaf("none", "nex")]), True),
        (FilterNode(op="or", nodes=[leaf("n", "nex"), leaf("none", "ex")]), False),
        (FilterNode(op="not", nodes=[leaf("n", "nex")]), True),
        (FilterNode(op="not", nodes=[leaf("n", "ex")]), False),
    ],
    ids=str,
)
def test_conditions(node: FilterNode, expected: bool) -> None:
    assert compile_filter(node)(TAGS) is expected


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (FilterNode(), "compares with ''"),
        (leaf("a", "like", "x"), "compares with 'like'"),
        (leaf("a", "eq"), "eq of a filter needs a val"),
        (leaf("", "eq", "x"), "needs a key"),
        (leaf("a", "eq", "x", "y"), "takes no vals"),
        (leaf("a", "in"), "needs vals"),
        (leaf("a", "in", "x", "y"), "takes no val"),
        (leaf("a", "ex", "x"), "takes no val"),
        (FilterNode(op="xor", nodes=[leaf("a", "ex")]), "op 'xor'"),
        (FilterNode(op="and"), "and of a filter needs nodes"),
        (FilterNode(op="not"), "one node, not 0"),
        (FilterNode(op="not", nodes=[leaf("a", "ex")] * 2), "one node, not 2"),
        (FilterNode(key="a", cmp="ex", nodes=[leaf("a", "ex")]), "has no nodes"),
        (FilterNode(op="or", nodes=[leaf("a", "ex")] * MAX_NODES), "more than"),
        (leaf("a", "in", "", *["v"] * (MAX_VALUES + 1)), "more than"),
    ],
)
def test_filters_that_make_no_sense_are_refused(node: FilterNode, message: str) -> None:
    with pytest.raises(WireError, match=message):
        compile_filter(node)


def test_filters_are_as_deep_and_as_large_as_allowed() -> None:
    node = leaf("a", "ex")
    for _ in range(MAX_DEPTH - 1):
        node = FilterNode(op="not", nodes=[node])
    check_filter(node)
    check_filter(FilterNode(op="or", nodes=[leaf("a", "ex")] * (MAX_NODES - 1)))
    with pytest.raises(WireError, match="nested"):
        check_filter(FilterNode(op="not", nodes=[node]))


keys = st.sampled_from(["a", "b", "c"])
values = st.sampled_from(["", "1", "2.5", "10", "-1", "x", "xy", "yx"])
filled = values.filter(bool)
leaves = st.one_of(
    st.builds(leaf, keys, st.sampled_from(["eq", "neq", "sw", "ew", "ct", "lt", "lte", "gt", "gte"]), filled),
    st.builds(
        lambda key, cmp, vals: leaf(key, cmp, "", *vals),
        keys,
        st.sampled_from(["in", "nin"]),
        st.lists(values, min_size=1, max_size=3),
    ),
    st.builds(leaf, keys, st.sampled_from(["ex", "nex"])),
)
trees: st.SearchStrategy[FilterNode] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            lambda op, nodes: FilterNode(op=op, nodes=nodes),
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        inner.map(lambda node: FilterNode(op="not", nodes=[node])),
    ),
    max_leaves=8,
)


def naive(node: FilterNode, tags: dict[str, str]) -> bool:
    if node.op:
        results = [naive(each, tags) for each in node.nodes]
        return not results[0] if node.op == "not" else (all if node.op == "and" else any)(results)
    there, value, val = node.key in tags, tags.get(node.key, ""), node.val
    numbers: Any = None
    if node.cmp in ("lt", "lte", "gt", "gte"):
        try:
            numbers = Decimal(value), Decimal(val)
        except ArithmeticError:
            return False
    outcomes = {
        "eq": lambda: there and value == val,
        "neq": lambda: not (there and value == val),
        "in": lambda: value in node.vals,
        "nin": lambda: value not in node.vals,
        "ex": lambda: there,
        "nex": lambda: not there,
        "sw": lambda: there and value[: len(val)] == val,
        "ew": lambda: there and value[-len(val) :] == val,
        "ct": lambda: there and value.find(val) >= 0,
        "lt": lambda: numbers[0] < numbers[1],
        "lte": lambda: numbers[0] <= numbers[1],
        "gt": lambda: numbers[0] > numbers[1],
        "gte": lambda: numbers[0] >= numbers[1],
    }
    return bool(outcomes[node.cmp]())


@given(trees, st.dictionaries(keys, values))
def test_all_filters_are_as_evaluated_naively(node: FilterNode, tags: dict[str, str]) -> None:
    assert compile_filter(node)(tags) is naive(node, tags)
