"""Histories, positions and recovery."""

from __future__ import annotations

from sdk.scenes.words import back, comes, commands, follows, history, join, publish, recovering
from sdk.stage import Scene

__all__ = ["LOGS"]

LOGS = [
    Scene(
        "history",
        [
            *follows("a", "log:x@"),
            ("send", "a", history("log:x@")),
            ("send", "a", *publish("log:x@", 1, 2, 3)),
            *(
                ("send", "a", history("log:x@", **fields))
                for fields in (
                    {},
                    {"limit": -1},
                    {"limit": 2},
                    {"limit": 0},
                    {"limit": 100},
                    {"limit": -5},
                    {"limit": 2, "reverse": True},
                    {"limit": -1, "reverse": True},
                )
            ),
        ],
    ),
    Scene(
        "history since",
        [
            *follows("a", "log:x@"),
            ("send", "a", *publish("log:x@", 1, 2, 3, 4)),
            *(
                (
                    "send",
                    "a",
                    history(
                        "log:x@", limit=limit, since={"offset": offset, "epoch": "$epoch:1"}, reverse=reverse
                    ),
                )
                for limit, offset, reverse in (
                    (-1, 0, False),
                    (-1, 2, False),
                    (1, 2, False),
                    (-1, 4, False),
                    (-1, 9, False),
                    (0, 2, False),
                    (-1, 3, True),
                    (1, 3, True),
                    (-1, 1, True),
                    (-1, 0, True),
                    (-1, 9, True),
                )
            ),
        ],
    ),
    Scene(
        "history since another epoch",
        [
            *follows("a", "log:x@"),
            ("send", "a", *publish("log:x@", 1, 2)),
            ("send", "a", history("log:x@", limit=-1, since={"offset": 1, "epoch": "other"})),
            ("send", "a", history("log:x@", limit=-1, since={"offset": 1, "epoch": ""})),
            ("send", "a", history("log:x@", limit=-1, since={"offset": 0, "epoch": ""})),
            ("send", "a", history("log:x@", limit=0, since={"offset": 1, "epoch": "other"})),
        ],
    ),
    Scene(
        "history since what was evicted",
        [
            *follows("a", "log:x@"),
            ("send", "a", *publish("log:x@", *range(1, 9))),
            *(
                ("send", "a", history("log:x@", limit=-1, since={"offset": n, "epoch": "$epoch:1"}))
                for n in (0, 1, 2, 3, 4)
            ),
        ],
    ),
    Scene(
        "history over the limit of a request",
        [
            *follows("a", "log:x@"),
            ("send", "a", *publish("log:x@", *range(1, 5))),
            ("send", "a", history("log:x@", limit=-1)),
            ("send", "a", history("log:x@", limit=3)),
        ],
        "few",
    ),
    Scene(
        "history without permission",
        commands(
            history("log:x@"), *join("mute:x@"), history("mute:x@"), *join("free:x@"), history("free:x@")
        ),
    ),
    Scene(
        "history removed",
        [
            *follows("a", "log:x@"),
            ("send", "a", *publish("log:x@", 1, 2)),
            ("api", "history_remove", {"channel": "log:x@"}),
            ("send", "a", history("log:x@", limit=-1)),
            ("send", "a", *publish("log:x@", 3)),
            ("send", "a", history("log:x@", limit=-1)),
            *comes("b"),
            ("send", "b", recovering("log:x@", offset=1, epoch="$epoch:1")),
        ],
    ),
    Scene(
        "recovery",
        back(
            "log:x@",
            {"offset": 1, "epoch": "$epoch:1"},
            {"offset": 3, "epoch": "$epoch:1"},
            {"offset": 2, "epoch": "$epoch:1"},
            {"offset": 0, "epoch": "$epoch:1"},
        ),
    ),
    Scene("recovery from the start", back("log:x@", {}, {"offset": 0, "epoch": ""})),
    Scene(
        "recovery of another epoch",
        back(
            "log:x@",
            {"offset": 1, "epoch": "other"},
            {"offset": 3, "epoch": "other"},
            {"offset": 0, "epoch": "other"},
        ),
    ),
    Scene(
        "recovery without an epoch", back("log:x@", {"offset": 2, "epoch": ""}, {"offset": 3, "epoch": ""})
    ),
    Scene(
        "recovery beyond the top",
        back("log:x@", {"offset": 4, "epoch": "$epoch:1"}, {"offset": 99, "epoch": "$epoch:1"}),
    ),
    Scene(
        "recovery of what was evicted",
        back("log:x@", *({"offset": n, "epoch": "$epoch:1"} for n in (0, 1, 2, 3, 4, 7, 8)), payloads=8),
    ),
    Scene(
        "recovery over the limit",
        back("big:x@", *({"offset": n, "epoch": "$epoch:1"} for n in (0, 1, 2, 3, 4)), payloads=6),
        "few",
    ),
    Scene(
        "recovery of an empty log",
        back(
            "log:x@",
            {},
            {"offset": 0, "epoch": "$epoch:1"},
            {"offset": 0, "epoch": "other"},
            {"offset": 1, "epoch": "$epoch:1"},
            payloads=0,
        ),
    ),
    Scene(
        "recovery where there is none",
        [*comes("a"), ("send", "a", recovering("free:x@", offset=1, epoch="x"))],
    ),
    Scene("recovery where only positions are kept", back("pos:x@", {"offset": 1, "epoch": "$epoch:1"})),
    Scene(
        "recovery without asking",
        [
            *follows("a", "log:x@"),
            ("send", "a", *publish("log:x@", 1)),
            *comes("b"),
            ("send", "b", *join("log:x@", offset=0, epoch="$epoch:1")),
        ],
    ),
    Scene(
        "the state of a subscriber who starts at a position",
        [
            *follows("a", "log:x@"),
            ("send", "a", *publish("log:x@", 1, 2)),
            *comes("b"),
            ("send", "b", recovering("log:x@", offset=1, epoch="$epoch:1", flag=2)),
            *comes("c"),
            ("send", "c", recovering("log:x@", offset=1, epoch="other", flag=2)),
            *comes("d"),
            ("send", "d", recovering("log:x@", offset=1, epoch="other", flag=4)),
            *comes("e"),
            ("send", "e", recovering("log:x@", offset=1, epoch="other", flag=6)),
        ],
    ),
    Scene("positions", [*follows("a", "pos:x@"), ("send", "a", *publish("pos:x@", 1))]),
    Scene(
        "recovery and positions on request",
        [
            *follows("a", "ask:x@"),
            *follows("b", "ask:x@", recoverable=True),
            *follows("c", "ask:x@", positioned=True),
            ("send", "a", *publish("ask:x@", 1)),
            *comes("d"),
            ("send", "d", recovering("ask:x@", recoverable=True, offset=0, epoch="$epoch:1")),
            *comes("e"),
            ("send", "e", recovering("ask:x@", offset=0, epoch="$epoch:1")),
        ],
    ),
    Scene(
        "recovery and positions that may not be asked for",
        [
            *follows("a", "loud:x@", recoverable=True, positioned=True),
            *follows("b", "quiet:x@", recoverable=True, positioned=True),
        ],
    ),
    Scene(
        "the latest of a log",
        back(
            "cache:x@",
            {},
            {"offset": 3, "epoch": "$epoch:1"},
            {"offset": 1, "epoch": "$epoch:1"},
            {"offset": 1, "epoch": "other"},
            {"offset": 9, "epoch": "$epoch:1"},
        ),
    ),
    Scene("the latest of an empty log", back("cache:x@", {}, {"offset": 0, "epoch": "$epoch:1"}, payloads=0)),
    Scene(
        "the latest for every subscriber",
        [*follows("a", "auto:x@"), ("send", "a", *publish("auto:x@", 1, 2)), *follows("b", "auto:x@")],
    ),
]
