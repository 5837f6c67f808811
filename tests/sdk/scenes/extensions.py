"""Differences, filters, kinds of subscriptions."""

from __future__ import annotations

from sdk.scenes.words import comes, follows, publish, recovering
from sdk.stage import Scene

__all__ = ["EXTENSIONS"]

EXTENSIONS = [
    Scene(
        "differences",
        [
            *follows("a", "delta:x@", delta="fossil"),
            *follows("b", "delta:x@"),
            (
                "send",
                "b",
                *publish(
                    "delta:x@",
                    {"text": "a rather long text that is the same, number 1"},
                    {"text": "a rather long text that is the same, number 2"},
                ),
            ),
            ("send", "b", *publish("delta:x@", {"other": True})),
            ("api", "publish", {"channel": "delta:x@", "data": {"other": True}}),
        ],
    ),
    Scene(
        "differences on request of the publisher",
        [
            *follows("a", "deltaask:x@", delta="fossil"),
            (
                "api",
                "publish",
                {
                    "channel": "deltaask:x@",
                    "data": {"text": "a rather long text that is the same, number 1"},
                    "delta": True,
                },
            ),
            (
                "api",
                "publish",
                {
                    "channel": "deltaask:x@",
                    "data": {"text": "a rather long text that is the same, number 2"},
                    "delta": True,
                },
            ),
            (
                "api",
                "publish",
                {"channel": "deltaask:x@", "data": {"text": "a rather long text that is the same, number 3"}},
            ),
            (
                "api",
                "publish",
                {
                    "channel": "deltaask:x@",
                    "data": {"text": "a rather long text that is the same, number 4"},
                    "delta": True,
                },
            ),
        ],
    ),
    Scene(
        "differences in what is recovered",
        [
            *follows("a", "delta:x@"),
            (
                "send",
                "a",
                *publish(
                    "delta:x@", *({"text": "a rather long text that is the same", "n": n} for n in range(4))
                ),
            ),
            *comes("b"),
            ("send", "b", recovering("delta:x@", offset=1, epoch="$epoch:1", delta="fossil")),
            ("send", "a", *publish("delta:x@", {"text": "a rather long text that is the same", "n": 5})),
            *follows("c", "delta:x@", delta="fossil"),
            ("send", "a", *publish("delta:x@", {"text": "a rather long text that is the same", "n": 6})),
        ],
    ),
    Scene(
        "differences where there are none",
        [*follows("a", "log:x@", delta="fossil"), ("send", "a", *publish("log:x@", 1))],
    ),
    Scene("differences of an unknown kind", [*follows("a", "delta:x@", delta="xdelta")]),
    Scene(
        "filters",
        [
            *follows("a", "tags:x@", tf={"key": "k", "cmp": "eq", "val": "v"}),
            *follows(
                "b",
                "tags:x@",
                tf={
                    "op": "or",
                    "nodes": [
                        {"key": "n", "cmp": "gt", "val": "5"},
                        {"op": "not", "nodes": [{"key": "k", "cmp": "ex"}]},
                    ],
                },
            ),
            *(
                ("api", "publish", {"channel": "tags:x@", "data": {"i": i}, "tags": tags})
                for i, tags in enumerate(({"k": "v"}, {"k": "w"}, {"n": "7", "k": "z"}, {"n": "10"}, {}))
            ),
            *comes("c"),
            (
                "send",
                "c",
                recovering("tags:x@", offset=0, epoch="$epoch:1", tf={"key": "k", "cmp": "eq", "val": "v"}),
            ),
        ],
    ),
    *(
        Scene(f"filters: {name}", [*follows("a", "tags:x@", tf=node)])
        for name, node in {
            "an unknown comparison": {"key": "k", "cmp": "like", "val": "v"},
            "an unknown operation": {"op": "xor", "nodes": [{"key": "k", "cmp": "ex"}]},
            "no key": {"cmp": "eq", "val": "v"},
            "no nodes": {"op": "and"},
            "not of two": {"op": "not", "nodes": [{"key": "k", "cmp": "ex"}, {"key": "l", "cmp": "ex"}]},
            "in without values": {"key": "k", "cmp": "in"},
            "not a number": {"key": "k", "cmp": "gt", "val": "x"},
        }.items()
    ),
    Scene(
        "filters where there are none", [*follows("a", "log:x@", tf={"key": "k", "cmp": "eq", "val": "v"})]
    ),
    Scene(
        "filters with differences",
        [*follows("a", "both:x@", tf={"key": "k", "cmp": "eq", "val": "v"}, delta="fossil")],
    ),
    Scene("a subscription of an unknown type", [*follows("a", "log:x@", type=7)]),
    Scene("a map subscription", [*follows("a", "log:x@", type=1)]),
]
