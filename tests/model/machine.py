"""What happens at random to a world: publishes, subscribes, cuts, returns, evictions, losses."""

from __future__ import annotations

import asyncio
import random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from model.world import CHANNELS, KINDS, Act, World

WHAT = (
    *["publish"] * 8,
    "publish twice",
    "publish as client",
    *["subscribe"] * 3,
    "unsubscribe",
    "cut",
    *["return"] * 3,
    "kick",
    "unsubscribe by server",
    "invalidate",
)
"""What happens, the frequent more often."""

ACTS = st.builds(Act, st.sampled_from(WHAT), st.integers(0, len(KINDS) - 1), st.sampled_from(CHANNELS))


class Sessions(RuleBasedStateMachine):
    """What each rule does is over when it returns; what happens within one happens at the same time."""

    world_type = World

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world: World | None = None

    @initialize(
        seed=st.integers(0, 2**32), history=st.integers(1, 6), ttl=st.sampled_from((5.0, 60.0, 3600.0))
    )
    def begin(self, seed: int, history: int, ttl: float) -> None:
        async def start() -> World:
            world = self.world_type(seed, history=history, ttl=ttl)
            await world.start()
            for number in range(len(world.clients)):
                await world.together([Act("subscribe", number, CHANNELS[number % 2])])
            return world

        self.world = self.runner.run(start())

    @rule(acts=st.lists(ACTS, min_size=2, max_size=12))
    def together(self, acts: list[Act]) -> None:
        assert self.world is not None
        self.runner.run(self.world.together(acts))

    @rule(seed=st.integers(0, 2**32))
    def a_storm(self, seed: int) -> None:
        """More than hypothesis would think of at once."""
        assert self.world is not None
        chance = random.Random(seed)
        count = chance.randrange(10, 60)
        acts = [
            Act(chance.choice(WHAT), chance.randrange(len(self.world.clients)), chance.choice(CHANNELS))
            for _ in range(count)
        ]
        self.runner.run(self.world.together(acts))

    @rule(seconds=st.sampled_from((1, 6, 61)))
    def advance(self, seconds: int) -> None:
        assert self.world is not None
        self.runner.run(self.world.clock.advance(seconds))

    @rule(channel=st.sampled_from(CHANNELS))
    def remove_history(self, channel: str) -> None:
        assert self.world is not None
        self.runner.run(self.world.hub.remove_history(channel))

    @rule(channel=st.sampled_from(CHANNELS))
    def lose_the_next_event(self, channel: str) -> None:
        assert self.world is not None
        self.world.engine.losing.add(channel)

    @rule()
    def settle(self) -> None:
        assert self.world is not None
        self.runner.run(self.world.settle())

    def teardown(self) -> None:
        try:
            if self.world is not None:
                self.runner.run(self.world.settle())
                self.runner.run(self.world.close())
        finally:
            self.runner.close()
