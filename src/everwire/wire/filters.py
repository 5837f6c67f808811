"""Conditions on the tags of publications, with which a client says what it wants of a channel (``tf``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from everwire.errors import WireError
from everwire.wire.messages import FilterNode

__all__ = ["MAX_DEPTH", "MAX_NODES", "MAX_VALUES", "check_filter", "compile_filter"]

MAX_DEPTH = 16
MAX_NODES = 128
MAX_VALUES = 512

Tags = Mapping[str, str]
Condition = Callable[[Tags], bool]

NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{1,40})?|\.[0-9]{1,40})", re.ASCII)
"""A decimal number without an exponent, which could stand for gigabytes of digits."""

WITH_VALUE = {"eq", "neq", "sw", "ew", "ct", "lt", "lte", "gt", "gte"}
WITH_VALUES = {"in", "nin"}
WITHOUT = {"ex", "nex"}


def number(text: str) -> Decimal | None:
    """The number that a text is; None: it is none."""
    return Decimal(text) if NUMBER.fullmatch(text) else None


def check_leaf(node: FilterNode) -> int:
    """Check a comparison; return how many values it has."""
    if node.nodes:
        raise WireError("a comparison of a filter has no nodes: set op to and, or, or not")
    if node.cmp not in WITH_VALUE | WITH_VALUES | WITHOUT:
        known = ", ".join(sorted(WITH_VALUE | WITH_VALUES | WITHOUT))
        raise WireError(f"a filter compares with {node.cmp[:40]!r}: cmp is one of {known}")
    if not node.key and node.cmp not in WITHOUT:
        raise WireError(f"the comparison {node.cmp} of a filter needs a key")
    if bool(node.val) != (node.cmp in WITH_VALUE):
        needs = "needs a val" if node.cmp in WITH_VALUE else "takes no val"
        raise WireError(f"the comparison {node.cmp} of a filter {needs}")
    if bool(node.vals) != (node.cmp in WITH_VALUES):
        needs = "needs vals" if node.cmp in WITH_VALUES else "takes no vals"
        raise WireError(f"the comparison {node.cmp} of a filter {needs}")
    return len(node.vals)


def check_filter(node: FilterNode) -> None:
    """Check that a filter makes sense, and is not too large.

    Raises:
        WireError: it does not, or is; it names what is wrong.
    """
    waiting = [(node, 1)]
    nodes = values = 0
    while waiting:
        node, depth = waiting.pop()
        nodes += 1
        if depth > MAX_DEPTH:
            raise WireError(f"a filter is nested more than {MAX_DEPTH} deep")
        if node.op == "":
            values += check_leaf(node)
        elif node.op not in ("and", "or", "not"):
            raise WireError(f"a filter has the op {node.op[:40]!r}: it is and, or, not, or empty")
        elif node.op == "not" and len(node.nodes) != 1:
            raise WireError(f"the op not of a filter has one node, not {len(node.nodes)}")
        elif not node.nodes:
            raise WireError(f"the op {node.op} of a filter needs nodes")
        else:
            waiting += [(inner, depth + 1) for inner in node.nodes]
        if nodes + len(waiting) > MAX_NODES or values > MAX_VALUES:
            raise WireError(f"a filter has more than {MAX_NODES} nodes or {MAX_VALUES} values")


def numeric(node: FilterNode) -> Condition:
    """A comparison of decimal numbers; what is none, is not less and not greater."""
    key, limit = node.key, number(node.val)

    def compare(tags: Tags) -> bool:
        value = number(tags.get(key, ""))
        if value is None or limit is None:
            return False
        match node.cmp:
            case "lt":
                return value < limit
            case "lte":
                return value <= limit
            case "gt":
                return value > limit
            case _:
                return value >= limit

    return compare


def leaf(node: FilterNode) -> Condition:
    """A comparison of one tag. One that is not there equals nothing, but is in a set with the empty text."""
    key, val, vals = node.key, node.val, frozenset(node.vals)
    match node.cmp:
        case "eq":
            return lambda tags: tags.get(key) == val
        case "neq":
            return lambda tags: tags.get(key) != val
        case "in":
            return lambda tags: tags.get(key, "") in vals
        case "nin":
            return lambda tags: tags.get(key, "") not in vals
        case "ex":
            return lambda tags: key in tags
        case "nex":
            return lambda tags: key not in tags
        case "sw":
            return lambda tags: tags.get(key, "").startswith(val)
        case "ew":
            return lambda tags: tags.get(key, "").endswith(val)
        case "ct":
            return lambda tags: val in tags.get(key, "")
        case _:
            return numeric(node)


def condition(node: FilterNode) -> Condition:
    """The function of a filter that was checked."""
    if node.op == "":
        return leaf(node)
    inner = [condition(each) for each in node.nodes]
    match node.op:
        case "and":
            return lambda tags: all(each(tags) for each in inner)
        case "or":
            return lambda tags: any(each(tags) for each in inner)
        case _:
            (only,) = inner
            return lambda tags: not only(tags)


def compile_filter(node: FilterNode) -> Condition:
    """A function that says whether tags fulfil the filter.

    Raises:
        WireError: it makes no sense, or is too large (:func:`check_filter`).
    """
    check_filter(node)
    return condition(node)
