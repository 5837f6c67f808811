"""Publishing, by clients and by the server API."""

from __future__ import annotations

from sdk.scenes.words import comes, commands, follows, history, join, publish
from sdk.stage import Scene

__all__ = ["PUBLISHING"]

PUBLISHING = [
    Scene(
        "publish",
        [
            *follows("a", "log:x@"),
            ("send", "a", *publish("log:x@", {"n": 1}, "text", [1, 2], None, 0, False, "")),
        ],
    ),
    Scene(
        "publish to others",
        [*follows("a", "log:x@"), *follows("b", "log:x@"), ("send", "a", *publish("log:x@", {"n": 1}))],
    ),
    Scene(
        "publish without data", [*follows("a", "log:x@"), ("send", "a", {"publish": {"channel": "log:x@"}})]
    ),
    Scene("publish without permission", [*follows("a", "free:x@"), ("send", "a", *publish("free:x@", 1))]),
    Scene("publish without a subscription", commands(*publish("log:x@", 1))),
    Scene("publish as a client", commands(*publish("pub:x@", 1), *join("pub:x@"), *publish("pub:x@", 2))),
    Scene(
        "publish with info of a user",
        [
            *comes("a", info={"name": "Ann"}),
            ("send", "a", *join("log:x@")),
            ("send", "a", *publish("log:x@", {"n": 1})),
            ("send", "a", history("log:x@", limit=-1)),
        ],
    ),
    Scene(
        "publish with info of a subscription",
        [
            *comes("a"),
            (
                "send",
                "a",
                *join("log:x@", token={"jwt": {"sub": "a@", "channel": "log:x@", "info": {"role": 1}}}),
            ),
            ("send", "a", *publish("log:x@", {"n": 1})),
        ],
    ),
    Scene(
        "publish where there is no log",
        [*follows("a", "loud:x@"), ("send", "a", *publish("loud:x@", {"n": 1}, {"n": 2}))],
    ),
    Scene(
        "publications of the server API",
        [
            *follows("a", "log:x@"),
            ("api", "publish", {"channel": "log:x@", "data": {"n": 1}}),
            (
                "api",
                "publish",
                {"channel": "log:x@", "data": {"n": 2}, "tags": {"k": "v"}, "idempotency_key": "once@"},
            ),
            ("api", "publish", {"channel": "log:x@", "data": {"n": 3}, "idempotency_key": "once@"}),
            ("api", "publish", {"channel": "log:x@", "data": {"n": 4}, "skip_history": True}),
            ("api", "publish", {"channel": "log:x@", "b64data": "eyJuIjo1fQ=="}),
            ("send", "a", history("log:x@", limit=-1)),
        ],
    ),
    Scene(
        "publications with versions",
        [
            *follows("a", "log:x@"),
            *(
                ("api", "publish", {"channel": "log:x@", "data": {"v": v}, "version": v, "version_epoch": e})
                for v, e in ((2, "i"), (1, "i"), (2, "i"), (3, "i"), (1, "j"))
            ),
            ("send", "a", history("log:x@", limit=-1)),
        ],
    ),
]
