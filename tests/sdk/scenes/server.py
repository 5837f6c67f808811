"""The server API, and what clients see of it."""

from __future__ import annotations

from sdk.scenes.words import comes, follows, join, publish
from sdk.stage import Scene

__all__ = ["SERVER"]

SERVER = [
    Scene(
        "subscribe a user",
        [
            *comes("a"),
            (
                "api",
                "subscribe",
                {"user": "a@", "channel": "log:x@", "info": {"role": 1}, "data": {"hello": 1}},
            ),
            ("api", "publish", {"channel": "log:x@", "data": 1}),
            ("api", "presence", {"channel": "log:x@"}),
            ("api", "subscribe", {"user": "a@", "channel": "log:x@"}),
            ("api", "unsubscribe", {"user": "a@", "channel": "log:x@"}),
            ("api", "presence_stats", {"channel": "log:x@"}),
        ],
    ),
    Scene(
        "subscribe a user to what is recovered",
        [
            *follows("w", "log:x@"),
            ("send", "w", *publish("log:x@", 1, 2, 3)),
            *comes("a"),
            (
                "api",
                "subscribe",
                {"user": "a@", "channel": "log:x@", "recover_since": {"offset": 1, "epoch": "$epoch:1"}},
            ),
        ],
    ),
    Scene(
        "subscribe one connection of a user",
        [
            *comes("a"),
            *comes("b", as_user="a"),
            ("api", "subscribe", {"user": "a@", "channel": "free:x@", "client": "$client:1"}),
        ],
    ),
    Scene(
        "end a user's own subscription",
        [
            *follows("a", "free:x@"),
            ("api", "unsubscribe", {"user": "a@", "channel": "free:x@"}),
            ("send", "a", *join("free:x@")),
        ],
    ),
    Scene(
        "end a user's subscription that is not",
        [*comes("a"), ("api", "unsubscribe", {"user": "a@", "channel": "free:x@"})],
    ),
    Scene(
        "disconnect a user",
        [
            *comes("a"),
            *comes("b"),
            ("api", "disconnect", {"user": "a@"}),
            ("wait", "a", "close"),
            ("send", "b", {}),
        ],
    ),
    Scene(
        "disconnect with a code",
        [
            *comes("a"),
            ("api", "disconnect", {"user": "a@", "disconnect": {"code": 4321, "reason": "because"}}),
            ("wait", "a", "close"),
        ],
    ),
    Scene(
        "disconnect all but one",
        [
            *comes("a"),
            *comes("b", as_user="a"),
            ("api", "disconnect", {"user": "a@", "whitelist": ["$client:2"]}),
            ("wait", "a", "close"),
        ],
    ),
    Scene(
        "disconnect nobody",
        [
            ("api", "disconnect", {"user": "nobody@"}),
            ("api", "disconnect", {"user": ""}),
            ("api", "disconnect", {}),
        ],
    ),
    Scene(
        "refresh a user", [*comes("a", exp=60), ("api", "refresh", {"user": "a@", "expire_at": 9999999999})]
    ),
    Scene(
        "expire a user",
        [*comes("a", exp=60), ("api", "refresh", {"user": "a@", "expired": True}), ("wait", "a", "close")],
    ),
    Scene(
        "broadcast",
        [
            *follows("a", "log:x@"),
            *follows("b", "free:x@"),
            (
                "api",
                "broadcast",
                {"channels": ["log:x@", "free:x@", "nowhere:x@", ""], "data": {"to": "all"}},
            ),
            ("api", "broadcast", {"channels": [], "data": {}}),
            ("api", "broadcast", {"channels": ["log:x@"]}),
        ],
    ),
    Scene(
        "histories of the server API",
        [
            *follows("a", "log:x@"),
            ("send", "a", *publish("log:x@", 1, 2, 3)),
            *(
                ("api", "history", {"channel": "log:x@", **fields})
                for fields in (
                    {},
                    {"limit": -1},
                    {"limit": 2},
                    {"limit": 1, "reverse": True},
                    {"limit": -1, "since": {"offset": 1, "epoch": "$epoch:1"}},
                    {"limit": -1, "since": {"offset": 1, "epoch": "other"}},
                )
            ),
            ("api", "history", {"channel": "free:x@"}),
            ("api", "history", {"channel": "nowhere:x"}),
            ("api", "history", {}),
            ("api", "history_remove", {"channel": "free:x@"}),
        ],
    ),
    Scene(
        "presence of the server API",
        [
            *follows("a", "log:x@"),
            ("api", "presence", {"channel": "log:x@"}),
            ("api", "presence_stats", {"channel": "log:x@"}),
            ("api", "presence", {"channel": "free:x@"}),
            ("api", "presence_stats", {"channel": "free:x@"}),
            ("api", "presence", {}),
            ("api", "presence", {"channel": "nowhere:x"}),
        ],
    ),
    Scene(
        "publish by the server API done wrong",
        [
            ("api", "publish", {}),
            ("api", "publish", {"channel": "log:x@"}),
            ("api", "publish", {"data": 1}),
            ("api", "publish", {"channel": "nowhere:x", "data": 1}),
            ("api", "publish", {"channel": 5, "data": 1}),
            ("api", "publish", {"channel": "log:x@", "b64data": "%"}),
            ("api", "publish", []),
            ("api", "dance", {}),
            ("api", "publish", {"channel": "log:x@", "data": 1, "colour": 2}),
        ],
    ),
    Scene("rpc of the server API", [("api", "rpc", {"method": "nothing", "params": {}})]),
    Scene(
        "channels of the server API",
        [
            *follows("a", "free:x@"),
            *follows("b", "free:x@"),
            ("send", "b", *join("log:y@")),
            ("api", "channels", {"pattern": "*@"}),
        ],
    ),
    Scene(
        "a batch of the server API",
        [
            *follows("a", "log:x@"),
            (
                "api",
                "batch",
                {
                    "commands": [
                        {"publish": {"channel": "log:x@", "data": 1}},
                        {"publish": {"channel": "nowhere:x", "data": 1}},
                        {"presence_stats": {"channel": "log:x@"}},
                        {"history": {"channel": "log:x@", "limit": 1}},
                    ]
                },
            ),
            ("api", "batch", {"commands": []}),
            ("api", "batch", {"commands": [{}]}),
            ("api", "batch", {"parallel": True, "commands": [{"publish": {"channel": "log:x@", "data": 2}}]}),
        ],
    ),
]
