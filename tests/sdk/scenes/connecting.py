"""Connecting, refreshing, and channels that come with it."""

from __future__ import annotations

from sdk.scenes.words import comes, commands, join, user
from sdk.stage import Scene

__all__ = ["CONNECTING"]

CONNECTING = [
    Scene("connect with a token", comes("a")),
    Scene(
        "connect with all fields",
        [
            ("open", "a"),
            (
                "send",
                "a",
                {
                    "connect": {
                        "token": {"jwt": {"sub": "a@", "info": {"name": "Ann"}, "exp": 3600}},
                        "data": {"x": 1},
                        "name": "tests",
                        "version": "1",
                    }
                },
            ),
        ],
    ),
    Scene(
        "connect with an anonymous token",
        [("open", "a"), ("send", "a", {"connect": {"token": {"jwt": {"sub": ""}}}})],
    ),
    Scene("connect without a token", [("open", "a"), ("send", "a", {"connect": {}})]),
    Scene(
        "connect without a token where that is allowed",
        [("open", "a"), ("send", "a", {"connect": {}})],
        "open",
    ),
    Scene(
        "connect insecurely",
        [("open", "a"), ("send", "a", {"connect": {}}), ("send", "a", *join("any@"))],
        "insecure",
    ),
    Scene("connect with an expired token", [("open", "a"), ("send", "a", user("a", exp=-10))]),
    Scene(
        "connect with a token of another key",
        [("open", "a"), ("send", "a", user("a", key="not the key, but as long as it is"))],
    ),
    Scene(
        "connect with what is no token", [("open", "a"), ("send", "a", {"connect": {"token": "nonsense"}})]
    ),
    Scene("connect with a token of a channel", [("open", "a"), ("send", "a", user("a", channel="free:x"))]),
    Scene("connect twice", commands(user("a"))),
    Scene("connect without an id", [("open", "a"), ("send", "a", {"id": 0, **user("a")})]),
    Scene("a command before connect", [("open", "a"), ("send", "a", *join("free:x@"))]),
    Scene("a pong before connect", [("open", "a"), ("send", "a", {})]),
    Scene("a send before connect", [("open", "a"), ("send", "a", {"send": {"data": {}}})]),
    Scene(
        "connect and more in a frame", [("open", "a"), ("send", "a", user("a"), *join("free:x@", "free:y@"))]
    ),
    Scene("channels of a token", [("open", "a"), ("send", "a", user("a", channels=["free:x@", "log:y@"]))]),
    Scene(
        "channels of a token with options",
        [
            ("open", "a"),
            (
                "send",
                "a",
                user(
                    "a",
                    subs={
                        "free:x@": {"info": {"role": "owner"}, "data": {"hello": 1}},
                        "free:y@": {"override": {"presence": {"value": True}}},
                    },
                ),
            ),
            ("send", "a", {"presence": {"channel": "free:y@"}}),
        ],
    ),
    Scene(
        "channels of a token recovered",
        [
            ("open", "a"),
            ("send", "a", user("a", channels=["log:y@"])),
            ("api", "publish", {"channel": "log:y@", "data": {"n": 1}}),
            ("leave", "a"),
            ("api", "publish", {"channel": "log:y@", "data": {"n": 2}}),
            ("open", "b"),
            (
                "send",
                "b",
                {
                    "connect": {
                        "token": {"jwt": {"sub": "a@", "channels": ["log:y@"]}},
                        "subs": {"log:y@": {"recover": True, "offset": 1, "epoch": "$epoch:1"}},
                    }
                },
            ),
        ],
    ),
    Scene(
        "channels of a token with an unknown namespace",
        [("open", "a"), ("send", "a", user("a", channels=["nowhere:x"]))],
    ),
    Scene(
        "a personal channel",
        [
            *comes("a"),
            ("api", "publish", {"channel": "#a@", "data": {"for": "a"}}),
            ("send", "a", {"presence": {"channel": "#a@"}}),
        ],
        "personal",
    ),
    Scene(
        "server-side subscriptions cannot be ended by the client",
        [
            ("open", "a"),
            ("send", "a", user("a", channels=["free:x@"])),
            ("send", "a", {"unsubscribe": {"channel": "free:x@"}}),
            ("send", "a", *join("free:x@")),
        ],
    ),
    Scene("a token that expires while connected", [*comes("a", exp=2), ("wait", "a", "close")], "hasty"),
    Scene(
        "a token that is refreshed",
        [
            *comes("a", exp=5),
            ("send", "a", {"refresh": {"token": {"jwt": {"sub": "a@", "exp": 500}}}}),
            ("send", "a", {"refresh": {"token": {"jwt": {"sub": "a@"}}}}),
        ],
    ),
    Scene("a refresh without a token", commands({"refresh": {}})),
    Scene(
        "a refresh with an expired token",
        [*comes("a", exp=500), ("send", "a", {"refresh": {"token": {"jwt": {"sub": "a@", "exp": -5}}}})],
    ),
    Scene(
        "a refresh with what is no token",
        [*comes("a", exp=500), ("send", "a", {"refresh": {"token": "nonsense"}}), ("wait", "a", "close")],
    ),
    Scene(
        "a refresh for another user",
        [*comes("a", exp=500), ("send", "a", {"refresh": {"token": {"jwt": {"sub": "b@", "exp": 500}}}})],
    ),
    Scene(
        "a refresh of what does not expire",
        commands({"refresh": {"token": {"jwt": {"sub": "a@", "exp": 500}}}}),
    ),
]
