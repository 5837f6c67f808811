"""Subscribing and unsubscribing, with permission and without."""

from __future__ import annotations

from sdk.scenes.words import comes, commands, history, join, publish
from sdk.stage import Scene

__all__ = ["SUBSCRIBING"]

SUBSCRIBING = [
    Scene("subscribe", commands(*join("free:x@"))),
    Scene("subscribe twice", commands(*join("free:x@", "free:x@"))),
    Scene("subscribe twice in a frame", [*comes("a"), ("send", "a", *join("free:x@", "free:x@"))]),
    Scene(
        "subscribe and unsubscribe",
        commands(
            *join("free:x@"),
            {"unsubscribe": {"channel": "free:x@"}},
            {"unsubscribe": {"channel": "free:x@"}},
            *join("free:x@"),
        ),
    ),
    Scene(
        "unsubscribe from what was never subscribed",
        commands({"unsubscribe": {"channel": "free:x@"}}, {"unsubscribe": {"channel": "nowhere:x"}}),
    ),
    Scene(
        "no channel",
        commands(
            {"subscribe": {}},
            {"unsubscribe": {}},
            {"publish": {"data": 1}},
            {"history": {}},
            {"presence": {}},
            {"presence_stats": {}},
            {"sub_refresh": {}},
        ),
    ),
    *(
        Scene(f"no channel: {name}", commands({name: {}}))
        for name in (
            "subscribe",
            "unsubscribe",
            "publish",
            "history",
            "presence",
            "presence_stats",
            "sub_refresh",
        )
    ),
    Scene(
        "an unknown namespace",
        commands(
            *join("nowhere:x@"),
            *publish("nowhere:x@", 1),
            history("nowhere:x@"),
            {"presence": {"channel": "nowhere:x@"}},
            {"presence_stats": {"channel": "nowhere:x@"}},
        ),
    ),
    Scene("a channel without permission", commands(*join("plain@", "closed:x@"))),
    Scene(
        "a channel's name over the limit", commands(*join("free:" + "x" * 250), *join("free:" + "x" * 251))
    ),
    Scene(
        "more channels than allowed",
        [*comes("a"), ("send", "a", *join(*(f"free:{n}@" for n in range(4))))],
        "few",
    ),
    Scene(
        "a token of a channel",
        commands(*join("closed:x@", token={"jwt": {"sub": "a@", "channel": "closed:x@"}})),
    ),
    Scene(
        "a token of a channel with all claims",
        commands(
            *join(
                "closed:x@",
                token={"jwt": {"sub": "a@", "channel": "closed:x@", "info": {"role": 1}, "exp": 100}},
            )
        ),
    ),
    Scene(
        "a token of another channel",
        commands(*join("closed:x@", token={"jwt": {"sub": "a@", "channel": "closed:y@"}})),
    ),
    Scene(
        "a token of another user",
        commands(*join("closed:x@", token={"jwt": {"sub": "b@", "channel": "closed:x@"}})),
    ),
    Scene(
        "a token of another key",
        commands(
            *join(
                "closed:x@",
                token={
                    "jwt": {"sub": "a@", "channel": "closed:x@", "key": "not the key, but as long as it is"}
                },
            )
        ),
    ),
    Scene(
        "an expired token of a channel",
        commands(*join("closed:x@", token={"jwt": {"sub": "a@", "channel": "closed:x@", "exp": -5}})),
    ),
    Scene("what is no token for a channel", commands(*join("closed:x@", token="nonsense"))),
    Scene("a connection's token for a channel", commands(*join("closed:x@", token={"jwt": {"sub": "a@"}}))),
    Scene(
        "a token for an open channel",
        commands(*join("free:x@", token={"jwt": {"sub": "a@", "channel": "free:x@"}})),
    ),
    Scene("a bad token for an open channel", commands(*join("free:x@", token="nonsense"))),
    Scene(
        "a subscription that is refreshed",
        commands(
            *join("closed:x@", token={"jwt": {"sub": "a@", "channel": "closed:x@", "exp": 100}}),
            {
                "sub_refresh": {
                    "channel": "closed:x@",
                    "token": {"jwt": {"sub": "a@", "channel": "closed:x@", "exp": 200}},
                }
            },
            {
                "sub_refresh": {
                    "channel": "closed:x@",
                    "token": {"jwt": {"sub": "a@", "channel": "closed:x@"}},
                }
            },
        ),
    ),
    *(
        Scene(
            f"sub_refresh: {name}",
            commands(
                *join("closed:x@", token={"jwt": {"sub": "a@", "channel": "closed:x@", "exp": 100}}),
                {"sub_refresh": {"channel": "closed:x@", "token": token}},
            ),
        )
        for name, token in {
            "no token": "",
            "what is none": "nonsense",
            "expired": {"jwt": {"sub": "a@", "channel": "closed:x@", "exp": -5}},
            "another channel": {"jwt": {"sub": "a@", "channel": "closed:y@", "exp": 50}},
            "another user": {"jwt": {"sub": "b@", "channel": "closed:x@", "exp": 50}},
        }.items()
    ),
    Scene(
        "sub_refresh of what is not subscribed",
        commands(
            {
                "sub_refresh": {
                    "channel": "closed:x@",
                    "token": {"jwt": {"sub": "a@", "channel": "closed:x@", "exp": 50}},
                }
            }
        ),
    ),
    Scene(
        "sub_refresh of what does not expire",
        commands(
            *join("free:x@"),
            {
                "sub_refresh": {
                    "channel": "free:x@",
                    "token": {"jwt": {"sub": "a@", "channel": "free:x@", "exp": 50}},
                }
            },
        ),
    ),
    Scene(
        "a subscription that expires",
        [
            *comes("a"),
            ("send", "a", *join("closed:x@", token={"jwt": {"sub": "a@", "channel": "closed:x@", "exp": 2}})),
            ("wait", "a", 3),
        ],
        "hasty",
    ),
    Scene(
        "a channel of one user",
        [
            *comes("a"),
            *comes("b"),
            ("send", "a", *join("limited:x@#a@")),
            ("send", "b", *join("limited:x@#a@")),
        ],
    ),
    Scene(
        "a channel of two users",
        [
            *comes("a"),
            *comes("b"),
            ("send", "a", *join("limited:x@#a@,b@")),
            ("send", "b", *join("limited:x@#a@,b@")),
        ],
    ),
    Scene("a limited channel without users", commands(*join("limited:x@"), *join("limited:x@#"))),
    Scene("a limited channel where there are none", commands(*join("free:x@#a@"), *join("closed:x@#a@"))),
    Scene(
        "an anonymous user",
        [
            ("open", "a"),
            ("send", "a", {"connect": {}}),
            ("send", "a", *join("free:x@")),
            ("send", "a", *join("anyone:x@")),
            ("send", "a", *publish("anyone:x@", 1)),
        ],
        "open",
    ),
    Scene("subscribe with data", commands(*join("free:x@", data={"why": 1}))),
]
