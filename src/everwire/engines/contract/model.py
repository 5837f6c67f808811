"""Checks: a log that random things happen to, beside a model that is too simple to be wrong."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from everwire.channels.engine import Engine, HistoryPage, LogOptions, Position
from everwire.engines.contract.bench import Bench, Check, Recorder, publication, values

__all__ = ["CHECKS", "Step", "follow"]

CHANNEL = "model"


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens to a log.

    Attributes:
        what: ``"publish"``, ``"read"``, ``"remove"`` or ``"advance"``.
        number: publish: the idempotency key, 0 for none; read: which publication to read from, counted from
            the newest one, below 0 without a position; advance: seconds.
        limit, reverse: of reading.
    """

    what: str
    number: int = 0
    limit: int = -1
    reverse: bool = False


@dataclass(slots=True)
class Entry:
    """A publication as the model has it; *born*: when it was published, in the model's time."""

    value: int
    position: Position
    born: float


class Model:
    """All that was ever published, and what of it has to be there."""

    def __init__(self, engine: Engine, events: Recorder, log: LogOptions) -> None:
        self.engine = engine
        self.events = events
        self.log = log
        self.now = 0.0
        self.entries: list[Entry] = []
        self.keys: dict[int, Position] = {}
        self.start: Position | None = None
        self.removed = 0  # entries before this index were removed

    async def publish(self, key: int) -> None:
        """Publish the next value, and check the outcome."""
        value = len(self.entries) + 1
        outcome = await self.engine.publish(
            CHANNEL,
            publication(value),
            log=self.log,
            idempotency_key=str(key) if key else "",
            idempotency_ttl=3600,
        )
        assert outcome.duplicate == (key in self.keys)
        if key in self.keys:
            assert outcome.position == self.keys[key]
            return
        if key:
            self.keys[key] = outcome.position
        last = self.entries[-1].position if self.entries else self.start
        if last is not None:
            assert outcome.position.epoch == last.epoch
            assert outcome.position.offset > last.offset
        self.entries.append(Entry(value, outcome.position, self.now))

    async def read(self, step: Step) -> None:
        """Read, and check that what came is right and that it is said honestly what did not."""
        index = None if step.number < 0 else max(0, len(self.entries) - step.number)
        since = None if index is None else self.position(index)
        page = await self.engine.history(
            CHANNEL, log=self.log, since=since, limit=step.limit, reverse=step.reverse
        )
        if self.start is None:
            self.start = Position(0, page.top.epoch)
        assert page.top == (self.entries[-1].position if self.entries else self.start)
        if step.reverse:
            before = len(self.entries) if index is None else max(0, index - 1)
            self.check(page, self.entries[:before][::-1], step)
        else:
            self.check(page, self.entries[index or 0 :], step)

    def position(self, index: int) -> Position:
        """The position after the first *index* publications."""
        return self.entries[index - 1].position if index else self.start or Position(0, "")

    def check(self, page: HistoryPage, wanted: Sequence[Entry], step: Step) -> None:
        """Compare a page with what was published after the position, or before it, nearest first."""
        got = values(page.publications)
        numbers = [each.value for each in wanted]
        needed = [each.value for each in wanted if self.kept(each)]
        begin = numbers.index(got[0]) if got else 0
        rest = numbers[begin:] if step.limit < 0 else numbers[begin : begin + step.limit]
        assert len(got) <= self.log.size, "more than the log may keep"
        if step.reverse:
            assert got == rest[: len(got)], "a hole, or another order"
            assert len(got) >= (len(needed) if step.limit < 0 else min(step.limit, len(needed)))
        elif got:
            assert got == rest, "a hole, or another order"
        if needed and step.limit != 0:
            assert got, "nothing of what has to be there"
            assert begin <= numbers.index(needed[0]), "not all of what has to be there"
        if step.reverse and not numbers and self.entries and not self.kept(self.entries[0]):
            # Nothing was before the first publication of all. An engine need not know that any more when
            # that one is gone: clients read backwards to show what is there, not to recover.
            return
        if step.number < 0 or not numbers or needed[:1] == numbers[:1]:
            assert page.complete, "what is there is said to be missing"
        elif page.complete and step.limit != 0:
            assert got[:1] == numbers[:1], "what is missing is said to be there"

    def kept(self, entry: Entry) -> bool:
        """Whether the log has to have this still."""
        index = entry.value - 1
        return (
            index >= self.removed
            and index >= len(self.entries) - self.log.size
            and self.now < entry.born + self.log.ttl
        )

    async def told(self) -> None:
        """Check that the node was told of each publication, once, in order, and what came before it."""
        await self.events.until(lambda: len(self.events.publications) >= len(self.entries))
        told = self.events.publications
        assert values([each.publication for each in told]) == [each.value for each in self.entries]
        assert [each.position for each in told] == [each.position for each in self.entries]
        offsets = [0, *(each.position.offset for each in self.entries)]
        assert [each.previous for each in told] == offsets[:-1]


async def follow(bench: Bench, log: LogOptions, steps: Sequence[Step]) -> None:
    """Have the steps happen to a log of a new engine, and compare it with the model after each."""
    async with bench.started() as (engine, events):
        await engine.subscribe(CHANNEL)
        model = Model(engine, events, log)
        for step in steps:
            if step.what == "publish":
                await model.publish(step.number)
            elif step.what == "read":
                await model.read(step)
            elif step.what == "remove":
                await engine.remove_history(CHANNEL, log=log)
                model.removed = len(model.entries)
            else:
                await bench.advance(step.number)
                model.now += step.number
        await model.told()


async def a_log_agrees_with_a_simple_model(bench: Bench) -> None:
    """Some runs of random steps, the same each time."""
    for seed in range(5):
        chance = random.Random(seed)
        log = LogOptions(size=chance.choice((1, 2, 3, 8)), ttl=chance.choice((2, 60)), meta_ttl=3600)
        steps = [
            chance.choices(
                (
                    Step("publish", chance.choice((0, 0, 0, 1, 2, 3))),
                    Step(
                        "read", chance.randint(-1, 9), chance.choice((-1, -1, 0, 1, 3)), chance.random() < 0.3
                    ),
                    Step("remove"),
                    Step("advance", 3),
                ),
                (50, 50, 2, 1),
            )[0]
            for _ in range(80)
        ]
        await follow(bench, log, steps)


CHECKS: tuple[Check, ...] = (a_log_agrees_with_a_simple_model,)
