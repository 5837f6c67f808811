"""Frames and commands as such, done right and done wrong."""

from __future__ import annotations

from sdk.scenes.words import comes, commands, join
from sdk.stage import Scene

__all__ = ["FRAMES"]

JSON_FRAMES = {
    "not JSON": "hello",
    "half of a command": '{"id": 1, "connect": {',
    "an array": "[]",
    "a number": "42",
    "id of the wrong type": '{"id": "one", "connect": {}}',
    "a field of the wrong type": '{"id": 1, "connect": {"token": 1}}',
    "an empty frame": "",
    "only blank lines": "\n\n",
    "an unknown command": '{"id": 1, "dance": {}}',
    "an id and nothing": '{"id": 1}',
}
"""Frames that are the first of a connection; after connecting they are sent, too."""

FRAMES = [
    *(
        Scene(f"first frame: {name}", [("open", "a"), ("text", "a", text)])
        for name, text in JSON_FRAMES.items()
    ),
    *(
        Scene(f"later frame: {name}", [*comes("a"), ("text", "a", text)])
        for name, text in JSON_FRAMES.items()
    ),
    Scene(
        "unknown fields",
        [
            *comes("a"),
            ("text", "a", '{"id": 5, "subscribe": {"channel": "free:x@", "colour": 1}, "extra": []}'),
        ],
    ),
    Scene(
        "two commands in one object",
        [
            *comes("a"),
            (
                "text",
                "a",
                '{"id": 5, "subscribe": {"channel": "free:x@"}, "unsubscribe": {"channel": "free:x@"}}',
            ),
        ],
    ),
    Scene(
        "a blank line between commands",
        [
            *comes("a"),
            (
                "text",
                "a",
                '{"id": 5, "subscribe": {"channel": "free:x@"}}\n\n{"id": 6, "rpc": {"method": "nothing"}}\n',
            ),
        ],
    ),
    Scene(
        "spaces around commands",
        [*comes("a"), ("text", "a", '  {"id": 5, "subscribe": {"channel": "free:x@"}}  ')],
    ),
    Scene(
        "commands after a malformed one",
        [*comes("a"), ("text", "a", '{"id": 5, "subscribe": {"channel": "free:x@"}}\n{broken')],
    ),
    Scene(
        "a frame over the limit",
        [*comes("a"), ("text", "a", '{"id": 5, "rpc": {"data": "' + "x" * 70000 + '"}}')],
    ),
    Scene("the ping command", commands({"ping": {}})),
    Scene("a pong without a ping", commands({})),
    Scene("a command without an id", commands({"id": 0, **join("free:x@")[0]})),
    Scene("ids that repeat", commands({"id": 7, **join("free:x@")[0]}, {"id": 7, **join("free:y@")[0]})),
    Scene("a great id", commands({"id": 2**32 - 1, **join("free:x@")[0]})),
    Scene("an unknown rpc", commands({"rpc": {"method": "nothing", "data": {}}}, {"rpc": {}})),
    Scene("a send that nobody takes", commands({"send": {"data": {"x": 1}}})),
]
