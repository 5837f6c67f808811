"""What fuzzing begins with, what it found, and a fixed lot of damaged inputs, on the normal build."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz.run import LONGEST
from fuzz.seeds import SEEDS
from fuzz.targets import TARGETS

FINDINGS = sorted(path for path in Path(__file__).with_name("findings").glob("*/*") if path.is_file())
DAMAGED = 300
"""Damaged inputs for each target."""


def damage(seed: bytes, other: bytes, chance: random.Random) -> bytes:
    """The input with a few changes: bits flipped, pieces left out, repeated, or taken from another input."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        size = chance.randint(1, 8)
        match chance.randrange(5):
            case 0 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 1 if at < len(data):
                data[at] = chance.choice((0, 1, 125, 126, 127, 128, 254, 255))
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
            case _:
                data[at:at] = other[at : at + size]
    return bytes(data)


def test_every_target_has_seeds_and_a_size() -> None:
    assert set(TARGETS) == set(SEEDS) == set(LONGEST)
    assert all(len(list(seeds())) >= 4 for seeds in SEEDS.values())


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_pass(name: str) -> None:
    for seed in SEEDS[name]():
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_seeds_pass(name: str) -> None:
    chance = random.Random(name)
    seeds = list(SEEDS[name]())
    for _ in range(DAMAGED):
        TARGETS[name](damage(chance.choice(seeds), chance.choice(seeds), chance))


@pytest.mark.parametrize("path", FINDINGS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_finding_stays_fixed(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())
