"""Compare everwire's answers with Centrifugo's, field by field, or write down Centrifugo's.

::

    python tests/sdk/differential.py                              against what was written down
    python tests/sdk/differential.py --centrifugo PATH            against the program itself
    python tests/sdk/differential.py --centrifugo PATH --record   write its answers down anew: recorded.json
    python tests/sdk/differential.py --only recovery              scenes whose names begin so

Scenes are in ``scenes``. The exit status is 0 only if all agree, but for those in
``BETTER``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sdk.peer import PROFILES, centrifugo, everwire
from sdk.scenes import SCENES
from sdk.stage import Outcome, Scene, play

RECORDED = Path(__file__).with_name("recorded.json")

OURS = {
    "error": ("message",),
    "pub": ("time", "epoch", "version"),
    "publications": ("time", "epoch", "version"),
}
"""Fields that are not compared, by the field that has them."""

BETTER = {
    "two commands in one object": "what is ambiguous is refused; Centrifugo drops the second",
    "a blank line between commands": "it means nothing, so it does no harm",
    "commands after a malformed one": "nothing of a malformed frame is done",
    "sub_refresh: what is none": "a bad token for a subscription ends that, not the connection",
    "history since": "before the first publication there is nothing, which is no bad request",
    "differences of an unknown kind": "the client is told that there are none, and gets all whole",
    "a subscription of an unknown type": "the client is told what is wrong; Centrifugo fails internally",
    "subscribe a user": "who is subscribed already is not told of it again",
    "subscribe a user to what is recovered": "what the position lacks is sent, so that nothing is lost",
    "end a user's subscription that is not": "of a subscription that is not there no end is told",
    "broadcast": "with a channel that has no name nothing is published, rather than to the others",
    "publish by the server API done wrong": "the error names the field, and is an error like others",
    "a batch of the server API": "an empty batch has an empty list of replies",
    "a map subscription": "the client is told that there are none, not that it may not",
}
"""Scenes in which everwire answers otherwise, and why that is better."""

Outcomes = dict[str, dict[str, Outcome]]
"""What came of each scene, by its name and the format."""


def formats(scene: Scene) -> Sequence[str]:
    """The formats in which a scene is played."""
    return ("json", "protobuf") if scene.binary else ("json",)


async def play_all(scenes: Sequence[Scene], base: str) -> Outcomes:
    """Play scenes of one profile, some at a time: none knows of another."""
    played: Outcomes = {scene.name: {} for scene in scenes}
    slots = asyncio.Semaphore(8)

    async def play_one(scene: Scene, wire: str) -> None:
        async with slots:
            try:
                played[scene.name][wire] = await play(scene, base, wire)
            except Exception as error:
                error.add_note(f"in the scene {scene.name!r} in {wire}")
                raise

    async with asyncio.TaskGroup() as group:
        for scene in scenes:
            for wire in formats(scene):
                group.create_task(play_one(scene, wire))
    return played


def outcomes(scenes: Sequence[Scene], program: Path | None) -> Outcomes:
    """Play scenes against Centrifugo, or against everwire."""
    played: Outcomes = {}
    with tempfile.TemporaryDirectory() as directory:
        for profile in PROFILES:
            chosen = [scene for scene in scenes if scene.profile == profile]
            if chosen:
                with centrifugo(program, profile, Path(directory)) if program else everwire(profile) as base:
                    played |= asyncio.run(play_all(chosen, base))
    return played


def comparable(value: Any, key: str = "") -> Any:
    """What is compared of an answer: all but what is better or of no account.

    Errors say more than Centrifugo's, as long as their codes are the same; so do the reasons of the codes of
    RFC 6455. Publications have the time; the epoch in them is for its subscriptions to maps.
    """
    if isinstance(value, list):
        return value[:1] if key == "closed" and value[0] < 3000 else [comparable(item, key) for item in value]
    if not isinstance(value, dict):
        return value
    return {k: comparable(v, k) for k, v in value.items() if k not in OURS.get(key, ())}


def differences(theirs: Outcome, ours: Outcome) -> Iterator[str]:
    """Where two outcomes of a scene differ: at first, by connection."""
    for name in sorted({*theirs, *ours}):
        for n, (one, other) in enumerate(zip_longest(theirs.get(name, []), ours.get(name, []))):
            if comparable(one) != comparable(other):
                yield f"  {name}, {n}:\n    centrifugo {json.dumps(one)}\n    everwire   {json.dumps(other)}"
                break


def load(path: Path = RECORDED) -> Outcomes:
    """Read what was written down; a format that is not there answered as JSON did."""
    recorded: Outcomes = json.loads(path.read_text())
    for scene in SCENES:
        if scene.name in recorded:
            for wire in formats(scene):
                recorded[scene.name].setdefault(wire, recorded[scene.name]["json"])
    return recorded


def save(played: Outcomes, path: Path = RECORDED) -> None:
    """Write down what is compared of outcomes, each reply on a line."""
    played = {name: comparable(by_format) for name, by_format in played.items()}
    scenes = []
    for name, by_format in sorted(played.items()):
        kept = {
            w: outcome
            for w, outcome in sorted(by_format.items())
            if w == "json" or outcome != by_format["json"]
        }
        wires = []
        for wire, outcome in kept.items():
            ends = []
            for end, came in outcome.items():
                lines = ",\n".join(f"    {json.dumps(reply, sort_keys=True)}" for reply in came)
                ends.append(f"   {json.dumps(end)}: [\n{lines}\n   ]")
            wires.append(f'  "{wire}": {{\n' + ",\n".join(ends) + "\n  }")
        scenes.append(f" {json.dumps(name)}: {{\n" + ",\n".join(wires) + "\n }")
    path.write_text("{\n" + ",\n".join(scenes) + "\n}\n")


def compare(scenes: Sequence[Scene], theirs: Outcomes) -> list[str]:
    """Play scenes against everwire: what differs and is not known to be better, or is better no more."""
    ours = outcomes(scenes, None)
    complaints: list[str] = []
    for scene in scenes:
        for wire in formats(scene):
            found = list(differences(theirs[scene.name][wire], ours[scene.name][wire]))
            if found and scene.name not in BETTER:
                complaints.append("\n".join([f"{scene.name}, {wire}:", *found]))
            elif scene.name in BETTER and not found:
                complaints.append(f"{scene.name}, {wire}: does not differ; take it out of BETTER")
    return complaints


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--centrifugo", type=Path, help="the program, to compare with now")
    parser.add_argument("--record", action="store_true", help="write down what it answers")
    parser.add_argument("--only", default="", help="scenes whose names begin so")
    options = parser.parse_args()
    scenes = [scene for scene in SCENES if scene.name.startswith(options.only)]
    theirs = outcomes(scenes, options.centrifugo) if options.centrifugo else load()
    if options.record:
        save({**(load() if RECORDED.exists() else {}), **theirs})
        return 0
    complaints = compare(scenes, theirs)
    print(*complaints, f"{len(scenes)} scenes played, {len(complaints)} differ", sep="\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
