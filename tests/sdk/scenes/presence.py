"""Who is there, who comes and leaves."""

from __future__ import annotations

from sdk.scenes.words import comes, commands, follows, join
from sdk.stage import Scene

__all__ = ["PRESENCE"]

PRESENCE = [
    Scene(
        "presence",
        [
            *follows("a", "log:x@"),
            *follows("b", "log:x@"),
            *comes("c", as_user="b"),
            ("send", "c", *join("log:x@")),
            ("send", "a", {"presence": {"channel": "log:x@"}}, {"presence_stats": {"channel": "log:x@"}}),
            ("send", "b", {"unsubscribe": {"channel": "log:x@"}}),
            ("send", "a", {"presence": {"channel": "log:x@"}}, {"presence_stats": {"channel": "log:x@"}}),
        ],
    ),
    Scene(
        "presence with info",
        [
            *comes("a", info={"name": "Ann"}),
            (
                "send",
                "a",
                *join("log:x@", token={"jwt": {"sub": "a@", "channel": "log:x@", "info": {"role": 1}}}),
                {"presence": {"channel": "log:x@"}},
            ),
        ],
    ),
    Scene(
        "presence without permission",
        commands(
            {"presence": {"channel": "log:x@"}},
            {"presence_stats": {"channel": "log:x@"}},
            *join("mute:x@"),
            {"presence": {"channel": "mute:x@"}},
            {"presence_stats": {"channel": "mute:x@"}},
        ),
    ),
    Scene(
        "presence where there is none",
        commands(
            *join("free:x@"), {"presence": {"channel": "free:x@"}}, {"presence_stats": {"channel": "free:x@"}}
        ),
    ),
    Scene(
        "joins and leaves",
        [
            *follows("a", "jl:x@"),
            ("wait", "a", 3),
            *comes("b", info={"name": "Bob"}),
            ("send", "b", *join("jl:x@")),
            ("wait", "a", 4),
            ("wait", "b", 3),
            ("send", "b", {"unsubscribe": {"channel": "jl:x@"}}),
            ("wait", "a", 5),
        ],
    ),
    Scene(
        "joins and leaves on request",
        [
            *follows("a", "jlask:x@"),
            *follows("b", "jlask:x@", join_leave=True),
            ("wait", "b", 3),
            *follows("c", "jlask:x@"),
            ("wait", "b", 4),
            ("leave", "c"),
            ("wait", "b", 5),
        ],
    ),
    Scene(
        "nobody there, nothing there",
        [
            ("open", "a"),
            ("send", "a", {"connect": {}}),
            ("send", "a", {"presence": {"channel": "log:x@"}}, {"presence_stats": {"channel": "log:x@"}}),
            ("send", "a", {"history": {"channel": "log:x@", "limit": 5}}),
        ],
        "insecure",
    ),
]
